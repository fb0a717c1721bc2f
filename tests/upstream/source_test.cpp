// Bodies that are passed on as they come: framing, pace, and every way that they can end.
#include <deque>
#include <latch>
#include <random>

#include "weir/base/signal.hpp"

#include "call_fixture.hpp"
#include "support/certificates.hpp"

namespace weir::test {
namespace {

using upstream::Call;

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

// Gives what it was given. Once that is used up it waits for more, or for stop().
class Parts final : public upstream::BodySource {
public:
    explicit Parts(Executor home) : wake_(Signal::create(home)) {}

    void give(std::string part) {
        parts_.push_back(std::move(part));
        wake_->notify_home();
    }
    void end() {
        ended_ = true;
        wake_->notify_home();
    }
    void break_off(ErrorCode code) {
        error_ = Error{code, "the client left"};
        wake_->notify_home();
    }

    Awaitable<Result<std::string_view>> next() override {
        ++asked;
        waiting = true;
        while (parts_.empty() && !ended_ && !error_ && !stopped) co_await wake_->wait();
        waiting = false;
        if (stopped) co_return fail(ErrorCode::kInternal, "nobody may look at this");
        if (!parts_.empty()) {
            current_ = std::move(parts_.front());
            parts_.pop_front();
            co_return std::string_view(current_);
        }
        if (error_) co_return std::unexpected(*error_);
        co_return std::string_view();
    }
    void stop() noexcept override {
        EXPECT_FALSE(stopped) << "told twice";
        stopped = true;
        wake_->notify_home();
    }

    int asked = 0;
    bool waiting = false;
    bool stopped = false;

private:
    std::shared_ptr<Signal> wake_;
    std::deque<std::string> parts_;
    std::string current_;
    std::optional<Error> error_;
    bool ended_ = false;
};

// `bytes` in all, made as they are asked for; never waits.
class Endless final : public upstream::BodySource {
public:
    explicit Endless(std::uint64_t bytes) : left_(bytes) {}
    Awaitable<Result<std::string_view>> next() override {
        const std::size_t size = std::min<std::uint64_t>(left_, part_.size());
        left_ -= size;
        co_return std::string_view(part_).substr(0, size);
    }
    [[nodiscard]] std::uint64_t left() const { return left_; }

private:
    std::string part_ = std::string(64 << 10, 'x');
    std::uint64_t left_;
};

class SourceTest : public CallTest {
protected:
    using CallTest::CallTest;
    [[nodiscard]] static upstream::CallRequest relay(
        std::shared_ptr<upstream::BodySource> source, std::optional<std::uint64_t> bytes = {}
    ) {
        upstream::CallRequest request{"POST", "/v1/files", {}, {}};
        request.source = std::move(source);
        request.source_bytes = bytes;
        return request;
    }
    [[nodiscard]] std::shared_ptr<Parts> parts() {
        return std::make_shared<Parts>(worker.get_executor());
    }
};

TEST_F(SourceTest, IsSentWithItsLengthOrInChunks) {
    for (const bool told : {true, false}) {
        std::string head;
        std::string body;
        bool whole = false;
        ScriptServer server([&](Peer& peer, int) {
            ASSERT_TRUE(peer.read_head());
            head = peer.head();
            whole = told ? peer.read_body(10) : peer.read_chunked();
            body = peer.body();
            peer.send(kOk);
            peer.wait_for_close();
        });
        const auto source = parts();
        for (const char* part : {"hel", "lo, ", "you"}) source->give(part);
        source->end();
        upstream::CallRequest request = told ? relay(source, 10) : relay(source);
        request.fields.add("Content-Length", "9990000");
        request.fields.add("Transfer-Encoding", "gzip");
        const Outcome out = fetch(at(server), std::move(request));
        ASSERT_TRUE(out.ok()) << out.error->detail;
        EXPECT_TRUE(out.written);
        EXPECT_TRUE(whole);
        EXPECT_EQ(body, "hello, you");
        EXPECT_EQ(head.find("Content-Length: 10\r\n") != std::string::npos, told) << head;
        EXPECT_EQ(head.find("Transfer-Encoding: chunked\r\n") != std::string::npos, !told) << head;
        EXPECT_EQ(head.find("9990000"), std::string::npos);
        EXPECT_EQ(head.find("gzip"), std::string::npos);
        EXPECT_FALSE(source->stopped) << "it came to its end";
        EXPECT_EQ(client.stats().idle, 1U);
        client.close_idle();
    }
}

TEST_F(SourceTest, AnEmptyOneIsAnEmptyBody) {
    for (const bool told : {true, false}) {
        ScriptServer server([&](Peer& peer, int) {
            ASSERT_TRUE(peer.read_head());
            EXPECT_EQ(peer.field("content-length"), told ? "0" : "");
            if (!told) EXPECT_TRUE(peer.read_chunked());
            EXPECT_EQ(peer.body(), "");
            peer.send(kOk);
            peer.wait_for_close();
        });
        const auto source = parts();
        source->end();
        const Outcome out = fetch(at(server), told ? relay(source, 0) : relay(source));
        EXPECT_TRUE(out.ok());
    }
}

// What has come goes out at once; the source is asked only when it has.
TEST_F(SourceTest, GoesOutAsItComes) {
    std::atomic<int> seen = 0;
    ScriptServer server([&](Peer& peer, int) {
        ASSERT_TRUE(peer.read_head());
        for (int i = 0; i < 5; ++i) {
            ASSERT_TRUE(peer.read_body(4));
            EXPECT_EQ(peer.body(), "part");
            ++seen;
        }
        peer.send(kOk);
        peer.wait_for_close();
    });
    const auto source = parts();
    Outcome out;
    const std::unique_ptr<Call> call = client.call(at(server));
    begin(*call, relay(source, 20), out);
    for (int i = 0; i < 5; ++i) {
        EXPECT_FALSE(call->request_written());
        source->give("part");
        run_until([&] { return seen == i + 1; });
    }
    source->end();
    run_until([&] { return out.done; });
    EXPECT_TRUE(out.ok());
    EXPECT_TRUE(out.written);
}

// A peer that takes nothing holds the source up: nothing is gathered.
TEST_F(SourceTest, ASlowUpstreamHoldsTheSourceUp) {
    constexpr std::uint64_t kBytes = 256 << 20;
    std::latch go(1);
    ScriptServer server([&](Peer& peer, int) {
        ASSERT_TRUE(peer.read_head());
        go.wait();
        for (std::uint64_t at = 0; at < kBytes; at += 64 << 10) {
            ASSERT_TRUE(peer.read_body(64 << 10));
        }
        peer.send(kOk);
        peer.wait_for_close();
    });
    const auto source = std::make_shared<Endless>(kBytes);
    Outcome out;
    const std::unique_ptr<Call> call = client.call(at(server));
    begin(*call, relay(source, kBytes), out);
    std::uint64_t before = kBytes + 1;
    run_until([&] {
        worker.run_for(30ms);
        return std::exchange(before, source->left()) == source->left();
    });
    EXPECT_GT(source->left(), kBytes / 2) << "the kernel's buffers, no more";
    EXPECT_FALSE(call->request_written());
    go.count_down();
    run_until([&] { return out.done; });
    ASSERT_TRUE(out.ok()) << out.error->detail;
    EXPECT_TRUE(out.written);
}

TEST_F(SourceTest, OthersHaveTheirTurnBesideASourceThatNeverWaits) {
    ScriptServer sink([](Peer& peer, int) { peer.wait_for_close(); });
    ScriptServer server([](Peer& peer, int) {
        while (peer.read_request()) peer.send(kOk);
    });
    const std::unique_ptr<Call> call = client.call(at(sink));
    Outcome endless;
    begin(*call, relay(std::make_shared<Endless>(1ULL << 50)), endless);
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(fetch(at(server), post("{}")).ok());
    EXPECT_FALSE(endless.done);
    call->cancel();
    run_until([&] { return endless.done; });
}

TEST_F(SourceTest, ABrokenOneNeverLooksLikeAnEnd) {
    for (const bool told : {true, false}) {
        std::atomic<bool> ended = false;
        bool whole = true;
        ScriptServer server([&](Peer& peer, int) {
            ASSERT_TRUE(peer.read_head());
            whole = told ? peer.read_body(10) : peer.read_chunked();
            ended = true;
        });
        const auto source = parts();
        source->give("half");
        source->break_off(ErrorCode::kClientGone);
        const Outcome out = fetch(at(server), told ? relay(source, 10) : relay(source));
        EXPECT_EQ(out.code(), ErrorCode::kClientGone);
        EXPECT_NE(out.error->detail.find("the client left"), std::string::npos);
        EXPECT_EQ(out.stage, Call::Stage::kWrite);
        EXPECT_FALSE(out.written);
        run_until([&] { return ended.load(); });
        EXPECT_FALSE(whole);
        EXPECT_EQ(server.accepted(), 1);
        EXPECT_EQ(client.stats().idle, 0U);
        EXPECT_EQ(client.stats().active, 0U);
    }
}

TEST_F(SourceTest, ALengthThatWasToldWrongIsNeverAnEnd) {
    for (const char* body : {"short", "longer than ten"}) {
        std::atomic<bool> ended = false;
        bool whole = true;
        ScriptServer server([&](Peer& peer, int) {
            ASSERT_TRUE(peer.read_head());
            whole = peer.read_body(10);
            ended = true;
        });
        const auto source = parts();
        source->give(body);
        source->end();
        const Outcome out = fetch(at(server), relay(source, 10));
        EXPECT_EQ(out.code(), ErrorCode::kInternal) << body;
        EXPECT_FALSE(out.written);
        run_until([&] { return ended.load(); });
        EXPECT_FALSE(whole) << body;
    }
}

TEST_F(SourceTest, AnEarlyRefusalIsDeliveredAndTheSourceNotAskedAgain) {
    ScriptServer server([&](Peer& peer, int) {
        ASSERT_TRUE(peer.read_head());
        ASSERT_TRUE(peer.read_body(4));
        peer.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
        peer.wait_for_close();
    });
    const auto source = parts();
    source->give("part");
    const Outcome out = fetch(at(server), relay(source, 1000));
    ASSERT_TRUE(out.ok()) << out.error->detail;
    EXPECT_EQ(out.status, 413);
    EXPECT_EQ(out.body, "big");
    EXPECT_FALSE(out.written);
    EXPECT_TRUE(source->stopped) << "it was waiting for its client";
    EXPECT_EQ(source->asked, 2);
    EXPECT_EQ(client.stats().idle, 0U) << "half a request was sent on it";
}

// An answer may begin before the request has ended (a transcription as it is heard).
TEST_F(SourceTest, IsSentOnWhileAGoodAnswerIsRead) {
    ScriptServer server([&](Peer& peer, int) {
        ASSERT_TRUE(peer.read_head());
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 3; ++i) {
            peer.send("1\r\n" + std::to_string(i) + "\r\n");
            ASSERT_TRUE(peer.read_body(4));
        }
        peer.send("0\r\n\r\n");
        peer.wait_for_close();
    });
    const auto source = parts();
    on_read = [&] { source->give("part"); };
    const Outcome out = fetch(at(server), relay(source, 12));
    ASSERT_TRUE(out.ok()) << out.error->detail;
    EXPECT_EQ(out.body, "012");
}

TEST_F(SourceTest, ABreakWhileTheAnswerIsReadBreaksTheAnswer) {
    ScriptServer server([&](Peer& peer, int) {
        ASSERT_TRUE(peer.read_head());
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        peer.wait_for_close();
    });
    const auto source = parts();
    on_read = [&] { source->break_off(ErrorCode::kClientGone); };
    const Outcome out = fetch(at(server), relay(source));
    EXPECT_EQ(out.code(), ErrorCode::kClientGone);
    EXPECT_EQ(out.body, "half");
    EXPECT_EQ(client.stats().active, 0U);
}

// A pooled connection may be stale, and a source cannot be asked again.
TEST_F(SourceTest, GetsAConnectionOfItsOwn) {
    ScriptServer server([](Peer& peer, int) {
        while (peer.read_request()) peer.send(kOk);
    });
    ASSERT_TRUE(fetch(at(server), post("{}")).ok());
    const auto source = parts();
    source->give("{}");
    source->end();
    ASSERT_TRUE(fetch(at(server), relay(source, 2)).ok());
    EXPECT_EQ(server.accepted(), 2);
    ASSERT_TRUE(fetch(at(server), post("{}")).ok());
    EXPECT_EQ(server.accepted(), 2) << "both are fit for what has no source";
    EXPECT_EQ(client.stats().idle, 2U);
}

TEST_F(SourceTest, IsNotSentTwice) {
    ScriptServer server([](Peer& peer, int) { (void)peer.read_head(); });
    const auto source = parts();
    source->give("part");
    const Outcome out = fetch(at(server), relay(source));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamClosed);
    EXPECT_EQ(server.accepted(), 1);
    EXPECT_EQ(client.stats().replaced, 0U);
}

TEST_F(SourceTest, IsNotAskedIfThereIsNoConnection) {
    std::shared_ptr<config::Upstream> upstream;
    {
        const ScriptServer server([](Peer&, int) {});
        upstream = at(server);
    }
    const auto source = parts();
    const Outcome out = fetch(upstream, relay(source));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamConnect);
    EXPECT_EQ(source->asked, 0);
}

TEST_F(SourceTest, TheTimeThatItTakesIsNotTheUpstreams) {
    ScriptServer server([](Peer& peer, int) {
        ASSERT_TRUE(peer.read_request());
        peer.send(kOk);
        peer.wait_for_close();
    });
    const auto upstream = at(server);
    upstream->timeouts.write = 60ms;
    const auto source = parts();
    Outcome out;
    const std::unique_ptr<Call> call = client.call(upstream);
    begin(*call, relay(source, 4), out);
    run_until([&] { return source->waiting; });
    worker.restart();
    worker.run_for(200ms);
    EXPECT_FALSE(out.done);
    source->give("part");
    source->end();
    run_until([&] { return out.done; });
    EXPECT_TRUE(out.ok());
}

TEST_F(SourceTest, CancelWhileItWaitsEndsTheCallAtOnce) {
    ScriptServer server([](Peer& peer, int) { peer.wait_for_close(); });
    const auto source = parts();
    const std::weak_ptr<Parts> kept = source;
    Outcome out;
    const std::unique_ptr<Call> call = client.call(at(server));
    begin(*call, relay(source), out);
    run_until([&] { return source->waiting; });
    call->cancel();
    run_until([&] { return out.done; });
    EXPECT_EQ(out.code(), ErrorCode::kCancelled);
    EXPECT_TRUE(source->stopped);
    EXPECT_EQ(source->asked, 1);
    EXPECT_EQ(client.stats().active, 0U);
}

// The source may wait for longer than the call, and the client, live.
TEST_F(SourceTest, IsLetGoOfWhenItComesBackAfterTheCall) {
    class Deaf final : public upstream::BodySource {
    public:
        explicit Deaf(std::shared_ptr<Signal> until) : until_(std::move(until)) {}
        Awaitable<Result<std::string_view>> next() override {
            waiting = true;
            (void)co_await until_->wait();
            co_return std::string_view("late");
        }
        bool waiting = false;

    private:
        std::shared_ptr<Signal> until_;
    };
    ScriptServer server([](Peer& peer, int) { peer.wait_for_close(); });
    const auto until = Signal::create(worker.get_executor());
    auto source = std::make_shared<Deaf>(until);
    const std::weak_ptr<Deaf> kept = source;
    {
        Outcome out;
        const std::unique_ptr<Call> call = client.call(at(server));
        begin(*call, relay(source), out);
        run_until([&] { return source->waiting; });
        call->cancel();
        run_until([&] { return out.done; });
    }
    source.reset();
    EXPECT_FALSE(kept.expired());
    until->notify_home();
    run_until([&] { return kept.expired(); });
}

TEST_F(SourceTest, AnUpstreamThatTakesNoMoreTimesOut) {
    std::latch ended(1);
    ScriptServer server([&](Peer& peer, int) {
        ASSERT_TRUE(peer.read_head());
        ended.wait();
    });
    const auto upstream = at(server);
    upstream->timeouts.write = 60ms;
    const Outcome out = fetch(upstream, relay(std::make_shared<Endless>(1ULL << 50)));
    ended.count_down();
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamTimeout);
    EXPECT_EQ(out.stage, Call::Stage::kWrite);
}

TEST_F(SourceTest, ArrivesIntactUnderTlsWhateverItsParts) {
    const Certificates certificates;
    const ServerTls tls = certificates.server({.names = "DNS:localhost"});
    std::mt19937_64 random(5);
    for (const bool told : {true, false}) {
        std::string body;
        const auto source = parts();
        for (int i = 0; i < 200; ++i) {
            std::string part(1 + random() % (i % 20 == 0 ? 100'000 : 3000), '\0');
            for (char& c : part) c = static_cast<char>(random());
            body += part;
            source->give(std::move(part));
        }
        source->end();
        ScriptServer server(
            [&](Peer& peer, int) {
                ASSERT_TRUE(peer.read_head());
                EXPECT_TRUE(told ? peer.read_body(body.size()) : peer.read_chunked());
                EXPECT_TRUE(peer.body() == body);
                peer.send(kOk);
                peer.wait_for_close();
            },
            tls.get()
        );
        const auto upstream = at("https://localhost:" + std::to_string(server.port()));
        upstream->ca_file = certificates.ca_file();
        const Outcome out = fetch(upstream, told ? relay(source, body.size()) : relay(source));
        ASSERT_TRUE(out.ok()) << out.error->detail;
        EXPECT_TRUE(out.written);
    }
}

}  // namespace
}  // namespace weir::test
