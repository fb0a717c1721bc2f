// Between the events of a streamed response and a plain one. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "weir/base/error.hpp"

namespace weir::http::crossing {

// The answer is what the terminal event says whole; where it says no output, that of the items'
// own last events.
[[nodiscard]] Result<std::string> events_to_response(const std::vector<std::string_view>& blocks);

// The events that OpenAI sends for such an answer, each text in one delta, numbered from 0. Only
// what is `completed` or `incomplete` has them.
[[nodiscard]] Result<std::vector<std::string>> response_to_events(std::string_view json);

}  // namespace weir::http::crossing
