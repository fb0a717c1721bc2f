#include "cache_file.hpp"

#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "weir/base/log.hpp"

namespace weir::cache {

namespace {

namespace fs = std::filesystem;

// "Weir": tells our file from any other database.
constexpr std::int64_t kApplicationId = 0x57656972;

// Two tables, since the use of an entry is written far more often than its body: with bodies in the
// same row a touch costs 42 us (WITHOUT ROWID: 97) instead of 17, measured with 20,000 entries.
constexpr std::string_view kSchema = R"sql(
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    model TEXT NOT NULL,
    stored_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    size INTEGER NOT NULL
);
CREATE INDEX entries_by_use ON entries (used_at);
CREATE INDEX entries_by_expiry ON entries (expires_at);
CREATE TABLE bodies (
    id INTEGER PRIMARY KEY,
    key_text BLOB NOT NULL,
    parts BLOB NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE TABLE totals (entries INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO totals VALUES (0, 0);
)sql";

// The body is one packed column, and an entry tells whose it is. What was kept before may go: it is
// a cache.
constexpr std::string_view kPackedAndOwned = R"sql(
DROP TABLE bodies;
CREATE TABLE bodies (
    id INTEGER PRIMARY KEY,
    packed BLOB NOT NULL,
    checksum INTEGER NOT NULL
);
DELETE FROM entries;
ALTER TABLE entries ADD COLUMN owner TEXT NOT NULL DEFAULT '';
UPDATE totals SET entries = 0, bytes = 0;
)sql";

Result<std::int64_t> integer(sqlite::Connection& connection, std::string_view literal) {
    Result<sqlite::Statement> statement = connection.prepare(literal);
    if (!statement) return std::unexpected(std::move(statement.error()));
    const Result<bool> row = statement->step();
    if (!row) return std::unexpected(row.error());
    return *row ? statement->integer(0) : 0;
}

std::string aside_name(const std::string& path, std::int64_t now_s) {
    return fmt::format("{}.corrupt-{}", path, now_s);
}

bool move_away(const std::string& path, const std::string& to) {
    std::error_code error;
    // The file first: where it cannot be moved, all that belongs to it has to stay. SQLite drops a
    // WAL that has outlived its file.
    fs::rename(path, to, error);
    if (error && fs::exists(path, error)) return false;
    fs::rename(path + "-wal", to + "-wal", error);
    if (error) fs::remove(path + "-wal", error);
    // -shm only helps those who have the file open.
    fs::remove(path + "-shm", error);
    return true;
}

void delete_rest(const std::string& path) {
    std::error_code error;
    fs::remove(path + "-wal", error);
    fs::remove(path + "-shm", error);
}

void delete_older(const std::string& path) {
    const std::string prefix = fs::path(path).filename().string() + ".corrupt-";
    std::error_code error;
    std::vector<fs::path> older;
    const fs::path parent = fs::path(path).parent_path();
    for (fs::directory_iterator at(parent.empty() ? "." : parent, error), end; !error && at != end;
         at.increment(error)) {
        if (at->path().filename().string().starts_with(prefix)) older.push_back(at->path());
    }
    for (const fs::path& old : older) fs::remove(old, error);
}

void say_set_aside(const std::string& path, const std::string& to, std::string_view why) {
    log::warn(
        "cache set aside",
        {{"file", std::string_view(path)}, {"kept_as", std::string_view(to)}, {"reason", why}}
    );
}

Result<sqlite::Connection> try_open(const std::string& path) {
    Result<sqlite::Connection> connection = sqlite::Connection::open(path, writer_options());
    if (!connection) return connection;
    if (Result<> ready = ensure_schema(*connection, path); !ready) {
        return std::unexpected(std::move(ready.error()));
    }
    return connection;
}

}  // namespace

sqlite::OpenOptions writer_options() noexcept {
    return {
        .mode = sqlite::Mode::kReadWrite,
        .sync = sqlite::Sync::kNormal,
        .exclusive = false,
        .check = false,  // would read all of it; damage is noticed where it is read
        .disposable = true,
        .page_cache_kib = 8192  // the index of 100,000 hashes, and what is written beside it
    };
}

namespace {

Result<> make_or_check(sqlite::Connection& connection, std::string_view path) {
    const Result<std::int64_t> version = integer(connection, "PRAGMA user_version");
    if (!version) return std::unexpected(version.error());
    const Result<std::int64_t> application = integer(connection, "PRAGMA application_id");
    if (!application) return std::unexpected(application.error());
    const Result<std::int64_t> tables = integer(connection, "SELECT count(*) FROM sqlite_schema");
    if (!tables) return std::unexpected(tables.error());
    const bool fresh = *version == 0 && *tables == 0;
    if (!fresh && *application != kApplicationId) {
        return fail(ErrorCode::kStorage, fmt::format("{} is not a cache of Weir", path));
    }
    if (fresh) {
        // The file has its first page already: only VACUUM changes its kind then.
        const Result<> made = connection.execute(fmt::format(
            "PRAGMA auto_vacuum = INCREMENTAL; VACUUM; PRAGMA application_id = {};", kApplicationId
        ));
        if (!made) return made;
    }
    if (Result<> done = sqlite::migrate(connection, {kSchema, kPackedAndOwned}, path); !done)
        return done;
    if (fresh) return connection.checkpoint(true);
    // A file with the right version but without its tables is damaged as well.
    const Result<std::int64_t> rows = integer(
        connection,
        "SELECT count(*) FROM totals, "
        "(SELECT id, hash, model, owner, stored_at, expires_at, used_at, size FROM entries LIMIT "
        "0), "
        "(SELECT id, packed, checksum FROM bodies LIMIT 0)"
    );
    if (!rows) return std::unexpected(rows.error());
    return {};
}

}  // namespace

Result<> ensure_schema(sqlite::Connection& connection, std::string_view path) {
    Result<> done = make_or_check(connection, path);
    // A sound database with other tables, or of a newer Weir: as good as damaged. (SQLite had no
    // complaint at all, or one about our SQL.)
    if (!done && (connection.last_code() == 0 || done.error().code == ErrorCode::kInternal)) {
        connection.distrust();
    }
    return done;
}

std::uint64_t count_rows(sqlite::Connection& connection) {
    const Result<std::int64_t> rows = integer(connection, "SELECT entries FROM totals");
    return rows && *rows > 0 ? static_cast<std::uint64_t>(*rows) : 0;
}

Result<sqlite::Connection> open_cache_file(const std::string& path, std::int64_t now_s) {
    Result<sqlite::Connection> first = try_open(path);
    if (first) return first;
    std::error_code error;
    if (!fs::exists(path, error)) return first;
    const std::string to = aside_name(path, now_s);
    delete_older(path);
    if (!move_away(path, to)) return first;
    Result<sqlite::Connection> second = try_open(path);
    if (!second) {
        // Not the file's fault, then: a full disk, or a directory that is not ours.
        delete_rest(path);
        static_cast<void>(move_away(to, path));
        return first;
    }
    say_set_aside(path, to, first.error().detail);
    return second;
}

bool set_aside(const std::string& path, std::int64_t now_s, std::string_view why) {
    std::error_code error;
    if (!fs::exists(path, error)) {
        // Deleted by somebody: what is left of it must not be taken for the new file's.
        delete_rest(path);
        return true;
    }
    delete_older(path);
    const std::string to = aside_name(path, now_s);
    if (!move_away(path, to)) return false;
    say_set_aside(path, to, why);
    return true;
}

}  // namespace weir::cache
