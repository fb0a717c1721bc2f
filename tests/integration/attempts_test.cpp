// Retry and failover: only before the first byte, one message once, told in x-weir-attempts.
#include <cstdlib>
#include <memory>
#include <mutex>
#include <set>

#include "tools.hpp"

namespace weir::test {
namespace {

constexpr const char* kCaps = "[{models: \"*\", allow: 99/4h}]";

// Two upstreams, "fake" by priority before "second".
struct Pair {
    FakeUpstream first;
    FakeUpstream second;
    TestGateway gateway;

    Pair(FakeUpstream::Script one, FakeUpstream::Script other, GatewaySetup setup = {})
        : first(std::move(one)), second(std::move(other)), gateway(with(std::move(setup))) {}

private:
    GatewaySetup with(GatewaySetup setup) {
        setup.upstream_url = first.url();
        setup.caps = kCaps;
        setup.more_upstreams = "  - {name: second, url: \"" + second.url() +
                               "\", key: second-secret-key-5678, priority: 2}\n";
        return setup;
    }
};

FakeUpstream::Script says(int status, std::string fields = "") {
    return [=](Wire& wire, const SeenRequest&) {
        wire.json(
            R"({"error":{"message":"sorry","type":"t","param":null,"code":null}})", status, fields
        );
    };
}

void stay_silent(Wire& wire, const SeenRequest&) {
    wire.wait_for_close(20s);
}

TEST(Attempts, WhatAnotherUpstreamCanMendItMends) {
    struct Case {
        const char* name;
        FakeUpstream::Script script;
        const char* word;
    };
    const std::string cut =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"a\":";
    const Case cases[] = {
        {"503", says(503), "503"},
        {"529", says(529), "529"},
        {"429", says(429, "Retry-After: 30\r\n"), "429"},
        {"a bad key", says(401), "401"},
        {"no money", says(402), "402"},
        {"reset", [](Wire& wire, const SeenRequest&) { wire.reset(); }, "closed"},
        {"garbage",
         [](Wire& wire, const SeenRequest&) {
             wire.send("\x16\x03\x01 what?\r\n\r\n");
             wire.close();
         },
         "protocol"},
        {"JSON cut short",
         [&](Wire& wire, const SeenRequest&) {
             wire.send(cut);
             wire.close();
         },
         "broke-off"},
        {"a stream without an event",
         [](Wire& wire, const SeenRequest&) {
             wire.begin_stream();
             wire.close();
         },
         "broke-off"},
        {"silence", stay_silent, "timeout"},
    };
    for (const Case& one : cases) {
        SCOPED_TRACE(one.name);
        Pair pair(one.script, say_an_answer, {.upstream_more = ", timeouts: {first_byte: 200ms}"});
        const Answer answer = send(pair.gateway, "q");
        EXPECT_EQ(answer.status, 200) << answer.body;
        EXPECT_EQ(chat_text(answer), "an answer");
        EXPECT_EQ(
            answer.field("x-weir-attempts"), "fake " + std::string(one.word) + ", second 200"
        );
        EXPECT_EQ(answer.field("x-ratelimit-remaining-requests"), "98");
        EXPECT_EQ(pair.first.calls(), 1U);
        EXPECT_EQ(pair.second.calls(), 1U);
        EXPECT_EQ(pair.second.seen()[0].field("authorization"), "Bearer second-secret-key-5678");
        EXPECT_EQ(used(pair.gateway, "alice"), 1) << "one message";
        EXPECT_EQ(metric(pair.gateway, "weir_upstream_failovers_total"), 1);
        // What is kept was not called for.
        const Answer hit = send(pair.gateway, "q");
        EXPECT_EQ(hit.field("x-cache"), "HIT");
        EXPECT_FALSE(hit.has("x-weir-attempts"));
    }
}

TEST(Attempts, AClosedPortIsPassedBy) {
    FakeUpstream down(say_an_answer, FakeUpstream::Begin::kDown);
    FakeUpstream up(say_an_answer);
    TestGateway gateway(
        {.upstream_url = down.url(),
         .caps = kCaps,
         .more_upstreams = "  - {name: up, url: \"" + up.url() + "\", priority: 2}\n",
         .retry = "{break_after: 3}"}
    );
    for (int i = 0; i < 6; ++i) {
        const Answer answer = send(gateway, "q" + std::to_string(i));
        EXPECT_EQ(answer.status, 200);
        EXPECT_EQ(answer.field("x-weir-attempts"), i < 3 ? "fake connect, up 200" : "up 200")
            << "three in a row: it is left alone";
    }
    const Answer metrics = ask(gateway.port(), {.method = "GET", .path = "/metrics"});
    EXPECT_NE(metrics.body.find("weir_upstream_broken{upstream=\"fake\"} 1"), std::string::npos);
    EXPECT_NE(metrics.body.find("weir_upstream_breaks{upstream=\"fake\"} 1"), std::string::npos);
    EXPECT_NE(metrics.body.find("weir_upstream_broken{upstream=\"up\"} 0"), std::string::npos);
}

TEST(Attempts, BehindTheFirstByteThereIsNoOther) {
    Pair pair(
        [](Wire& wire, const SeenRequest&) {
            wire.begin_stream();
            wire.event(chat_chunk("half an"));
            std::this_thread::sleep_for(20ms);
            wire.reset();
        },
        say_an_answer
    );
    const Answer answer = send(pair.gateway, "q", "gpt-4", kAlice, true);
    EXPECT_EQ(answer.status, 200);
    EXPECT_NE(answer.body.find("\"upstream_error\""), std::string::npos) << answer.body;
    EXPECT_EQ(answer.field("x-weir-attempts"), "fake 200");
    EXPECT_EQ(pair.second.calls(), 0U);
    EXPECT_TRUE(eventually([&] { return used(pair.gateway, "alice") == 0; }));
}

TEST(Attempts, TheSameUpstreamIsAskedAgainAfterAPause) {
    std::atomic<int> calls = 0;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        if (++calls < 3) return says(503)(wire, request);
        say_an_answer(wire, request);
    });
    TestGateway gateway({.upstream_url = upstream.url(), .caps = kCaps});
    const Answer answer = send(gateway, "q");
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.field("x-weir-attempts"), "fake 503, fake 503, fake 200");
    EXPECT_EQ(used(gateway, "alice"), 1);
    EXPECT_EQ(metric(gateway, "weir_upstream_retries_total"), 2);
}

TEST(Attempts, WhatItSaysToWaitIsWaited) {
    std::atomic<int> calls = 0;
    const struct {
        int status;
        const char* fields;
    } cases[] = {{503, "Retry-After-Ms: 300\r\n"}, {429, "Retry-After: 0.3\r\n"}};
    for (const auto& one : cases) {
        calls = 0;
        FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
            if (++calls == 1) return says(one.status, one.fields)(wire, request);
            say_an_answer(wire, request);
        });
        TestGateway gateway({.upstream_url = upstream.url(), .caps = kCaps});
        const auto begun = std::chrono::steady_clock::now();
        EXPECT_EQ(send(gateway, "q").status, 200);
        EXPECT_GE(std::chrono::steady_clock::now() - begun, 300ms);
    }
    // Too long: told at once.
    FakeUpstream upstream(says(503, "Retry-After: 3600\r\n"));
    TestGateway gateway({.upstream_url = upstream.url(), .caps = kCaps});
    const Answer answer = send(gateway, "q");
    EXPECT_EQ(answer.status, 503);
    EXPECT_EQ(upstream.calls(), 1U);
}

TEST(Attempts, TheLastAnswerIsToldWhenNoneIsLeft) {
    Pair pair(says(500), says(503));
    const Answer answer = send(pair.gateway, "q");
    EXPECT_EQ(answer.field("x-weir-attempts").substr(0, 20), "fake 500, second 503");
    EXPECT_GE(answer.status, 500);
    EXPECT_EQ(used(pair.gateway, "alice"), 0);
    Pair bad(says(400), say_an_answer);
    EXPECT_EQ(send(bad.gateway, "q").status, 400) << "the client's fault is nobody else's";
    EXPECT_EQ(bad.second.calls(), 0U);
}

TEST(Attempts, ErrorsTellWhatWasTriedAndNoAddress) {
    FakeUpstream down(say_an_answer, FakeUpstream::Begin::kDown);
    TestGateway gateway({.upstream_url = down.url(), .caps = kCaps, .retry = "{backoff: 1ms}"});
    const Answer answer = send(gateway, "q");
    expect_error(answer, 502, "upstream_error");
    EXPECT_EQ(answer.field("x-weir-attempts"), "fake connect, fake connect, fake connect");
    EXPECT_EQ(answer.raw_head.find("127.0.0.1"), std::string::npos);
}

TEST(Attempts, WhatMayHaveBeenPaidIsNotSentThereAgain) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) { wire.reset(); });
    TestGateway gateway({.upstream_url = upstream.url(), .caps = kCaps});
    expect_error(send(gateway, "q"), 502, "upstream_error");
    EXPECT_EQ(upstream.calls(), 1U);
}

TEST(Attempts, FollowersHearTheSame) {
    Steps go;
    Pair pair(
        [&](Wire& wire, const SeenRequest& request) {
            static_cast<void>(go.wait());
            says(503)(wire, request);
        },
        say_an_answer
    );
    Client starter(pair.gateway.port());
    Client follower(pair.gateway.port());
    ASSERT_TRUE(starter.send(Ask{.key = kAlice, .body = chat_body("x")}.bytes()));
    ASSERT_TRUE(pair.first.wait_for_calls(1));
    ASSERT_TRUE(follower.send(Ask{.key = kBob, .body = chat_body("x")}.bytes()));
    ASSERT_TRUE(eventually([&] { return metric(pair.gateway, "weir_flights_joined_total") == 1; }));
    go.pass();
    for (Client* const client : {&starter, &follower}) {
        const Answer answer = client->read_answer();
        EXPECT_EQ(chat_text(answer), "an answer");
        EXPECT_EQ(answer.field("x-weir-attempts"), "fake 503, second 200");
    }
    EXPECT_EQ(used(pair.gateway, "alice"), 1);
    EXPECT_EQ(used(pair.gateway, "bob"), 0);
}

TEST(Attempts, KeysAreUsedInTurnAndABadOneIsPassedBy) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        if (request.field("authorization") == "Bearer key-number-two") {
            return says(401)(wire, request);
        }
        say_an_answer(wire, request);
    });
    TestGateway gateway(
        {.upstream_url = "http://127.0.0.1:1/v1",
         .caps = kCaps,
         .upstream_more = ", models: none",
         .more_upstreams = "  - {name: many, url: \"" + upstream.url() +
                           "\", key: [key-number-one, key-number-two, key-number-three]}\n"}
    );
    EXPECT_EQ(send(gateway, "1").field("x-weir-attempts"), "many#1 200");
    EXPECT_EQ(send(gateway, "2").field("x-weir-attempts"), "many#2 401, many#3 200");
    EXPECT_EQ(send(gateway, "3").field("x-weir-attempts"), "many#1 200");
    EXPECT_EQ(used(gateway, "alice"), 3);
}

TEST(Attempts, AKeyOfItsOwnUpstreamNeverReachesAnother) {
    Pair pair(says(503), say_an_answer);
    EXPECT_EQ(send(pair.gateway, "q").status, 200);
    EXPECT_EQ(pair.first.seen().at(0).field("authorization"), "Bearer upstream-secret-key-1234");
    EXPECT_EQ(pair.second.seen().at(0).field("authorization"), "Bearer second-secret-key-5678");
}

TEST(Attempts, ARestingKeyIsNotCalled) {
    FakeUpstream upstream(says(429, "Retry-After: 30\r\n"));
    TestGateway gateway({.upstream_url = upstream.url(), .caps = kCaps});
    EXPECT_EQ(send(gateway, "1").status, 429);
    const Answer answer = send(gateway, "2");
    const auto error = expect_error(answer, 429, "rate_limit_exceeded");
    EXPECT_EQ(error.value("type", ""), "requests");
    const int wait = std::atoi(answer.field("retry-after").c_str());
    EXPECT_GE(wait, 29);
    EXPECT_LE(wait, 30);
    EXPECT_FALSE(answer.has("x-weir-attempts")) << "there was no call";
    EXPECT_EQ(upstream.calls(), 1U);
    EXPECT_EQ(used(gateway, "alice"), 0);
}

TEST(Attempts, ALeavingClientEndsThePause) {
    FakeUpstream upstream(says(503, "Retry-After: 9\r\n"));
    TestGateway gateway({.upstream_url = upstream.url(), .caps = kCaps});
    {
        Client client(gateway.port());
        ASSERT_TRUE(client.send(Ask{.key = kAlice, .body = chat_body("x")}.bytes()));
        // Who leaves before the gateway has read of it has paid.
        const auto heard = [&] { return metric(gateway, "weir_upstream_failures_total") == 1; };
        ASSERT_TRUE(eventually(heard));
    }
    const auto begun = std::chrono::steady_clock::now();
    EXPECT_TRUE(eventually([&] { return metric(gateway, "weir_flights") == 0; }));
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 5s);
    EXPECT_EQ(upstream.calls(), 1U);
    EXPECT_EQ(used(gateway, "alice"), 0) << "the upstream had said no";
}

TEST(Attempts, TheClientsOwnTimeoutBoundsOurs) {
    FakeUpstream silent(stay_silent);
    FakeUpstream busy(says(503, "Retry-After: 5\r\n"));
    for (FakeUpstream* const upstream : {&silent, &busy}) {
        TestGateway gateway({.upstream_url = upstream->url(), .caps = kCaps});
        const auto begun = std::chrono::steady_clock::now();
        const Answer answer =
            ask(gateway.port(),
                {.key = kAlice, .body = chat_body("x"), .fields = {{"X-Stainless-Timeout", "1"}}});
        const auto span = std::chrono::steady_clock::now() - begun;
        EXPECT_LT(span, 4s);
        if (upstream == &silent) {
            EXPECT_GE(span, 900ms);
            expect_error(answer, 504, "upstream_timeout");
            EXPECT_EQ(used(gateway, "alice"), 1) << "as if it had left";
        } else {
            EXPECT_EQ(answer.status, 503) << "no time is left for the pause";
        }
    }
}

TEST(Attempts, AreBoundedInAnOutage) {
    FakeUpstream upstream(says(500));
    TestGateway gateway(
        {.upstream_url = upstream.url(), .caps = "[]", .retry = "{break_after: 1000, backoff: 1ms}"}
    );
    for (int i = 0; i < 100; ++i) send(gateway, "q" + std::to_string(i));
    EXPECT_GT(upstream.calls(), 105U);
    EXPECT_LE(upstream.calls(), 120U);
}

TEST(Attempts, WaitInLineAtMostSoManyAtOnce) {
    std::atomic<int> now = 0;
    std::atomic<int> most = 0;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        const int in = ++now;
        for (int seen = most; in > seen && !most.compare_exchange_weak(seen, in);) {
        }
        std::this_thread::sleep_for(10ms);
        --now;
        say_an_answer(wire, request);
    });
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[]",
         .upstream_more = ", at_once: {calls: 3, queue: 17, wait: 10s}"}
    );
    std::vector<Client> clients;
    for (int i = 0; i < 20; ++i) clients.emplace_back(gateway.port());
    for (std::size_t i = 0; i < clients.size(); ++i) {
        const std::string body = chat_body("q" + std::to_string(i));
        ASSERT_TRUE(clients[i].send(Ask{.key = kAlice, .body = body}.bytes()));
    }
    for (Client& client : clients) EXPECT_EQ(client.read_answer().status, 200);
    EXPECT_LE(most, 3);
    EXPECT_EQ(metric(gateway, "weir_upstream_queued_total"), 17);
}

TEST(Attempts, AFullLineAndAWaitInVainAre429) {
    Steps go;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        static_cast<void>(go.wait());
        say_an_answer(wire, request);
    });
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = kCaps,
         .upstream_more = ", at_once: {calls: 1, queue: 1, wait: 200ms}"}
    );
    Client first(gateway.port());
    Client second(gateway.port());
    ASSERT_TRUE(first.send(Ask{.key = kAlice, .body = chat_body("1")}.bytes()));
    ASSERT_TRUE(upstream.wait_for_calls(1));
    ASSERT_TRUE(second.send(Ask{.key = kAlice, .body = chat_body("2")}.bytes()));
    ASSERT_TRUE(eventually([&] { return metric(gateway, "weir_upstream_queued_total") == 1; }));
    const auto refused = [](const Answer& answer) {
        const auto error = expect_error(answer, 429, "rate_limit_exceeded");
        EXPECT_EQ(error.value("type", ""), "requests");
        EXPECT_NE(error.value("message", "").find("'fake'"), std::string::npos) << answer.body;
        EXPECT_EQ(answer.field("retry-after"), "2");
        EXPECT_FALSE(answer.has("x-should-retry"));
        EXPECT_FALSE(answer.has("x-weir-attempts"));
    };
    refused(send(gateway, "3"));
    refused(second.read_answer());
    go.pass();
    EXPECT_EQ(first.read_answer().status, 200);
    EXPECT_EQ(upstream.calls(), 1U);
    EXPECT_EQ(used(gateway, "alice"), 1);
}

TEST(KeepAlive, ACommentStandsBetweenTheEventsOfASilentStreamOnly) {
    Steps go;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        if (request.body.find("\"stream\":true") == std::string::npos) {
            static_cast<void>(go.wait());
            return say_an_answer(wire, request);
        }
        wire.begin_stream();
        static_cast<void>(go.wait());
        wire.event(chat_chunk("an answer", "stop"));
        wire.event("[DONE]");
        wire.last_chunk();
    });
    TestGateway gateway(
        {.upstream_url = upstream.url(), .caps = kCaps, .more = "stream: {keep_alive: 50ms}\n"}
    );
    Client client(gateway.port());
    ASSERT_TRUE(client.send(Ask{.key = kAlice, .body = chat_body("x", true)}.bytes()));
    Answer answer = client.read_head();
    EXPECT_EQ(answer.status, 200);
    client.read_body(answer, [](const std::string& body) {
        return count(body, ": keep-alive\n\n") >= 2;
    });
    go.pass();
    client.read_body(answer);
    const std::size_t events = answer.body.find("data: ");
    ASSERT_NE(events, std::string::npos);
    EXPECT_EQ(count(answer.body.substr(0, events), ": keep-alive\n\n") * 14, events);
    EXPECT_EQ(chat_text(answer), "an answer");
    // Not kept, and not in JSON.
    const Answer again = send(gateway, "x", "gpt-4", kAlice, true);
    EXPECT_EQ(again.field("x-cache"), "HIT");
    EXPECT_EQ(again.body.find("keep-alive"), std::string::npos);
    Client plain(gateway.port());
    ASSERT_TRUE(plain.send(Ask{.key = kAlice, .body = chat_body("y")}.bytes()));
    ASSERT_TRUE(upstream.wait_for_calls(2));
    std::this_thread::sleep_for(150ms);
    go.pass();
    EXPECT_EQ(chat_text(plain.read_answer()), "an answer");
}

}  // namespace
}  // namespace weir::test
