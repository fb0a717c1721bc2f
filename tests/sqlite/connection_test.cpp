#include "weir/sqlite/connection.hpp"

#include <filesystem>
#include <fstream>
#include <string>
#include <sys/stat.h>
#include <sys/wait.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include "sqlite/faulty_vfs.hpp"
#include "sqlite/scratch.hpp"

namespace weir::sqlite {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using weir::testing::FaultyVfs;
using weir::testing::ScratchDir;

constexpr std::string_view kTable = "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT UNIQUE);";

Connection open_or_die(const std::string& path, OpenOptions options = {}) {
    Result<Connection> connection = Connection::open(path, options);
    if (!connection) throw std::runtime_error(connection.error().detail);
    return std::move(*connection);
}

std::int64_t number(Connection& connection, std::string_view sql) {
    Result<Statement> statement = connection.prepare(sql);
    if (!statement) throw std::runtime_error(statement.error().detail);
    if (!statement->step().value_or(false)) throw std::runtime_error("no row");
    return statement->integer(0);
}

mode_t mode_of(const std::string& path) {
    struct stat info{};
    return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 0777U : 0;
}

TEST(Connection, MakesPrivateFilesInWalModeWithoutMmapAndAutomaticCheckpoints) {
    const ScratchDir dir;
    Connection connection = open_or_die(dir / "a.db");
    ASSERT_TRUE(connection.execute(kTable));
    EXPECT_EQ(mode_of(dir / "a.db"), 0600U);
    EXPECT_EQ(mode_of(dir / "a.db-wal"), 0600U);
    EXPECT_EQ(mode_of(dir / "a.db-shm"), 0600U);
    EXPECT_EQ(number(connection, "PRAGMA synchronous"), 2);
    EXPECT_EQ(number(connection, "PRAGMA foreign_keys"), 1);
    EXPECT_EQ(number(connection, "PRAGMA wal_autocheckpoint"), 0);
    // Far past the 1000 pages at which SQLite would checkpoint by itself.
    for (int i = 0; i < 1500; ++i) {
        ASSERT_TRUE(connection.execute("INSERT INTO t(v) VALUES (hex(randomblob(8)))"));
    }
    EXPECT_GT(connection.wal_pages(), 1500);
    EXPECT_LT(std::filesystem::file_size(dir / "a.db"), 20'000U);
    ASSERT_TRUE(connection.checkpoint(true));
    EXPECT_EQ(std::filesystem::file_size(dir / "a.db-wal"), 0U);
}

TEST(Connection, TakesBackAFileThatIsOpenToTheWorld) {
    const ScratchDir dir;
    {
        Connection connection = open_or_die(dir / "a.db");
    }
    ::chmod((dir / "a.db").c_str(), 0644);
    Connection connection = open_or_die(dir / "a.db");
    EXPECT_EQ(mode_of(dir / "a.db"), 0600U);
}

// SQLite would open it for reading and fail at the first INSERT, long after the start.
TEST(Connection, RefusesAFileThatItMayNotWrite) {
    const ScratchDir dir;
    {
        const Connection made = open_or_die(dir / "a.db");
    }
    // Ours, and write-protected by hand: taken back.
    ASSERT_EQ(::chmod((dir / "a.db").c_str(), 0444), 0);
    EXPECT_TRUE(Connection::open(dir / "a.db", {}));
    if (::geteuid() != 0) return;  // somebody else's file is root's to make
    ASSERT_EQ(::chmod((dir / "a.db").c_str(), 0644), 0);
    ASSERT_EQ(::chmod(dir.path().c_str(), 0777), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(2);
        const auto opened = Connection::open(dir / "a.db", {});
        ::_exit(!opened && opened.error().detail.contains("cannot be written") ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

TEST(Connection, FullSyncsEachCommitAndNormalDoesNot) {
    const ScratchDir dir;
    FaultyVfs& vfs = FaultyVfs::instance();
    for (const Sync sync : {Sync::kFull, Sync::kNormal}) {
        Connection connection =
            open_or_die(dir / (sync == Sync::kFull ? "full.db" : "normal.db"), {.sync = sync});
        ASSERT_TRUE(connection.execute(kTable));
        const int before = vfs.syncs;
        for (int i = 0; i < 10; ++i)
            ASSERT_TRUE(connection.execute("INSERT INTO t DEFAULT VALUES"));
        EXPECT_EQ(vfs.syncs - before, sync == Sync::kFull ? 10 : 0);
    }
}

TEST(Connection, RoundTripsEveryKindOfValue) {
    const ScratchDir dir;
    Connection connection = open_or_die(dir / "a.db");
    ASSERT_TRUE(connection.execute("CREATE TABLE v(a, b, c, d)"));
    const std::string bytes("a\0b\xff", 4);
    {
        auto insert = connection.prepare("INSERT INTO v VALUES (?1, ?2, ?3, ?4)");
        ASSERT_TRUE(insert);
        insert->bind(1, std::int64_t{-9'000'000'000}).bind(2, std::string_view());
        insert->bind_blob(3, bytes).bind_null(4);
        ASSERT_TRUE(insert->run());
    }
    auto select = connection.prepare("SELECT * FROM v");
    ASSERT_TRUE(select);
    ASSERT_TRUE(select->step().value());
    EXPECT_EQ(select->integer(0), -9'000'000'000);
    EXPECT_FALSE(select->is_null(1));
    EXPECT_EQ(select->text(1), "");
    EXPECT_EQ(select->blob(2), bytes);
    EXPECT_TRUE(select->is_null(3));
    EXPECT_FALSE(select->step().value());
}

TEST(Connection, ToldApartABrokenConstraintWrongSqlAndAWrongBind) {
    const ScratchDir dir;
    Connection connection = open_or_die(dir / "a.db");
    ASSERT_TRUE(connection.execute(kTable));
    auto insert = connection.prepare("INSERT INTO t(v) VALUES (?1)");
    ASSERT_TRUE(insert->bind(1, "x").run());
    const Result<> twice = insert->bind(1, "x").run();
    ASSERT_FALSE(twice);
    EXPECT_EQ(twice.error().code, ErrorCode::kConflict);
    EXPECT_EQ(connection.last_code() & 0xff, SQLITE_CONSTRAINT);
    // The statement is good again at once.
    ASSERT_TRUE(insert->bind(1, "y").run());
    const Result<> wrong = insert->bind(7, "z").run();
    ASSERT_FALSE(wrong);
    EXPECT_EQ(wrong.error().code, ErrorCode::kInternal);
    const auto nonsense = connection.prepare("SELEC 1");
    ASSERT_FALSE(nonsense);
    EXPECT_EQ(nonsense.error().code, ErrorCode::kInternal);
    EXPECT_EQ(number(connection, "SELECT count(*) FROM t"), 2);
}

TEST(Connection, AReaderCannotWriteAndLeavesTheWalAlone) {
    const ScratchDir dir;
    Connection writer = open_or_die(dir / "a.db");
    ASSERT_TRUE(writer.execute(kTable));
    ASSERT_TRUE(writer.execute("INSERT INTO t(v) VALUES ('x')"));
    // As after a crash: the writer goes without its checkpoint.
    writer.close();
    const auto wal = std::filesystem::file_size(dir / "a.db-wal");
    ASSERT_GT(wal, 0U);
    {
        Connection reader = open_or_die(dir / "a.db", {.mode = Mode::kReadOnly});
        EXPECT_EQ(number(reader, "SELECT count(*) FROM t"), 1);
        EXPECT_FALSE(reader.execute("INSERT INTO t(v) VALUES ('y')"));
    }
    EXPECT_EQ(std::filesystem::file_size(dir / "a.db-wal"), wal);
}

TEST(Connection, ASecondProcessIsRefusedUntilTheFirstIsGone) {
    const ScratchDir dir;
    auto first = std::make_unique<Connection>(open_or_die(dir / "a.db", {.exclusive = true}));
    const auto second = Connection::open(dir / "a.db", {.exclusive = true});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kConflict);
    EXPECT_THAT(second.error().detail, HasSubstr("another Weir process uses this data directory"));
    const pid_t child = ::fork();
    if (child == 0) {
        const auto opened = Connection::open(dir / "a.db", {.exclusive = true});
        ::_exit(opened ? 1 : 0);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    // An outage does not open the door: the lock stays when the file is closed.
    first->close();
    EXPECT_FALSE(Connection::open(dir / "a.db", {.exclusive = true}));
    ASSERT_TRUE(first->reopen());
    EXPECT_FALSE(Connection::open(dir / "a.db", {.exclusive = true}));
    first.reset();
    EXPECT_TRUE(Connection::open(dir / "a.db", {.exclusive = true}));
}

TEST(Connection, ReopenRefusesAFileThatWasReplacedOrDeleted) {
    const ScratchDir dir;
    Connection connection = open_or_die(dir / "a.db");
    ASSERT_TRUE(connection.execute(kTable));
    EXPECT_TRUE(connection.is_in_place());
    ASSERT_TRUE(connection.reopen());
    EXPECT_TRUE(connection.is_in_place());
    EXPECT_EQ(number(connection, "SELECT count(*) FROM t"), 0);

    std::filesystem::rename(dir / "a.db", dir / "moved.db");
    EXPECT_FALSE(connection.is_in_place());
    const Result<> gone = connection.reopen();
    ASSERT_FALSE(gone);
    EXPECT_EQ(gone.error().code, ErrorCode::kStorage);
    EXPECT_FALSE(std::filesystem::exists(dir / "a.db")) << "it made a new one in silence";
    EXPECT_FALSE(connection.execute("SELECT 1"));
    std::ofstream(dir / "a.db").put('x');
    EXPECT_FALSE(connection.reopen());
    std::filesystem::rename(dir / "moved.db", dir / "a.db");
    EXPECT_TRUE(connection.reopen());
}

TEST(Connection, NoticesThatTheWalWasDeleted) {
    const ScratchDir dir;
    Connection connection = open_or_die(dir / "a.db");
    ASSERT_TRUE(connection.execute(kTable));
    std::filesystem::remove(dir / "a.db-wal");
    EXPECT_FALSE(connection.is_in_place());
}

TEST(Connection, SaysHowToGoOnFromADamagedFile) {
    const ScratchDir dir;
    std::ofstream(dir / "a.db") << std::string(8192, 'x');
    const auto garbage = Connection::open(dir / "a.db", {});
    ASSERT_FALSE(garbage);
    EXPECT_EQ(garbage.error().code, ErrorCode::kStorage);
    EXPECT_THAT(garbage.error().detail, HasSubstr("restore it from a backup"));
    const auto cache = Connection::open(dir / "a.db", {.disposable = true});
    ASSERT_FALSE(cache);
    EXPECT_THAT(cache.error().detail, HasSubstr("is damaged"));
    EXPECT_THAT(cache.error().detail, Not(HasSubstr("backup")));
    // Refusing must not touch what a person may still want to look at.
    EXPECT_EQ(std::filesystem::file_size(dir / "a.db"), 8192U);
}

TEST(Connection, QuickCheckFindsADamagedPageAndAPlainOpenDoesNotLook) {
    const ScratchDir dir;
    {
        Connection connection = open_or_die(dir / "a.db");
        ASSERT_TRUE(connection.execute(kTable));
        ASSERT_TRUE(connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
            "INSERT INTO t(v) SELECT hex(randomblob(20)) FROM n"
        ));
        ASSERT_TRUE(connection.checkpoint(true));
    }
    {
        std::fstream file(dir / "a.db", std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(4096 * 5);
        file << std::string(2000, '\x7f');
    }
    EXPECT_TRUE(Connection::open(dir / "a.db", {}));
    const auto checked = Connection::open(dir / "a.db", {.check = true});
    ASSERT_FALSE(checked);
    EXPECT_EQ(checked.error().code, ErrorCode::kStorage);
    EXPECT_THAT(checked.error().detail, HasSubstr("is damaged"));
}

TEST(Connection, SaysThePathAndTheReasonWhenItCannotOpen) {
    const ScratchDir dir;
    const auto missing = Connection::open(dir / "none/a.db", {.exclusive = true});
    ASSERT_FALSE(missing);
    EXPECT_THAT(missing.error().detail, HasSubstr(dir / "none/a.db"));
    EXPECT_THAT(missing.error().detail, HasSubstr("No such file"));
    EXPECT_FALSE(Connection::open(dir / "none.db", {.mode = Mode::kReadOnly}));
}

TEST(Migrate, BringsAnOldFileForwardStepByStep) {
    const ScratchDir dir;
    const std::string path = dir / "a.db";
    Connection connection = open_or_die(path);
    ASSERT_TRUE(migrate(connection, {"CREATE TABLE one(x);"}, path));
    EXPECT_EQ(number(connection, "PRAGMA user_version"), 1);
    ASSERT_TRUE(migrate(connection, {"CREATE TABLE one(x);", "CREATE TABLE two(x);"}, path));
    EXPECT_EQ(number(connection, "PRAGMA user_version"), 2);
    EXPECT_EQ(number(connection, "SELECT count(*) FROM two"), 0);
    ASSERT_TRUE(migrate(connection, {"CREATE TABLE one(x);", "CREATE TABLE two(x);"}, path));
}

TEST(Migrate, ABrokenStepLeavesNothingOfItself) {
    const ScratchDir dir;
    const std::string path = dir / "a.db";
    Connection connection = open_or_die(path);
    EXPECT_FALSE(
        migrate(connection, {"CREATE TABLE one(x);", "CREATE TABLE two(x); CREATE NONSENSE;"}, path)
    );
    EXPECT_EQ(number(connection, "PRAGMA user_version"), 1);
    EXPECT_EQ(number(connection, "SELECT count(*) FROM sqlite_schema"), 1);
    EXPECT_TRUE(migrate(connection, {"CREATE TABLE one(x);", "CREATE TABLE two(x);"}, path));
}

TEST(Migrate, RefusesAFileOfANewerWeirAndSaysWhatToDo) {
    const ScratchDir dir;
    const std::string path = dir / "a.db";
    Connection connection = open_or_die(path);
    ASSERT_TRUE(connection.execute("PRAGMA user_version = 9"));
    const Result<> done = migrate(connection, {kTable}, path);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, ErrorCode::kStorage);
    EXPECT_THAT(done.error().detail, HasSubstr("newer Weir"));
    EXPECT_THAT(done.error().detail, HasSubstr(path));
    EXPECT_EQ(number(connection, "SELECT count(*) FROM sqlite_schema"), 0);
}

}  // namespace
}  // namespace weir::sqlite
