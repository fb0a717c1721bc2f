// Where an upstream has an endpoint. Pure.
#pragma once

#include <string>
#include <string_view>

#include "weir/config/config.hpp"

namespace weir::upstream {

// The request's target on that upstream: its base path, its way to name endpoints and models, the
// client's query and the upstream's own parameters. `path` begins with "/v1"; `query` is without
// its '?', as the client sent it; `model` is what is asked upstream, empty where there is none.
[[nodiscard]] std::string target_on(
    const config::Upstream& upstream,
    std::string_view path,
    std::string_view query,
    std::string_view model
);

}  // namespace weir::upstream
