#include "failure.hpp"

#include <system_error>

#include <fmt/core.h>
#include <sqlite3.h>

namespace weir::sqlite {

std::string errno_text(int code) {
    return std::generic_category().message(code);
}

bool says_corrupt(int code) noexcept {
    return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
}

Error explain(int code, std::string_view path, std::string_view message, int system_errno) {
    std::string why = fmt::format("{} (SQLite {})", message, code);
    if (system_errno != 0) why += fmt::format(", {}", errno_text(system_errno));
    switch (code & 0xff) {
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
            return {ErrorCode::kStorage, fmt::format("{} is damaged: {}", path, why)};
        case SQLITE_FULL:
            return {
                ErrorCode::kStorage, fmt::format("the disk that holds {} is full: {}", path, why)
            };
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return {
                ErrorCode::kStorage, fmt::format("another process keeps {} locked: {}", path, why)
            };
        case SQLITE_READONLY:
        case SQLITE_PERM:
        case SQLITE_AUTH:
            return {
                ErrorCode::kStorage,
                fmt::format("{} cannot be written, look at its owner and mode: {}", path, why)
            };
        case SQLITE_CONSTRAINT:
            return {ErrorCode::kConflict, fmt::format("{}: {}", path, why)};
        case SQLITE_ERROR:
        case SQLITE_MISUSE:
        case SQLITE_RANGE:
            return {ErrorCode::kInternal, fmt::format("{}: {}", path, why)};
        default:
            return {ErrorCode::kStorage, fmt::format("{}: {}", path, why)};
    }
}

Error describe(sqlite3* db, int code, int* last_code) {
    // The connection knows the extended code and the text of the call that just failed; it is not
    // asked when the code did not come from it.
    const int extended = sqlite3_extended_errcode(db);
    const bool same = (extended & 0xff) == (code & 0xff);
    if (same) code = extended;
    if (last_code != nullptr) *last_code = code;
    const char* path = sqlite3_db_filename(db, "main");
    const int primary = code & 0xff;
    const bool from_system =
        primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN || primary == SQLITE_FULL;
    return explain(
        code,
        path == nullptr ? "database" : path,
        same ? sqlite3_errmsg(db) : sqlite3_errstr(code),
        from_system ? sqlite3_system_errno(db) : 0
    );
}

}  // namespace weir::sqlite
