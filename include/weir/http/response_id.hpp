// The id of a response of the Responses API, out of the beginning of its answer. Pure.
#pragma once

#include <string_view>

namespace weir::http {

// `text`: the JSON of a whole answer or its first part; of a stream one block, whose event has the
// response in it. Points into it. Empty: there is none, or one that is no plain text.
[[nodiscard]] std::string_view response_id(std::string_view text, bool event) noexcept;

}  // namespace weir::http
