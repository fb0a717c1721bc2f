// Where an upstream has an endpoint, and what it calls a model. Pure.
#pragma once

#include <string>
#include <string_view>

#include "weir/config/config.hpp"

namespace weir::upstream {

// The request's target on that upstream: its base path, its way to name endpoints and models, the
// client's query and the upstream's own parameters, which replace the client's of the same name.
// `path` begins with "/v1"; `query` is without its '?', as the client sent it; `model` is what is
// asked upstream, empty where there is none.
[[nodiscard]] std::string target_on(
    const config::Upstream& upstream,
    std::string_view path,
    std::string_view query,
    std::string_view model
);

// What that upstream calls `model`: on Azure its deployment, which a body must name where it is
// read (not below a deployment's own path). Lives as long as both.
[[nodiscard]] std::string_view model_on(
    const config::Upstream& upstream, std::string_view model
) noexcept;

}  // namespace weir::upstream
