// Between a streamed and a plain chat completion, both ways. Pure. Every field survives, unknown
// ones of vendors included: a delta's strings are joined, its objects merged, its lists merged by
// `index`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "weir/base/error.hpp"

namespace weir::http {

// The JSON answer that the blocks of a whole chat stream add up to, as the official SDK accumulates
// it.
[[nodiscard]] Result<std::string> chat_stream_to_json(const std::vector<std::string_view>& blocks);

// A whole chat answer as a stream: role and content in a first chunk, finish_reason in a second,
// then usage (if `include_usage`), then [DONE]; each a block with its blank line.
[[nodiscard]] Result<std::vector<std::string>> chat_json_to_stream(
    std::string_view json, bool include_usage
);

}  // namespace weir::http
