// Messages of Anthropic's API between a stream and JSON: what is put together how, what does not
// cross.
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "weir/http/crossing.hpp"

namespace weir::http {
namespace {

using Json = nlohmann::json;

constexpr char kStart[] =
    R"({"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":1}}})";
constexpr char kEnd[] =
    R"({"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":7}})";
constexpr char kStop[] = R"({"type":"message_stop"})";

std::string block(std::size_t index, const std::string& content_block) {
    return R"({"type":"content_block_start","index":)" + std::to_string(index) +
           R"(,"content_block":)" + content_block + "}";
}
std::string piece(std::size_t index, const std::string& delta) {
    return R"({"type":"content_block_delta","index":)" + std::to_string(index) + R"(,"delta":)" +
           delta + "}";
}

Result<std::string> added_up(const std::vector<std::string>& events) {
    std::vector<std::string> blocks;
    blocks.reserve(events.size());
    for (const std::string& event : events) {
        const std::string type = Json::parse(event).value("type", "");
        blocks.push_back("event: " + type + "\ndata: " + event + "\n\n");
    }
    return stream_to_json(Shape::kMessage, {blocks.begin(), blocks.end()});
}

TEST(CrossingMessage, EventsAddUp) {
    const auto json = added_up(
        {kStart,
         R"({"type":"ping"})",
         block(0, R"({"type":"thinking","thinking":"","signature":""})"),
         piece(0, R"({"type":"thinking_delta","thinking":"hm"})"),
         piece(0, R"({"type":"thinking_delta","thinking":"m"})"),
         piece(0, R"({"type":"signature_delta","signature":"EqQB"})"),
         R"({"type":"content_block_stop","index":0})",
         block(1, R"({"type":"text","text":""})"),
         piece(1, R"({"type":"text_delta","text":"Hel"})"),
         piece(1, R"({"type":"text_delta","text":"lo"})"),
         piece(1, R"({"type":"citations_delta","citation":{"type":"page_location"}})"),
         R"({"type":"content_block_stop","index":1})",
         block(2, R"({"type":"tool_use","id":"toolu_1","name":"f","input":{}})"),
         piece(2, R"({"type":"input_json_delta","partial_json":""})"),
         piece(2, R"({"type":"input_json_delta","partial_json":"{\"a\": [1"})"),
         piece(2, R"({"type":"input_json_delta","partial_json":", 2]}"})"),
         R"({"type":"content_block_stop","index":2})",
         kEnd,
         kStop}
    );
    ASSERT_TRUE(json);
    // In the order that the API has.
    EXPECT_EQ(
        *json,
        R"({"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[)"
        R"({"type":"thinking","thinking":"hmm","signature":"EqQB"},)"
        R"({"type":"text","text":"Hello","citations":[{"type":"page_location"}]},)"
        R"({"type":"tool_use","id":"toolu_1","name":"f","input":{"a":[1,2]}}],)"
        R"("stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":7}})"
    );
}

TEST(CrossingMessage, WhatDoesNotAddUpDoesNotCross) {
    const std::string text = block(0, R"({"type":"text","text":""})");
    const std::string tool = block(0, R"({"type":"tool_use","id":"t","name":"f","input":{}})");
    EXPECT_TRUE(added_up({kStart, text, kEnd, kStop}));
    const std::vector<std::string> cases[] = {
        {},
        {kStart},
        {kStart, text, kEnd},
        {kStart, text, kStop},  // nobody said why
        {text, kEnd, kStop},
        {kStart, kStart, kEnd, kStop},
        {kStart, block(1, R"({"type":"text","text":""})"), kEnd, kStop},
        {kStart, text, text, kEnd, kStop},
        {kStart, text, piece(1, R"({"type":"text_delta","text":"x"})"), kEnd, kStop},
        {kStart, text, piece(0, R"({"type":"thinking_delta","thinking":"x"})"), kEnd, kStop},
        {kStart, text, piece(0, R"({"type":"news_delta","news":"x"})"), kEnd, kStop},
        {kStart, R"({"type":"news"})", kEnd, kStop},
        {kStart, R"({"type":"error","error":{"type":"overloaded_error"}})", kEnd, kStop},
        // Cut by max_tokens in the middle of an input.
        {kStart,
         tool,
         piece(0, R"({"type":"input_json_delta","partial_json":"{\"a\":"})"),
         kEnd,
         kStop},
    };
    for (const auto& events : cases) {
        EXPECT_FALSE(added_up(events)) << events.size() << (events.empty() ? "" : events.back());
    }
}

TEST(CrossingMessage, JsonBecomesTheEventsOfTheApi) {
    const auto blocks = json_to_stream(
        Shape::kMessage,
        R"({"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[)"
        R"({"type":"text","text":"Hello"},{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":1}}],)"
        R"("stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":7}})",
        false
    );
    ASSERT_TRUE(blocks);
    const std::vector<std::string> expected = {
        "event: message_start\n"
        R"(data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":0}}})"
        "\n\n",
        "event: content_block_start\n"
        R"(data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}})"
        "\n\n",
        "event: content_block_delta\n"
        R"(data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}})"
        "\n\n",
        "event: content_block_stop\n"
        R"(data: {"type":"content_block_stop","index":0})"
        "\n\n",
        "event: content_block_start\n"
        R"(data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}})"
        "\n\n",
        "event: content_block_delta\n"
        R"(data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":1}"}})"
        "\n\n",
        "event: content_block_stop\n"
        R"(data: {"type":"content_block_stop","index":1})"
        "\n\n",
        "event: message_delta\n"
        R"(data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":9,"output_tokens":7}})"
        "\n\n",
        "event: message_stop\n"
        R"(data: {"type":"message_stop"})"
        "\n\n",
    };
    EXPECT_EQ(*blocks, expected);
}

TEST(CrossingMessage, OnlyWholeMessagesBecomeStreams) {
    for (const char* const json :
         {R"({"type":"message","content":[],"stop_reason":null,"usage":{}})",
          R"({"type":"message","content":[],"stop_reason":"end_turn"})",
          R"({"type":"message","content":"x","stop_reason":"end_turn","usage":{}})",
          R"({"type":"message","content":["x"],"stop_reason":"end_turn","usage":{}})",
          R"({"type":"error","error":{"type":"api_error"}})",
          R"({"input_tokens":7})",
          "[]"}) {
        EXPECT_FALSE(json_to_stream(Shape::kMessage, json, false)) << json;
    }
}

}  // namespace
}  // namespace weir::http
