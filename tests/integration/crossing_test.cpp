// A streamed and a plain answer serve each other; one that cannot be had as the other kind sends
// its asker upstream instead of failing it.
#include <atomic>
#include <string>
#include <string_view>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tools.hpp"

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

bool asks_for_stream(const SeenRequest& request) {
    return request.body.find("\"stream\":true") != std::string::npos;
}

constexpr std::string_view kUsage = R"("usage":{"prompt_tokens":1,"completion_tokens":2})";

void answer_completion(Wire& wire, const SeenRequest& request) {
    const std::string begin = R"({"id":"cmpl-1","object":"text_completion","created":1,)";
    if (!asks_for_stream(request)) {
        wire.json(
            begin + R"("choices":[{"index":0,"text":"one two","finish_reason":"stop"}],)" +
            std::string(kUsage) + "}"
        );
        return;
    }
    wire.begin_stream();
    wire.event(begin + R"("choices":[{"index":0,"text":"one ","finish_reason":null}]})");
    wire.event(begin + R"("choices":[{"index":0,"text":"two","finish_reason":"stop"}]})");
    if (request.body.find("include_usage") != std::string::npos) {
        wire.event(begin + R"("choices":[],)" + std::string(kUsage) + "}");
    }
    wire.event("[DONE]");
    wire.last_chunk();
}

std::string joined_texts(const std::string& stream) {
    std::string out;
    std::size_t at = 0;
    while ((at = stream.find("\"text\":\"", at)) != std::string::npos) {
        at += std::string_view("\"text\":\"").size();
        out += stream.substr(at, stream.find('"', at) - at);
    }
    return out;
}

TEST(Crossing, CompletionsServeEachOtherAndTellUsageIfAsked) {
    static constexpr std::string_view kEnds[] = {
        "}",
        R"(,"stream":true})",
        R"(,"stream":true,"stream_options":{"include_usage":true}})",
    };
    for (const std::string_view first : kEnds) {
        SCOPED_TRACE(first);
        FakeUpstream upstream(answer_completion);
        TestGateway gateway({.upstream_url = upstream.url()});
        const auto asked = [&](std::string_view end) {
            return ask(
                gateway.port(),
                {.path = "/v1/completions",
                 .key = kAlice,
                 .body = R"({"model":"c","prompt":"x")" + std::string(end)}
            );
        };
        EXPECT_EQ(asked(first).field("x-cache"), "MISS");
        const Answer plain = asked(kEnds[0]);
        EXPECT_EQ(plain.field("x-cache"), "HIT");
        const auto json = nlohmann::json::parse(plain.body, nullptr, false);
        EXPECT_EQ(json["object"], "text_completion") << plain.body;
        EXPECT_EQ(json["choices"][0]["text"], "one two");
        EXPECT_EQ(json["usage"]["completion_tokens"], 2);
        for (const std::string_view end : {kEnds[1], kEnds[2]}) {
            const Answer stream = asked(end);
            EXPECT_EQ(stream.field("x-cache"), "HIT");
            EXPECT_EQ(joined_texts(stream.body), "one two") << stream.body;
            EXPECT_TRUE(stream.body.ends_with("data: [DONE]\n\n"));
            EXPECT_EQ(stream.body.find("completion_tokens") != std::string::npos, end == kEnds[2])
                << stream.body;
        }
        EXPECT_EQ(upstream.calls(), 1U);
    }
}

constexpr std::string_view kResponse =
    R"({"id":"resp_1","object":"response","status":"completed","output":[{"type":"message",)"
    R"("id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text",)"
    R"("text":"one two","annotations":[]}]}]})";

void answer_response(Wire& wire, const SeenRequest& request) {
    if (!asks_for_stream(request)) {
        wire.json(kResponse);
        return;
    }
    wire.begin_stream();
    wire.event(R"({"type":"response.created","response":{"status":"in_progress"}})");
    wire.event(R"({"type":"response.output_text.delta","delta":"one two"})");
    wire.event(R"({"type":"response.completed","response":)" + std::string(kResponse) + "}");
    wire.last_chunk();
}

// Their usage is in the answer itself, or nowhere: nobody has to be asked for it.
TEST(Crossing, ResponsesServeEachOther) {
    for (const bool stream_first : {false, true}) {
        FakeUpstream upstream(answer_response);
        TestGateway gateway(
            {.upstream_url = upstream.url(), .upstream_more = ", stream_usage: false"}
        );
        const auto asked = [&](bool stream) {
            return ask(
                gateway.port(),
                {.path = "/v1/responses",
                 .key = kAlice,
                 .body = std::string(R"({"model":"gpt-4","input":"x")") +
                         (stream ? R"(,"stream":true})" : "}")}
            );
        };
        EXPECT_EQ(asked(stream_first).field("x-cache"), "MISS");
        const Answer plain = asked(false);
        EXPECT_EQ(plain.field("x-cache"), "HIT");
        EXPECT_EQ(plain.field("content-type"), "application/json");
        EXPECT_EQ(plain.body, kResponse);
        const Answer stream = asked(true);
        EXPECT_EQ(stream.field("x-cache"), "HIT");
        EXPECT_NE(stream.body.find(R"("delta":"one two")"), std::string::npos) << stream.body;
        EXPECT_NE(stream.body.find(std::string(kResponse) + "}\n\n"), std::string::npos);
        EXPECT_EQ(stream.body.find("[DONE]"), std::string::npos);
        EXPECT_EQ(upstream.calls(), 1U);
    }
}

// A stream and a plain request of the same at the same time.
void expect_one_call(
    const std::string& path, const std::string& question, const FakeUpstream::Script& answer
) {
    std::atomic<const TestGateway*> all = nullptr;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        EXPECT_TRUE(eventually([&] {
            return all.load() != nullptr && metric(*all, "weir_flights_joined_total") == 1;
        }));
        answer(wire, request);
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    all = &gateway;
    const auto asks = [&](const char* end) {
        return Ask{.path = path, .key = kAlice, .body = question + end};
    };
    const auto answers = race(gateway.port(), {asks("}"), asks(R"(,"stream":true})")});
    for (const Answer& one : answers) {
        EXPECT_EQ(one.status, 200) << one.body;
        EXPECT_TRUE(one.complete);
        EXPECT_NE(one.body.find("two"), std::string::npos);
    }
    EXPECT_EQ(answers[0].field("content-type"), "application/json");
    EXPECT_TRUE(answers[1].field("content-type").starts_with("text/event-stream"));
    EXPECT_EQ(upstream.calls(), 1U);
}

TEST(Crossing, OneCallServesAStreamAndAPlainRequestAtTheSameTime) {
    expect_one_call("/v1/completions", R"({"model":"c","prompt":"x")", answer_completion);
    expect_one_call("/v1/responses", R"({"model":"gpt-4","input":"x")", answer_response);
}

}  // namespace
}  // namespace weir::test
