// An Entry as the bytes of its row, before they are packed. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "weir/cache/response_cache.hpp"

namespace weir::cache {

// More than any entry that is kept takes, packed or not: SQLite's rows end at 1 GB.
inline constexpr std::uint64_t kLargestEntry = 512 << 20;

// At most entry.bytes() long.
[[nodiscard]] std::string encode_entry(const Entry& entry);
// nullopt: these are not bytes that encode_entry() made. Any input is safe.
[[nodiscard]] std::optional<Entry> decode_entry(std::string_view bytes);
// Of a row's bytes, so that a bit that flipped on disk is a miss and not a wrong answer.
[[nodiscard]] std::int64_t checksum(std::string_view bytes);

}  // namespace weir::cache
