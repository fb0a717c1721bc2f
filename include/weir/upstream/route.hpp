// Which upstream serves a model. Built once per snapshot, immutable. Pure.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "weir/config/config.hpp"
#include "weir/http/api.hpp"

namespace weir::upstream {

struct Route {
    std::vector<const config::Upstream*> upstreams;  // in order of trial; owned by the config
    std::string rule;  // what belongs to the cache key: names, urls and serve_as, not who answered
};

// Whether upstreams of that kind have endpoints of that API.
[[nodiscard]] bool has_api(config::Kind kind, http::Api api) noexcept;

// The upstreams that have that API and whose `models` match `served`, by priority; if there is
// none, those that are a last resort. Empty: nobody serves it.
[[nodiscard]] Route find_route(
    const config::Config& config,
    std::string_view served,
    std::string_view serve_as,
    http::Api api = http::Api::kOpenAi
);

}  // namespace weir::upstream
