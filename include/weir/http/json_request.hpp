// One pass over a request's JSON body: every token is checked (RFC 8259 to the letter), what the
// gateway decides by is picked out, and the canonical form is made for the cache key. Pure; the
// working memory is the thread's own and is given back after a large body.
//
// UTF-8 is checked by simdjson; the walk itself is ours. simdjson's index takes 4 bytes per token
// beside the body and outside of the budget (measured: 192 MiB or more for 64 MiB of `[1,1,...`),
// gives no position of a fault, and On-Demand skips over `["b":1]` without an error. Here the
// memory is bounded: about 32 MiB at most for the members of open objects, and the canonical form,
// which is no longer than the body and stands in memory twice while it is made.
//
// Canonical form: injective, object keys sorted by their decoded bytes, strings decoded and
// length-prefixed, numbers by their text (1 and 1.0 differ), top-level `stream` and
// `stream_options` left out. Two bodies have the same form exactly if they mean the same request.
// Strings of more than 16 KiB stand there by their length and SHA-256 (ADR 13), so the form is far
// smaller than a body with pictures.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weir/base/buffer.hpp"
#include "weir/http/api.hpp"

namespace weir::http {

// A place in the body's original bytes.
struct TextSpan {
    std::size_t offset = 0;
    std::size_t length = 0;
    friend bool operator==(const TextSpan&, const TextSpan&) = default;
};

// How many tokens an answer may have, at most: the names that the APIs have for it.
inline constexpr std::array<std::string_view, 3> kOutputLimitFields = {
    "max_tokens", "max_completion_tokens", "max_output_tokens"
};

// A whole number at one of these names, at the top level.
struct OutputLimit {
    std::string_view field;    // of kOutputLimitFields
    std::uint64_t tokens = 0;  // UINT64_MAX for all that 64 bits do not hold
    TextSpan at;               // the number
};
// Anything else there: null, a string, -1, 1.5, true, ... To refuse it is the upstream's; some take
// -1 for "no limit" and "100" for 100.
struct UnclearLimit {
    std::string_view field;
    TextSpan at;
};

// What the pictures, sounds and files of a request may cost an upstream in tokens: no public model
// counts more for one. They are counted so whatever their size, since an address says nothing of
// what stands there, and a small picture may be huge once it is unpacked.
inline constexpr std::uint64_t kTokensOfAnImage = 65'536;
// Audio is counted as one token a byte of its base64 (models take some 10 to 50 a second); this is
// for what is not in the body.
inline constexpr std::uint64_t kTokensOfAudioElsewhere = 65'536;
// Files (and videos) are unpacked to text and pictures of each page.
inline constexpr std::uint64_t kTokensOfAFileByte = 8;
inline constexpr std::uint64_t kLeastTokensOfAFile = 262'144;

// How many parts of a kind a request has.
struct MediaParts {
    std::uint64_t images = 0;
    std::uint64_t audios = 0;
    std::uint64_t files = 0;
    friend bool operator==(const MediaParts&, const MediaParts&) = default;
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
    std::vector<std::string_view> stateful_fields;  // each once, in the order of the body
    std::optional<std::string> previous_response_id;
    bool output_limit_set = false;  // one of kOutputLimitFields is there and not null
    std::vector<OutputLimit> output_limits;
    std::vector<UnclearLimit> unclear_limits;
    std::uint64_t choices = 1;  // answers: `n`, times the prompts of a list of prompts
    bool store_off = false;     // "store": false
    bool store = false;  // "store": true, a wish that an answer from the cache does not fulfil
    // The upstream itself acts or searches for this answer: a tool of a type other than `function`,
    // `custom` and those that Anthropic's clients run themselves (computer_20250124, ...),
    // `web_search_options` and what vendors call theirs. (Whatever it finds is of its
    // time, and whatever it does is to happen each time.)
    bool acts = false;
    bool deterministic = false;  // temperature 0, or a seed

    // What the request carries beside text: parts of messages, of input items, of tool results and
    // of prompt variables, known by their type or by what they hold ({"image_url":...} without a
    // type); a list of `images` in a message or at the top level. A video counts as a file. Told by
    // place, as stored state is: what a tool's schema, its arguments or a text speak of is none;
    // nor is the top level's `audio`, which is of the answer.
    bool has_image = false;
    bool has_audio = false;
    bool has_file = false;
    MediaParts media_parts;
    std::uint64_t media_bytes = 0;   // of the body: their data: URLs and base64, with the quotes
    std::uint64_t media_tokens = 0;  // at most, by the constants above

    // The largest of the limits.
    [[nodiscard]] std::optional<std::uint64_t> output_limit() const;
    // The same, of those that the API of this shape reads: a `max_output_tokens: 1` in a chat body
    // bounds nothing.
    [[nodiscard]] std::optional<std::uint64_t> output_limit(Shape shape) const;
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
// `"stream": null` is as absent. `want_canonical` false: check and pick only. `ignored`: members of
// the top level that are left out of the canonical form as well.
[[nodiscard]] std::expected<JsonRequest, JsonFault> read_json_request(
    const Buffer& body, bool want_canonical, std::span<const std::string> ignored = {}
);

// No upstream counts more tokens of input than this: each token of text stands for a byte of the
// body or more, and parts are counted as above. It does not know what is not in the body: the
// results of tools that an upstream runs itself, and stored state.
[[nodiscard]] std::uint64_t input_tokens_bound(
    const JsonRequest& request, std::size_t body_bytes
) noexcept;

// What rewrite_body() changes.
struct Rewrite {
    std::optional<std::string_view> model = {};  // in the place of the body's, or put in
    bool add_include_usage = false;              // stream_options.include_usage becomes true
    // Tokens. Each larger limit in the body becomes this one, and so does what may be read as one
    // (strings, numbers that are not whole or below 0); true, lists and objects stay, for the
    // upstream to refuse. If the body then has no limit that the API of `output_limit_field` reads,
    // that field is put in, or its null replaced. (max_tokens and max_completion_tokens count as
    // one here: an upstream refuses both together.)
    std::optional<std::uint64_t> output_limit = {};
    std::string_view output_limit_field = {};  // of output_limit_field(); empty: nothing is put in
};

// All other bytes stay as they are. `request` was read from `body`. kOverloaded: the budget has no
// room for the new one.
[[nodiscard]] Result<Buffer> rewrite_body(
    std::string_view body,
    const JsonRequest& request,
    const Rewrite& rewrite,
    BufferBudget* budget = nullptr
);

// The name by which to bound an answer: max_output_tokens for responses, max_tokens elsewhere,
// which every compatible server knows; but OpenAI's reasoning models (o1, o3, ..., gpt-5 and later)
// refuse it in chats and want max_completion_tokens. Empty: the API has no such limit.
// `model`: as served, also with a vendor's "openai/" or a fine-tuned one's "ft:" in front.
[[nodiscard]] std::string_view output_limit_field(Shape shape, std::string_view model) noexcept;

}  // namespace weir::http
