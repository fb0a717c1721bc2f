// From SQLite's codes to errors that say what a person can do.
#pragma once

#include <string>
#include <string_view>

#include "weir/base/error.hpp"

struct sqlite3;

namespace weir::sqlite {

// What to do with a damaged file that somebody has a backup of.
inline constexpr std::string_view kRestore =
    ". Stop Weir, keep a copy of it and of its -wal file, and restore it from a backup";

[[nodiscard]] std::string errno_text(int code);
[[nodiscard]] bool says_corrupt(int code) noexcept;
// Bound values never show in SQLite's messages, so secrets do not.
[[nodiscard]] Error explain(
    int code, std::string_view path, std::string_view message, int system_errno
);
// Of the call on `db` that just returned `code`; keeps the extended code in *last_code.
[[nodiscard]] Error describe(sqlite3* db, int code, int* last_code);

}  // namespace weir::sqlite
