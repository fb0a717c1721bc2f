// Between a stream of chunks with choices and a plain answer with choices: what chat/completions
// and completions have in common. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "weir/base/error.hpp"

#include "crossing_sum.hpp"

namespace weir::http::crossing {

// A choice while its chunks are added up.
struct Choice {
    Json said;      // chat: its message; completions: its text
    Json logprobs;  // null until there are some
    Json finish_reason;
    Json others = Json::object();
};

// How an API says its choices.
struct ChoiceForm {
    std::string_view object;        // of a plain answer
    std::string_view chunk_object;  // of a chunk
    // Adds what a chunk's choice says under `key`, which is none of index, logprobs and
    // finish_reason. False: it does not add up.
    bool (*add)(Sum& sum, Choice& choice, const std::string& key, const Json& value);
    // Puts what was said into `out`, the choice of a plain answer. False: nothing was.
    bool (*finish)(Json said, Json& out);
    // Takes what was said out of `choice`, of a plain answer, into `first`, the choice of a chunk;
    // `last` says nothing more. False: it says nothing that we know.
    bool (*split)(Json& choice, Json& first, Json& last);
};
extern const ChoiceForm kChat;
extern const ChoiceForm kCompletion;

// The `index` of a choice or a tool call; 0 without one.
[[nodiscard]] std::int64_t index_of(const Json& item);

[[nodiscard]] Result<std::string> chunks_to_json(
    const ChoiceForm& form, const std::vector<std::string_view>& blocks
);
[[nodiscard]] Result<std::vector<std::string>> json_to_chunks(
    const ChoiceForm& form, std::string_view json, bool include_usage
);

}  // namespace weir::http::crossing
