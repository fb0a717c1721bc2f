// Names: shared lookups, their cache, several addresses, and giving up while a lookup hangs.
#include <utility>

#include "call_fixture.hpp"
#include "support/black_hole.hpp"

namespace weir::test {
namespace {

using upstream::Call;
using Addresses = std::vector<asio::ip::address>;

void answer_all(Peer& peer, int) {
    while (peer.read_request()) {
        peer.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
        peer.close();
    }
}

// What the lookups of a test give; asked on other threads.
struct Names {
    std::atomic<int> asked = 0;
    std::atomic<bool> hold = false;  // lookups wait until it is false
    std::atomic<bool> broken = false;
    std::atomic<bool> moved = false;  // to where nobody is
    Addresses addresses = {asio::ip::make_address("127.0.0.1")};
};

std::shared_ptr<Names>& names() {
    static std::shared_ptr<Names> current;
    return current;
}

class ResolveTest : public CallTest {
protected:
    explicit ResolveTest(std::chrono::milliseconds ttl = 30s)
        : CallTest({.resolve_ttl = ttl, .lookup = lookup_of(names() = std::make_shared<Names>())}) {
    }
    ~ResolveTest() override { release(); }

    static std::function<Result<Addresses>(const std::string&)> lookup_of(
        std::shared_ptr<Names> with
    ) {
        return [with](const std::string&) -> Result<Addresses> {
            ++with->asked;
            with->hold.wait(true);
            if (with->broken) return fail(ErrorCode::kUpstreamConnect, "no such name");
            if (with->moved) return Addresses{asio::ip::make_address("127.0.0.2")};
            return with->addresses;
        };
    }
    void release() {
        script->hold = false;
        script->hold.notify_all();
    }
    [[nodiscard]] static std::shared_ptr<config::Upstream> named(
        const std::string& host, const ScriptServer& server
    ) {
        return at("http://" + host + ":" + std::to_string(server.port()));
    }

    std::shared_ptr<Names> script = names();
};

TEST_F(CallTest, TheSystemKnowsLocalhost) {
    ScriptServer server(&answer_all);
    const Outcome out = fetch(at("http://localhost:" + std::to_string(server.port())), post("{}"));
    ASSERT_TRUE(out.ok()) << out.error->detail;
    EXPECT_EQ(out.body, "ok");
}

TEST_F(ResolveTest, TriesEveryAddress) {
    script->addresses = {
        asio::ip::make_address("::1"),
        asio::ip::make_address("127.0.0.1"),
        asio::ip::make_address("127.0.0.1")
    };
    ScriptServer server(&answer_all);  // IPv4 only
    const auto upstream = named("both.test", server);
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    EXPECT_EQ(client.stats().connects, 2U);
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    EXPECT_EQ(client.stats().connects, 3U) << "the address that worked is tried first";
}

// RFC 8305: a silent address costs 250 ms, not the time to connect.
TEST_F(ResolveTest, ASilentAddressDoesNotHoldUpTheNextOne) {
    ScriptServer server(&answer_all, nullptr, true);  // ::1 only
    const BlackHole hole(server.port());
    if (!hole.full()) GTEST_SKIP() << "this kernel takes connections beyond the backlog";
    script->addresses = {asio::ip::make_address("127.0.0.1"), asio::ip::make_address("::1")};
    const auto upstream = named("both.test", server);
    const auto began = std::chrono::steady_clock::now();
    const Outcome out = fetch(upstream, post("{}"));
    const auto took = std::chrono::steady_clock::now() - began;
    ASSERT_TRUE(out.ok()) << out.error->detail;
    EXPECT_GE(took, 250ms);
    EXPECT_LT(took, 2s);
    EXPECT_EQ(client.stats().connects, 2U);
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    EXPECT_EQ(client.stats().connects, 3U) << "the address that worked is tried first";
}

TEST_F(ResolveTest, TheFirstToConnectWinsAndTheOthersAreClosed) {
    std::atomic<int> closed = 0;
    ScriptServer server(
        [&](Peer& peer, int) {
            if (peer.read_request()) {
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
            peer.wait_for_close();
            ++closed;
        },
        nullptr,
        true
    );
    const BlackHole hole(server.port());
    if (!hole.full()) GTEST_SKIP() << "this kernel takes connections beyond the backlog";
    script->addresses = {asio::ip::make_address("127.0.0.1"), asio::ip::make_address("::1")};
    ASSERT_TRUE(fetch(named("both.test", server), post("{}")).ok());
    // The one to the silent address is not left behind, and the winner stays.
    EXPECT_EQ(client.stats().idle, 1U);
    EXPECT_EQ(closed, 0);
    EXPECT_EQ(server.accepted(), 1);
}

TEST_F(ResolveTest, OnlySilentAddressesAreAConnectTimeout) {
    const BlackHole hole;
    if (!hole.full()) GTEST_SKIP() << "this kernel takes connections beyond the backlog";
    script->addresses = {asio::ip::make_address("127.0.0.1")};
    const auto upstream = at("http://silent.test:" + std::to_string(hole.port()));
    upstream->timeouts.connect = 300ms;
    const Outcome out = fetch(upstream, post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamTimeout);
    EXPECT_EQ(out.stage, Call::Stage::kConnect);
}

TEST_F(ResolveTest, AllAddressesRefusedIsAConnectError) {
    script->addresses = {asio::ip::make_address("::1"), asio::ip::make_address("127.0.0.1")};
    std::shared_ptr<config::Upstream> upstream;
    {
        const ScriptServer server(&answer_all);
        upstream = named("both.test", server);
    }
    const Outcome out = fetch(upstream, post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamConnect);
    EXPECT_EQ(out.stage, Call::Stage::kConnect);
    EXPECT_EQ(client.stats().connects, 2U);
}

TEST_F(ResolveTest, AsksOnceForCallsAtTheSameTimeAndRemembers) {
    script->hold = true;
    ScriptServer server(&answer_all);
    const auto upstream = named("slow.test", server);
    std::vector<Outcome> outcomes(8);
    std::vector<std::unique_ptr<Call>> calls;
    for (Outcome& out : outcomes) {
        calls.push_back(client.call(upstream));
        begin(*calls.back(), post("{}"), out);
    }
    run_until([&] { return script->asked == 1 && client.stats().active == 8; });
    release();
    run_until([&] { return std::ranges::all_of(outcomes, &Outcome::done); });
    for (const Outcome& out : outcomes) EXPECT_TRUE(out.ok());
    EXPECT_EQ(script->asked, 1);
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    EXPECT_EQ(script->asked, 1);
}

class ForgetfulTest : public ResolveTest {
protected:
    ForgetfulTest() : ResolveTest(0ms) {}
    // One good call after another until one had that effect.
    void fetch_until(
        const std::shared_ptr<const config::Upstream>& upstream, const std::function<bool()>& ready
    ) {
        const auto give_up = std::chrono::steady_clock::now() + 30s;
        do {
            ASSERT_LT(std::chrono::steady_clock::now(), give_up) << "nothing happened for 30 s";
            const Outcome out = fetch(upstream, post("{}"));
            ASSERT_TRUE(out.ok()) << out.error->detail;
            std::this_thread::sleep_for(5ms);  // the server keeps a thread for each call
        } while (!ready());
    }
};

TEST_F(ForgetfulTest, AsksAgainWhenTheAnswerIsOldAndLivesThroughAnOutage) {
    ScriptServer server(&answer_all);
    const auto upstream = named("moving.test", server);
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    EXPECT_EQ(script->asked, 1);
    // Later lookups are nobody's to wait for: calls until another one was begun.
    fetch_until(upstream, [&] { return script->asked == 2; });
    script->broken = true;
    fetch_until(upstream, [&] { return script->asked == 3; });
    const Outcome out = fetch(upstream, post("{}"));
    EXPECT_TRUE(out.ok()) << "the last known address is better than none";
}

// Name servers that are cut off do not fail, they say nothing for longer than a call may connect.
TEST_F(ForgetfulTest, AnOldAnswerServesAtOnceWhileALookupHangs) {
    ScriptServer server(&answer_all);
    const auto upstream = named("known.test", server);
    upstream->timeouts.connect = 10s;
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    script->hold = true;
    for (int i = 0; i < 5; ++i) {
        const Outcome out = fetch(upstream, post("{}"));
        ASSERT_TRUE(out.ok()) << out.error->detail;
    }
    run_until([&] { return script->asked == 2; });
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    EXPECT_EQ(script->asked, 2) << "one at a time for a name";
    EXPECT_EQ(client.stats().connects, 7U);
    // What it brings in the end is taken: an address that costs another connect.
    script->addresses = {asio::ip::make_address("::1"), asio::ip::make_address("127.0.0.1")};
    release();
    std::uint64_t before = 0;
    std::uint64_t now = client.stats().connects;
    fetch_until(upstream, [&] {
        before = std::exchange(now, client.stats().connects);
        return now == before + 2;
    });
}

TEST_F(ForgetfulTest, AHostThatMovedIsFoundByTheFirstCall) {
    ScriptServer server(&answer_all);  // nobody is at 127.0.0.2
    const auto upstream = named("moved.test", server);
    script->addresses = {asio::ip::make_address("127.0.0.2")};
    EXPECT_EQ(fetch(upstream, post("{}")).code(), ErrorCode::kUpstreamConnect);
    EXPECT_EQ(client.stats().connects, 1U);
    script->addresses = {asio::ip::make_address("127.0.0.1")};
    const Outcome out = fetch(upstream, post("{}"));
    ASSERT_TRUE(out.ok()) << out.error->detail;
    EXPECT_EQ(client.stats().connects, 3U);
}

// An idle connection to where the host was is of no use, however alive it is.
TEST_F(ForgetfulTest, IdleConnectionsToAddressesThatAreGoneAreNotUsed) {
    std::atomic<int> closed = 0;
    const auto keep_open = [&](Peer& peer, int) {
        while (peer.read_request()) {
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
        ++closed;
    };
    ScriptServer server(keep_open);
    const auto upstream = named("moving.test", server);
    for (int i = 0; i < 5; ++i) {
        ASSERT_TRUE(fetch(upstream, post("{}")).ok());
        worker.restart();
        worker.run_for(5ms);  // a lookup that said the same comes back
    }
    EXPECT_EQ(server.accepted(), 1);
    EXPECT_GT(script->asked, 1) << "also while connections are reused";
    script->moved = true;
    const std::uint64_t before = client.stats().connects;
    for (int i = 0; i < 100 && client.stats().connects == before; ++i) {
        (void)fetch(upstream, post("{}"));
        worker.restart();
        worker.run_for(5ms);
    }
    EXPECT_GT(client.stats().connects, before) << "nobody is where the name points now";
    run_until([&] { return closed == 1; });
    EXPECT_EQ(client.stats().idle, 0U);
}

TEST_F(ForgetfulTest, AHostThatDidNotMoveIsNotTriedTwice) {
    std::shared_ptr<config::Upstream> upstream;
    {
        const ScriptServer server(&answer_all);
        upstream = named("down.test", server);
    }
    for (const std::uint64_t connects : {1U, 2U}) {
        EXPECT_EQ(fetch(upstream, post("{}")).code(), ErrorCode::kUpstreamConnect);
        EXPECT_EQ(client.stats().connects, connects);
    }
}

TEST_F(ResolveTest, AnUnknownNameIsAConnectErrorAndNotAskedForInABurst) {
    script->broken = true;
    ScriptServer server(&answer_all);
    // That there is none is kept for 1 s. A machine on which three calls take longer gets more
    // tries, each with a name that was not asked for.
    bool in_time = false;
    for (int i = 0; i < 20 && !in_time; ++i) {
        const auto upstream = named("missing" + std::to_string(i) + ".test", server);
        const int before = script->asked;
        const auto began = std::chrono::steady_clock::now();
        for (int j = 0; j < 3; ++j) {
            const Outcome out = fetch(upstream, post("{}"));
            EXPECT_EQ(out.code(), ErrorCode::kUpstreamConnect);
            EXPECT_EQ(out.stage, Call::Stage::kResolve);
        }
        in_time = std::chrono::steady_clock::now() - began < 1s;
        if (in_time) EXPECT_EQ(script->asked, before + 1);
    }
    EXPECT_TRUE(in_time);
    EXPECT_EQ(client.stats().connects, 0U);
}

TEST_F(ResolveTest, AnUnknownNameIsAskedForAgainAfterAWhile) {
    script->broken = true;
    ScriptServer server(&answer_all);
    const auto upstream = named("new.test", server);
    EXPECT_EQ(fetch(upstream, post("{}")).code(), ErrorCode::kUpstreamConnect);
    script->broken = false;
    const auto give_up = std::chrono::steady_clock::now() + 30s;
    while (!fetch(upstream, post("{}")).ok()) {
        ASSERT_LT(std::chrono::steady_clock::now(), give_up);
        std::this_thread::sleep_for(10ms);
    }
    EXPECT_EQ(script->asked, 2);
}

TEST_F(ResolveTest, CancelEndsTheCallWhileTheLookupHangs) {
    script->hold = true;
    ScriptServer server(&answer_all);
    const auto upstream = named("hanging.test", server);
    Outcome out;
    const std::unique_ptr<Call> call = client.call(upstream);
    begin(*call, post("{}"), out);
    run_until([&] { return script->asked == 1; });
    const auto began = std::chrono::steady_clock::now();
    call->cancel();
    run_until([&] { return out.done; });
    EXPECT_LT(std::chrono::steady_clock::now() - began, 100ms);
    EXPECT_EQ(out.code(), ErrorCode::kCancelled);
    EXPECT_EQ(out.stage, Call::Stage::kResolve);
    // The lookup goes on, and serves the next call.
    release();
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    EXPECT_EQ(script->asked, 1);
}

TEST_F(ResolveTest, ALookupThatHangsIsAConnectTimeout) {
    script->hold = true;
    ScriptServer server(&answer_all);
    const auto upstream = named("hanging.test", server);
    upstream->timeouts.connect = 50ms;
    const Outcome out = fetch(upstream, post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamTimeout);
    EXPECT_EQ(out.stage, Call::Stage::kResolve);
}

TEST_F(ResolveTest, ManyNamesWaitForTheirTurn) {
    script->hold = true;
    ScriptServer server(&answer_all);
    std::vector<Outcome> outcomes(12);
    std::vector<std::unique_ptr<Call>> calls;
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
        calls.push_back(client.call(named("n" + std::to_string(i) + ".test", server)));
        begin(*calls.back(), post("{}"), outcomes[i]);
    }
    run_until([&] { return script->asked == 4 && client.stats().active == 12; });
    EXPECT_EQ(script->asked, 4);
    release();
    run_until([&] { return std::ranges::all_of(outcomes, &Outcome::done); });
    for (const Outcome& out : outcomes) EXPECT_TRUE(out.ok());
    EXPECT_EQ(script->asked, 12);
}

// A lookup that comes back after the client, and even the worker, is gone touches nothing.
TEST(ResolverEnd, ALateLookupFindsNobody) {
    auto with = std::make_shared<Names>();
    with->hold = true;
    std::atomic<bool> back = false;
    auto upstream =
        std::make_shared<config::Upstream>(*upstream::upstream_from_url("http://late.test", "test")
        );
    Outcome out;
    {
        asio::io_context worker{1};
        std::unique_ptr<Call> call;
        {
            upstream::ClientOptions options;
            options.lookup = [with, &back](const std::string&) -> Result<Addresses> {
                ++with->asked;
                with->hold.wait(true);
                back = true;
                back.notify_all();
                return with->addresses;
            };
            upstream::Client client(worker, std::move(options));
            call = client.call(upstream);
            asio::co_spawn(
                worker.get_executor(),
                run_call(*call, {"POST", "/", {}, "{}"}, out, nullptr, nullptr),
                &rethrow
            );
            while (with->asked == 0) worker.poll();
        }
        worker.run();
        EXPECT_EQ(out.code(), ErrorCode::kUpstreamConnect) << "woken by the client's end";
    }
    with->hold = false;
    with->hold.notify_all();
    back.wait(false);
    EXPECT_TRUE(out.done);
}

}  // namespace
}  // namespace weir::test
