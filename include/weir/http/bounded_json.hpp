// Parsing JSON that an upstream wrote into a tree that is safe to work with. nlohmann parses any
// depth without recursion but copies and dumps with it: some 200,000 brackets, which fit into
// 400 KB, overflow a worker's stack. Pure.
#pragma once

#include <optional>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace weir::http {

// Members keep their order; of equal names the last one wins. nullopt: not JSON, nested deeper than
// 64, or with over 1024 members in one object, as no API's answers are.
[[nodiscard]] std::optional<nlohmann::ordered_json> parse_bounded_json(std::string_view text);

}  // namespace weir::http
