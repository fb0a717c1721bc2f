// Too slow, or not wanted any more: each stage of a call ends in time and says so.
#include <latch>

#include "call_fixture.hpp"
#include "support/black_hole.hpp"

namespace weir::test {
namespace {

using upstream::Call;

constexpr auto kShort = 60ms;

TEST_F(CallTest, AConnectThatNobodyAnswersTimesOut) {
    const BlackHole hole;
    if (!hole.full()) GTEST_SKIP() << "this kernel takes connections beyond the backlog";
    const auto upstream = at("http://127.0.0.1:" + std::to_string(hole.port()));
    upstream->timeouts.connect = kShort;
    const Outcome out = fetch(upstream, post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamTimeout);
    EXPECT_EQ(out.stage, Call::Stage::kConnect);
    EXPECT_FALSE(out.written);
}

TEST_F(CallTest, SilenceAfterTheRequestIsAFirstByteTimeout) {
    ScriptServer server([](Peer& peer, int) { peer.wait_for_close(); });
    const auto upstream = at(server);
    upstream->timeouts.first_byte = kShort;
    const Outcome out = fetch(upstream, post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamTimeout);
    EXPECT_EQ(out.stage, Call::Stage::kFirstByte);
    EXPECT_TRUE(out.written);
    EXPECT_EQ(server.accepted(), 1) << "a slow upstream is not asked twice";
}

TEST_F(CallTest, ADrippingHeadDoesNotMoveTheFirstByteTimeout) {
    ScriptServer server([](Peer& peer, int) {
        ASSERT_TRUE(peer.read_request());
        peer.send("HTTP/1.1 200 OK\r\n");
        while (peer.send("x-drip: 1\r\n")) std::this_thread::sleep_for(5ms);
    });
    const auto upstream = at(server);
    upstream->timeouts.first_byte = kShort;
    const Outcome out = fetch(upstream, post("{}"));
    // Drips faster than the timeout end at the limit of fields at the latest.
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamTimeout);
}

TEST_F(CallTest, SilenceInTheBodyIsAnIdleTimeout) {
    ScriptServer server([](Peer& peer, int) {
        ASSERT_TRUE(peer.read_request());
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        peer.wait_for_close();
    });
    const auto upstream = at(server);
    upstream->timeouts.idle = kShort;
    const Outcome out = fetch(upstream, post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamTimeout);
    EXPECT_EQ(out.stage, Call::Stage::kBody);
    EXPECT_EQ(out.body, "half");
}

TEST_F(CallTest, DripsKeepTheIdleTimeoutAwayButNotTheTotal) {
    ScriptServer server([](Peer& peer, int) {
        ASSERT_TRUE(peer.read_request());
        peer.send("HTTP/1.1 200 OK\r\n\r\n");
        while (peer.send("drip")) std::this_thread::sleep_for(5ms);
    });
    const auto upstream = at(server);
    upstream->timeouts.idle = 10s;
    upstream->timeouts.total = 150ms;
    const Outcome out = fetch(upstream, post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamTimeout);
    EXPECT_GT(out.reads, 2);
    EXPECT_NE(out.error->detail.find("whole call"), std::string::npos) << out.error->detail;
}

TEST_F(CallTest, ACallsOwnDeadlineBoundsItsUpstreams) {
    ScriptServer server([](Peer& peer, int) { peer.wait_for_close(); });
    upstream::CallRequest request = post("{}");
    request.deadline = Deadline::in(kShort);
    const Outcome out = fetch(at(server), request);
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamTimeout);
    EXPECT_NE(out.error->detail.find("whole call"), std::string::npos) << out.error->detail;
}

TEST_F(CallTest, AnUpstreamThatTakesNoMoreOfTheRequestTimesOut) {
    std::atomic<bool> ended = false;
    ScriptServer server([&](Peer& peer, int) {
        ASSERT_TRUE(peer.read_head());
        ended.wait(false);
    });
    const auto upstream = at(server);
    upstream->timeouts.write = kShort;
    const std::string body(32 << 20, 'x');
    const Outcome out = fetch(upstream, post(body));
    ended = true;
    ended.notify_one();
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamTimeout);
    EXPECT_EQ(out.stage, Call::Stage::kWrite);
    EXPECT_FALSE(out.written);
}

// A slow reader of ours is not the upstream's fault.
Awaitable<> read_slowly(
    upstream::Call& call, upstream::CallRequest request, Timer& pause, Outcome& out
) {
    const Result<> started = co_await call.start(std::move(request));
    if (!started) out.error = started.error();
    std::string bytes;
    while (started) {
        Result<bool> more = co_await call.read(bytes);
        if (!more) out.error = more.error();
        if (!more || !*more) break;
        out.body += bytes;
        pause.expires_after(3 * kShort);
        co_await pause.async_wait(kAwait);
    }
    out.done = true;
}

TEST_F(CallTest, TheTimeThatTheReaderTakesIsNotTheUpstreams) {
    ScriptServer server([](Peer& peer, int) {
        ASSERT_TRUE(peer.read_request());
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf");
        peer.send("half");
        peer.wait_for_close();
    });
    const auto upstream = at(server);
    upstream->timeouts.idle = kShort;
    const std::unique_ptr<upstream::Call> call = client.call(upstream);
    Outcome out;
    Timer pause(worker.get_executor());
    asio::co_spawn(worker.get_executor(), read_slowly(*call, post("{}"), pause, out), &rethrow);
    run_until([&] { return out.done; });
    EXPECT_TRUE(out.ok());
    EXPECT_EQ(out.body, "halfhalf");
}

// Cancels `call` once `there` says so, and returns how long the call took to end.
class CancelTest : public CallTest {
protected:
    void cancel_when(
        const std::shared_ptr<const config::Upstream>& upstream,
        upstream::CallRequest request,
        const std::function<bool(const Call&)>& there
    ) {
        Outcome out;
        const std::unique_ptr<Call> call = client.call(upstream);
        begin(*call, std::move(request), out);
        run_until([&] { return out.done || there(*call); });
        EXPECT_FALSE(out.done) << "it ended before it could be cancelled";
        const auto began = std::chrono::steady_clock::now();
        call->cancel();
        run_until([&] { return out.done; });
        const auto took = std::chrono::steady_clock::now() - began;
        EXPECT_EQ(out.code(), ErrorCode::kCancelled);
        EXPECT_LT(took, 100ms) << "all its timeouts are 30 s";
        EXPECT_EQ(client.stats().idle, 0U);
        EXPECT_EQ(client.stats().active, 0U);
    }
};

TEST_F(CancelTest, BeforeTheStart) {
    ScriptServer server([](Peer& peer, int) { peer.wait_for_close(); });
    const std::unique_ptr<Call> call = client.call(at(server));
    call->cancel();
    Outcome out;
    begin(*call, post("{}"), out);
    run_until([&] { return out.done; });
    EXPECT_EQ(out.code(), ErrorCode::kCancelled);
    EXPECT_EQ(server.accepted(), 0);
}

TEST_F(CancelTest, WhileConnecting) {
    const BlackHole hole;
    if (!hole.full()) GTEST_SKIP() << "this kernel takes connections beyond the backlog";
    cancel_when(
        at("http://127.0.0.1:" + std::to_string(hole.port())),
        post("{}"),
        [](const Call& call) { return call.stage() == Call::Stage::kConnect; }
    );
}

TEST_F(CancelTest, WhileWriting) {
    std::atomic<bool> started = false;
    std::latch ended(1);
    ScriptServer server([&](Peer& peer, int) {
        ASSERT_TRUE(peer.read_head());
        started = true;
        ended.wait();
    });
    const std::string body(32 << 20, 'x');
    cancel_when(at(server), post(body), [&](const Call& call) {
        return started && call.stage() == Call::Stage::kWrite;
    });
    ended.count_down();
}

TEST_F(CancelTest, WhileWaitingForTheAnswer) {
    std::atomic<bool> started = false;
    std::atomic<bool> closed = false;
    ScriptServer server([&](Peer& peer, int) {
        ASSERT_TRUE(peer.read_request());
        started = true;
        peer.wait_for_close();
        closed = true;
    });
    cancel_when(at(server), post("{}"), [&](const Call&) { return started.load(); });
    run_until([&] { return closed.load(); });
}

TEST_F(CancelTest, WhileReadingTheBody) {
    std::atomic<bool> closed = false;
    ScriptServer server([&](Peer& peer, int) {
        ASSERT_TRUE(peer.read_request());
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n");
        peer.wait_for_close();
        closed = true;
    });
    bool part = false;
    on_read = [&] { part = true; };
    cancel_when(at(server), post("{}"), [&](const Call&) { return part; });
    run_until([&] { return closed.load(); });
}

Awaitable<> own_and_run(
    std::unique_ptr<Call> call, upstream::CallRequest request, Call::Stage& stage, bool& ended
) {
    const Result<> started = co_await call->start(std::move(request));
    stage = call->stage();
    ended = started || !started;
}

// A worker that stops with calls in the air frees everything (the sanitizers look).
TEST(WorkerEnd, CallsInTheAirEndWithTheWorker) {
    std::atomic<int> arrived = 0;
    ScriptServer server([&](Peer& peer, int) {
        if (peer.read_head()) ++arrived;
        peer.wait_for_close();
    });
    auto upstream = std::make_shared<config::Upstream>(
        *upstream::upstream_from_url("http://127.0.0.1:" + std::to_string(server.port()), "test")
    );
    const std::string small = "{}";
    const std::string large(32 << 20, 'x');
    Call::Stage stage = Call::Stage::kResolve;
    bool ended = false;
    {
        asio::io_context worker{1};
        upstream::Client client(worker);
        for (const std::string_view body : {std::string_view(small), std::string_view(large)}) {
            asio::co_spawn(
                worker.get_executor(),
                own_and_run(client.call(upstream), {"POST", "/", {}, body}, stage, ended),
                &rethrow
            );
        }
        while (arrived < 2) worker.run_one_for(20ms);
    }
    EXPECT_FALSE(ended);
}

}  // namespace
}  // namespace weir::test
