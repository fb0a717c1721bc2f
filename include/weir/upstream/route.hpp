// Which upstream serves a model. Built once per snapshot, immutable. Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "weir/config/config.hpp"

namespace weir::upstream {

struct Route {
    std::vector<const config::Upstream*> upstreams;  // in order of trial; owned by the config
    std::string rule;  // what belongs to the cache key: names, urls and serve_as, not who answered
};

// Whose shape a request has.
enum class Api : std::uint8_t {
    kOpenAi,
    kAnthropic,  // /v1/messages and what is below it
};

// Whether upstreams of that kind have endpoints of that API.
[[nodiscard]] bool has_api(config::Kind kind, Api api) noexcept;

// The upstreams that have that API and whose `models` match `served`, by priority; if there is
// none, those that are a last resort. Empty: nobody serves it.
[[nodiscard]] Route find_route(
    const config::Config& config,
    std::string_view served,
    std::string_view serve_as,
    Api api = Api::kOpenAi
);

}  // namespace weir::upstream
