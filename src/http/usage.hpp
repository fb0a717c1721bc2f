// What an answer says that it took, in the spellings of the APIs. Private to the room.
#pragma once

#include <optional>
#include <string_view>

#include <simdjson.h>

#include "weir/http/answer.hpp"

namespace weir::http {

// `usage`: a usage object of any of the APIs. nullopt: it is none, or tells no tokens.
[[nodiscard]] std::optional<Usage> read_usage(simdjson::dom::element usage) noexcept;
// The object at `key` of `json`, if there is one.
[[nodiscard]] std::optional<simdjson::dom::element> object_at(
    simdjson::dom::element json, std::string_view key
) noexcept;
// The usage object at "usage" of `json`.
[[nodiscard]] std::optional<Usage> usage_at(simdjson::dom::element json) noexcept;

}  // namespace weir::http
