// What an upstream says when it refuses: whole or not at all, bounded, in time, without our key.
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include "tools.hpp"

namespace weir::test {
namespace {

constexpr const char* kCaps = "[{models: \"*\", allow: 99/4h}]";

std::string said(const std::string& message) {
    return nlohmann::json({{"error", {{"message", message}, {"type", "t"}, {"code", nullptr}}}}
    ).dump();
}

TEST(Refusal, OfDeeplyNestedJsonIsSurvived) {
    const std::string deep =
        "{\"error\":{\"a\":" + std::string(120'000, '[') + std::string(120'000, ']') + "}}";
    ASSERT_LT(deep.size(), 256U << 10);
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        wire.json(deep, request.body.find("five hundred") != std::string::npos ? 500 : 400);
    });
    TestGateway gateway({.upstream_url = upstream.url(), .caps = kCaps});
    const Answer four = ask(gateway.port(), {.key = kAlice, .body = chat_body("four hundred")});
    EXPECT_EQ(four.status, 400);
    EXPECT_EQ(four.body, deep);
    expect_error(
        ask(gateway.port(), {.key = kAlice, .body = chat_body("five hundred")}),
        500,
        "upstream_error"
    );
    EXPECT_EQ(used(gateway, "alice"), 0);
}

// Each brace once: what a worker does for one refusal, all its other clients wait for.
TEST(Refusal, OfManySmallObjectsHoldsNoWorkerUp) {
    std::string wide = "{\"error\":{\"a\":[{}";
    while (wide.size() < 240'000) wide += ",{}";
    wide += "]}}";
    FakeUpstream upstream([&](Wire& wire, const SeenRequest&) { wire.json(wide, 500); });
    TestGateway gateway({.upstream_url = upstream.url()});
    const auto begun = std::chrono::steady_clock::now();
    const Answer answer = ask(gateway.port(), {.key = kAlice, .body = chat_body("x")});
    EXPECT_EQ(answer.status, 500);
    EXPECT_EQ(answer.body, wide);
    // Milliseconds; 20 s if each object looks at all before it.
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 10s);
}

// Only its head counts: nobody waits for the rest.
TEST(Refusal, OfOurKeyIsToldAtOnce) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) {
        wire.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 99\r\n\r\n");
        EXPECT_TRUE(wire.wait_for_close(20s));
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    expect_error(
        ask(gateway.port(), {.key = kAlice, .body = chat_body("x")}), 502, "upstream_error"
    );
}

// An upstream that repeats its request, whatever the status says.
class Echo : public ::testing::TestWithParam<bool> {};

TEST_P(Echo, OfOurKeyReachesNobodyAndNoFile) {
    const std::string key = kUpstreamKey;
    std::string hex;
    for (const char byte : key) hex += fmt::format("{:02x}", byte);
    const std::string forms[] = {
        key,
        std::string(key.rbegin(), key.rend()),
        hex,
        "QmVhcmVyIHVwc3RyZWFtLXNlY3JldC1rZXktMTIzNA",  // base64 of "Bearer " and the key
    };
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        const std::string fields = "X-Request-Id: " + key + "\r\nOpenAI-Model: m-" + key + "\r\n";
        if (request.body.find("refuse") != std::string::npos) {
            std::string all;
            for (const std::string& form : forms) all += form + " ";
            wire.json(said(all), 400, fields);
        } else if (request.body.find("\"stream\":true") != std::string::npos) {
            wire.begin_stream();
            // Cut in the middle of the key.
            const std::string event = "data: " + chat_chunk("you sent " + key, "stop") + "\n\n";
            const std::size_t middle = event.find(key) + 7;
            wire.chunk(event.substr(0, middle));
            std::this_thread::sleep_for(20ms);
            wire.chunk(event.substr(middle));
            wire.event("[DONE]");
            wire.last_chunk();
        } else {
            auto answer = nlohmann::json::parse(
                R"({"id":"c","object":"chat.completion","created":1,"model":"gpt-4","choices":[
                    {"index":0,"message":{"role":"assistant","content":""},
                     "finish_reason":"stop"}],"usage":{"total_tokens":1}})"
            );
            answer["choices"][0]["message"]["content"] = "you sent " + key;
            wire.json(answer.dump(), 200, fields);
        }
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    for (int i = 0; i < 2; ++i) {
        const Answer answer =
            ask(gateway.port(), {.key = kAlice, .body = chat_body("x", GetParam())});
        EXPECT_EQ(answer.status, 200);
        EXPECT_EQ((answer.raw_head + answer.body).find(key), std::string::npos) << answer.body;
        EXPECT_EQ(chat_text(answer), "you sent " + std::string(key.size(), '*'));
        EXPECT_EQ(answer.field("x-cache"), "MISS") << "it was kept";
    }
    const Answer refused = ask(gateway.port(), {.key = kAlice, .body = chat_body("refuse")});
    EXPECT_EQ(refused.status, 400);
    for (const std::string& form : forms) {
        EXPECT_EQ((refused.raw_head + refused.body).find(form), std::string::npos) << form;
    }
    const std::string data = gateway.data();
    gateway.stop();
    for (const char* const file : {"/cache.db", "/ledger.db"}) {
        std::ifstream stream(data + file, std::ios::binary);
        const std::string bytes(std::istreambuf_iterator<char>(stream), {});
        EXPECT_EQ(bytes.find(key), std::string::npos) << file;
    }
}

INSTANTIATE_TEST_SUITE_P(PlainAndStreamed, Echo, ::testing::Bool());

}  // namespace
}  // namespace weir::test
