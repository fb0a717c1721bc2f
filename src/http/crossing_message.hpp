// Between the events of a streamed message (Anthropic's API) and a plain one. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "weir/base/error.hpp"

namespace weir::http::crossing {

// The message that the events add up to, as the official SDK accumulates it. An event or a piece of
// a kind that is not known has no place there, so such a stream does not cross.
[[nodiscard]] Result<std::string> events_to_message(const std::vector<std::string_view>& blocks);

// The events that Anthropic sends for such a message, each text in one piece. Only one that has
// stopped, with content and usage, has them.
[[nodiscard]] Result<std::vector<std::string>> message_to_events(std::string_view json);

}  // namespace weir::http::crossing
