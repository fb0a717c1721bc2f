// Between a streamed and a plain answer, both ways, for chat/completions, completions,
// responses and messages. Pure. Every field survives, unknown ones of vendors included;
// docs/cache.md says how the parts of a stream add up.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "weir/base/error.hpp"
#include "weir/http/api.hpp"

namespace weir::http {

// Whether the answers of such an endpoint cross: then a stream and a plain answer are one request.
[[nodiscard]] bool crosses(Shape shape) noexcept;

// Whether its streams are made of chunks with choices, with their usage in a chunk of its own that
// is there only if it was asked for.
[[nodiscard]] bool has_usage_chunk(Shape shape) noexcept;

// The JSON answer that the blocks of a whole stream add up to, as the official SDK accumulates it.
// REQUIRES: crosses(shape).
[[nodiscard]] Result<std::string> stream_to_json(
    Shape shape, const std::vector<std::string_view>& blocks
);

// A whole answer as the blocks of a stream, each with its blank line. Chunks: for each choice one
// with all that it says and one with its finish_reason, then usage (if `include_usage`), then
// [DONE]. Responses: their events in the official order; the last has the answer as it is.
// Messages: the same, each text and each input of a tool in one piece. REQUIRES: crosses(shape).
[[nodiscard]] Result<std::vector<std::string>> json_to_stream(
    Shape shape, std::string_view json, bool include_usage
);

}  // namespace weir::http
