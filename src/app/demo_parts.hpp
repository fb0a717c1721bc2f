// What the answers of the demo upstream share: reading requests leniently where OpenAI does, and
// making texts. Private to src/app/demo_*.cpp.
#pragma once

#include <cstdint>
#include <expected>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "weir/app/demo_answers.hpp"
#include "weir/http/error_body.hpp"

namespace weir::app::demo {

// Keeps the order of members, as OpenAI's answers have one.
using Json = nlohmann::ordered_json;
template <class T>
using Checked = std::expected<T, http::ApiError>;

// A JSON object with a `model`.
[[nodiscard]] Checked<Json> read_body(std::string_view body);
[[nodiscard]] Checked<bool> read_flag(const Json& body, const char* name);
// The first of `names` that is there and not null, from 1 on.
[[nodiscard]] Checked<std::optional<std::uint64_t>> read_count(
    const Json& body, std::initializer_list<const char*> names, std::uint64_t most
);
// A text, or the texts of content parts ({"type": "text", "text": ...}); other parts (images,
// files) are passed over.
[[nodiscard]] std::string text_of(const Json& content);

[[nodiscard]] std::uint64_t count_words(std::string_view text);

// An answer's text in pieces which, joined, give the text.
struct Speech {
    std::vector<std::string> words;
    bool cut = false;  // by the client's limit
    [[nodiscard]] std::string text() const;
};
[[nodiscard]] Speech speak(std::string_view question, std::optional<std::uint64_t> most_words);

[[nodiscard]] std::string dump(const Json& json);
[[nodiscard]] DemoAnswer whole(const Json& json);
[[nodiscard]] DemoAnswer refuse(const http::ApiError& error, http::Api api = http::Api::kOpenAi);

[[nodiscard]] DemoAnswer chat_completion(const Json& body, const DemoStamp& stamp);
[[nodiscard]] DemoAnswer completion(const Json& body, const DemoStamp& stamp);
[[nodiscard]] DemoAnswer response(const Json& body, const DemoStamp& stamp);
[[nodiscard]] DemoAnswer embeddings(const Json& body);
[[nodiscard]] DemoAnswer message(const Json& body, const DemoStamp& stamp);
[[nodiscard]] DemoAnswer count_message_tokens(const Json& body);

}  // namespace weir::app::demo
