// The demo upstream's /v1/chat/completions and /v1/completions.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "demo_parts.hpp"

namespace weir::app::demo {
namespace {

constexpr std::uint64_t kMostWords = 1'000'000;
constexpr std::uint64_t kMostChoices = 128;       // OpenAI's limit for n
constexpr std::uint64_t kDefaultCompletion = 16;  // OpenAI's default max_tokens of /v1/completions

struct Usage {
    std::uint64_t prompt = 0;
    std::uint64_t completion = 0;
    [[nodiscard]] Json json() const {
        return Json{
            {"prompt_tokens", prompt},
            {"completion_tokens", completion},
            {"total_tokens", prompt + completion},
            {"prompt_tokens_details", Json{{"cached_tokens", 0}, {"audio_tokens", 0}}},
            {"completion_tokens_details", Json{{"reasoning_tokens", 0}, {"audio_tokens", 0}}}
        };
    }
};

// What both endpoints ask of an answer.
struct Order {
    bool stream = false;
    bool include_usage = false;
    std::uint64_t choices = 1;  // per prompt
    std::optional<std::uint64_t> most_words;
};

Checked<Order> read_order(const Json& body) {
    Order order;
    const auto stream = read_flag(body, "stream");
    if (!stream) return std::unexpected(stream.error());
    order.stream = *stream;
    if (const auto options = body.find("stream_options");
        options != body.end() && !options->is_null()) {
        if (!options->is_object()) {
            return std::unexpected(
                http::invalid_field("stream_options", "`stream_options` is not an object.")
            );
        }
        const auto usage = read_flag(*options, "include_usage");
        if (!usage) return std::unexpected(usage.error());
        order.include_usage = *usage;
    }
    const auto choices = read_count(body, {"n"}, kMostChoices);
    if (!choices) return std::unexpected(choices.error());
    order.choices = choices->value_or(1);
    const auto most = read_count(body, {"max_completion_tokens", "max_tokens"}, kMostWords);
    if (!most) return std::unexpected(most.error());
    order.most_words = *most;
    return order;
}

const char* finish_reason(const Speech& speech) noexcept {
    return speech.cut ? "length" : "stop";
}

// The events of a stream: `chunk` makes one with the given choices.
class Chunks {
public:
    Chunks(Json head, bool include_usage) : head_(std::move(head)), include_usage_(include_usage) {}

    void add(Json choice, bool paced) {
        Json chunk = head_;
        chunk["choices"] = Json::array({std::move(choice)});
        if (include_usage_) chunk["usage"] = nullptr;
        push(chunk, paced);
    }
    [[nodiscard]] DemoAnswer end(const Usage& usage) && {
        if (include_usage_) {
            Json chunk = head_;
            chunk["choices"] = Json::array();
            chunk["usage"] = usage.json();
            push(chunk, false);
        }
        answer_.events.push_back({"data: [DONE]\n\n", false});
        return std::move(answer_);
    }

private:
    void push(const Json& chunk, bool paced) {
        answer_.events.push_back({"data: " + dump(chunk) + "\n\n", paced});
    }
    Json head_;
    bool include_usage_;
    DemoAnswer answer_;
};

Json head_of(
    const Json& body, const DemoStamp& stamp, std::string_view prefix, std::string_view object
) {
    return Json{
        {"id", std::string(prefix) + stamp.unique},
        {"object", object},
        {"created", stamp.unix_s},
        {"model", body.at("model")},
        {"system_fingerprint", "fp_weir_demo"}
    };
}

Json chat_choice(std::uint64_t index, Json delta, Json finish) {
    return Json{
        {"index", index},
        {"delta", std::move(delta)},
        {"logprobs", nullptr},
        {"finish_reason", std::move(finish)}
    };
}

DemoAnswer chat_stream(Json head, const Order& order, const Speech& speech, const Usage& usage) {
    Chunks chunks(std::move(head), order.include_usage);
    for (std::uint64_t i = 0; i < order.choices; ++i) {
        chunks.add(chat_choice(i, Json{{"role", "assistant"}, {"content", ""}}, nullptr), false);
    }
    bool first = true;
    for (const auto& word : speech.words) {
        for (std::uint64_t i = 0; i < order.choices; ++i) {
            chunks.add(chat_choice(i, Json{{"content", word}}, nullptr), i == 0 && !first);
        }
        first = false;
    }
    for (std::uint64_t i = 0; i < order.choices; ++i) {
        chunks.add(chat_choice(i, Json::object(), finish_reason(speech)), false);
    }
    return std::move(chunks).end(usage);
}

Json text_choice(std::uint64_t index, std::string_view text, Json finish) {
    return Json{
        {"text", text},
        {"index", index},
        {"logprobs", nullptr},
        {"finish_reason", std::move(finish)}
    };
}

// The prompts of /v1/completions: a text, texts, a list of tokens, or lists of tokens. What stands
// in tokens cannot be repeated.
Checked<std::vector<std::string>> read_prompts(const Json& body) {
    const auto prompt = body.find("prompt");
    if (prompt == body.end() || prompt->is_null()) return std::vector<std::string>{""};
    if (prompt->is_string()) return std::vector<std::string>{prompt->get<std::string>()};
    if (prompt->is_array() && !prompt->empty()) {
        if (prompt->front().is_number()) return std::vector<std::string>{""};
        std::vector<std::string> prompts;
        for (const auto& one : *prompt) prompts.push_back(text_of(one));
        return prompts;
    }
    return std::unexpected(
        http::invalid_field("prompt", "`prompt` is not a text, a list of texts or tokens.")
    );
}

}  // namespace

DemoAnswer chat_completion(const Json& body, const DemoStamp& stamp) {
    const auto messages = body.find("messages");
    if (messages == body.end() || !messages->is_array() || messages->empty()) {
        return refuse(
            http::invalid_field("messages", "`messages` is missing or not a list with messages.")
        );
    }
    const auto order = read_order(body);
    if (!order) return refuse(order.error());

    Usage usage;
    std::string question;  // the last message of a user
    for (const auto& message : *messages) {
        const auto role = message.is_object() ? message.find("role") : message.end();
        if (role == message.end() || !role->is_string()) {
            return refuse(http::invalid_field("messages", "A message has no `role`."));
        }
        const auto content = message.find("content");
        if (content == message.end()) continue;
        const auto text = text_of(*content);
        usage.prompt += count_words(text);
        if (*role == "user") question = text;
    }
    const auto speech = speak(question, order->most_words);
    usage.completion = speech.words.size() * order->choices;
    if (order->stream) {
        return chat_stream(
            head_of(body, stamp, "chatcmpl-", "chat.completion.chunk"), *order, speech, usage
        );
    }
    Json json = head_of(body, stamp, "chatcmpl-", "chat.completion");
    json["choices"] = Json::array();
    for (std::uint64_t i = 0; i < order->choices; ++i) {
        json["choices"].push_back(Json{
            {"index", i},
            {"message",
             Json{{"role", "assistant"}, {"content", speech.text()}, {"refusal", nullptr}}},
            {"logprobs", nullptr},
            {"finish_reason", finish_reason(speech)}
        });
    }
    json["usage"] = usage.json();
    return whole(json);
}

DemoAnswer completion(const Json& body, const DemoStamp& stamp) {
    auto order = read_order(body);
    if (!order) return refuse(order.error());
    const auto prompts = read_prompts(body);
    if (!prompts) return refuse(prompts.error());
    if (prompts->size() * order->choices > kMostChoices) {
        return refuse(http::invalid_field("n", "`n` times the number of prompts is over 128."));
    }
    if (!order->most_words) order->most_words = kDefaultCompletion;

    Usage usage;
    std::vector<Speech> speeches;  // by choice
    for (const auto& prompt : *prompts) {
        usage.prompt += count_words(prompt);
        for (std::uint64_t i = 0; i < order->choices; ++i) {
            speeches.push_back(speak(prompt, order->most_words));
            usage.completion += speeches.back().words.size();
        }
    }
    Json head = head_of(body, stamp, "cmpl-", "text_completion");
    if (order->stream) {
        Chunks chunks(std::move(head), order->include_usage);
        for (std::size_t i = 0; i < speeches.size(); ++i) {
            bool first = i == 0;
            for (const auto& word : speeches[i].words) {
                chunks.add(text_choice(i, word, nullptr), !first);
                first = false;
            }
            chunks.add(text_choice(i, "", finish_reason(speeches[i])), false);
        }
        return std::move(chunks).end(usage);
    }
    head["choices"] = Json::array();
    for (std::size_t i = 0; i < speeches.size(); ++i) {
        head["choices"].push_back(text_choice(i, speeches[i].text(), finish_reason(speeches[i])));
    }
    head["usage"] = usage.json();
    return whole(head);
}

}  // namespace weir::app::demo
