#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "weir/http/crossing.hpp"
#include "weir/http/sse.hpp"

namespace weir::http {
namespace {

using Json = nlohmann::json;

Result<std::string> cross(const std::vector<Json>& events) {
    std::vector<std::string> blocks;
    blocks.reserve(events.size());
    for (const Json& event : events) blocks.push_back("data: " + event.dump() + "\n\n");
    return stream_to_json(Shape::kResponse, {blocks.begin(), blocks.end()});
}

Json item_done(int place, const std::string& id) {
    return {
        {"type", "response.output_item.done"},
        {"output_index", place},
        {"item", {{"type", "message"}, {"id", id}}}
    };
}

TEST(CrossingResponse, TheLastEventSaysTheAnswer) {
    for (const std::string status : {"completed", "incomplete"}) {
        const Json response = {
            {"id", "r"}, {"status", status}, {"output", {{{"id", "a"}}}}, {"usage", {{"n", 1}}}
        };
        const auto json = cross({
            {{"type", "response.created"}, {"response", {{"id", "r"}, {"output", Json::array()}}}},
            item_done(0, "of an event that does not count"),
            {{"type", "response." + status}, {"response", response}},
        });
        ASSERT_TRUE(json);
        EXPECT_EQ(Json::parse(*json), response);
    }
    // Without a type in its data, the event's name tells.
    const std::vector<std::string_view> named = {
        "event: response.completed\ndata: {\"response\":{\"output\":[]}}\n\n"
    };
    EXPECT_EQ(stream_to_json(Shape::kResponse, named).value_or(""), R"({"output":[]})");
}

TEST(CrossingResponse, OutputThatTheLastEventLeavesOutIsThatOfTheItems) {
    for (const Json& last : {Json{{"id", "r"}}, Json{{"id", "r"}, {"output", Json::array()}}}) {
        const auto json = cross({
            item_done(1, "b"),
            item_done(0, "a"),
            {{"type", "response.completed"}, {"response", last}},
        });
        ASSERT_TRUE(json);
        const Json output = Json::parse(*json)["output"];
        ASSERT_EQ(output.size(), 2U);
        EXPECT_EQ(output[0]["id"], "a");
        EXPECT_EQ(output[1]["id"], "b");
    }
}

TEST(CrossingResponse, WhatIsNotWholeDoesNotCross) {
    const Json done = {{"type", "response.completed"}, {"response", {{"output", Json::array()}}}};
    EXPECT_TRUE(cross({done}));
    EXPECT_FALSE(cross({}));
    EXPECT_FALSE(cross({item_done(0, "a")}));
    EXPECT_FALSE(cross({{{"type", "response.completed"}}}));
    EXPECT_FALSE(cross({{{"type", "response.completed"}, {"response", {{"id", "r"}}}}}));
    EXPECT_FALSE(cross({{{"type", "response.completed"}, {"response", {{"output", 1}}}}}));
    EXPECT_FALSE(cross({{{"type", "response.failed"}, {"response", done["response"]}}, done}));
    EXPECT_FALSE(cross({{{"type", "error"}, {"message", "m"}}, done}));
    EXPECT_FALSE(cross({{{"error", {{"message", "m"}}}}, done}));
    EXPECT_FALSE(cross({Json::array(), done}));
    const auto crosses_back = [](std::string_view json) {
        return json_to_stream(Shape::kResponse, json, false).has_value();
    };
    EXPECT_TRUE(crosses_back(R"({"status":"completed","output":[]})"));
    for (const std::string_view json : {
             R"({"status":"failed","output":[]})",
             R"({"status":"in_progress","output":[]})",
             R"({"output":[]})",
             R"({"status":"completed"})",
             R"({"status":"completed","output":"x"})",
             R"([])",
             R"({)",
         }) {
        EXPECT_FALSE(crosses_back(json)) << json;
    }
}

TEST(CrossingResponse, OddItemsGoThereAndBack) {
    const std::string odd =
        R"({"status":"completed","usage":7,"output":[1,"x",null,[],{"type":7,"id":7,"status":7},)"
        R"({"type":"message","content":"x"},{"type":"message","content":[1,null,{"type":"x"}]},)"
        R"({"type":"reasoning","summary":[1,{}],"content":{}},{"type":"function_call"}]})";
    const auto blocks = json_to_stream(Shape::kResponse, odd, true);
    ASSERT_TRUE(blocks);
    EXPECT_EQ(stream_to_json(Shape::kResponse, {blocks->begin(), blocks->end()}).value_or(""), odd);
}

TEST(CrossingResponse, AnAnswerBecomesTheEventsThatOpenAISends) {
    const Json response = Json::parse(R"({"id":"r","status":"completed","completed_at":9,
        "output_text":"hi","usage":{"total_tokens":3},"output":[
        {"type":"reasoning","id":"rs","summary":[{"type":"summary_text","text":"why"}],
         "content":[{"type":"reasoning_text","text":"how"}]},
        {"type":"message","id":"msg","status":"completed","role":"assistant","content":[
         {"type":"output_text","text":"hi","annotations":[{"type":"url_citation"}],
          "logprobs":[{"token":"hi"}]},{"type":"refusal","refusal":"no"}]},
        {"type":"function_call","id":"fc","status":"completed","name":"f","arguments":"{}"},
        {"type":"custom_tool_call","id":"ct","status":"completed","name":"c","input":"in"},
        {"type":"web_search_call","id":"ws","status":"completed","action":{"query":"q"}}]})");
    const auto blocks = json_to_stream(Shape::kResponse, response.dump(), true);
    ASSERT_TRUE(blocks);
    std::vector<Json> events;
    std::string order;
    for (const std::string& block : *blocks) {
        ASSERT_TRUE(block.ends_with("\n\n"));
        const SseEvent event = parse_event(block);
        events.push_back(Json::parse(event.data));
        ASSERT_EQ(events.back()["type"], event.event);
        order += event.event.substr(std::string_view("response.").size()) + " ";
    }
    EXPECT_EQ(
        order,
        "created in_progress "
        "output_item.added reasoning_summary_part.added reasoning_summary_text.delta "
        "reasoning_summary_text.done reasoning_summary_part.done content_part.added "
        "reasoning_text.delta reasoning_text.done content_part.done output_item.done "
        "output_item.added content_part.added output_text.delta output_text.annotation.added "
        "output_text.done content_part.done content_part.added refusal.delta refusal.done "
        "content_part.done output_item.done "
        "output_item.added function_call_arguments.delta function_call_arguments.done "
        "output_item.done "
        "output_item.added custom_tool_call_input.delta custom_tool_call_input.done "
        "output_item.done "
        "output_item.added output_item.done completed "
    );
    EXPECT_EQ(events[1]["response"], Json::parse(R"({"id":"r","status":"in_progress",
        "completed_at":null,"usage":null,"output":[]})"));
    EXPECT_EQ(events.back()["response"], response);
    EXPECT_EQ(events[12], Json::parse(R"({"type":"response.output_item.added","output_index":1,
        "sequence_number":12,"item":{"type":"message","id":"msg","status":"in_progress",
        "role":"assistant","content":[]}})"));
    EXPECT_EQ(events[13], Json::parse(R"({"type":"response.content_part.added","output_index":1,
        "sequence_number":13,"item_id":"msg","content_index":0,"part":{"type":"output_text",
        "text":"","annotations":[],"logprobs":[]}})"));
    EXPECT_EQ(events[14], Json::parse(R"({"type":"response.output_text.delta","output_index":1,
        "sequence_number":14,"item_id":"msg","content_index":0,"delta":"hi",
        "logprobs":[{"token":"hi"}]})"));
    EXPECT_EQ(events[15], Json::parse(R"({"type":"response.output_text.annotation.added",
        "output_index":1,"sequence_number":15,"item_id":"msg","content_index":0,
        "annotation_index":0,"annotation":{"type":"url_citation"}})"));
    EXPECT_EQ(events[25], Json::parse(R"({"type":"response.function_call_arguments.done",
        "output_index":2,"sequence_number":25,"item_id":"fc","name":"f","arguments":"{}"})"));
}

// A small answer cannot become gigabytes, nor take long.
TEST(CrossingResponse, AStreamIsNotFarLargerThanItsAnswer) {
    const std::string id(20'000, 'i');
    Json response = {{"id", "r"}, {"status", "completed"}};
    Json part = {{"type", "output_text"}, {"text", "x"}, {"annotations", Json::array()}};
    for (int i = 0; i < 5'000; ++i) part["annotations"].push_back(Json::object());
    response["output"] = {{{"type", "message"}, {"id", id}, {"content", {part}}}};
    EXPECT_FALSE(json_to_stream(Shape::kResponse, response.dump(), false));
    response["output"][0]["id"] = "short";
    EXPECT_TRUE(json_to_stream(Shape::kResponse, response.dump(), false));

    Json chat = {{"id", id}, {"choices", Json::array()}};
    for (int i = 0; i < 2'000; ++i) {
        chat["choices"].push_back(
            {{"index", i}, {"message", {{"content", "x"}}}, {"finish_reason", "stop"}}
        );
    }
    EXPECT_FALSE(json_to_stream(Shape::kChat, chat.dump(), false));
    chat["id"] = "short";
    EXPECT_TRUE(json_to_stream(Shape::kChat, chat.dump(), false));
}

// What OpenAI says most often over is no more than that allows.
TEST(CrossingResponse, ATextFullOfLogprobsCrosses) {
    Json logprobs = Json::array();
    for (int i = 0; i < 20'000; ++i) {
        logprobs.push_back({{"token", "abc"}, {"logprob", -0.25}, {"bytes", {97, 98, 99}}});
    }
    const Json part = {
        {"type", "output_text"},
        {"text", "x"},
        {"annotations", Json::array()},
        {"logprobs", logprobs}
    };
    const Json response = {
        {"id", "r"},
        {"status", "completed"},
        {"output", {{{"type", "message"}, {"id", "m"}, {"content", {part}}}}}
    };
    EXPECT_TRUE(json_to_stream(Shape::kResponse, response.dump(), false));
}

}  // namespace
}  // namespace weir::http
