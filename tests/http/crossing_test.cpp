#include "weir/http/crossing.hpp"

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "weir/http/answer.hpp"
#include "weir/http/sse.hpp"

#include "http/random_json.hpp"

namespace weir::http {
namespace {

using Json = nlohmann::json;
using test::Random;

std::vector<std::string> stream_of(const std::vector<Json>& chunks) {
    std::vector<std::string> blocks;
    for (const Json& chunk : chunks) blocks.push_back("data: " + chunk.dump() + "\n\n");
    blocks.emplace_back("data: [DONE]\n\n");
    return blocks;
}

Json cross(const std::vector<std::string>& blocks) {
    const auto json = chat_stream_to_json({blocks.begin(), blocks.end()});
    EXPECT_TRUE(json);
    return json ? Json::parse(*json) : Json();
}

std::vector<std::string> cross_back(const Json& json, bool include_usage = true) {
    const auto blocks = chat_json_to_stream(json.dump(), include_usage);
    EXPECT_TRUE(blocks);
    return blocks.value_or(std::vector<std::string>{});
}

// A chunk with one choice.
Json chunk(const Json& delta, const Json& reason = nullptr, int index = 0) {
    return {
        {"id", "chatcmpl-1"},
        {"object", "chat.completion.chunk"},
        {"created", 7},
        {"model", "gpt-4"},
        {"choices", {{{"index", index}, {"delta", delta}, {"finish_reason", reason}}}},
    };
}

Json message_of(std::vector<Json> chunks) {
    chunks.push_back(chunk(Json::object(), "stop"));
    return cross(stream_of(chunks))["choices"][0]["message"];
}

TEST(Crossing, AStreamBecomesTheAnswerItAddsUpTo) {
    Json usage = chunk(Json::object());
    usage["choices"] = Json::array();
    usage["usage"] = {{"total_tokens", 9}};
    const Json json = cross(stream_of({
        chunk({{"role", "assistant"}, {"content", ""}, {"refusal", nullptr}}),
        chunk({{"content", "Hel"}}),
        chunk({{"content", "lo"}}),
        chunk(Json::object(), "stop"),
        usage,
    }));
    EXPECT_EQ(json, Json::parse(R"({"id":"chatcmpl-1","object":"chat.completion","created":7,
        "model":"gpt-4","usage":{"total_tokens":9},"choices":[{"index":0,"finish_reason":"stop",
        "logprobs":null,"message":{"role":"assistant","content":"Hello","refusal":null}}]})"));
}

TEST(Crossing, ToolCallsAreMergedByIndex) {
    const Json message = message_of({
        chunk({{"role", "assistant"}, {"content", nullptr}}),
        chunk(
            {{"tool_calls",
              {{{"index", 1},
                {"id", "b"},
                {"type", "function"},
                {"function", {{"name", "g"}, {"arguments", ""}}}}}}}
        ),
        chunk(
            {{"tool_calls",
              {{{"index", 0},
                {"id", "a"},
                {"type", "function"},
                {"function", {{"name", "f"}, {"arguments", "{\"x\""}}}}}}}
        ),
        chunk(
            {{"tool_calls",
              {{{"index", 0}, {"function", {{"arguments", ":1}"}}}},
               {{"index", 1}, {"function", {{"arguments", "{}"}}}}}}}
        ),
        chunk(Json::object(), "tool_calls"),
    });
    EXPECT_EQ(
        message, Json::parse(R"({"role":"assistant","content":null,"refusal":null,"tool_calls":[
        {"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},
        {"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]})")
    );
}

TEST(Crossing, ToolCallsOfVendorsThatRepeatOrOmitFields) {
    const Json repeated = message_of({
        chunk(
            {{"tool_calls",
              {{{"index", 0},
                {"id", "a"},
                {"type", "function"},
                {"function", {{"name", "f"}, {"arguments", "1"}}}}}}}
        ),
        chunk(
            {{"tool_calls",
              {{{"index", 0},
                {"id", "a"},
                {"type", "function"},
                {"function", {{"name", "f"}, {"arguments", "2"}}}}}}}
        ),
    });
    EXPECT_EQ(repeated["tool_calls"][0]["id"], "a");
    EXPECT_EQ(repeated["tool_calls"][0]["function"], Json({{"name", "f"}, {"arguments", "12"}}));
    const Json without_index = message_of({
        chunk({{"tool_calls", {{{"id", "a"}, {"function", {{"name", "f"}, {"arguments", "1"}}}}}}}),
        chunk({{"tool_calls", {{{"function", {{"arguments", "2"}}}}}}}),
        chunk({{"tool_calls", {{{"id", "b"}, {"function", {{"name", "g"}, {"arguments", "3"}}}}}}}),
    });
    ASSERT_EQ(without_index["tool_calls"].size(), 2U);
    EXPECT_EQ(without_index["tool_calls"][0]["function"]["arguments"], "12");
    EXPECT_EQ(without_index["tool_calls"][1]["function"]["arguments"], "3");
}

// Some number every call 0 and tell them apart by id.
TEST(Crossing, ToolCallsOfOneIndexAndSeveralIdsAreSeveral) {
    const Json message = message_of({
        chunk(
            {{"tool_calls",
              {{{"index", 0}, {"id", "a"}, {"function", {{"name", "f"}, {"arguments", "{\"x\":"}}}}}
            }}
        ),
        chunk({{"tool_calls", {{{"index", 0}, {"function", {{"arguments", "1}"}}}}}}}),
        chunk(
            {{"tool_calls",
              {{{"index", 0}, {"id", "b"}, {"function", {{"name", "g"}, {"arguments", "{}"}}}}}}}
        ),
    });
    ASSERT_EQ(message["tool_calls"].size(), 2U);
    EXPECT_EQ(
        message["tool_calls"][0]["function"], Json({{"name", "f"}, {"arguments", R"({"x":1})"}})
    );
    EXPECT_EQ(message["tool_calls"][1]["function"], Json({{"name", "g"}, {"arguments", "{}"}}));
}

TEST(Crossing, RefusesChunksThatDoNotAddUp) {
    const std::vector<std::vector<Json>> cases = {
        {chunk({{"content", "first "}}), chunk({{"content", Json::array({{{"type", "thinking"}}})}})
        },
        {chunk({{"content", Json::array({{{"type", "text"}}})}}), chunk({{"content", "last"}})},
        {chunk({{"audio", {{"id", "x"}}}}), chunk({{"audio", "y"}})},
    };
    for (std::vector<Json> chunks : cases) {
        chunks.push_back(chunk(Json::object(), "stop"));
        const auto blocks = stream_of(chunks);
        EXPECT_FALSE(chat_stream_to_json({blocks.begin(), blocks.end()})) << blocks[1];
    }
}

TEST(Crossing, EveryOtherFieldSurvives) {
    Json first = chunk(
        {{"role", "assistant"},
         {"reasoning_content", "th"},
         {"audio", {{"id", "au"}, {"data", "AA"}}}}
    );
    first["system_fingerprint"] = "fp";
    first["service_tier"] = nullptr;
    first["prompt_filter_results"] = {{{"prompt_index", 0}}};
    first["obfuscation"] = "xxxx";
    first["choices"][0]["logprobs"] = {{"content", {{{"token", "a"}}}}, {"refusal", nullptr}};
    first["choices"][0]["content_filter_results"] = {{"hate", {{"filtered", false}}}};
    Json second = chunk(
        {{"reasoning_content", "ink"},
         {"audio", {{"data", "BB"}, {"expires_at", 5}}},
         {"annotations", {{{"type", "url_citation"}}}},
         {"function_call", {{"name", "f"}, {"arguments", "{"}}},
         {"score", 1}}
    );
    second["service_tier"] = "default";
    second["choices"][0]["logprobs"] = {{"content", {{{"token", "b"}}}}, {"refusal", nullptr}};
    second["choices"][0]["content_filter_results"] = {{"violence", {{"filtered", false}}}};
    Json third = chunk(
        {{"annotations", {{{"type", "file"}}}},
         {"function_call", {{"arguments", "}"}}},
         {"score", 2},
         {"refusal", "no"}},
        "stop"
    );
    third["choices"][0]["stop_reason"] = 151645;
    const Json json = cross(stream_of({first, second, third}));
    EXPECT_EQ(json["system_fingerprint"], "fp");
    EXPECT_EQ(json["service_tier"], "default");
    EXPECT_EQ(json["prompt_filter_results"], first["prompt_filter_results"]);
    EXPECT_FALSE(json.contains("obfuscation"));
    const Json& choice = json["choices"][0];
    EXPECT_EQ(
        choice["logprobs"],
        Json::parse(R"({"content":[{"token":"a"},{"token":"b"}],"refusal":null})")
    );
    EXPECT_EQ(choice["content_filter_results"].size(), 2U);
    EXPECT_EQ(choice["stop_reason"], 151645);
    EXPECT_EQ(choice["message"], Json::parse(R"({"role":"assistant","content":null,"refusal":"no",
        "reasoning_content":"think","audio":{"id":"au","data":"AABB","expires_at":5},"score":2,
        "annotations":[{"type":"url_citation"},{"type":"file"}],
        "function_call":{"name":"f","arguments":"{}"}})"));
}

TEST(Crossing, AnEmptyFirstChunkDoesNotHideTheName) {
    Json azure = chunk(Json::object());
    azure["id"] = "";
    azure["model"] = "";
    azure["choices"] = Json::array();
    const Json json = cross(stream_of({azure, chunk({{"content", "x"}}, "stop")}));
    EXPECT_EQ(json["id"], "chatcmpl-1");
    EXPECT_EQ(json["model"], "gpt-4");
    EXPECT_EQ(json["choices"].size(), 1U);
}

TEST(Crossing, RefusesWhatIsNotAWholeStream) {
    const auto refused = [](std::vector<std::string_view> blocks) {
        return !chat_stream_to_json(blocks).has_value();
    };
    EXPECT_TRUE(refused({}));
    EXPECT_TRUE(refused({"data: [DONE]\n\n"}));
    EXPECT_TRUE(refused({"data: {\"a\":\n\n"}));
    EXPECT_TRUE(refused({"data: [1]\n\n"}));
    EXPECT_TRUE(refused(
        {"data: {\"choices\":[{\"index\":0,\"delta\":{}}]}\n\n", "data: {\"error\":{}}\n\n"}
    ));
    const std::string half = "data: " + chunk({{"content", "half an answer"}}).dump() + "\n\n";
    EXPECT_TRUE(refused({half, "data: [DONE]\n\n"})) << "a choice is not finished";
    EXPECT_TRUE(refused({half, "event: error\ndata: {\"message\":\"overloaded\"}\n\n"}));
    const std::string deep =
        "data: {\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}\n\n";
    EXPECT_TRUE(refused({deep}));
    EXPECT_FALSE(chat_json_to_stream("{}", true));
    EXPECT_FALSE(chat_json_to_stream("[]", true));
    EXPECT_FALSE(chat_json_to_stream(R"({"choices":[]})", true));
    EXPECT_FALSE(chat_json_to_stream(R"({"choices":[{"index":0}]})", true));
    EXPECT_FALSE(chat_json_to_stream("{", true));
}

TEST(Crossing, AnAnswerBecomesAStreamOfTheRightShape) {
    const Json json = Json::parse(R"({"id":"c","object":"chat.completion","created":1,"model":"m",
        "choices":[{"index":0,"message":{"role":"assistant","content":"hi","tool_calls":[
        {"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},"logprobs":null,
        "finish_reason":"tool_calls"}],"usage":{"total_tokens":3}})");
    const auto blocks = cross_back(json);
    ASSERT_EQ(blocks.size(), 4U);
    std::vector<Json> chunks;
    for (std::size_t i = 0; i < 3; ++i) {
        ASSERT_TRUE(blocks[i].ends_with("\n\n"));
        chunks.push_back(Json::parse(parse_event(blocks[i]).data));
        EXPECT_EQ(chunks[i]["object"], "chat.completion.chunk");
        EXPECT_EQ(chunks[i]["id"], "c");
        EXPECT_EQ(chunks[i]["created"], 1);
        EXPECT_EQ(chunks[i]["model"], "m");
    }
    EXPECT_EQ(chunks[0]["choices"][0]["delta"]["content"], "hi");
    EXPECT_EQ(chunks[0]["choices"][0]["delta"]["tool_calls"][0]["index"], 0);
    EXPECT_EQ(chunks[0]["choices"][0]["finish_reason"], nullptr);
    EXPECT_EQ(chunks[0]["usage"], nullptr);
    EXPECT_EQ(chunks[1]["choices"][0]["delta"], Json::object());
    EXPECT_EQ(chunks[1]["choices"][0]["finish_reason"], "tool_calls");
    EXPECT_EQ(chunks[2]["choices"], Json::array());
    EXPECT_EQ(chunks[2]["usage"]["total_tokens"], 3);
    EXPECT_EQ(blocks[3], "data: [DONE]\n\n");

    const auto plain = cross_back(json, false);
    ASSERT_EQ(plain.size(), 3U);
    for (const std::string& block : plain) EXPECT_EQ(block.find("\"usage\""), std::string::npos);

    StreamWatch watch(Shape::kChat, 1, false);
    std::vector<bool> kept;
    for (const std::string& block : blocks) kept.push_back(watch.see(block));
    EXPECT_EQ(kept, (std::vector<bool>{true, true, false, true}));
    EXPECT_EQ(watch.end(""), Ending::kWhole);
}

// A stream as a model would send it, and what its texts add up to.
struct Story {
    std::vector<Json> chunks;
    std::map<int, std::map<std::string, std::string>> texts;  // choice -> field -> text
};

Story random_story(Random& random) {
    Story story;
    const int choices = 1 + static_cast<int>(random.below(3));
    const std::string_view fields[] = {"content", "refusal", "reasoning_content", "x_vendor"};
    std::map<int, int> calls;
    const std::size_t steps = random.below(25);
    for (int i = 0; i < choices; ++i) {
        Json first = chunk({{"role", "assistant"}, {"content", nullptr}}, nullptr, i);
        if (random.one_in(2)) first["system_fingerprint"] = "fp";
        if (random.one_in(3)) first["prompt_filter_results"] = {{{"prompt_index", 0}}};
        story.chunks.push_back(first);
    }
    for (std::size_t step = 0; step < steps; ++step) {
        const int index = static_cast<int>(random.below(static_cast<std::size_t>(choices)));
        Json delta = Json::object();
        Json logprobs;
        switch (random.below(8)) {
            case 0: {
                const int number = calls[index]++;
                delta["tool_calls"] = {
                    {{"index", number},
                     {"id", "call" + std::to_string(number)},
                     {"type", "function"},
                     {"function", {{"name", "fn"}, {"arguments", ""}}}}
                };
                break;
            }
            case 1:
                if (calls[index] > 0) {
                    const auto known = static_cast<std::size_t>(calls[index]);
                    const std::size_t number = random.below(known);
                    const std::string more = test::random_text(random, 4);
                    delta["tool_calls"] = {{{"index", number}, {"function", {{"arguments", more}}}}
                    };
                    story.texts[index]["call" + std::to_string(number)] += more;
                }
                break;
            case 2:
                delta["audio"] = {{"data", "QUJD"}, {"expires_at", step}};
                break;
            case 3:
                delta["annotations"] = {{{"type", "url_citation"}, {"n", step}}};
                break;
            case 4:
                logprobs = {
                    {"content", {{{"token", std::to_string(step)}, {"logprob", -0.5}}}},
                    {"refusal", nullptr}
                };
                [[fallthrough]];
            default: {
                const std::string field(random.pick(fields));
                const std::string more = test::random_text(random, 4);
                delta[field] = more;
                story.texts[index][field] += more;
                break;
            }
        }
        Json next = chunk(delta, nullptr, index);
        if (!logprobs.is_null()) next["choices"][0]["logprobs"] = logprobs;
        if (random.one_in(5))
            next["choices"][0]["filter"] = {{"f" + std::to_string(random.below(3)), step}};
        story.chunks.push_back(next);
    }
    for (int i = 0; i < choices; ++i) story.chunks.push_back(chunk(Json::object(), "stop", i));
    if (random.one_in(2)) {
        Json usage = chunk(Json::object());
        usage["choices"] = Json::array();
        usage["usage"] = {{"prompt_tokens", 1}, {"completion_tokens_details", {{"x", 2}}}};
        story.chunks.push_back(usage);
    }
    return story;
}

TEST(CrossingProperty, ThereAndBackIsAFixedPointAndNothingIsLost) {
    Random random("ThereAndBackIsAFixedPoint");
    for (int round = 0; round < 1500; ++round) {
        const Story story = random_story(random);
        const Json json = cross(stream_of(story.chunks));
        const auto again = cross_back(json);
        ASSERT_EQ(cross(again), json) << json.dump(2);
        ASSERT_EQ(cross_back(cross(again)), again);
        for (const auto& [index, texts] : story.texts) {
            const Json& message = json["choices"][static_cast<std::size_t>(index)]["message"];
            for (const auto& [field, text] : texts) {
                if (field.starts_with("call")) {
                    const Json& call = message["tool_calls"][std::stoul(field.substr(4))];
                    ASSERT_EQ(call["function"]["arguments"], text);
                    ASSERT_EQ(call["id"], field);
                    ASSERT_FALSE(call.contains("index"));
                } else {
                    ASSERT_EQ(message[field], text) << json.dump(2);
                }
            }
        }
    }
}

}  // namespace
}  // namespace weir::http
