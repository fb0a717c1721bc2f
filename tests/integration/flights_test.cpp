// Promise 5 in the air: a hundred equal requests, calls that everybody left, slow and fast
// listeners, calls that fail before their first byte.
#include <future>

#include "tools.hpp"

namespace weir::test {
namespace {

constexpr int kEvents = 8;
const std::string kWhole = "w0 w1 w2 w3 w4 w5 w6 w7 ";

std::string word(int number) {
    return "w" + std::to_string(number) + " ";
}

class Flights : public testing::TestWithParam<std::uint32_t> {};

TEST_P(Flights, AHundredEqualRequestsAreOneCallThoughTheFirstOneLeaves) {
    constexpr int kFollowers = 99;
    Steps go;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        EXPECT_NE(request.body.find("\"stream\":true"), std::string::npos);
        wire.begin_stream();
        for (int i = 0; i < kEvents; ++i) {
            if (i == 3 && !go.wait()) return;
            wire.event(chat_chunk(word(i), i == kEvents - 1 ? "stop" : ""));
        }
        wire.event(
            R"({"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}})"
        );
        wire.event("[DONE]");
        wire.last_chunk();
    });
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: 100/4h}]",
         .workers = GetParam()}
    );
    Client first(gateway.port());
    ASSERT_TRUE(first.send(Ask{.key = kAlice, .body = chat_body("the same", true)}.bytes()));
    Answer cut = first.read_head();
    EXPECT_EQ(cut.field("x-cache"), "MISS");
    first.read_body(cut, [](const std::string& body) { return count(body, "\n\n") == 3; });
    auto others = std::async(std::launch::async, [&] {
        std::vector<Ask> requests;
        requests.reserve(kFollowers);
        for (int i = 0; i < kFollowers; ++i) {
            // 49 streamed ones beside the first, and 50 plain ones.
            requests.push_back(
                {.key = i % 3 == 0 ? kBob : kAlice, .body = chat_body("the same", i >= 50)}
            );
        }
        return race(gateway.port(), requests);
    });
    EXPECT_TRUE(eventually([&] {
        return metric(gateway, "weir_flights_joined_total") == kFollowers;
    }));
    first.socket().reset();
    EXPECT_TRUE(eventually([&] { return metric(gateway, "weir_clients_gone_total") == 1; }));
    go.pass();
    for (const Answer& answer : others.get()) {
        EXPECT_EQ(answer.status, 200) << answer.body;
        EXPECT_TRUE(answer.complete);
        EXPECT_EQ(chat_text(answer), kWhole);
        EXPECT_EQ(answer.field("x-cache"), "HIT");
    }
    EXPECT_EQ(upstream.calls(), 1U);
    EXPECT_EQ(used(gateway, "alice") + used(gateway, "bob"), 1);
}

TEST_P(Flights, ACallThatFailsForGoodIsOneErrorForAllAndRefunded) {
    constexpr int kAskers = 20;
    const struct {
        const char* name;
        std::function<void(Wire&)> end;
        int status;
    } cases[] = {
        {"closed", [](Wire& wire) { wire.close(); }, 502},
        {"reset", [](Wire& wire) { wire.reset(); }, 502},
        {"no HTTP",
         [](Wire& wire) {
             wire.send("SSH-2.0-x\r\n\r\n");
             wire.close();
         },
         502},
        {"500", [](Wire& wire) { wire.json(R"({"error":{"message":"m"}})", 500); }, 500},
        {"429", [](Wire& wire) { wire.json(R"({"error":{"message":"m"}})", 429); }, 429},
        {"400", [](Wire& wire) { wire.json(R"({"error":{"message":"m"}})", 400); }, 400},
        {"401", [](Wire& wire) { wire.json(R"({"error":{"message":"m"}})", 401); }, 502},
        {"cut",
         [](Wire& wire) {
             wire.send(
                 "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
                 "99\r\n\r\n{\"a\""
             );
             wire.close();
         },
         502},
    };
    for (const auto& one : cases) {
        SCOPED_TRACE(one.name);
        std::atomic<const TestGateway*> all = nullptr;
        FakeUpstream upstream([&](Wire& wire, const SeenRequest&) {
            EXPECT_TRUE(eventually([&] {
                return all.load() != nullptr &&
                       metric(*all, "weir_flights_joined_total") == kAskers - 1;
            }));
            one.end(wire);
        });
        TestGateway gateway(
            {.upstream_url = upstream.url(),
             .caps = "[{models: \"*\", allow: 100/4h}]",
             .workers = GetParam(),
             .retry = "{attempts: 1}"}
        );
        all = &gateway;
        std::vector<Ask> requests;
        requests.reserve(kAskers);
        for (int i = 0; i < kAskers; ++i) {
            requests.push_back(
                {.key = i % 2 == 0 ? kBob : kAlice, .body = chat_body("x", i % 3 == 0)}
            );
        }
        const std::vector<Answer> answers = race(gateway.port(), requests);
        for (const Answer& answer : answers) {
            EXPECT_EQ(answer.status, one.status) << answer.body;
            EXPECT_EQ(answer.body, answers.front().body);
        }
        EXPECT_EQ(upstream.calls(), 1U);
        EXPECT_EQ(used(gateway, "alice") + used(gateway, "bob"), 0);
        EXPECT_EQ(parsed(admin(gateway, "GET", "cache"))["stored"], 0);
    }
}

INSTANTIATE_TEST_SUITE_P(Workers, Flights, testing::Values(1, 4));

// ---- calls that everybody left

class Left : public testing::Test {
protected:
    // Sends the first event; the rest, or nothing, when it is told to.
    FakeUpstream upstream_{[this](Wire& wire, const SeenRequest& request) {
        if (calls_++ > 0) return say_an_answer(wire, request);
        wire.begin_stream();
        wire.event(chat_chunk(word(0)));
        if (!go_.wait()) return;
        for (int i = 1; i < kEvents; ++i)
            wire.event(chat_chunk(word(i), i == kEvents - 1 ? "stop" : ""));
        wire.event("[DONE]");
        wire.last_chunk();
        over_ = true;
    }};
    std::unique_ptr<TestGateway> start(const char* cache) {
        return std::make_unique<TestGateway>(GatewaySetup{
            .upstream_url = upstream_.url(),
            .caps = "[{models: \"*\", allow: 100/4h}]",
            .cache = cache
        });
    }
    // Alice asks, sees the first event and leaves.
    void ask_and_leave(const TestGateway& gateway) {
        Client client(gateway.port());
        ASSERT_TRUE(client.send(Ask{.key = kAlice, .body = chat_body("x", true)}.bytes()));
        Answer answer = client.read_head();
        client.read_body(answer, [](const std::string& body) { return count(body, "\n\n") == 1; });
        client.socket().reset();
        ASSERT_TRUE(eventually([&] { return metric(gateway, "weir_clients_gone_total") >= 1; }));
    }

    std::atomic<int> calls_ = 0;
    std::atomic<bool> over_ = false;
    Steps go_;
};

TEST_F(Left, IsFinishedForTheCacheWhereTheConfigSaysSo) {
    const auto gateway = start("{finish_abandoned: 30s}");
    ask_and_leave(*gateway);
    go_.pass();
    EXPECT_TRUE(eventually([&] {
        return parsed(admin(*gateway, "GET", "cache"))["memory_entries"] == 1;
    }));
    const Answer hit = send(*gateway, "x", "gpt-4", kBob, true);
    EXPECT_EQ(hit.field("x-cache"), "HIT");
    EXPECT_EQ(chat_text(hit), kWhole);
    EXPECT_EQ(calls_, 1);
    EXPECT_EQ(used(*gateway, "alice"), 1);
    EXPECT_EQ(used(*gateway, "bob"), 0);
}

TEST_F(Left, TakesNewcomersWhileItIsFinished) {
    const auto gateway = start("{finish_abandoned: 30s}");
    ask_and_leave(*gateway);
    Client late(gateway->port());
    ASSERT_TRUE(late.send(Ask{.key = kBob, .body = chat_body("x", true)}.bytes()));
    ASSERT_TRUE(eventually([&] { return metric(*gateway, "weir_flights_joined_total") == 1; }));
    go_.pass();
    const Answer answer = late.read_answer();
    EXPECT_EQ(chat_text(answer), kWhole);
    EXPECT_EQ(answer.field("x-weir-flight"), "joined");
    EXPECT_EQ(calls_, 1);
}

TEST_F(Left, IsEndedWhenItsTimeIsOver) {
    const auto gateway = start("{finish_abandoned: 100ms}");
    ask_and_leave(*gateway);
    ASSERT_TRUE(eventually([&] { return metric(*gateway, "weir_upstream_failures_total") == 1; }));
    // An equal request makes a call of its own.
    EXPECT_EQ(send(*gateway, "x", "gpt-4", kBob, true).field("x-cache"), "MISS");
    EXPECT_EQ(calls_, 2);
    EXPECT_EQ(used(*gateway, "alice"), 1);  // it was used upstream
    go_.pass();
}

TEST_F(Left, IsEndedAtTheEndOfADrain) {
    // A drain waits for what does not end, twice half a second: one that is quicker shows that the
    // flight was told.
    EXPECT_TRUE(eventually([&] {
        calls_ = 0;
        over_ = false;
        const auto gateway = start("{finish_abandoned: 1h}");
        ask_and_leave(*gateway);
        const auto begun = std::chrono::steady_clock::now();
        gateway->stop();
        const bool quick = std::chrono::steady_clock::now() - begun < 900ms;
        go_.pass();
        return eventually([&] { return over_.load(); }) && quick;
    }));
}

TEST_F(Left, IsEndedAtOnceByDefault) {
    const auto gateway = start("{ttl: 1h}");
    ask_and_leave(*gateway);
    const Answer own = send(*gateway, "x", "gpt-4", kBob, true);
    EXPECT_EQ(own.field("x-cache"), "MISS");
    EXPECT_EQ(calls_, 2);
    go_.pass();
}

// ---- slow and fast listeners

TEST(Listeners, OneThatDoesNotReadHoldsNobodyBackWithinTheBacklog) {
    const std::string large(64 << 10, 'x');
    constexpr int kLarge = 40;  // 2.5 MiB: far more than sockets take
    Steps go;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest&) {
        if (!go.wait()) return;
        wire.begin_stream();
        for (int i = 0; i < kLarge; ++i)
            wire.event(chat_chunk(large, i == kLarge - 1 ? "stop" : ""));
        wire.event("[DONE]");
        wire.last_chunk();
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    Client slow(gateway.port());
    ASSERT_TRUE(slow.send(Ask{.key = kAlice, .body = chat_body("x", true)}.bytes()));
    ASSERT_TRUE(upstream.wait_for_calls(1));
    Client fast(gateway.port());
    ASSERT_TRUE(fast.send(Ask{.key = kBob, .body = chat_body("x", true)}.bytes()));
    ASSERT_TRUE(eventually([&] { return metric(gateway, "weir_flights_joined_total") == 1; }));
    go.pass();
    const Answer quick = fast.read_answer();
    EXPECT_EQ(chat_text(quick).size(), kLarge * large.size());
    // Who reads late gets every byte as well, though the flight is long over.
    const Answer late = slow.read_answer();
    EXPECT_EQ(late.body, quick.body);
    EXPECT_EQ(upstream.calls(), 1U);
}

// A plain request that joined a stream has to hold all of it. What the flight no longer keeps it
// does not hold for itself: it asks for its own answer, and never gets the stream.
TEST(Listeners, APlainOneLeavesAStreamThatGetsTooLongToBeKept) {
    Steps go;
    const std::string large(3000, 'x');
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        if (request.body.find("\"stream\":true") == std::string::npos)
            return answer_chat(wire, request, "its own");
        wire.begin_stream();
        wire.event(chat_chunk("first "));
        if (!go.wait()) return;
        wire.event(chat_chunk(large));
        if (!go.wait()) return;
        wire.event(chat_chunk(" last", "stop"));
        wire.event("[DONE]");
        wire.last_chunk();
    });
    const TestGateway gateway({.upstream_url = upstream.url(), .cache = "{max_entry: 2KiB}"});
    Client streamed(gateway.port());
    ASSERT_TRUE(streamed.send(Ask{.key = kAlice, .body = chat_body("x", true)}.bytes()));
    Answer stream = streamed.read_head();
    Client plain(gateway.port());
    ASSERT_TRUE(plain.send(Ask{.key = kBob, .body = chat_body("x")}.bytes()));
    ASSERT_TRUE(eventually([&] { return metric(gateway, "weir_flights_joined_total") == 1; }));
    go.pass();
    const Answer own = plain.read_answer();  // while the stream is still in the air
    EXPECT_EQ(own.field("content-type"), "application/json");
    EXPECT_EQ(chat_text(own), "its own");
    EXPECT_EQ(own.field("x-cache"), "BYPASS");
    EXPECT_FALSE(own.has("x-weir-flight"));
    go.pass();
    streamed.read_body(stream);
    EXPECT_EQ(chat_text(stream), "first " + large + " last");
    EXPECT_EQ(upstream.calls(), 2U);
}

// ---- what was found in the file

// Those who joined while it was looked for get it from the flight, and nobody afterwards: what is
// cleared is gone.
TEST(HandedOver, IsNotFoundInTheAirAfterAClear) {
    const TempDir directory;
    FakeUpstream upstream(say_an_answer);
    const GatewaySetup setup{.upstream_url = upstream.url(), .data = directory.path("data")};
    {
        const TestGateway before(setup);
        EXPECT_EQ(send(before, "x").field("x-cache"), "MISS");
    }
    const TestGateway gateway(setup);
    EXPECT_EQ(send(gateway, "x").field("x-cache"), "HIT");  // from the file
    EXPECT_EQ(admin(gateway, "DELETE", "cache").status, 200);
    EXPECT_EQ(send(gateway, "x").field("x-cache"), "MISS");
    EXPECT_EQ(upstream.calls(), 2U);
}

}  // namespace
}  // namespace weir::test
