#include "weir/http/crossing.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "weir/http/answer.hpp"
#include "weir/http/sse.hpp"

namespace weir::http {
namespace {

using Json = nlohmann::json;

std::vector<std::string> stream_of(const std::vector<Json>& chunks) {
    std::vector<std::string> blocks;
    for (const Json& chunk : chunks) blocks.push_back("data: " + chunk.dump() + "\n\n");
    blocks.emplace_back("data: [DONE]\n\n");
    return blocks;
}

Json cross(const std::vector<std::string>& blocks) {
    const auto json = stream_to_json(Shape::kChat, {blocks.begin(), blocks.end()});
    EXPECT_TRUE(json);
    return json ? Json::parse(*json) : Json();
}

std::vector<std::string> cross_back(const Json& json, bool include_usage = true) {
    const auto blocks = json_to_stream(Shape::kChat, json.dump(), include_usage);
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
        EXPECT_FALSE(stream_to_json(Shape::kChat, {blocks.begin(), blocks.end()})) << blocks[1];
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
        return !stream_to_json(Shape::kChat, blocks).has_value();
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
    EXPECT_FALSE(json_to_stream(Shape::kChat, "{}", true));
    EXPECT_FALSE(json_to_stream(Shape::kChat, "[]", true));
    EXPECT_FALSE(json_to_stream(Shape::kChat, R"({"choices":[]})", true));
    EXPECT_FALSE(json_to_stream(Shape::kChat, R"({"choices":[{"index":0}]})", true));
    EXPECT_FALSE(json_to_stream(Shape::kChat, "{", true));
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

// Some write every member that they know of, whatever the kind of answer.
TEST(Crossing, MembersOfTheOtherKindThatAreNullDoNotCount) {
    Json first = chunk({{"content", "a"}, {"tool_calls", nullptr}, {"audio", nullptr}});
    first["choices"][0]["message"] = nullptr;
    const Json second = chunk(
        {{"tool_calls",
          {{{"index", 0}, {"id", "c"}, {"function", {{"name", "f"}, {"arguments", "1"}}}},
           {{"index", 0}, {"function", {{"arguments", "2"}}}}}}},
        "stop"
    );
    Json json = cross(stream_of({first, second}));
    const Json message = json["choices"][0]["message"];
    EXPECT_EQ(message["content"], "a") << json;
    ASSERT_EQ(message["tool_calls"].size(), 1U) << json;
    EXPECT_EQ(message["tool_calls"][0]["function"]["arguments"], "12");
    json["choices"][0]["delta"] = nullptr;
    EXPECT_EQ(cross(cross_back(json))["choices"][0]["message"], message);
    // But one that says something would be lost.
    json["choices"][0]["delta"] = {{"content", "b"}};
    EXPECT_FALSE(json_to_stream(Shape::kChat, json.dump(), true));
    first["choices"][0]["message"] = {{"content", "b"}};
    const auto both = stream_of({first, second});
    EXPECT_FALSE(stream_to_json(Shape::kChat, {both.begin(), both.end()}));
}

TEST(Crossing, SoundsAreTheBytesOfTheirPieces) {
    const auto sound = [](const std::vector<std::string>& pieces) {
        std::vector<Json> chunks = {chunk({{"audio", {{"id", "au"}, {"transcript", "he"}}}})};
        for (const std::string& piece : pieces) {
            chunks.push_back(chunk({{"audio", {{"data", piece}}}}));
        }
        chunks.push_back(chunk({{"audio", {{"transcript", "llo"}, {"expires_at", 5}}}}));
        Json audio = message_of(chunks)["audio"];
        const std::string data = audio["data"];
        EXPECT_EQ(
            audio, Json({{"id", "au"}, {"data", data}, {"transcript", "hello"}, {"expires_at", 5}})
        );
        return data;
    };
    EXPECT_EQ(sound({"QUJD", "REVG"}), "QUJDREVG");
    EXPECT_EQ(sound({"QQ==", "QkM=", "REVG"}), "QUJDREVG");
    EXPECT_EQ(sound({"QUI=", "", "Q0Q="}), "QUJDRA==");
    // One text that is cut anywhere.
    EXPECT_EQ(sound({"Q", "UJDR", "A=", "="}), "QUJDRA==");
    EXPECT_EQ(sound({"QUJDRA=", "=", "R", "Q=="}), "QUJDREU=");
    // Whatever else it is stays text.
    for (const char* const odd : {"QQ", "Q===", "====", "Q?==", "QQ=", "QQ= "}) {
        EXPECT_EQ(sound({odd, "QkM="}), std::string(odd) + "QkM=");
    }
}

// What a model says may have any name.
TEST(Crossing, TokensWithAnIndexAreNotPiecesOfOneAnother) {
    Json one = chunk({{"content", "a"}});
    one["choices"][0]["logprobs"] = {{"content", {{{"token", "a"}, {"index", 0}}}}};
    Json other = chunk({{"content", "b"}}, "stop");
    other["choices"][0]["logprobs"] = {{"content", {{{"token", "b"}, {"index", 0}}}}};
    const Json json = cross(stream_of({one, other}));
    EXPECT_EQ(json["choices"][0]["logprobs"]["content"].size(), 2U);
}

TEST(Crossing, CompletionsAddUpTheSameWay) {
    const auto piece = [](const std::string& text, const Json& more) {
        Json choice = {{"index", 0}, {"text", text}, {"finish_reason", nullptr}};
        choice.update(more);
        return Json{{"id", "cmpl-1"}, {"object", "text_completion"}, {"choices", {choice}}};
    };
    const auto logprobs = [](const char* token, const Json& value, const Json& top, int offset) {
        return Json{
            {"logprobs",
             {{"tokens", {token}},
              {"token_logprobs", Json::array({value})},
              {"top_logprobs", Json::array({top})},
              {"text_offset", {offset}}}}
        };
    };
    const auto blocks = stream_of({
        piece("one", logprobs("one", nullptr, nullptr, 0)),
        piece(" two", logprobs(" two", -0.5, {{"index", -0.5}}, 3)),
        piece("", {{"finish_reason", "stop"}, {"stop_reason", 7}, {"logprobs", nullptr}}),
    });
    const auto json = stream_to_json(Shape::kCompletion, {blocks.begin(), blocks.end()});
    ASSERT_TRUE(json);
    EXPECT_EQ(Json::parse(*json), Json::parse(R"({"id":"cmpl-1","object":"text_completion",
        "choices":[{"index":0,"text":"one two","finish_reason":"stop","stop_reason":7,"logprobs":{
        "tokens":["one"," two"],"token_logprobs":[null,-0.5],"top_logprobs":[null,{"index":-0.5}],
        "text_offset":[0,3]}}]})"));
    // One of chat says nothing here, nor the other way round.
    const auto chat = stream_of({chunk({{"content", "x"}}, "stop")});
    EXPECT_FALSE(stream_to_json(Shape::kCompletion, {chat.begin(), chat.end()}));
    EXPECT_FALSE(json_to_stream(Shape::kChat, *json, true));
}

// Members are looked up from one end.
TEST(Crossing, TooManyMembersDoNotAddUp) {
    const auto adds_up = [](int count, const auto& delta_of) {
        std::vector<Json> chunks;
        for (int i = 0; i < count; ++i) chunks.push_back(chunk(delta_of(i)));
        chunks.push_back(chunk(Json::object(), "stop"));
        const auto blocks = stream_of(chunks);
        return stream_to_json(Shape::kChat, {blocks.begin(), blocks.end()}).has_value();
    };
    const auto members = [](int i) { return Json{{"m" + std::to_string(i), 1}}; };
    EXPECT_TRUE(adds_up(1000, members));
    EXPECT_FALSE(adds_up(1100, members));
    const auto calls = [](int i) { return Json{{"tool_calls", {{{"index", i}}}}}; };
    EXPECT_TRUE(adds_up(5000, calls));
    EXPECT_FALSE(adds_up(20'000, calls));
}

}  // namespace
}  // namespace weir::http
