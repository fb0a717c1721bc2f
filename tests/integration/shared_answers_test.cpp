// Answers that were shared, and then not: by a cap that refused the follower, by an age, by usage
// that is missing, by members that count again, by a last event without its end.
#include <future>

#include "tools.hpp"

namespace weir::test {
namespace {

std::string model_of(const SeenRequest& request) {
    return nlohmann::json::parse(request.body).value("model", "");
}

TEST(SharedAnswers, AFollowerThatItsCapRefusesFallsBackToACallOfItsOwn) {
    Steps go;
    std::atomic<int> large = 0;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        if (model_of(request) == "gpt-4") {
            if (++large == 2 && !go.wait()) return;
            return answer_chat(wire, request, "from the large one");
        }
        // Plain JSON, whatever was asked for.
        wire.json(
            R"({"id":"c","model":"small","choices":[{"index":0,"message":{"role":"assistant","content":"from the small one"},"finish_reason":"stop"}]})"
        );
    });
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: gpt-4, allow: 1/1d, then: small}]",
         .cache = "{hits: counted, rules: [{models: small, when: never}]}"}
    );
    EXPECT_EQ(send(gateway, "first").status, 200);  // alice has none left
    Client bob(gateway.port());
    ASSERT_TRUE(bob.send(Ask{.key = kBob, .body = chat_body("q")}.bytes()));
    ASSERT_TRUE(eventually([&] { return large == 2; }));
    const Answer fallen = send(gateway, "q", "gpt-4", kAlice, true);
    EXPECT_EQ(fallen.status, 200) << fallen.body;
    EXPECT_EQ(chat_text(fallen), "from the small one");
    EXPECT_EQ(fallen.field("x-cache"), "BYPASS");
    EXPECT_FALSE(fallen.has("x-weir-flight"));
    go.pass();
    EXPECT_EQ(chat_text(bob.read_answer()), "from the large one");
    EXPECT_EQ(upstream.calls(), 3U);
}

TEST(SharedAnswers, AFallbackThatIsAHitTellsItsOwnCaps) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: gpt-4, allow: 1/1d, then: small}, {models: small, allow: 9/1d}]"}
    );
    EXPECT_EQ(send(gateway, "a", "small").field("x-ratelimit-remaining-requests"), "8");
    EXPECT_EQ(send(gateway, "b").status, 200);
    const Answer fallen = send(gateway, "a");
    EXPECT_EQ(fallen.field("x-cache"), "HIT");
    EXPECT_EQ(fallen.field("x-ratelimit-limit-requests"), "9");
    EXPECT_EQ(fallen.field("x-ratelimit-remaining-requests"), "8");
    EXPECT_FALSE(fallen.field("x-weir-fallback").empty());
}

// The starter finds an entry in the file that is good enough for it and too old for the others:
// these ask upstream together, not each for itself.
TEST(SharedAnswers, FollowersThatWantANewerOneAskTogether) {
    constexpr int kFollowers = 8;
    std::atomic<const TestGateway*> all = nullptr;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        if (all.load() != nullptr) {
            EXPECT_TRUE(eventually([&] {
                return metric(*all, "weir_flights_joined_total") >= kFollowers - 1;
            }));
        }
        say_an_answer(wire, request);
    });
    TestGateway gateway({.upstream_url = upstream.url(), .cache = "{memory: 0}"});
    EXPECT_EQ(send(gateway, "x").field("x-cache"), "MISS");
    ASSERT_TRUE(eventually([&] { return parsed(admin(gateway, "GET", "cache"))["entries"] == 1; }));
    ASSERT_TRUE(eventually([&] { return send(gateway, "x").field("age") >= "2"; }));
    all = &gateway;
    std::vector<Ask> requests(1, {.key = kAlice, .body = chat_body("x")});
    for (int i = 0; i < kFollowers; ++i) {
        requests.push_back(
            {.key = kBob, .body = chat_body("x"), .fields = {{"Cache-Control", "max-age=1"}}}
        );
    }
    for (const Answer& answer : race(gateway.port(), requests)) {
        EXPECT_EQ(chat_text(answer), "an answer");
        EXPECT_NE(answer.field("x-cache"), "BYPASS");
    }
    EXPECT_EQ(upstream.calls(), 2U);
}

TEST(SharedAnswers, APlainAnswerWithoutUsageDoesNotServeAStreamThatAsksForIt) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        if (request.body.find("\"stream\":true") != std::string::npos) {
            return say_an_answer(wire, request);
        }
        wire.json(
            R"({"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"an answer"},"finish_reason":"stop"}]})"
        );
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    EXPECT_EQ(send(gateway, "x").field("x-cache"), "MISS");
    EXPECT_EQ(send(gateway, "x", "gpt-4", kAlice, true).field("x-cache"), "HIT");
    constexpr char kUsage[] = R"("stream_options":{"include_usage":true})";
    const Answer asked = send(gateway, "x", "gpt-4", kAlice, true, kUsage);
    EXPECT_EQ(count(asked.body, "total_tokens"), 1U) << asked.body;
    EXPECT_EQ(upstream.calls(), 2U);
}

TEST(SharedAnswers, WhatWasKeptWithoutAMemberIsNotFoundWhenItCountsAgain) {
    FakeUpstream upstream(say_an_answer);
    GatewaySetup setup = {.upstream_url = upstream.url(), .cache = "{ignore: [user]}"};
    TestGateway gateway(setup);
    EXPECT_EQ(send(gateway, "x", "gpt-4", kAlice, false, R"("user":"a")").field("x-cache"), "MISS");
    EXPECT_EQ(send(gateway, "x").field("x-cache"), "HIT");
    setup.cache = "{ttl: 1h}";
    ASSERT_TRUE(gateway.reload(setup));
    EXPECT_EQ(send(gateway, "x").field("x-cache"), "MISS");
}

TEST(SharedAnswers, ALastEventWithoutItsBlankLineCrosses) {
    Steps go;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest&) {
        wire.begin_stream();
        wire.event(chat_chunk("an "));
        if (!go.wait()) return;
        wire.chunk("data: " + chat_chunk("answer", "stop") + "\n");
        wire.last_chunk();
    });
    TestGateway gateway({.upstream_url = upstream.url(), .upstream_more = ", stream_usage: false"});
    Client starter(gateway.port());
    ASSERT_TRUE(starter.send(Ask{.key = kAlice, .body = chat_body("x")}.bytes()));
    ASSERT_TRUE(upstream.wait_for_calls(1));
    go.pass();
    const Answer plain = starter.read_answer();
    EXPECT_EQ(plain.field("content-type"), "application/json");
    EXPECT_EQ(chat_text(plain), "an answer") << plain.body;
}

TEST(SharedAnswers, ModelsThatSearchByThemselvesAreNotKept) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url()});
    for (const char* const model :
         {"gpt-4o-search-preview",
          "gpt-5-search-api-2025-10-14",
          "sonar-pro",
          "perplexity/sonar",
          "openai/gpt-4o:online"}) {
        EXPECT_EQ(send(gateway, "x", model).field("x-cache"), "BYPASS") << model;
    }
    EXPECT_EQ(send(gateway, "x", "text-search-ada-doc-001").field("x-cache"), "MISS");
}

// An answer that is too long to be put together on a worker is asked for anew, as what is wanted.
TEST(SharedAnswers, ALongAnswerDoesNotCross) {
    const std::string text(3 << 20, 'x');
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        answer_chat(wire, request, text);
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    EXPECT_EQ(send(gateway, "x").field("x-cache"), "MISS");
    EXPECT_EQ(send(gateway, "x").field("x-cache"), "HIT");
    const Answer stream = send(gateway, "x", "gpt-4", kAlice, true);
    EXPECT_EQ(stream.field("x-cache"), "BYPASS");
    EXPECT_EQ(chat_text(stream).size(), text.size());
    EXPECT_EQ(upstream.calls(), 2U);
}

}  // namespace
}  // namespace weir::test
