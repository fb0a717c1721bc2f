// Random answers of the Responses API, and the streams that say them.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "http/random_json.hpp"
#include "http/random_stream.hpp"

namespace weir::test {

// An answer of the Responses API with items of many kinds.
inline nlohmann::json random_response(Random& random) {
    using streams::Json;
    const bool limited = random.one_in(5);
    Json response = {
        {"id", "resp_1"},
        {"object", "response"},
        {"created_at", random.below(1U << 31)},
        {"status", limited ? "incomplete" : "completed"},
        {"completed_at", random.below(1U << 31)},
        {"error", nullptr},
        {"incomplete_details", limited ? Json{{"reason", "max_output_tokens"}} : Json()},
        {"metadata", {{"k", random_text(random)}}},
        {"output", Json::array()},
        {"usage", {{"input_tokens", 1}, {"output_tokens", 2}, {"total_tokens", 3}}},
        {"x_vendor", streams::random_value(random)}
    };
    const auto text_part = [&] {
        Json part = {
            {"type", "output_text"}, {"text", random_text(random)}, {"annotations", Json::array()}
        };
        if (random.one_in(2)) part["logprobs"] = Json::array({{{"token", "x"}, {"logprob", -1.5}}});
        for (std::size_t i = 0; i < random.below(3); ++i) {
            part["annotations"].push_back({{"type", "url_citation"}, {"start_index", i}});
        }
        return part;
    };
    for (std::size_t i = 0; i < random.below(6); ++i) {
        Json item = {{"id", "item_" + std::to_string(i)}, {"status", "completed"}};
        switch (random.below(5)) {
            case 0:
                item.update({{"type", "message"}, {"role", "assistant"}});
                item["content"] = Json::array({text_part()});
                if (random.one_in(2)) {
                    item["content"].push_back({{"type", "refusal"}, {"refusal", "no"}});
                }
                if (random.one_in(2)) item["content"].push_back(text_part());
                break;
            case 1:
                item.erase("status");
                item.update({{"type", "reasoning"}, {"encrypted_content", "AAAA"}});
                item["summary"] =
                    Json::array({{{"type", "summary_text"}, {"text", random_text(random)}}});
                if (random.one_in(2)) {
                    item["content"] =
                        Json::array({{{"type", "reasoning_text"}, {"text", random_text(random)}}});
                }
                break;
            case 2:
                item.update({{"type", "function_call"}, {"name", "f"}, {"call_id", "call_1"}});
                item["arguments"] = random_text(random);
                break;
            case 3:
                item.update({{"type", "custom_tool_call"}, {"name", "c"}, {"call_id", "call_2"}});
                item["input"] = random_text(random);
                break;
            default:
                item.update({{"type", "web_search_call"}, {"action", {{"query", "q"}}}});
                break;
        }
        response["output"].push_back(std::move(item));
    }
    return response;
}

// Its events, as upstreams send them: only the last one says the answer, some without its output.
inline RandomStream random_response_stream(Random& random) {
    using streams::Json;
    RandomStream stream{random_response(random), {}};
    const auto put = [&](const std::string& type, const Json& members) {
        Json event = {{"type", type}, {"sequence_number", stream.events.size()}};
        event.update(members);
        stream.events.push_back(std::move(event));
    };
    put("response.created", {{"response", {{"status", "in_progress"}, {"output", Json::array()}}}});
    Json last = stream.answer;
    std::size_t place = 0;
    for (const Json& item : last["output"]) {
        put("response.output_item.added", {{"output_index", place}, {"item", item}});
        put("response.output_text.delta", {{"output_index", place}, {"delta", "ignored"}});
        put("response.output_item.done", {{"output_index", place++}, {"item", item}});
    }
    if (place > 0 && random.one_in(3)) {
        if (random.one_in(2)) {
            last.erase("output");
        } else {
            last["output"] = Json::array();
        }
    }
    put("response." + last["status"].get<std::string>(), {{"response", last}});
    return stream;
}

}  // namespace weir::test
