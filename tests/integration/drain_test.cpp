// Promise 10: going down loses no request within the drain, and tells those past it.
#include <memory>
#include <thread>

#include "support/temp_dir.hpp"
#include "tools.hpp"

namespace weir::test {
namespace {

// A drain that runs while the test goes on.
class Draining {
public:
    explicit Draining(TestGateway& gateway)
        : thread_([this, &gateway] {
              gateway.gateway().drain([this] { return hurry_.load(); });
              done_ = true;
          }) {}
    ~Draining() {
        hurry_ = true;
        thread_.join();
    }
    [[nodiscard]] bool done() const { return done_; }
    void hurry() { hurry_ = true; }

private:
    std::atomic<bool> hurry_ = false;
    std::atomic<bool> done_ = false;
    std::thread thread_;
};

bool refuses(std::uint16_t port) {
    return !Socket::connect(port).open();
}

TEST(Drain, WhatRunsEndsAndNothingNewIsTaken) {
    Steps go;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        if (request.body.find("\"stream\":true") != std::string::npos) {
            wire.begin_stream();
            wire.event(chat_chunk("begun "));
            if (!go.wait()) return;
            wire.event(chat_chunk("and ended", "stop"));
            wire.event("[DONE]");
            wire.last_chunk();
        } else if (go.wait()) {
            answer_chat(wire, request, "late but whole");
        }
    });
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: 9/4h}]",
         .more = "drain: 15s\n"}
    );
    Client stream(gateway.port());
    ASSERT_TRUE(stream.send(Ask{.key = kAlice, .body = chat_body("x", true)}.bytes()));
    Answer streamed = stream.read_head();
    Client plain(gateway.port());
    ASSERT_TRUE(plain.send(Ask{.key = kAlice, .body = chat_body("y")}.bytes()));
    ASSERT_TRUE(upstream.wait_for_calls(2));
    Client idle(gateway.port());
    ASSERT_TRUE(idle.send(Ask{.method = "GET", .path = "/readyz"}.bytes()));
    EXPECT_EQ(idle.read_answer().body, "ready\n");
    Client fresh(gateway.port());  // has not said anything
    ASSERT_TRUE(eventually([&] { return metric(gateway, "weir_connections") >= 4; }));

    Draining drain(gateway);
    EXPECT_TRUE(idle.socket().receive().empty());
    EXPECT_EQ(idle.socket().last_read(), Socket::Read::kClosed);
    EXPECT_TRUE(fresh.socket().receive().empty());
    EXPECT_TRUE(refuses(gateway.port()));
    EXPECT_FALSE(drain.done());
    go.pass(2);
    stream.read_body(streamed);
    EXPECT_TRUE(streamed.complete);
    EXPECT_EQ(chat_text(streamed), "begun and ended");
    EXPECT_TRUE(streamed.body.ends_with("data: [DONE]\n\n"));
    const Answer late = plain.read_answer();
    EXPECT_EQ(chat_text(late), "late but whole");
    EXPECT_EQ(late.field("connection"), "close");
    EXPECT_TRUE(eventually([&] { return drain.done(); }));
}

TEST(Drain, HalfAHeadAndAnAdminCallGetItsTime) {
    TestGateway gateway({.upstream_url = {}, .more = "drain: 15s\n"});
    const std::string head = Ask{.method = "GET", .path = "/healthz"}.bytes();
    Client reading(gateway.port());
    ASSERT_TRUE(reading.send(head.substr(0, 9)));
    const std::string call =
        Ask{.path = "/api/admin/keys",
            .key = gateway.admin_token(),
            .body = R"({"name":"dora","plan":"plus"})"}
            .bytes();
    Client administering(gateway.port());
    ASSERT_TRUE(administering.send(call.substr(0, call.size() - 1)));
    ASSERT_TRUE(eventually([&] { return metric(gateway, "weir_connections") >= 2; }));
    std::this_thread::sleep_for(50ms);  // for the bytes to be read; without it they are unread ones

    Draining drain(gateway);
    ASSERT_TRUE(eventually([&] { return refuses(gateway.port()); }));
    std::this_thread::sleep_for(200ms);
    EXPECT_FALSE(drain.done());
    ASSERT_TRUE(reading.send(head.substr(9)));
    const Answer alive = reading.read_answer();
    EXPECT_EQ(alive.body, "ok\n");
    EXPECT_EQ(alive.field("connection"), "close");
    EXPECT_FALSE(drain.done());
    ASSERT_TRUE(administering.send(call.substr(call.size() - 1)));
    EXPECT_EQ(administering.read_answer().status, 201);
    EXPECT_TRUE(eventually([&] { return drain.done(); }));
}

TEST(Drain, PastItsTimeStreamsEndWithAnErrorEvent) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        if (request.body.find("\"stream\":true") != std::string::npos) {
            wire.begin_stream();
            wire.event(chat_chunk("begun "));
        }
        wire.wait_for_close(20s);
    });
    const TempDir directory;
    const GatewaySetup setup{
        .upstream_url = upstream.url(),
        .caps = "[{models: \"*\", allow: 9/4h}]",
        .more = "drain: 200ms\n",
        .data = directory.path("data")
    };
    auto first = std::make_unique<TestGateway>(setup);
    TestGateway& gateway = *first;
    Client stream(gateway.port());
    ASSERT_TRUE(stream.send(Ask{.key = kAlice, .body = chat_body("x", true)}.bytes()));
    Answer streamed = stream.read_head();
    stream.read_body(streamed, [](const std::string& body) { return !body.empty(); });
    Client plain(gateway.port());
    ASSERT_TRUE(plain.send(Ask{.key = kAlice, .body = chat_body("y")}.bytes()));
    ASSERT_TRUE(upstream.wait_for_calls(2));
    auto drain = std::make_unique<Draining>(gateway);
    stream.read_body(streamed);
    EXPECT_TRUE(streamed.complete);
    EXPECT_NE(streamed.body.find("\"shutting_down\""), std::string::npos) << streamed.body;
    EXPECT_EQ(streamed.body.find("[DONE]"), std::string::npos);
    expect_error(plain.read_answer(), 503, "shutting_down");
    EXPECT_TRUE(eventually([&] { return drain->done(); }));
    drain.reset();
    // It was the gateway that ended them: an SDK that asks again must not pay twice.
    first.reset();
    TestGateway second(setup);
    EXPECT_EQ(used(second, "alice"), 0);
}

TEST(Drain, PastItsTimeWhoWaitsForModelsIsToldSo) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) { wire.wait_for_close(20s); });
    TestGateway gateway({.upstream_url = upstream.url(), .more = "drain: 100ms\n"});
    Client client(gateway.port());
    ASSERT_TRUE(client.send(Ask{.method = "GET", .path = "/v1/models", .key = kAlice}.bytes()));
    ASSERT_TRUE(upstream.wait_for_calls(1));
    Draining drain(gateway);
    expect_error(client.read_answer(), 503, "shutting_down");
    EXPECT_TRUE(eventually([&] { return drain.done(); }));
}

TEST(Drain, ASecondSignalHurriesIt) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) { wire.wait_for_close(20s); });
    TestGateway gateway({.upstream_url = upstream.url(), .more = "drain: 1h\n"});
    Client client(gateway.port());
    ASSERT_TRUE(client.send(Ask{.key = kAlice, .body = chat_body("x")}.bytes()));
    ASSERT_TRUE(upstream.wait_for_calls(1));
    Draining drain(gateway);
    EXPECT_TRUE(eventually([&] { return refuses(gateway.port()); }));
    EXPECT_FALSE(drain.done());
    drain.hurry();
    expect_error(client.read_answer(), 503, "shutting_down");
    EXPECT_TRUE(eventually([&] { return drain.done(); }));
}

TEST(Drain, AClientThatDoesNotReadDoesNotHoldItUp) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) {
        wire.send("HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n");
        const std::string piece(64 << 10, 'a');
        for (int i = 0; i < 1000 && wire.send(piece); ++i) {
        }
    });
    TestGateway gateway({.upstream_url = upstream.url(), .more = "drain: 100ms\n"});
    Client client(gateway.port());
    ASSERT_TRUE(client.send(
        Ask{.path = "/v1/audio/speech",
            .key = kAlice,
            .body = R"({"model":"tts-1","input":"x","voice":"alloy"})"}
            .bytes()
    ));
    ASSERT_TRUE(upstream.wait_for_calls(1));
    std::this_thread::sleep_for(100ms);
    Draining drain(gateway);
    EXPECT_TRUE(eventually([&] { return drain.done(); }));
}

}  // namespace
}  // namespace weir::test
