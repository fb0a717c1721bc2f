#include <utility>

#include <sqlite3.h>

#include "weir/sqlite/connection.hpp"

#include "failure.hpp"

namespace weir::sqlite {

Statement::Statement(Statement&& other) noexcept
    : statement_(std::exchange(other.statement_, nullptr)),
      last_code_(other.last_code_),
      bind_code_(std::exchange(other.bind_code_, SQLITE_OK)) {}

Statement& Statement::operator=(Statement&& other) noexcept {
    if (this != &other) {
        sqlite3_finalize(statement_);
        statement_ = std::exchange(other.statement_, nullptr);
        last_code_ = other.last_code_;
        bind_code_ = std::exchange(other.bind_code_, SQLITE_OK);
    }
    return *this;
}

Statement::~Statement() {
    sqlite3_finalize(statement_);
}

void Statement::bound(int code) noexcept {
    if (bind_code_ == SQLITE_OK) bind_code_ = code;
}

Statement& Statement::bind(int index, std::int64_t value) {
    bound(sqlite3_bind_int64(statement_, index, value));
    return *this;
}

Statement& Statement::bind(int index, std::string_view text) {
    // A null pointer would bind NULL; an empty view may hold one.
    bound(sqlite3_bind_text64(
        statement_,
        index,
        text.empty() ? "" : text.data(),
        text.size(),
        SQLITE_TRANSIENT,  // NOLINT(performance-no-int-to-ptr): SQLite's own macro
        SQLITE_UTF8
    ));
    return *this;
}

Statement& Statement::bind_blob(int index, std::string_view bytes) {
    bound(sqlite3_bind_blob64(
        statement_, index, bytes.empty() ? "" : bytes.data(), bytes.size(), SQLITE_STATIC
    ));
    return *this;
}

Statement& Statement::bind_null(int index) {
    bound(sqlite3_bind_null(statement_, index));
    return *this;
}

Result<bool> Statement::step() {
    if (statement_ == nullptr) return fail(ErrorCode::kInternal, "step() of no statement");
    if (bind_code_ != SQLITE_OK) {
        Error error = describe(sqlite3_db_handle(statement_), bind_code_, last_code_);
        reset();
        return std::unexpected(std::move(error));
    }
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    Error error = describe(sqlite3_db_handle(statement_), code, last_code_);
    reset();
    return std::unexpected(std::move(error));
}

Result<> Statement::run() {
    const Result<bool> row = step();
    if (!row) return std::unexpected(row.error());
    reset();
    return {};
}

void Statement::reset() noexcept {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
    bind_code_ = SQLITE_OK;
}

std::int64_t Statement::integer(int column) const noexcept {
    return sqlite3_column_int64(statement_, column);
}

std::string_view Statement::text(int column) const noexcept {
    return blob(column);
}

std::string_view Statement::blob(int column) const noexcept {
    const void* bytes = sqlite3_column_blob(statement_, column);
    const int size = sqlite3_column_bytes(statement_, column);
    if (bytes == nullptr || size <= 0) return {};
    return {static_cast<const char*>(bytes), static_cast<std::size_t>(size)};
}

bool Statement::is_null(int column) const noexcept {
    return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

}  // namespace weir::sqlite
