#include "weir/sqlite/connection.hpp"

#include <cerrno>
#include <sys/file.h>
#include <sys/stat.h>
#include <utility>

#include <fcntl.h>
#include <fmt/core.h>
#include <sqlite3.h>
#include <unistd.h>

#include "failure.hpp"

namespace weir::sqlite {
namespace {

constexpr int kBusyTimeoutMs = 2000;

// Which file a path leads to.
struct Identity {
    dev_t device = 0;
    ino_t inode = 0;
    friend bool operator==(const Identity&, const Identity&) = default;
};

std::optional<Identity> identity_of(const std::string& path) noexcept {
    struct stat info{};
    if (::stat(path.c_str(), &info) != 0) return std::nullopt;
    return Identity{info.st_dev, info.st_ino};
}

// Never opens a file that is there: closing any descriptor of a database drops the locks that
// SQLite holds on it in this process.
Result<> make_private(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        ::close(fd);
        return {};
    }
    if (errno == EEXIST) {
        // A file copied back from a backup may be open to the world. If it is not ours to change,
        // go on.
        static_cast<void>(::chmod(path.c_str(), 0600));
        return {};
    }
    return fail(ErrorCode::kStorage, fmt::format("cannot create {}: {}", path, errno_text(errno)));
}

Result<int> take_lock(const std::string& path) {
    const std::string name = path + ".lock";
    const int fd = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return fail(
            ErrorCode::kStorage, fmt::format("cannot create {}: {}", name, errno_text(errno))
        );
    }
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
    const int why = errno;
    ::close(fd);
    if (why == EWOULDBLOCK) {
        return fail(
            ErrorCode::kConflict,
            fmt::format(
                "another Weir process uses this data directory ({} is locked): stop it, or give "
                "this one a `data` directory of its own",
                name
            )
        );
    }
    return fail(ErrorCode::kStorage, fmt::format("cannot lock {}: {}", name, errno_text(why)));
}

}  // namespace

struct Connection::Impl {
    std::string path;
    OpenOptions options;
    sqlite3* db = nullptr;
    int lock_fd = -1;
    int last_code = SQLITE_OK;
    int wal_pages = 0;
    std::optional<Identity> file;
    std::optional<Identity> wal;

    Impl() = default;
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl() {
        sqlite3_close_v2(db);
        if (lock_fd >= 0) ::close(lock_fd);
    }

    // For code that is not from a statement.
    std::unexpected<Error> failed(int code) {
        return std::unexpected(describe(db, code, &last_code));
    }
    Result<> execute(std::string_view sql);
    Result<> connect();
    Result<> set_up();
    Result<> check();
    void disconnect() noexcept {
        sqlite3_close_v2(db);
        db = nullptr;
    }
};

Result<> Connection::Impl::execute(std::string_view sql) {
    if (db == nullptr) return fail(ErrorCode::kStorage, fmt::format("{} is closed", path));
    const int code = sqlite3_exec(db, std::string(sql).c_str(), nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return failed(code);
    return {};
}

Result<> Connection::Impl::connect() {
    int flags = SQLITE_OPEN_NOMUTEX;
    if (options.mode == Mode::kReadWrite) {
        if (const Result<> made = make_private(path); !made) return made;
        flags |= SQLITE_OPEN_READWRITE;
    } else {
        flags |= SQLITE_OPEN_READONLY;
    }
    // An empty file is a new database: no SQLITE_OPEN_CREATE, so that SQLite never makes one
    // itself.
    const int code = sqlite3_open_v2(path.c_str(), &db, flags, nullptr);
    if (code != SQLITE_OK) {
        last_code = db == nullptr ? code : sqlite3_extended_errcode(db);
        Error error = explain(
            last_code, path, sqlite3_errstr(last_code), db == nullptr ? 0 : sqlite3_system_errno(db)
        );
        disconnect();
        return std::unexpected(std::move(error));
    }
    Result<> ready = set_up();
    if (ready && options.check) ready = check();
    if (!ready && says_corrupt(last_code) && !options.disposable) ready.error().detail += kRestore;
    if (!ready) disconnect();
    return ready;
}

Result<> Connection::Impl::set_up() {
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, kBusyTimeoutMs);
    if (options.mode == Mode::kReadOnly) {
        // Two connections that checkpoint at once can damage the file (SQLite before 3.51.3), so
        // only the writer does.
        sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    }
    if (Result<> done = execute(fmt::format(
            "PRAGMA mmap_size = 0; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; "
            "PRAGMA cache_size = -{};",
            options.page_cache_kib
        ));
        !done) {
        return done;
    }
    if (options.mode == Mode::kReadWrite) {
        // SQLite opens a file that it may not write for reading, and only the first INSERT fails.
        if (sqlite3_db_readonly(db, "main") == 1) {
            return fail(
                ErrorCode::kStorage,
                fmt::format(
                    "{} cannot be written: give it to the user that Weir runs as (chown, chmod "
                    "u+rw)",
                    path
                )
            );
        }
        // Sync first: switching to WAL writes already.
        if (Result<> done = execute(
                options.sync == Sync::kFull ? "PRAGMA synchronous = FULL;"
                                            : "PRAGMA synchronous = NORMAL;"
            );
            !done) {
            return done;
        }
        sqlite3_stmt* raw = nullptr;
        int code = sqlite3_prepare_v2(db, "PRAGMA journal_mode = WAL", -1, &raw, nullptr);
        Statement statement(raw, &last_code);
        if (code != SQLITE_OK) return failed(code);
        const Result<bool> row = statement.step();
        if (!row) return std::unexpected(row.error());
        if (!*row || statement.text(0) != "wal") {
            return fail(
                ErrorCode::kStorage,
                fmt::format("{} cannot use a write-ahead log on this file system", path)
            );
        }
    }
    // The hook and automatic checkpoints share one slot: first off with these.
    sqlite3_wal_autocheckpoint(db, 0);
    sqlite3_wal_hook(
        db,
        [](void* self, sqlite3*, const char*, int pages) {
            static_cast<Impl*>(self)->wal_pages = pages;
            return SQLITE_OK;
        },
        this
    );
    // The WAL file keeps at most this much once it starts anew.
    if (Result<> done = execute("PRAGMA journal_size_limit = 16777216;"); !done) return done;
    // The first read opens the WAL and shows whether this is a database at all.
    if (Result<> done = execute("SELECT count(*) FROM sqlite_schema;"); !done) return done;
    file = identity_of(path);
    wal = identity_of(path + "-wal");
    return {};
}

Result<> Connection::Impl::check() {
    sqlite3_stmt* raw = nullptr;
    const int code = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &raw, nullptr);
    Statement statement(raw, &last_code);
    if (code != SQLITE_OK) return failed(code);
    const Result<bool> row = statement.step();
    if (!row) return std::unexpected(row.error());
    const std::string said(*row ? statement.text(0) : std::string_view("no result"));
    if (said == "ok") return {};
    last_code = SQLITE_CORRUPT;
    return std::unexpected(explain(SQLITE_CORRUPT, path, said, 0));
}

Connection::Connection(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&&) noexcept = default;
Connection::~Connection() = default;

Result<Connection> Connection::open(const std::string& path, OpenOptions options) {
    auto impl = std::make_unique<Impl>();
    impl->path = path;
    impl->options = options;
    if (options.exclusive) {
        const Result<int> lock = take_lock(path);
        if (!lock) return std::unexpected(lock.error());
        impl->lock_fd = *lock;
    }
    if (Result<> done = impl->connect(); !done) return std::unexpected(std::move(done.error()));
    return Connection(std::move(impl));
}

void Connection::close() noexcept {
    if (impl_->db == nullptr) return;
    sqlite3_db_config(impl_->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    impl_->disconnect();
}

Result<> Connection::reopen(bool create) {
    close();
    impl_->wal_pages = 0;
    impl_->last_code = SQLITE_OK;
    if (!create && !is_file_in_place()) {
        return fail(
            ErrorCode::kStorage,
            fmt::format(
                "{} was deleted or replaced while Weir runs: put it back, or restart Weir",
                impl_->path
            )
        );
    }
    return impl_->connect();
}

bool Connection::is_open() const noexcept {
    return impl_->db != nullptr;
}

bool Connection::is_in_place() const noexcept {
    return is_file_in_place() && identity_of(impl_->path + "-wal") == impl_->wal;
}

bool Connection::is_file_in_place() const noexcept {
    return impl_->file && identity_of(impl_->path) == impl_->file;
}

Result<Statement> Connection::prepare(std::string_view literal) {
    if (impl_->db == nullptr) {
        return fail(ErrorCode::kStorage, fmt::format("{} is closed", impl_->path));
    }
    sqlite3_stmt* raw = nullptr;
    const int code = sqlite3_prepare_v3(
        impl_->db,
        literal.data(),
        static_cast<int>(literal.size()),
        SQLITE_PREPARE_PERSISTENT,
        &raw,
        nullptr
    );
    if (code != SQLITE_OK) return impl_->failed(code);
    return Statement(raw, &impl_->last_code);
}

Result<> Connection::execute(std::string_view literal) {
    return impl_->execute(literal);
}

Result<> Connection::checkpoint(bool truncate) {
    if (impl_->db == nullptr) {
        return fail(ErrorCode::kStorage, fmt::format("{} is closed", impl_->path));
    }
    const int code = sqlite3_wal_checkpoint_v2(
        impl_->db,
        "main",
        truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE,
        nullptr,
        nullptr
    );
    // PASSIVE says BUSY when somebody else does the same; then the next one does it.
    if (code == SQLITE_OK || (!truncate && (code & 0xff) == SQLITE_BUSY)) return {};
    return impl_->failed(code);
}

int Connection::wal_pages() const noexcept {
    return impl_->wal_pages;
}

std::int64_t Connection::last_rowid() const noexcept {
    return sqlite3_last_insert_rowid(impl_->db);
}

int Connection::changes() const noexcept {
    return sqlite3_changes(impl_->db);
}

int Connection::last_code() const noexcept {
    return impl_->last_code;
}

bool Connection::is_corrupt() const noexcept {
    return says_corrupt(impl_->last_code);
}

void Connection::distrust() noexcept {
    impl_->last_code = SQLITE_CORRUPT;
}

sqlite3* Connection::raw() const noexcept {
    return impl_->db;
}

}  // namespace weir::sqlite
