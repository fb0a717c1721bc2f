// One pass over a request's JSON body: every token is checked (RFC 8259 to the letter), what the
// gateway decides by is picked out, and the canonical form is made for the cache key. Pure; the
// working memory is the thread's own and is given back after a large body.
//
// UTF-8 is checked by simdjson; the walk itself is ours. simdjson's index takes 4 bytes per token
// beside the body and outside of the budget (measured: 192 MiB or more for 64 MiB of `[1,1,...`),
// gives no position of a fault, and On-Demand skips over `["b":1]` without an error. Here the
// memory is bounded: about 32 MiB at most for the members of open objects, and the canonical form,
// which is about as long as the body and stands in memory twice while it is made.
//
// Canonical form: injective, object keys sorted by their decoded bytes, strings decoded and
// length-prefixed, numbers by their text (1 and 1.0 differ), top-level `stream` and
// `stream_options` left out. Two bodies have the same form exactly if they mean the same request.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "weir/base/buffer.hpp"

namespace weir::http {

// A place in the body's original bytes.
struct TextSpan {
    std::size_t offset = 0;
    std::size_t length = 0;
};

struct JsonRequest {
    std::string canonical;  // empty if not asked for
    // False: not asked for, or the body has a string with half a surrogate pair ("\ud800"), which
    // the grammar allows but which has no agreed meaning. Forward it, do not cache.
    bool canonical_complete = false;
    std::optional<std::string> model;  // decoded
    std::optional<TextSpan> model_at;  // the string literal with its quotes
    bool stream = false;
    bool include_usage = false;  // stream_options.include_usage is true
    // For adding include_usage: just behind the opening brace of stream_options, or of the body.
    bool has_stream_options = false;
    bool stream_options_empty = false;          // "{}" (or null: then replaced whole)
    std::optional<TextSpan> stream_options_at;  // the whole value
    std::optional<TextSpan> include_usage_at;   // its value, if the member is there
    std::size_t body_open = 0;                  // offset just behind the body's opening brace
    bool body_empty = false;                    // "{}"
    // Stored state and background work that must not be shared or cached, present and not null.
    // Top level: conversation, prompt (with an id), previous_response_id, background: true,
    // container, file_id. In a message's or input's content: file_id. In an input item: file_id, a
    // reference to a stored item (item_reference). In a tool: vector_store_ids, container (named,
    // or with file_ids). Told by place, so a parameter of that name in a tool's schema is not one.
    bool stateful = false;
    std::string stateful_field;  // the first such field
    std::optional<std::string> previous_response_id;
    bool output_limit_set = false;  // max_tokens, max_completion_tokens or max_output_tokens
    std::uint64_t choices = 1;      // answers: `n`, times the prompts of a list of prompts
    bool store = false;  // "store": true, a wish that an answer from the cache does not fulfil
};

// What is wrong with the body, for a 400.
struct JsonFault {
    std::string message;  // "The body is not valid JSON: ... at byte 17." (counted from 0)
    std::string param;    // a field of the wrong type
};

// `body` needs Buffer::kPadding readable bytes behind it (Buffer gives them). Duplicate keys at any
// depth, depth over 64, over 2^20 members in objects open at once, invalid UTF-8, a byte order
// mark, a body that is not an object, a model that is not a string, a stream that is not a boolean:
// faults.
// `"stream": null` is as absent. `want_canonical` false: check and pick only.
[[nodiscard]] std::expected<JsonRequest, JsonFault> read_json_request(
    const Buffer& body, bool want_canonical
);

// The body with the value at `model_at` replaced by `model` (put in where there is none), and/or
// with stream_options.include_usage true. All other bytes stay as they are. kOverloaded: the
// budget has no room for it.
[[nodiscard]] Result<Buffer> rewrite_body(
    std::string_view body,
    const JsonRequest& request,
    std::optional<std::string_view> model,
    bool add_include_usage,
    BufferBudget* budget = nullptr
);

}  // namespace weir::http
