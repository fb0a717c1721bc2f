#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "cache/response_cache_fixture.hpp"
#include "cache_file.hpp"
#include "entry_codec.hpp"

namespace weir::cache {
namespace {

namespace fs = std::filesystem;

using ResponseCacheDamage = ResponseCacheTest;

TEST_F(ResponseCacheDamage, ARowThatUnpacksToTooMuchOrToNothingIsAMiss) {
    options_.memory_bytes = 0;
    open();
    store("bomb", std::string(1000, 'x'));
    store("cut", std::string(1000, 'y'));
    store("good", std::string(1000, 'z'));
    close();
    // Their checksums are right: only the frames are not. 1 TiB, says the first one.
    const std::string bomb("\x01\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\1\0\0\x03\0\0", 17);
    const std::string cut("\x01\x28\xb5\x2f\xfd\x60", 6);
    with_file([&](sqlite::Connection& connection) {
        auto update = connection.prepare("UPDATE bodies SET packed = ?, checksum = ? WHERE id = ?");
        ASSERT_TRUE(update) << update.error().detail;
        update->bind_blob(1, bomb).bind(2, checksum(bomb)).bind(3, std::int64_t{1});
        ASSERT_TRUE(update->run());
        update->bind_blob(1, cut).bind(2, checksum(cut)).bind(3, std::int64_t{2});
        ASSERT_TRUE(update->run());
    });
    open();
    EXPECT_EQ(body_of("bomb"), "(miss)");
    EXPECT_EQ(body_of("cut"), "(miss)");
    EXPECT_EQ(body_of("good"), std::string(1000, 'z'));
    EXPECT_TRUE(on_disk(1));  // their rows are gone
}

TEST_F(ResponseCacheDamage, AFileOfTheOldSchemaIsEmptiedAndUsed) {
    open();
    store("a", "answer");
    close();
    with_file([](sqlite::Connection& connection) {
        ASSERT_TRUE(connection.execute(
            "DROP TABLE bodies; CREATE TABLE bodies (id INTEGER PRIMARY KEY, key_text BLOB NOT "
            "NULL, parts BLOB NOT NULL, checksum INTEGER NOT NULL); "
            "ALTER TABLE entries DROP COLUMN owner; PRAGMA user_version = 1"
        ));
    });
    open();
    EXPECT_EQ(set_aside().size(), 0U);
    EXPECT_EQ(cache_->stats().entries, 0U);
    EXPECT_EQ(body_of("a"), "(miss)");
    store("a", "newer");
    close();
    open();
    EXPECT_EQ(body_of("a"), "newer");
}

TEST_F(ResponseCacheDamage, GarbageFileIsSetAsideAtOpen) {
    write_file(std::string(100'000, 'g'));
    open();
    ASSERT_EQ(set_aside().size(), 1U);
    EXPECT_EQ(fs::file_size(set_aside()[0]), 100'000U);
    EXPECT_TRUE(set_aside()[0].string().ends_with("cache.db.corrupt-1800000000"));
    store("a", "answer");
    close();
    open();
    EXPECT_EQ(body_of("a"), "answer");
    // Only the newest one is kept.
    close();
    now_s_ += 5;
    write_file("again");
    open();
    ASSERT_EQ(set_aside().size(), 1U);
    EXPECT_EQ(fs::file_size(set_aside()[0]), 5U);
}

TEST_F(ResponseCacheDamage, ForeignDatabaseIsSetAsideWhole) {
    with_file([](sqlite::Connection& connection) {
        ASSERT_TRUE(connection.execute("CREATE TABLE other (x); INSERT INTO other VALUES (7);"));
    });
    open();
    store("a", "answer");
    EXPECT_EQ(body_of("a"), "answer");
    close();
    ASSERT_EQ(set_aside().size(), 1U);
    Result<sqlite::Connection> foreign = sqlite::Connection::open(set_aside()[0].string(), {});
    ASSERT_TRUE(foreign);
    Result<sqlite::Statement> rows = foreign->prepare("SELECT x FROM other");
    ASSERT_TRUE(rows);
    ASSERT_TRUE(rows->step().value_or(false));
    EXPECT_EQ(rows->integer(0), 7);
}

TEST_F(ResponseCacheDamage, NewerSchemaOrMissingTableIsSetAside) {
    open();
    store("a", "answer");
    close();
    with_file([](sqlite::Connection& connection) {
        ASSERT_TRUE(connection.execute("PRAGMA user_version = 99"));
    });
    open();
    EXPECT_EQ(set_aside().size(), 1U);
    EXPECT_EQ(body_of("a"), "(miss)");
    close();
    fs::remove(set_aside()[0]);
    with_file([](sqlite::Connection& connection) {
        ASSERT_TRUE(connection.execute("DROP TABLE bodies"));
    });
    open();
    EXPECT_EQ(set_aside().size(), 1U);
}

TEST_F(ResponseCacheDamage, DirectoryThatCannotBeWrittenIsAnError) {
    options_.path = (folder_ / "missing" / "cache.db").string();
    const auto opened = ResponseCache::open(options_);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::kStorage);
}

TEST_F(ResponseCacheDamage, DamageInTheMiddleOfARunIsAMissAndANewFile) {
    options_.memory_bytes = 0;
    open();
    for (unsigned i = 0; i < 100; ++i) store(std::to_string(i), noise(3000, i));
    close();
    damage();
    open();
    EXPECT_TRUE(comes_true([&] {
        EXPECT_EQ(body_of("7"), "(miss)");
        return set_aside().size() == 1;
    }));
    // `entries` is the old file's until the new one is open; what is stored is in the new one. It
    // is found there at once, not only when the reader would have tried the old file again.
    EXPECT_TRUE(comes_true([&] {
        store("new", "answer");
        EXPECT_EQ(body_of("7"), "(miss)");  // keeps the reader trying
        return cache_->stats().stored > 0;
    }));
    EXPECT_EQ(body_of("new"), "answer");
    close();
    open();
    EXPECT_EQ(body_of("new"), "answer");
    EXPECT_EQ(set_aside().size(), 1U);
}

TEST_F(ResponseCacheDamage, DamagedRowIsAMissNotAWrongAnswer) {
    options_.memory_bytes = 0;
    open();
    store("a", "the right answer");
    store("b", "another");
    close();
    with_file([](sqlite::Connection& connection) {
        ASSERT_TRUE(connection.execute(
            "UPDATE bodies SET packed = CAST(replace(packed, x'7269676874', x'77726f6e67') AS "
            "BLOB) WHERE instr(packed, x'7269676874') > 0"
        ));
        ASSERT_EQ(connection.changes(), 1);
    });
    open();
    EXPECT_EQ(body_of("a"), "(miss)");
    EXPECT_TRUE(on_disk(1));  // its row is gone
    EXPECT_EQ(body_of("b"), "another");
}

TEST_F(ResponseCacheDamage, ASoundDatabaseThatIsNoneOfOursCountsAsDamaged) {
    // The writer takes only damaged files for ones to replace; any other it would try for ever.
    for (const char* const change :
         {"PRAGMA application_id = 7", "PRAGMA user_version = 99", "DROP TABLE bodies"}) {
        SCOPED_TRACE(change);
        open();
        close();
        with_file([&](sqlite::Connection& connection) {
            ASSERT_TRUE(ensure_schema(connection, options_.path));
            EXPECT_FALSE(connection.is_corrupt());
            ASSERT_TRUE(connection.execute(change));
            EXPECT_FALSE(ensure_schema(connection, options_.path));
            EXPECT_TRUE(connection.is_corrupt());
        });
    }
}

TEST_F(ResponseCacheDamage, AnotherDatabaseInItsPlaceIsSetAsideInTheMiddleOfARun) {
    options_.memory_bytes = 0;
    open();
    for (unsigned i = 0; i < 100; ++i) store(std::to_string(i), noise(3000, i));
    close();
    open();  // nothing is in its WAL: what is only there would be found there
    {
        Result<sqlite::Connection> other =
            sqlite::Connection::open((folder_ / "other.db").string(), {});
        ASSERT_TRUE(other);
        ASSERT_TRUE(other->execute("CREATE TABLE other (x); INSERT INTO other VALUES (7);"));
        ASSERT_TRUE(other->checkpoint(true));
    }
    // Into the very file, which stays the same one for those who look at its name.
    std::ifstream in(folder_ / "other.db", std::ios::binary);
    write_file({std::istreambuf_iterator<char>(in), {}});
    ASSERT_TRUE(comes_true([&] {
        store("new", "answer");
        return set_aside().size() == 1 && cache_->stats().stored > 1;
    }));
    EXPECT_EQ(body_of("new"), "answer");
    EXPECT_TRUE(body_of("7") == "(miss)");
    close();
    open();
    EXPECT_EQ(body_of("new"), "answer");
    EXPECT_EQ(set_aside().size(), 1U);
}

TEST_F(ResponseCacheDamage, FileDeletedInTheMiddleOfARunIsMadeAnew) {
    open();
    store("a", "answer");
    ASSERT_TRUE(on_disk(1));
    for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(options_.path + suffix);
    store("b", "second");
    EXPECT_EQ(body_of("a"), "answer");
    EXPECT_TRUE(comes_true([&] {
        store("c", "third");
        return fs::exists(options_.path) && cache_->stats().stored >= 2;
    }));
    close();
    open();
    EXPECT_EQ(body_of("c"), "third");
}

}  // namespace
}  // namespace weir::cache
