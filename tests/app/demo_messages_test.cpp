// The demo upstream in Anthropic's API.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "weir/app/demo_answers.hpp"

namespace weir::app {
namespace {

using nlohmann::json;

DemoAnswer ask(std::string_view method, std::string_view target, const json& body) {
    http::RequestHead head;
    head.method = method;
    head.target = target;
    return demo_answer(head, body.dump(), {"abc123", 1'800'000'000});
}

json question(std::string_view text) {
    return {
        {"model", "claude-sonnet-4-5"},
        {"max_tokens", 1000},
        {"system", "be kind"},
        {"messages", {{{"role", "user"}, {"content", text}}}}
    };
}

TEST(DemoMessages, AnswerWholeAndInEvents) {
    json asked = question("What is a weir?");
    const json plain = json::parse(ask("POST", "/v1/messages", asked).whole.body);
    EXPECT_EQ(plain["type"], "message");
    EXPECT_EQ(plain["stop_reason"], "end_turn");
    EXPECT_EQ(plain["usage"]["input_tokens"], 6);
    const std::string text = plain["content"][0]["text"];
    EXPECT_NE(text.find("What is a weir?"), std::string::npos);

    asked["stream"] = true;
    std::string streamed;
    std::vector<std::string> types;
    const DemoAnswer answer = ask("POST", "/v1/messages", asked);
    for (const DemoEvent& event : answer.events) {
        const std::size_t line = event.text.find('\n');
        const json data = json::parse(event.text.substr(line + 7));
        types.push_back(data["type"]);
        EXPECT_EQ(event.text.substr(0, line), "event: " + types.back());
        if (types.back() == "content_block_delta") streamed += data["delta"]["text"];
    }
    EXPECT_EQ(streamed, text);
    ASSERT_GE(types.size(), 6U);
    EXPECT_EQ(types.front(), "message_start");
    EXPECT_EQ(types[1], "content_block_start");
    EXPECT_EQ(types[types.size() - 2], "message_delta");
    EXPECT_EQ(types.back(), "message_stop");
}

TEST(DemoMessages, StopAtTheLimit) {
    json asked = question("x");
    asked["max_tokens"] = 3;
    const json cut = json::parse(ask("POST", "/v1/messages", asked).whole.body);
    EXPECT_EQ(cut["stop_reason"], "max_tokens");
    EXPECT_EQ(cut["usage"]["output_tokens"], 3);
}

TEST(DemoMessages, AreCounted) {
    json asked = question("one two three");
    asked.erase("max_tokens");
    const json counted = json::parse(ask("POST", "/v1/messages/count_tokens", asked).whole.body);
    EXPECT_EQ(counted, json({{"input_tokens", 5}}));
}

TEST(DemoMessages, RefusalsHaveAnthropicsShape) {
    json unlimited = question("x");
    unlimited.erase("max_tokens");
    for (const auto& [answer, status] :
         {std::pair{ask("POST", "/v1/messages", unlimited), 400},
          std::pair{ask("POST", "/v1/messages", json::object()), 400},
          std::pair{ask("POST", "/v1/messages", {{"model", "m"}, {"max_tokens", 1}}), 400},
          std::pair{ask("GET", "/v1/messages", json::object()), 405},
          std::pair{ask("POST", "/v1/messages/batches", json::object()), 404}}) {
        EXPECT_EQ(answer.whole.status, status);
        EXPECT_EQ(json::parse(answer.whole.body)["type"], "error") << answer.whole.body;
    }
}

}  // namespace
}  // namespace weir::app
