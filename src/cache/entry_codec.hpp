// An Entry as the bytes of its row, all but its key text. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "weir/cache/response_cache.hpp"

namespace weir::cache {

[[nodiscard]] std::string encode_entry(const Entry& entry);
// nullopt: these are not bytes that encode_entry() made. Any input is safe.
[[nodiscard]] std::optional<Entry> decode_entry(std::string_view bytes);
// Of a row's bytes, so that a bit that flipped on disk is a miss and not a wrong answer.
[[nodiscard]] std::int64_t checksum(std::string_view bytes);

}  // namespace weir::cache
