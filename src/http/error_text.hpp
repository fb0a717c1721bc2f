// What the texts of errors are put together from. Private to the room.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "weir/http/error_body.hpp"

namespace weir::http {

inline constexpr std::string_view kInvalidRequest = "invalid_request_error";
inline constexpr std::string_view kServerError = "server_error";
// SDKs sleep a transient retry-after out up to this long (openai-python since PR #3555: 120 s,
// openai-node: 60 s).
inline constexpr std::chrono::seconds kLongestTransient{60};

[[nodiscard]] ApiError make_error(
    int status, std::string_view type, std::string_view code, std::string message
);
// Text of a client's or of the config, between quotes; cut where it is long.
[[nodiscard]] std::string shown(std::string_view text);
// "the plan 'plus'".
[[nodiscard]] std::string plan_words(std::string_view plan);

}  // namespace weir::http
