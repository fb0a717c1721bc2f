// Promise 1 to 3 over the wire: what caps tell, what they refuse, what is given back.
#include <future>
#include <stdexcept>

#include "tools.hpp"

namespace weir::test {
namespace {

TEST(Caps, EveryAnswerTellsHowTheyStand) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"gpt-4*\", allow: 3/4h}, {models: \"*\", allow: 100/1d}]"}
    );
    for (int i = 2; i >= 0; --i) {
        const Answer answer = send(gateway, "question " + std::to_string(i));
        EXPECT_EQ(answer.status, 200);
        EXPECT_EQ(answer.field("x-ratelimit-limit-requests"), "3");
        EXPECT_EQ(answer.field("x-ratelimit-remaining-requests"), std::to_string(i));
        const std::string reset = answer.field("x-ratelimit-reset-requests");
        EXPECT_TRUE(reset == "4h0m0s" || reset.starts_with("3h59m")) << reset;
        EXPECT_EQ(
            answer.field("ratelimit-policy"),
            R"("gpt-4* 3/4h";q=3;w=14400, "* 100/1d";q=100;w=86400)"
        );
        const std::string state = answer.field("ratelimit");
        EXPECT_NE(state.find("\"gpt-4* 3/4h\";r=" + std::to_string(i)), std::string::npos) << state;
        EXPECT_NE(state.find("\"* 100/1d\";r=" + std::to_string(97 + i)), std::string::npos);
    }
    // A hit, a refusal and a request that is wrong tell the same.
    const Answer hit = send(gateway, "question 0");
    EXPECT_EQ(hit.field("x-cache"), "HIT");
    const Answer refused = send(gateway, "one more");
    EXPECT_EQ(refused.status, 429);
    for (const Answer& answer : {hit, refused}) {
        EXPECT_EQ(answer.field("x-ratelimit-limit-requests"), "3");
        EXPECT_EQ(answer.field("x-ratelimit-remaining-requests"), "0");
        EXPECT_NE(answer.field("ratelimit").find(";r=0;t="), std::string::npos);
    }
    const Answer wrong = ask(gateway.port(), {.key = kAlice, .body = "{"});
    EXPECT_EQ(wrong.status, 400);
    EXPECT_TRUE(wrong.has("x-ratelimit-limit-requests"));
    EXPECT_FALSE(ask(gateway.port(), {.key = "nobody-knows-it-at-all"}).has("ratelimit"));
}

TEST(Caps, ARefusalSaysWhyAndUntilWhen) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway(
        {.upstream_url = upstream.url(), .caps = "[{models: \"gpt-4*\", allow: 2/4h}]"}
    );
    EXPECT_EQ(send(gateway, "a").status, 200);
    EXPECT_EQ(send(gateway, "b").status, 200);
    for (const bool stream : {false, true}) {
        const Answer refused = ask(gateway.port(), {.key = kAlice, .body = chat_body("c", stream)});
        const auto error = expect_error(refused, 429, "insufficient_quota");
        EXPECT_EQ(error.value("type", ""), "insufficient_quota");
        const std::string message = error.value("message", "");
        EXPECT_TRUE(message.starts_with(
            "You have used 2 of 2 messages for gpt-4* in 4 hours. The next one is free at "
        )) << message;
        const int wait = std::stoi(refused.field("retry-after"));
        EXPECT_GT(wait, 14'300);
        EXPECT_LE(wait, 14'400);
        EXPECT_EQ(refused.field("x-should-retry"), "false");
    }
    EXPECT_EQ(upstream.calls(), 2U);
    EXPECT_EQ(send(gateway, "c", "gpt-4", kBob).status, 200);  // each key has its own
    EXPECT_EQ(send(gateway, "d", "gpt-3.5-turbo").status, 200);
}

TEST(Caps, NeverIsSaidWithoutAWait) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway(
        {.upstream_url = upstream.url(), .caps = "[{models: \"o1*\", allow: 0/day}]"}
    );
    const Answer refused = send(gateway, "a", "o1-pro");
    expect_error(refused, 429, "insufficient_quota");
    EXPECT_FALSE(refused.has("retry-after"));
    EXPECT_EQ(refused.field("x-should-retry"), "false");
}

TEST(Caps, AllOfThemOrNoneCount) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: 5/4h}, {models: \"gpt-4*\", allow: 2/4h}]"}
    );
    for (int i = 0; i < 6; ++i) {
        EXPECT_EQ(send(gateway, "q" + std::to_string(i)).status, i < 2 ? 200 : 429);
    }
    // The four refusals took nothing from the wider cap.
    EXPECT_EQ(used(gateway, "alice"), 2);
    for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(send(gateway, "r" + std::to_string(i), "gpt-3.5").status, i < 3 ? 200 : 429);
    }
}

TEST(Caps, AnAliasDoesNotGetAround) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"gpt-4*\", allow: 2/4h}]",
         .more = "models: {smart: {serve_as: gpt-4-0613}, gpt-4o: {serve_as: cheap}}\n"}
    );
    EXPECT_EQ(send(gateway, "a", "smart").status, 200);
    EXPECT_EQ(send(gateway, "b", "GPT-4").status, 200);
    EXPECT_EQ(send(gateway, "c", "smart").status, 429);
    EXPECT_EQ(send(gateway, "c", "gpt-4").status, 429);
    EXPECT_EQ(send(gateway, "d", "gpt-4o").status, 200);  // what is served counts
}

TEST(Caps, RefusedMessagesDoNotPushTheWindowOn) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url(), .caps = "[{models: \"*\", allow: 1/2s}]"});
    EXPECT_EQ(send(gateway, "first").status, 200);
    // One that comes again and again gets in as soon as the window has passed.
    int refusals = 0;
    EXPECT_TRUE(eventually([&] {
        const Answer answer = send(gateway, "second " + std::to_string(refusals));
        refusals += answer.status == 429;
        if (answer.status == 429) {
            const std::string wait = answer.field("retry-after");
            EXPECT_TRUE(wait == "1" || wait == "2") << wait;
        }
        return answer.status == 200;
    }));
    EXPECT_GT(refusals, 0);
}

TEST(Caps, FreeEndpointsCostNothing) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        wire.json(
            request.target.ends_with("/models") ? R"({"data":[{"id":"gpt-4"}]})" : R"({"id":"m"})"
        );
    });
    TestGateway gateway({.upstream_url = upstream.url(), .caps = "[{models: \"*\", allow: 1/4h}]"});
    for (int i = 0; i < 3; ++i) {
        const Answer models =
            ask(gateway.port(), {.method = "GET", .path = "/v1/models", .key = kAlice});
        EXPECT_EQ(models.status, 200);
        EXPECT_NE(models.body.find("\"gpt-4\""), std::string::npos);
        const Answer moderated =
            ask(gateway.port(),
                {.path = "/v1/moderations", .key = kAlice, .body = R"({"input":"x"})", .fields = {}}
            );
        EXPECT_EQ(moderated.status, 200);
    }
    EXPECT_EQ(used(gateway, "alice"), 0);
}

// ---- given back, and not given back

TEST(Refunds, WhatTheUpstreamDidNotDoIsGivenBack) {
    const std::pair<const char*, std::function<void(Wire&)>> cases[] = {
        {"500", [](Wire& wire) { wire.json("{}", 500); }},
        {"400", [](Wire& wire) { wire.json(R"({"error":{"message":"m"}})", 400); }},
        {"429", [](Wire& wire) { wire.json("{}", 429); }},
        {"closed", [](Wire& wire) { wire.close(); }},
        {"a stream that broke off",
         [](Wire& wire) {
             wire.begin_stream();
             wire.event(chat_chunk("x"));
             wire.close();
         }},
        {"a stream with an error",
         [](Wire& wire) {
             wire.begin_stream();
             wire.event(chat_chunk("x"));
             wire.event(R"({"error":{"message":"m","type":"server_error"}})");
             wire.last_chunk();
         }},
    };
    for (const auto& [name, how] : cases) {
        SCOPED_TRACE(name);
        std::atomic<bool> fails = true;
        FakeUpstream upstream([&, act = &how](Wire& wire, const SeenRequest& request) {
            if (fails) {
                (*act)(wire);
            } else {
                answer_chat(wire, request, "an answer");
            }
        });
        TestGateway gateway(
            {.upstream_url = upstream.url(),
             .caps = "[{models: \"*\", allow: 1/4h}]",
             .retry = "{attempts: 1}"}  // the waits are told elsewhere
        );
        for (int i = 0; i < 5; ++i) {
            const Answer answer =
                ask(gateway.port(), {.key = kAlice, .body = chat_body("x", true)});
            EXPECT_NE(answer.body.find("error"), std::string::npos);
            EXPECT_TRUE(eventually([&] { return used(gateway, "alice") == 0; }));
        }
        fails = false;
        // For a model that was told 429 its key rests for a while.
        const Ask other{.key = kAlice, .body = chat_body("now", false, "gpt-4o")};
        EXPECT_EQ(ask(gateway.port(), other).status, 200);
        EXPECT_EQ(send(gateway, "then").status, 429);
    }
}

TEST(Refunds, AClientThatLeavesAfterAFailureIsNotCharged) {
    std::promise<void> left;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest&) {
        // The head of a failure; its body never ends.
        wire.send(
            "HTTP/1.1 500 Oops\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
        );
        std::this_thread::sleep_for(50ms);
        left.set_value();
        wire.wait_for_close(5s);
    });
    TestGateway gateway({.upstream_url = upstream.url(), .caps = "[{models: \"*\", allow: 1/4h}]"});
    Client client(gateway.port());
    ASSERT_TRUE(client.send(Ask{.key = kAlice, .body = chat_body("x")}.bytes()));
    left.get_future().wait();
    client.socket().close();
    EXPECT_TRUE(eventually([&] { return used(gateway, "alice") == 0; }));
}

// ---- on disk

TEST(Durable, CountsSurviveARestart) {
    const TempDir data;
    FakeUpstream upstream(say_an_answer);
    const GatewaySetup setup{
        .upstream_url = upstream.url(),
        .caps = "[{models: \"*\", allow: 5/4h}]",
        .cache = "{enabled: false}",
        .data = data.path("d")
    };
    for (int start = 0; start < 5; ++start) {
        TestGateway gateway(setup);
        EXPECT_EQ(send(gateway, "x").status, 200);
        EXPECT_EQ(used(gateway, "alice"), start + 1);
    }
    TestGateway gateway(setup);
    EXPECT_EQ(send(gateway, "x").status, 429);
    EXPECT_EQ(send(gateway, "x", "gpt-4", kBob).status, 200);
}

TEST(Durable, ASecondGatewayOnTheSameDataIsRefused) {
    const TempDir data;
    FakeUpstream upstream(say_an_answer);
    const GatewaySetup setup{.upstream_url = upstream.url(), .data = data.path("d")};
    TestGateway first(setup);
    try {
        TestGateway second(setup);
        ADD_FAILURE() << "it started";
    } catch (const std::runtime_error& error) {
        const std::string what = error.what();
        EXPECT_NE(what.find("ledger.db"), std::string::npos) << what;
        EXPECT_NE(what.find("another"), std::string::npos) << what;
    }
    EXPECT_EQ(send(first, "x").status, 200);
}

}  // namespace
}  // namespace weir::test
