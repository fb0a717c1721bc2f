// SQLite, thinly: a Connection is used by one thread at a time (SQLITE_OPEN_NOMUTEX), statements
// are prepared once and reset after each use, SQL comes from string literals only.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "weir/base/error.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace weir::sqlite {

class Connection;

// A prepared statement. REQUIRES: the Connection outlives it. Bind, step, read, reset. A failed
// bind shows in the next step(); a failed step() resets. A broken constraint is kConflict, anything
// that the disk or the file is to blame for is kStorage, wrong SQL is kInternal.
class Statement {
public:
    Statement() = default;
    Statement(Statement&&) noexcept;
    Statement& operator=(Statement&&) noexcept;
    ~Statement();

    Statement& bind(int index, std::int64_t value);
    Statement& bind(int index, std::string_view text);        // copied
    Statement& bind_blob(int index, std::string_view bytes);  // borrowed until reset()
    Statement& bind_null(int index);
    // True: a row is there. False: done.
    [[nodiscard]] Result<bool> step();
    // step() for a statement without rows, then reset().
    [[nodiscard]] Result<> run();
    void reset() noexcept;

    [[nodiscard]] std::int64_t integer(int column) const noexcept;
    // Valid until the next step() or reset().
    [[nodiscard]] std::string_view text(int column) const noexcept;
    [[nodiscard]] std::string_view blob(int column) const noexcept;
    [[nodiscard]] bool is_null(int column) const noexcept;

private:
    friend class Connection;
    Statement(sqlite3_stmt* statement, int* last_code) noexcept
        : statement_(statement), last_code_(last_code) {}
    void bound(int code) noexcept;
    sqlite3_stmt* statement_ = nullptr;
    int* last_code_ = nullptr;  // the connection's
    int bind_code_ = 0;         // of the first bind that failed since the last reset
};

enum class Mode : std::uint8_t { kReadWrite, kReadOnly };
enum class Sync : std::uint8_t { kFull, kNormal };

struct OpenOptions {
    Mode mode = Mode::kReadWrite;
    Sync sync = Sync::kFull;
    // Refuse to open when another process holds the file (flock beside it, kept while open).
    bool exclusive = false;
    // PRAGMA quick_check at open; a corrupt file is kStorage.
    bool check = false;
    // There is no backup of it and none is needed: a damaged one is not worth any advice.
    bool disposable = false;
    // What its pages may take in memory. Rows that go to places all over a file want more of it.
    int page_cache_kib = 2048;
};

class Connection {
public:
    // WAL, wal_autocheckpoint=0, foreign_keys on, no mmap, busy_timeout 2 s, files 0600. Readers
    // never checkpoint. Errors say the path and what to do.
    [[nodiscard]] static Result<Connection> open(const std::string& path, OpenOptions options);
    Connection(Connection&&) noexcept;
    Connection& operator=(Connection&&) noexcept;
    ~Connection();

    // Closes without a checkpoint and keeps the exclusive lock: for a file that just failed. All
    // statements must be gone. Calls fail until reopen() works.
    void close() noexcept;
    // Opens the same file again with the same options. Without `create` it must be the very file
    // that open() found: one that was deleted or replaced meanwhile is kStorage.
    [[nodiscard]] Result<> reopen(bool create = false);
    [[nodiscard]] bool is_open() const noexcept;
    // False: the file or its WAL was deleted or replaced under us; commits would go nowhere.
    [[nodiscard]] bool is_in_place() const noexcept;
    // As is_in_place(), whatever became of the WAL.
    [[nodiscard]] bool is_file_in_place() const noexcept;

    [[nodiscard]] Result<Statement> prepare(std::string_view literal);
    // Runs statements without rows, several with semicolons.
    [[nodiscard]] Result<> execute(std::string_view literal);
    // PASSIVE: as much as readers allow, never waits for them. With `truncate` everything, and the
    // WAL is empty afterwards; kStorage (last_code() SQLITE_BUSY) when a reader is in the way.
    [[nodiscard]] Result<> checkpoint(bool truncate = false);
    // Pages in the WAL after the last commit of this connection.
    [[nodiscard]] int wal_pages() const noexcept;
    [[nodiscard]] std::int64_t last_rowid() const noexcept;
    [[nodiscard]] int changes() const noexcept;
    // The extended code of the last failure, and whether it says that the file is damaged.
    [[nodiscard]] int last_code() const noexcept;
    [[nodiscard]] bool is_corrupt() const noexcept;
    // What it holds is sound, but not what the caller can use: is_corrupt() until reopen().
    void distrust() noexcept;
    [[nodiscard]] sqlite3* raw() const noexcept;

private:
    struct Impl;
    explicit Connection(std::unique_ptr<Impl> impl) noexcept;
    std::unique_ptr<Impl> impl_;
};

// Brings a file to the schema `migrations.size()`, one transaction a step, counted in PRAGMA
// user_version. A newer schema than we know: kStorage, with what to do.
[[nodiscard]] Result<> migrate(
    Connection& connection,
    std::initializer_list<std::string_view> migrations,
    std::string_view path
);

}  // namespace weir::sqlite
