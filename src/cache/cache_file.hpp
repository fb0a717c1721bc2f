// cache.db as a file: its schema, and what happens to one that cannot be used. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "weir/base/error.hpp"
#include "weir/sqlite/connection.hpp"

namespace weir::cache {

[[nodiscard]] sqlite::OpenOptions writer_options() noexcept;

// Makes the schema in a new file; in an old one checks that it is ours and not newer than we know.
// If it is not, the connection is distrusted.
[[nodiscard]] Result<> ensure_schema(sqlite::Connection& connection, std::string_view path);

// Opens it for writing. A file that cannot be used is set aside and made anew. kStorage: that does
// not work either (then the old one is where it was).
[[nodiscard]] Result<sqlite::Connection> open_cache_file(
    const std::string& path, std::int64_t now_s
);

// Of an open one.
[[nodiscard]] std::uint64_t count_rows(sqlite::Connection& connection);

// Renames it and its WAL to <path>.corrupt-<now>; an older one of that kind is deleted, so that
// there is never more than one. Logs one line. True: nothing stands at `path` any more.
bool set_aside(const std::string& path, std::int64_t now_s, std::string_view why);

}  // namespace weir::cache
