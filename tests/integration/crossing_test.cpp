// An answer that cannot be had as the other kind sends its asker upstream instead of failing it.
#include <gtest/gtest.h>

#include "support/client.hpp"
#include "support/fake_upstream.hpp"
#include "support/test_gateway.hpp"

namespace weir::test {
namespace {

// Half of a surrogate pair in each of two chunks: a good stream, but no JSON string until it is
// joined by somebody who knows both.
void stream_halves(Wire& wire) {
    static constexpr std::string_view kBefore =
        R"({"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt-4","choices":[{"index":0,"delta":)";
    const std::string before(kBefore);
    wire.begin_stream();
    wire.event(before + R"({"role":"assistant","content":"\ud83d"},"finish_reason":null}]})");
    wire.event(before + R"({"content":"\ude00"},"finish_reason":null}]})");
    wire.event(before + R"({},"finish_reason":"stop"}]})");
    wire.event("[DONE]");
    wire.last_chunk();
}

void answer_in_halves(Wire& wire, const SeenRequest& request) {
    if (request.body.find("\"stream\":true") == std::string::npos) {
        answer_chat(wire, request, "asked upstream");
    } else {
        stream_halves(wire);
    }
}

TEST(Crossing, WhatCannotBeCrossedIsAskedUpstream) {
    FakeUpstream upstream(answer_in_halves);
    TestGateway gateway({.upstream_url = upstream.url()});
    const auto asked = [&](bool stream) {
        return ask(gateway.port(), {.key = kAlice, .body = chat_body("halves", stream)});
    };
    const Answer streamed = asked(true);
    ASSERT_EQ(streamed.status, 200);
    EXPECT_EQ(streamed.field("x-cache"), "MISS");
    const Answer plain = asked(false);
    EXPECT_EQ(plain.status, 200) << plain.body;
    EXPECT_EQ(plain.field("x-cache"), "BYPASS");
    EXPECT_EQ(chat_text(plain), "asked upstream");
    // What came of it is kept, and serves both kinds.
    for (const bool stream : {true, false}) {
        const Answer again = asked(stream);
        EXPECT_EQ(again.field("x-cache"), "HIT");
        EXPECT_EQ(chat_text(again), "asked upstream");
    }
    EXPECT_EQ(upstream.calls(), 2U);
}

// Its own call's answer is not taken from the client because it is not of the kind asked for.
TEST(Crossing, WhatTheUpstreamGaveInsteadIsPassedOnAsItIs) {
    static constexpr std::string_view kOdd = R"({"object":"odd","note":"no choices in here"})";
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        if (request.body.find("\"stream\":true") != std::string::npos) {
            wire.json(kOdd);
        } else {
            stream_halves(wire);
        }
    });
    TestGateway gateway({.upstream_url = upstream.url(), .caps = "[{models: \"*\", allow: 9/4h}]"});
    const Answer plain = ask(gateway.port(), {.key = kAlice, .body = chat_body("x", true)});
    EXPECT_EQ(plain.status, 200) << plain.body;
    EXPECT_EQ(plain.field("content-type"), "application/json");
    EXPECT_EQ(plain.body, kOdd);
    const Answer stream = ask(gateway.port(), {.key = kAlice, .body = chat_body("y")});
    EXPECT_EQ(stream.status, 200) << stream.body;
    EXPECT_TRUE(stream.complete);
    EXPECT_EQ(stream.field("content-type"), "text/event-stream");
    EXPECT_EQ(stream.body.find("data: {\"id\":\"c\""), 0U);
    EXPECT_TRUE(stream.body.ends_with("data: [DONE]\n\n"));
}

TEST(Crossing, AStreamWithoutUsageDoesNotServeOneThatAsksForIt) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        answer_chat(wire, request, "an answer");
    });
    TestGateway gateway({.upstream_url = upstream.url(), .upstream_more = ", stream_usage: false"});
    const auto asked = [&](std::string_view more) {
        return ask(
            gateway.port(), {.key = kAlice, .body = chat_body("usage", true, "gpt-4", more)}
        );
    };
    const Answer first = asked("");
    ASSERT_EQ(first.status, 200);
    EXPECT_EQ(first.body.find("prompt_tokens"), std::string::npos);
    EXPECT_EQ(asked("").field("x-cache"), "HIT");
    const Answer with_usage = asked("\"stream_options\":{\"include_usage\":true}");
    EXPECT_EQ(with_usage.field("x-cache"), "BYPASS");
    EXPECT_NE(with_usage.body.find("prompt_tokens"), std::string::npos);
}

}  // namespace
}  // namespace weir::test
