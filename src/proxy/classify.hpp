// The parts of stage 5 that messages of a WebSocket pass as well. Private to the room.
#pragma once

#include <optional>

#include "weir/http/error_body.hpp"
#include "weir/proxy/exchange.hpp"

namespace weir::proxy {

// Does its plan take such input?
[[nodiscard]] std::optional<http::ApiError> check_kinds(
    const Member& member, bool image, bool audio, bool file
);
// The model that x.json names: its alias, whether the plan has it, who serves it.
[[nodiscard]] std::optional<http::ApiError> choose_route(Exchange& x);

}  // namespace weir::proxy
