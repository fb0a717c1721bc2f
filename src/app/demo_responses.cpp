// The demo upstream's /v1/responses.
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "demo_parts.hpp"

namespace weir::app::demo {
namespace {

constexpr std::uint64_t kMostWords = 1'000'000;

struct Question {
    std::string text;         // the last item of a user
    std::uint64_t words = 0;  // of all
};

Checked<Question> read_input(const Json& body) {
    Question question;
    const auto input = body.find("input");
    if (input != body.end() && input->is_string()) {
        question.text = input->get<std::string>();
        question.words = count_words(question.text);
    } else if (input != body.end() && input->is_array() && !input->empty()) {
        for (const auto& item : *input) {
            // Items that are no messages (calls, their results, reasoning) have no content.
            const auto content = item.is_object() ? item.find("content") : item.end();
            if (content == item.end()) continue;
            const auto text = text_of(*content);
            question.words += count_words(text);
            const auto role = item.find("role");
            if (role != item.end() && *role == "user") question.text = text;
        }
    } else {
        return std::unexpected(
            http::invalid_field("input", "`input` is missing or not a text or a list of items.")
        );
    }
    const auto instructions = body.find("instructions");
    if (instructions != body.end()) question.words += count_words(text_of(*instructions));
    return question;
}

Json text_part(std::string_view text) {
    return Json{
        {"type", "output_text"},
        {"text", text},
        {"annotations", Json::array()},
        {"logprobs", Json::array()}
    };
}

Json message_item(std::string_view id, std::string_view status, Json content) {
    return Json{
        {"id", id},
        {"type", "message"},
        {"status", status},
        {"role", "assistant"},
        {"content", std::move(content)}
    };
}

// The response object before anything was said.
Json begun(const Json& body, const DemoStamp& stamp) {
    const auto as_given = [&body](const char* name, Json otherwise) {
        const auto found = body.find(name);
        const bool plain = found != body.end() && (found->is_string() || found->is_number());
        return plain ? *found : otherwise;
    };
    return Json{
        {"id", "resp_" + stamp.unique},
        {"object", "response"},
        {"created_at", stamp.unix_s},
        {"status", "in_progress"},
        {"background", false},
        {"error", nullptr},
        {"incomplete_details", nullptr},
        {"instructions", as_given("instructions", nullptr)},
        {"max_output_tokens", as_given("max_output_tokens", nullptr)},
        {"model", body.at("model")},
        {"output", Json::array()},
        {"parallel_tool_calls", true},
        {"previous_response_id", nullptr},
        {"reasoning", Json{{"effort", nullptr}, {"summary", nullptr}}},
        {"store", false},
        {"temperature", as_given("temperature", 1.0)},
        {"text", Json{{"format", Json{{"type", "text"}}}}},
        {"tool_choice", "auto"},
        {"tools", Json::array()},
        {"top_p", as_given("top_p", 1.0)},
        {"truncation", "disabled"},
        {"usage", nullptr},
        {"user", nullptr},
        {"metadata", Json::object()}
    };
}

// `event:` line, type and a running number, as OpenAI sends them.
class Events {
public:
    void add(std::string_view type, Json members, bool paced = false) {
        Json event{{"type", type}};
        event.update(members);
        event["sequence_number"] = next_++;
        answer_.events.push_back(
            {"event: " + std::string(type) + "\ndata: " + dump(event) + "\n\n", paced}
        );
    }
    [[nodiscard]] DemoAnswer take() && { return std::move(answer_); }

private:
    std::uint64_t next_ = 0;
    DemoAnswer answer_;
};

}  // namespace

DemoAnswer response(const Json& body, const DemoStamp& stamp) {
    const auto stream = read_flag(body, "stream");
    if (!stream) return refuse(stream.error());
    const auto most = read_count(body, {"max_output_tokens"}, kMostWords);
    if (!most) return refuse(most.error());
    const auto question = read_input(body);
    if (!question) return refuse(question.error());

    const auto speech = speak(question->text, *most);
    const auto text = speech.text();
    const std::string item_id = "msg_" + stamp.unique;
    const char* const status = speech.cut ? "incomplete" : "completed";
    const Json item = message_item(item_id, status, Json::array({text_part(text)}));

    const Json before = begun(body, stamp);
    Json after = before;
    after["status"] = status;
    if (speech.cut) after["incomplete_details"] = Json{{"reason", "max_output_tokens"}};
    after["output"] = Json::array({item});
    after["usage"] = Json{
        {"input_tokens", question->words},
        {"input_tokens_details", Json{{"cached_tokens", 0}}},
        {"output_tokens", speech.words.size()},
        {"output_tokens_details", Json{{"reasoning_tokens", 0}}},
        {"total_tokens", question->words + speech.words.size()}
    };
    if (!*stream) return whole(after);

    const Json place{{"item_id", item_id}, {"output_index", 0}, {"content_index", 0}};
    const auto at_place = [&place](const char* name, Json value) {
        Json members = place;
        members[name] = std::move(value);
        return members;
    };
    Events events;
    events.add("response.created", Json{{"response", before}});
    events.add("response.in_progress", Json{{"response", before}});
    events.add(
        "response.output_item.added",
        Json{{"output_index", 0}, {"item", message_item(item_id, "in_progress", Json::array())}}
    );
    events.add("response.content_part.added", at_place("part", text_part("")));
    bool first = true;
    for (const auto& word : speech.words) {
        Json members = at_place("delta", word);
        members["logprobs"] = Json::array();
        events.add("response.output_text.delta", std::move(members), !first);
        first = false;
    }
    Json done = at_place("text", text);
    done["logprobs"] = Json::array();
    events.add("response.output_text.done", std::move(done));
    events.add("response.content_part.done", at_place("part", text_part(text)));
    events.add("response.output_item.done", Json{{"output_index", 0}, {"item", item}});
    events.add("response." + std::string(status), Json{{"response", after}});
    return std::move(events).take();
}

}  // namespace weir::app::demo
