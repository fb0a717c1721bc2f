// The demo upstream's /v1/messages and /v1/messages/count_tokens.
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "demo_parts.hpp"

namespace weir::app::demo {
namespace {

constexpr std::uint64_t kMostWords = 1'000'000;

struct Question {
    std::string text;         // the last message of a user
    std::uint64_t words = 0;  // of all
};

Checked<Question> read_messages(const Json& body) {
    const auto messages = body.find("messages");
    if (messages == body.end() || !messages->is_array() || messages->empty()) {
        return std::unexpected(
            http::invalid_field("messages", "`messages` is missing or not a list of messages.")
        );
    }
    Question question;
    if (const auto system = body.find("system"); system != body.end()) {
        question.words += count_words(text_of(*system));
    }
    for (const auto& message : *messages) {
        const auto content = message.is_object() ? message.find("content") : message.end();
        if (content == message.end()) continue;
        const auto text = text_of(*content);
        question.words += count_words(text);
        const auto role = message.find("role");
        if (role != message.end() && *role == "user") question.text = text;
    }
    return question;
}

void put(DemoAnswer& answer, std::string_view type, Json members, bool paced = false) {
    Json event{{"type", type}};
    event.update(members);
    answer.events.push_back(
        {"event: " + std::string(type) + "\ndata: " + dump(event) + "\n\n", paced}
    );
}

}  // namespace

DemoAnswer message(const Json& body, const DemoStamp& stamp) {
    const auto stream = read_flag(body, "stream");
    if (!stream) return refuse(stream.error(), http::Api::kAnthropic);
    const auto most = read_count(body, {"max_tokens"}, kMostWords);
    if (!most) return refuse(most.error(), http::Api::kAnthropic);
    if (!*most) {
        return refuse(
            http::invalid_field("max_tokens", "`max_tokens` is missing."), http::Api::kAnthropic
        );
    }
    const auto question = read_messages(body);
    if (!question) return refuse(question.error(), http::Api::kAnthropic);

    const auto speech = speak(question->text, *most);
    Json after{
        {"id", "msg_" + stamp.unique},
        {"type", "message"},
        {"role", "assistant"},
        {"model", body.at("model")},
        {"content", Json::array({Json{{"type", "text"}, {"text", speech.text()}}})},
        {"stop_reason", speech.cut ? "max_tokens" : "end_turn"},
        {"stop_sequence", nullptr},
        {"usage", Json{{"input_tokens", question->words}, {"output_tokens", speech.words.size()}}}
    };
    if (!*stream) return whole(after);

    Json before = after;
    before["content"] = Json::array();
    before["stop_reason"] = nullptr;
    before["usage"]["output_tokens"] = 0;
    DemoAnswer answer;
    put(answer, "message_start", Json{{"message", std::move(before)}});
    put(answer,
        "content_block_start",
        Json{{"index", 0}, {"content_block", Json{{"type", "text"}, {"text", ""}}}});
    bool first = true;
    for (const auto& word : speech.words) {
        Json delta{{"type", "text_delta"}, {"text", word}};
        put(answer,
            "content_block_delta",
            Json{{"index", 0}, {"delta", std::move(delta)}},
            !std::exchange(first, false));
    }
    put(answer, "content_block_stop", Json{{"index", 0}});
    put(answer,
        "message_delta",
        Json{
            {"delta", Json{{"stop_reason", after["stop_reason"]}, {"stop_sequence", nullptr}}},
            {"usage", after["usage"]}
        });
    put(answer, "message_stop", Json::object());
    return answer;
}

DemoAnswer count_message_tokens(const Json& body) {
    const auto question = read_messages(body);
    if (!question) return refuse(question.error(), http::Api::kAnthropic);
    return whole(Json{{"input_tokens", question->words}});
}

}  // namespace weir::app::demo
