// Which endpoints, and whose stored state, a key may reach, and where that state is. Pure.
#pragma once

#include <optional>
#include <string_view>

#include "weir/http/error_body.hpp"
#include "weir/proxy/exchange.hpp"
#include "weir/proxy/stored_responses.hpp"

namespace weir::proxy {

// May keys of that plan name stored state of that member in a body?
[[nodiscard]] std::optional<http::ApiError> check_named_state(
    const config::Plan& plan, std::string_view field
);
// May the key reach what its body names of the account's state? Pins the exchange to where that is.
[[nodiscard]] std::optional<http::ApiError> check_stored_state(
    Exchange& x, const StoredResponses& stored
);
// REQUIRES: a pin. The route has its upstream alone.
[[nodiscard]] std::optional<http::ApiError> route_to_pin(Exchange& x);
// The body as it would ask for that model. kOverloaded: there is no room for it.
[[nodiscard]] Result<Buffer> body_with_model(
    const Exchange& x, std::string_view model, BufferBudget& bodies
);
// Its answer is a response that is stored upstream, and may be gone on from.
[[nodiscard]] bool may_go_on(const Exchange& x) noexcept;
// Its body is not looked at, and not held.
[[nodiscard]] bool passes_body_on(const Exchange& x, const http::RequestHead& head) noexcept;
// GET /v1/models: answered here, from what the upstreams list.
[[nodiscard]] bool lists_models(const Exchange& x) noexcept;

}  // namespace weir::proxy
