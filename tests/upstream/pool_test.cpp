// Connections between calls: what is used again, what is not, and what the caller sees of it.
#include "call_fixture.hpp"

namespace weir::test {
namespace {

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

// Answers each request; never closes.
void answer_all(Peer& peer, int) {
    while (peer.read_request()) peer.send(kOk);
}

class PoolTest : public CallTest {
protected:
    using CallTest::CallTest;
    // Lets the worker see what has come meanwhile, for tests that need the kernel to have it.
    void settle() {
        worker.restart();
        worker.run_for(20ms);
    }
};

TEST_F(PoolTest, KeepsAConnectionForTheNextCall) {
    ScriptServer server(&answer_all);
    const auto upstream = at(server);
    for (int i = 0; i < 5; ++i) {
        const Outcome out = fetch(upstream, post("{}"));
        ASSERT_TRUE(out.ok());
        EXPECT_EQ(out.body, "ok");
        EXPECT_EQ(out.times.connect.count() == 0, i > 0);
    }
    EXPECT_EQ(server.accepted(), 1);
    EXPECT_EQ(client.stats().connects, 1U);
    EXPECT_EQ(client.stats().reused, 4U);
    EXPECT_EQ(client.stats().idle, 1U);
    EXPECT_EQ(client.stats().active, 0U);
}

TEST_F(PoolTest, SharesOnlyBetweenEqualIdentities) {
    ScriptServer server(&answer_all);
    const auto upstream = at(server);
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    const auto other_key = std::make_shared<config::Upstream>(*upstream);
    other_key->keys = {"sk-other"};
    ASSERT_TRUE(fetch(other_key, post("{}")).ok());
    EXPECT_EQ(server.accepted(), 2) << "another key is another identity";
    const auto other_host = std::make_shared<config::Upstream>(*upstream);
    other_host->host = "127.0.0.2";
    (void)fetch(other_host, post("{}"));
    EXPECT_EQ(client.stats().connects, 3U);
    const auto other_headers = std::make_shared<config::Upstream>(*upstream);
    other_headers->headers = {{"Authorization", "Bearer other"}};
    ASSERT_TRUE(fetch(other_headers, post("{}")).ok());
    EXPECT_EQ(client.stats().connects, 4U) << "they may say who calls";
    const auto same = std::make_shared<config::Upstream>(*upstream);
    same->name = "another name";
    same->base_path = "/v2";
    ASSERT_TRUE(fetch(same, post("{}")).ok());
    EXPECT_EQ(client.stats().connects, 4U);
}

TEST_F(PoolTest, HonoursConnectionClose) {
    ScriptServer server([](Peer& peer, int) {
        ASSERT_TRUE(peer.read_request());
        peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 2\r\n\r\nok");
        peer.wait_for_close();
    });
    ASSERT_TRUE(fetch(at(server), post("{}")).ok());
    EXPECT_EQ(client.stats().idle, 0U);
}

TEST_F(PoolTest, KeepsOnlyConnectionsOfHttp11) {
    ScriptServer server([](Peer& peer, int) {
        ASSERT_TRUE(peer.read_request());
        peer.send("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok");
        peer.wait_for_close();
    });
    ASSERT_TRUE(fetch(at(server), post("{}")).ok());
    EXPECT_EQ(client.stats().idle, 0U);
}

TEST_F(PoolTest, AClosedIdleConnectionIsNotUsed) {
    std::atomic<bool> closed = false;
    ScriptServer server([&](Peer& peer, int) {
        ASSERT_TRUE(peer.read_request());
        peer.send(kOk);
        peer.close();
        closed = true;
        closed.notify_one();
        peer.wait_for_close();
    });
    const auto upstream = at(server);
    for (int i = 0; i < 3; ++i) {
        const Outcome out = fetch(upstream, post("{}"));
        ASSERT_TRUE(out.ok()) << out.error->detail;
        closed.wait(false);
        closed = false;
        settle();
    }
    EXPECT_EQ(server.accepted(), 3);
    EXPECT_EQ(client.stats().replaced, 0U) << "the close was there to see";
}

// At once, on a machine that may be so busy that it takes seconds.
class PatientPoolTest : public PoolTest {
protected:
    PatientPoolTest() : PoolTest({.stale_grace = 20s, .stale_at_most = 20s}) {}
};

// The close crosses with the second request: the client cannot have known.
TEST_F(PatientPoolTest, AConnectionThatDiesUnderTheRequestIsReplacedUnseen) {
    enum class How : std::uint8_t { kClose, kReset, kCloseUnread };
    const std::string second(64 << 10, 'x');  // more than one read of the server takes
    for (const How how : {How::kClose, How::kReset, How::kCloseUnread}) {
        const std::uint64_t before = client.stats().replaced;
        ScriptServer server([&](Peer& peer, int number) {
            ASSERT_TRUE(peer.read_request());
            peer.send(kOk);
            if (number == 0) {
                if (how == How::kCloseUnread) {
                    (void)peer.read_head();
                    return;
                }
                if (peer.read_request() && how == How::kReset) peer.reset();
                return;
            }
            peer.wait_for_close();
        });
        const auto upstream = at(server);
        ASSERT_TRUE(fetch(upstream, post("{}")).ok());
        const Outcome out = fetch(upstream, post(second));
        ASSERT_TRUE(out.ok()) << out.error->detail;
        EXPECT_EQ(out.body, "ok");
        EXPECT_TRUE(out.written);
        EXPECT_GT(out.times.connect.count(), 0);
        EXPECT_EQ(server.accepted(), 2);
        EXPECT_EQ(client.stats().replaced, before + 1);
    }
}

TEST_F(PoolTest, AFreshConnectionThatDiesIsNotReplaced) {
    ScriptServer server([](Peer& peer, int) { EXPECT_TRUE(peer.read_request()); });
    const Outcome out = fetch(at(server), post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamClosed);
    EXPECT_EQ(server.accepted(), 1);
}

// As above in the time that is given by default. A busy machine may miss it, but not each time.
TEST_F(PoolTest, ACloseAtOnceIsStale) {
    for (int i = 0; i < 50 && client.stats().replaced == 0; ++i) {
        ScriptServer server([](Peer& peer, int number) {
            ASSERT_TRUE(peer.read_request());
            peer.send(kOk);
            if (number == 0) (void)peer.read_request();
            if (number > 0) peer.wait_for_close();
        });
        const auto upstream = at(server);
        ASSERT_TRUE(fetch(upstream, post("{}")).ok());
        const Outcome out = fetch(upstream, post("{}"));
        EXPECT_EQ(out.ok(), client.stats().replaced == 1);
    }
    EXPECT_EQ(client.stats().replaced, 1U);
}

// It read the prompt, worked on it for a while and crashed: asked again it could be paid twice.
TEST_F(PoolTest, ACloseAfterAWhileIsToldAndNotSentAgain) {
    for (const bool reset : {false, true}) {
        std::atomic<int> requests = 0;
        ScriptServer server([&](Peer& peer, int) {
            ASSERT_TRUE(peer.read_request());
            ++requests;
            peer.send(kOk);
            if (!peer.read_request()) return;
            ++requests;
            std::this_thread::sleep_for(600ms);
            if (reset) peer.reset();
        });
        const auto upstream = at(server);
        ASSERT_TRUE(fetch(upstream, post("{}")).ok());
        const Outcome out = fetch(upstream, post("{}"));
        EXPECT_EQ(out.code(), ErrorCode::kUpstreamClosed);
        EXPECT_TRUE(out.written);
        EXPECT_EQ(requests, 2);
        EXPECT_EQ(server.accepted(), 1);
        EXPECT_EQ(client.stats().replaced, 0U);
    }
}

TEST(StaleWindow, IsTwoRoundTripsAndAGraceAndHasABound) {
    const upstream::ClientOptions options;
    EXPECT_EQ(stale_window(options, 0us), 50ms) << "not known";
    EXPECT_EQ(stale_window(options, 30us), 50'060us);
    EXPECT_EQ(stale_window(options, 80ms), 210ms);
    EXPECT_EQ(stale_window(options, 100ms), 250ms);
    EXPECT_EQ(stale_window(options, 3s), 250ms);
}

class FarPoolTest : public PoolTest {
protected:
    FarPoolTest() : PoolTest({.stale_grace = 0ms, .stale_at_most = 20s}) {}
};

// A peer that answers later than its kernel's delayed acknowledgement (40 ms) looks far away.
TEST_F(FarPoolTest, TheRoundTripThatTheKernelMeasuredCounts) {
    for (int i = 0; i < 20 && client.stats().replaced == 0; ++i) {
        ScriptServer server([](Peer& peer, int number) {
            for (int j = 0; j < 3 && peer.read_request(); ++j) {
                if (j > 0) std::this_thread::sleep_for(60ms);
                peer.send(kOk);
            }
            if (number == 0) (void)peer.read_request();
            if (number > 0) peer.wait_for_close();
        });
        const auto upstream = at(server);
        for (int j = 0; j < 3; ++j) ASSERT_TRUE(fetch(upstream, post("{}")).ok());
        (void)fetch(upstream, post("{}"));
    }
    EXPECT_EQ(client.stats().replaced, 1U);
}

TEST_F(PatientPoolTest, ReplacesOnlyOnce) {
    std::atomic<int> requests = 0;
    ScriptServer server([&](Peer& peer, int number) {
        if (!peer.read_request()) return;
        ++requests;
        if (number > 0) return;
        peer.send(kOk);
        if (peer.read_request()) ++requests;
    });
    const auto upstream = at(server);
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    const Outcome out = fetch(upstream, post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamClosed);
    EXPECT_EQ(requests, 3);
    EXPECT_EQ(server.accepted(), 2);
}

TEST_F(PoolTest, NeverSendsAgainWhenAByteOfTheAnswerCame) {
    for (const char* begun : {"H", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\n"}) {
        std::atomic<int> requests = 0;
        ScriptServer server([&](Peer& peer, int) {
            if (!peer.read_request()) return;
            ++requests;
            peer.send(kOk);
            if (!peer.read_request()) return;
            ++requests;
            peer.send(begun);
        });
        const auto upstream = at(server);
        ASSERT_TRUE(fetch(upstream, post("{}")).ok());
        const Outcome out = fetch(upstream, post("{}"));
        EXPECT_EQ(out.code(), ErrorCode::kUpstreamClosed) << begun;
        EXPECT_EQ(requests, 2) << begun;
        EXPECT_EQ(server.accepted(), 1) << begun;
    }
}

class ProudPoolTest : public PoolTest {
protected:
    ProudPoolTest() : PoolTest({.stale_at_most = 0ms}) {}
};

// It had the whole request for longer than a stale connection takes to say so: the upstream may
// have worked on it.
TEST_F(ProudPoolTest, DoesNotSendAgainWhatTheUpstreamMayHaveWorkedOn) {
    ScriptServer server([](Peer& peer, int) {
        ASSERT_TRUE(peer.read_request());
        peer.send(kOk);
        EXPECT_TRUE(peer.read_request());
    });
    const auto upstream = at(server);
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    const Outcome out = fetch(upstream, post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamClosed);
    EXPECT_TRUE(out.written);
    EXPECT_EQ(server.accepted(), 1);
}

// Stray bytes in the same packet as the answer, and later ones.
TEST_F(PoolTest, StrayBytesNeverReachTheNextCall) {
    for (const bool together : {true, false}) {
        std::atomic<bool> sent = false;
        ScriptServer server([&](Peer& peer, int number) {
            ASSERT_TRUE(peer.read_request());
            const std::string stray = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nSTRAY";
            if (number > 0) {
                peer.send(kOk);
            } else if (together) {
                peer.send(std::string(kOk) + stray);
            } else {
                peer.send(kOk);
                peer.send(stray);
            }
            sent = true;
            sent.notify_one();
            peer.wait_for_close();
        });
        const auto upstream = at(server);
        ASSERT_TRUE(fetch(upstream, post("{}")).ok());
        sent.wait(false);
        settle();
        const Outcome out = fetch(upstream, post("{}"));
        ASSERT_TRUE(out.ok());
        EXPECT_EQ(out.body, "ok");
        EXPECT_EQ(server.accepted(), 2);
    }
}

TEST_F(PoolTest, AnAnswerThatWasNotReadToItsEndClosesTheConnection) {
    std::atomic<bool> closed = false;
    ScriptServer server([&](Peer& peer, int) {
        ASSERT_TRUE(peer.read_request());
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome");
        peer.wait_for_close();
        closed = true;
    });
    {
        Outcome out;
        const std::unique_ptr<upstream::Call> call = client.call(at(server));
        bool headed = false;
        on_head = [&] { headed = true; };
        begin(*call, post("{}"), out);
        run_until([&] { return headed; });
        call->cancel();
        run_until([&] { return out.done; });
        EXPECT_EQ(out.code(), ErrorCode::kCancelled);
    }
    run_until([&] { return closed.load(); });
    EXPECT_EQ(client.stats().idle, 0U);
    EXPECT_EQ(client.stats().active, 0U);
}

Awaitable<> start_only(upstream::Call& call, upstream::CallRequest request, bool& done) {
    const Result<> started = co_await call.start(std::move(request));
    EXPECT_TRUE(started);
    done = true;
}

TEST_F(PoolTest, DestroyingACallInTheMiddleClosesTheConnection) {
    std::atomic<bool> closed = false;
    ScriptServer server([&](Peer& peer, int) {
        ASSERT_TRUE(peer.read_request());
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome");
        peer.wait_for_close();
        closed = true;
    });
    std::unique_ptr<upstream::Call> call = client.call(at(server));
    bool done = false;
    asio::co_spawn(worker.get_executor(), start_only(*call, post("{}"), done), &rethrow);
    run_until([&] { return done; });
    EXPECT_EQ(client.stats().active, 1U);
    call.reset();
    run_until([&] { return closed.load(); });
    EXPECT_EQ(client.stats().active, 0U);
    EXPECT_EQ(client.stats().idle, 0U);
}

TEST_F(PoolTest, CancellingAfterTheEndChangesNothing) {
    ScriptServer server(&answer_all);
    const auto upstream = at(server);
    {
        Outcome out;
        const std::unique_ptr<upstream::Call> call = client.call(upstream);
        begin(*call, post("{}"), out);
        run_until([&] { return out.done; });
        call->cancel();
        EXPECT_TRUE(out.ok());
    }
    EXPECT_EQ(client.stats().idle, 1U);
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    EXPECT_EQ(server.accepted(), 1);
}

TEST_F(PoolTest, CloseIdleClosesThemAndThoseInUseLater) {
    std::atomic<int> closed = 0;
    ScriptServer server([&](Peer& peer, int number) {
        answer_all(peer, number);
        ++closed;
    });
    const auto upstream = at(server);
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    client.close_idle();
    EXPECT_EQ(client.stats().idle, 0U);
    run_until([&] { return closed == 1; });
    on_head = [&] { client.close_idle(); };
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    run_until([&] { return closed == 2; });
    on_head = nullptr;
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    EXPECT_EQ(client.stats().idle, 1U);
}

class SmallPoolTest : public PoolTest {
protected:
    SmallPoolTest() : PoolTest({.idle_per_identity = 2, .idle_time = 30ms}) {}
};

TEST_F(SmallPoolTest, KeepsAtMostSoManyAndForgetsThemAfterAWhile) {
    std::atomic<int> closed = 0;
    std::atomic<int> waiting = 0;
    ScriptServer server([&](Peer& peer, int) {
        ASSERT_TRUE(peer.read_request());
        // All of them are in flight together before the first is answered.
        ++waiting;
        waiting.notify_all();
        for (int seen = waiting; seen < 5; seen = waiting) waiting.wait(seen);
        peer.send(kOk);
        peer.wait_for_close();
        ++closed;
    });
    const auto upstream = at(server);
    std::vector<Outcome> outcomes(5);
    std::vector<std::unique_ptr<upstream::Call>> calls;
    for (Outcome& out : outcomes) {
        calls.push_back(client.call(upstream));
        begin(*calls.back(), post("{}"), out);
    }
    run_until([&] { return std::ranges::all_of(outcomes, &Outcome::done); });
    for (const Outcome& out : outcomes) EXPECT_TRUE(out.ok());
    EXPECT_LE(client.stats().idle, 2U);
    run_until([&] { return closed == 5; });
    EXPECT_EQ(client.stats().idle, 0U);
}

// What the upstream says about idle connections, and what it does, is believed over `idle_time`.
TEST_F(PoolTest, DropsAnIdleConnectionASecondBeforeTheUpstreamWould) {
    for (const auto& [told, kept] :
         {std::pair<const char*, bool>{"timeout=2", true},
          {"max=100, Timeout=60", true},
          {"timeout=1", false},
          {"timeout=0, max=5", false},
          {"timeout=x", true},
          {"", true}}) {
        ScriptServer server([said = std::string(told)](Peer& peer, int) {
            while (peer.read_request()) {
                peer.send(
                    "HTTP/1.1 200 OK\r\nKeep-Alive: " + said + "\r\ncontent-length: 2\r\n\r\nok"
                );
            }
        });
        ASSERT_TRUE(fetch(at(server), post("{}")).ok());
        EXPECT_EQ(client.stats().idle, kept ? 1U : 0U) << told;
        client.close_idle();
    }
}

TEST_F(PoolTest, AConnectionIsGoneWhenTheToldTimeIsOver) {
    std::atomic<bool> closed = false;
    ScriptServer server([&](Peer& peer, int) {
        ASSERT_TRUE(peer.read_request());
        peer.send("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\ncontent-length: 2\r\n\r\nok");
        peer.wait_for_close();
        closed = true;
    });
    const auto began = std::chrono::steady_clock::now();
    ASSERT_TRUE(fetch(at(server), post("{}")).ok());
    run_until([&] { return closed.load(); });
    const auto took = std::chrono::steady_clock::now() - began;
    EXPECT_GE(took, 1s);
    EXPECT_LT(took, 2s);
    EXPECT_EQ(client.stats().idle, 0U);
}

// An upstream that says nothing and closes after a while: found once, not waited for again.
TEST_F(PoolTest, LearnsHowLongAnUpstreamKeepsConnections) {
    std::atomic<int> closed = 0;
    ScriptServer server([&](Peer& peer, int number) {
        ASSERT_TRUE(peer.read_request());
        peer.send(kOk);
        if (number == 0) {
            std::this_thread::sleep_for(50ms);
            peer.close();
        }
        peer.wait_for_close();
        ++closed;
    });
    const auto upstream = at(server);
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    // Our side stays open until the next call looks at it.
    worker.restart();
    worker.run_for(100ms);
    EXPECT_EQ(client.stats().idle, 1U);
    const auto began = std::chrono::steady_clock::now();
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    EXPECT_EQ(server.accepted(), 2);
    run_until([&] { return client.stats().idle == 0; });
    const auto took = std::chrono::steady_clock::now() - began;
    EXPECT_GE(took, 1s) << "the shortest";
    EXPECT_LT(took, 5s);
}

TEST(ClientEnd, ACallMayOutliveItsClient) {
    asio::io_context worker{1};
    ScriptServer server(&answer_all);
    auto upstream = std::make_shared<config::Upstream>(
        *upstream::upstream_from_url("http://127.0.0.1:" + std::to_string(server.port()), "test")
    );
    std::unique_ptr<upstream::Call> call;
    {
        upstream::Client client(worker);
        call = client.call(upstream);
    }
    Outcome out;
    asio::co_spawn(
        worker.get_executor(),
        run_call(*call, {"POST", "/", {}, "{}"}, out, nullptr, nullptr),
        &rethrow
    );
    worker.run();
    EXPECT_TRUE(out.ok());
}

}  // namespace
}  // namespace weir::test
