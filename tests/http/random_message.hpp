// Random messages of Anthropic's API, and the streams that say them: the answer is made first, then
// cut.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "http/random_json.hpp"
#include "http/random_stream.hpp"

namespace weir::test {

namespace messages {

using streams::Json;

inline Json random_input(Random& random) {
    if (random.one_in(4)) return Json::object();
    return {{"city", random_text(random)}, {"more", streams::random_value(random)}};
}

inline Json random_block(Random& random, std::size_t index) {
    const std::string id = std::to_string(index);
    Json block;
    switch (random.below(8)) {
        case 0:
        case 1:
            block = {{"type", "text"}, {"text", random_text(random, 30)}};
            if (random.one_in(2)) block["citations"] = random.one_in(2) ? Json() : Json::array();
            for (std::size_t i = 0; block.contains("citations") && i < random.below(3); ++i) {
                block["citations"].push_back({{"type", "char_location"}, {"start_char_index", i}});
            }
            return block;
        case 2:
            return {
                {"type", "thinking"},
                {"thinking", random_text(random, 30)},
                {"signature", random_text(random)}
            };
        case 3:
            return {{"type", "redacted_thinking"}, {"data", random_text(random)}};
        case 4:
            block = {{"type", "tool_use"}, {"id", "toolu_" + id}, {"name", "f"}};
            if (random.one_in(2)) block["caller"] = {{"type", "direct"}};
            block["input"] = random_input(random);
            return block;
        case 5:
            return {
                {"type", "server_tool_use"},
                {"id", "srvtoolu_" + id},
                {"name", "web_search"},
                {"input", random_input(random)}
            };
        case 6:
            return {
                {"type", "web_search_tool_result"},
                {"tool_use_id", "srvtoolu_" + id},
                {"content", Json::array({{{"type", "web_search_result"}, {"url", "https://x"}}})}
            };
        default:
            return {{"type", "x_vendor"}, {"value", streams::random_value(random)}};
    }
}

}  // namespace messages

inline nlohmann::json random_message(Random& random) {
    using messages::Json;
    constexpr const char* kReasons[] = {"end_turn", "tool_use", "stop_sequence", "max_tokens"};
    const std::string reason = random.pick(kReasons);
    Json message = {
        {"id", "msg_1"},
        {"type", "message"},
        {"role", "assistant"},
        {"model", "claude-sonnet-4-5"},
        {"content", Json::array()},
        {"stop_reason", reason},
        {"stop_sequence", reason == "stop_sequence" ? Json("###") : Json()},
        {"usage",
         {{"input_tokens", random.below(1000)},
          {"cache_read_input_tokens", random.below(2)},
          {"cache_creation", {{"ephemeral_5m_input_tokens", 0}}},
          {"output_tokens", 1 + random.below(1000)},
          {"service_tier", "standard"}}}
    };
    if (random.one_in(3)) message["usage"]["server_tool_use"] = {{"web_search_requests", 2}};
    if (random.one_in(3)) message["container"] = random.one_in(2) ? Json() : Json{{"id", "c"}};
    if (random.one_in(3)) message["stop_details"] = random.one_in(2) ? Json() : Json{{"a", 1}};
    if (random.one_in(3)) message["context_management"] = {{"applied_edits", Json::array()}};
    if (random.one_in(3)) message["x_vendor"] = streams::random_value(random);
    const std::size_t count = random.below(6);
    for (std::size_t i = 0; i < count; ++i) {
        message["content"].push_back(messages::random_block(random, i));
    }
    return message;
}

// Its events, as upstreams send them: texts and inputs cut anywhere, some pieces empty.
inline RandomStream random_message_stream(Random& random) {
    using messages::Json;
    RandomStream stream{random_message(random), {}};
    const Json& answer = stream.answer;
    const auto put = [&stream](Json event) { stream.events.push_back(std::move(event)); };
    const auto ping = [&] {
        if (random.one_in(5)) put({{"type", "ping"}});
    };
    Json begun = answer;
    begun["content"] = Json::array();
    begun["stop_reason"] = nullptr;
    begun["stop_sequence"] = nullptr;
    begun["usage"]["output_tokens"] = 1;
    begun["usage"].erase("server_tool_use");
    for (const char* const late : {"container", "stop_details", "context_management"}) {
        if (random.one_in(2)) begun.erase(late);
    }
    put({{"type", "message_start"}, {"message", std::move(begun)}});
    for (std::size_t index = 0; index < answer["content"].size(); ++index) {
        ping();
        Json block = answer["content"][index];
        const std::string type = block["type"];
        std::vector<Json> deltas;
        const auto cut = [&](const char* delta, const char* key, std::string text) {
            while (!text.empty() || random.one_in(3)) {
                const std::size_t size = std::min<std::size_t>(1 + random.below(9), text.size());
                deltas.push_back({{"type", delta}, {key, text.substr(0, size)}});
                text.erase(0, size);
            }
        };
        // Cut between characters, as upstreams do.
        const auto cut_text = [&](const char* delta, const char* key) {
            const std::string whole = block[key];
            block[key] = "";
            std::size_t at = 0;
            while (at < whole.size()) {
                std::size_t end = at + 1 + random.below(6);
                while (end < whole.size() &&
                       (static_cast<unsigned char>(whole[end]) & 0xC0U) == 0x80U) {
                    ++end;
                }
                deltas.push_back({{"type", delta}, {key, whole.substr(at, end - at)}});
                at = std::min(end, whole.size());
            }
            if (random.one_in(3)) deltas.push_back({{"type", delta}, {key, ""}});
        };
        if (type == "text") {
            cut_text("text_delta", "text");
            if (block.contains("citations") && block["citations"].is_array() &&
                !block["citations"].empty()) {
                for (const Json& one : block["citations"]) {
                    deltas.push_back({{"type", "citations_delta"}, {"citation", one}});
                }
                block["citations"] = random.one_in(2) ? Json() : Json::array();
            }
        } else if (type == "thinking") {
            cut_text("thinking_delta", "thinking");
            deltas.push_back({{"type", "signature_delta"}, {"signature", block["signature"]}});
            block["signature"] = "";
        } else if (type.ends_with("tool_use")) {
            const bool said = !block["input"].empty() || random.one_in(2);
            const std::string input = block["input"].dump(-1, ' ', true);
            block["input"] = Json::object();
            if (said) cut("input_json_delta", "partial_json", input);
        }
        put({{"type", "content_block_start"}, {"index", index}, {"content_block", block}});
        for (Json& delta : deltas) {
            put({{"type", "content_block_delta"}, {"index", index}, {"delta", std::move(delta)}});
            ping();
        }
        put({{"type", "content_block_stop"}, {"index", index}});
    }
    Json last = {{"type", "message_delta"}, {"delta", Json::object()}};
    for (const char* const late : {"stop_reason", "stop_sequence", "stop_details", "container"}) {
        if (answer.contains(late)) last["delta"][late] = answer[late];
    }
    if (answer.contains("context_management")) {
        last["context_management"] = answer["context_management"];
    }
    last["usage"] = {{"output_tokens", answer["usage"]["output_tokens"]}};
    if (answer["usage"].contains("server_tool_use")) {
        last["usage"]["server_tool_use"] = answer["usage"]["server_tool_use"];
    }
    put(std::move(last));
    put({{"type", "message_stop"}});
    return stream;
}

}  // namespace weir::test
