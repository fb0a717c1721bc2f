// WebSocket sessions: what passes, and how they end.
#include "socket_tools.hpp"

namespace weir::test {
namespace {

TEST(Realtime, EchoesBothWaysWhoeverCompresses) {
    FakeUpstream plain(echo_plain);
    FakeUpstream deflated(echo_deflated);
    for (FakeUpstream* const upstream : {&plain, &deflated}) {
        TestGateway gateway({.upstream_url = upstream->url()});
        for (const bool deflate : {false, true}) {
            WebPeer peer = open_greeted(gateway, {.key = kAlice, .deflate = deflate});
            EXPECT_EQ(peer.deflates(), deflate);
            expect_same(peer, event("a"), true);
            expect_same(peer, event("b", "\"text\":\"" + std::string(300'000, 'x') + "\""), true);
            expect_same(peer, "", false);
            expect_same(peer, noise(200'000), false);
            ASSERT_TRUE(peer.send_parts({R"({"ty)", "pe\":\"in", " parts \xC3", "\xA4\"}"}));
            const auto joined = peer.receive();
            ASSERT_TRUE(joined);
            EXPECT_EQ(joined->bytes, "{\"type\":\"in parts \xC3\xA4\"}");
            peer.close(1000);
        }
    }
}

TEST(Realtime, TheUpstreamSeesItsOwnKeyAndWhatTheClientAskedFor) {
    FakeUpstream upstream(echo_plain);
    TestGateway gateway({.upstream_url = upstream.url()});
    const WebPeer peer = WebPeer::connect(
        gateway.port(),
        std::string(kTarget) + "&api-key=" + kAlice + "&x=%20",
        {.key = kAlice,
         .fields =
             {{"OpenAI-Beta", "realtime=v1"}, {"Cookie", "a=b"}, {"Origin", "https://a.example"}}}
    );
    ASSERT_TRUE(peer.accepted());
    EXPECT_TRUE(peer.answer().has("x-request-id"));
    ASSERT_TRUE(upstream.wait_for_calls(1));
    const SeenRequest seen = upstream.seen().front();
    EXPECT_EQ(seen.method, "GET");
    EXPECT_EQ(seen.target, "/v1/realtime?x=%20&model=gpt-realtime");
    EXPECT_EQ(seen.field("authorization"), std::string("Bearer ") + kUpstreamKey);
    EXPECT_EQ(seen.field("openai-beta"), "realtime=v1");
    EXPECT_FALSE(seen.has("cookie"));
    EXPECT_FALSE(seen.has("origin"));
    EXPECT_FALSE(seen.has("sec-websocket-extensions")) << "the client does not compress";
    for (const auto& [name, value] : seen.fields) EXPECT_EQ(value.find(kAlice), std::string::npos);
}

TEST(Realtime, AKeyMayComeAsASubprotocol) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        static_cast<void>(WebPeer::accept(wire, request, {.protocols = "realtime"}));
        wire.close();
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    const std::string key = std::string("openai-insecure-api-key.") + kAlice;
    const WebPeer peer =
        open(gateway, {.protocols = "realtime, " + key + ", openai-beta.realtime-v1"});
    ASSERT_TRUE(peer.accepted()) << peer.answer().body;
    EXPECT_EQ(peer.answer().field("sec-websocket-protocol"), "realtime");
    ASSERT_TRUE(upstream.wait_for_calls(1));
    EXPECT_EQ(
        upstream.seen().front().field("sec-websocket-protocol"), "realtime, openai-beta.realtime-v1"
    );
    const WebPeer stranger = open(gateway, {.protocols = "realtime, " + key + "x"});
    EXPECT_FALSE(stranger.accepted());
    expect_error(stranger.answer(), 401, "invalid_api_key");
}

TEST(Realtime, APingIsAnsweredOnEachSide) {
    Steps pinged;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        WebPeer peer = WebPeer::accept(wire, request);
        static_cast<void>(peer.ping("from the upstream"));
        while (const auto message = peer.receive()) static_cast<void>(peer.send(message->bytes));
        EXPECT_EQ(peer.pong(), "from the upstream");
        pinged.pass();
        wire.close();
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    {
        WebPeer peer = open(gateway);
        ASSERT_TRUE(peer.ping("from the client"));
        expect_same(peer, event("a"), true);
        EXPECT_EQ(peer.pong(), "from the client");
        peer.close(1000);
    }
    EXPECT_TRUE(pinged.wait());
}

TEST(Realtime, CloseCodesPassBothWays) {
    Steps closed;
    int code = 0;
    std::string reason;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        WebPeer peer = WebPeer::accept(wire, request);
        const auto message = peer.receive();
        if (message && message->bytes == event("end")) peer.close(4001, "had enough");
        code = peer.close_code();
        reason = peer.close_reason();
        wire.close();
        closed.pass();
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    {
        WebPeer peer = open(gateway);
        peer.close(3001, "bye \xC3\xA4");
        EXPECT_EQ(peer.close_code(), 3001);
    }
    ASSERT_TRUE(closed.wait());
    EXPECT_EQ(code, 3001);
    EXPECT_EQ(reason, "bye \xC3\xA4");
    {
        WebPeer peer = open(gateway);
        ASSERT_TRUE(peer.send(event("end")));
        EXPECT_FALSE(peer.receive());
        EXPECT_EQ(peer.close_code(), 4001);
        EXPECT_EQ(peer.close_reason(), "had enough");
    }
    ASSERT_TRUE(closed.wait());
    {
        WebPeer peer = open(gateway);
        peer.cut();  // no goodbye
    }
    ASSERT_TRUE(closed.wait());
    EXPECT_EQ(code, 1001) << "the upstream is told that its peer went away";
}

TEST(Realtime, AnUpstreamThatBreaksOffNeverLooksAsIfItHadEnded) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        WebPeer peer = WebPeer::accept(wire, request);
        const auto message = peer.receive();
        if (message && message->bytes == event("answer")) {
            static_cast<void>(peer.send(event("said")));
        }
        peer.cut();
        wire.reset();
    });
    TestGateway gateway({.upstream_url = upstream.url(), .caps = "[{allow: 100/1h}]"});
    {
        WebPeer peer = open(gateway);
        ASSERT_TRUE(peer.send(event("nothing")));
        expect_error_event(peer.receive(), "upstream_error");
        EXPECT_FALSE(peer.receive());
        EXPECT_EQ(peer.close_code(), 1011);
        EXPECT_NE(peer.close_reason(), "");
    }
    EXPECT_TRUE(eventually([&] { return used(gateway, "alice") == 0; })) << "it brought nothing";
    {
        WebPeer peer = open(gateway);
        ASSERT_TRUE(peer.send(event("answer")));
        EXPECT_EQ(parse(peer.receive()).value("type", ""), "said");
        expect_error_event(peer.receive(), "upstream_error");
        EXPECT_FALSE(peer.receive());
        EXPECT_EQ(peer.close_code(), 1011);
    }
    EXPECT_TRUE(eventually([&] { return metric(gateway, "weir_websockets") == 0; }));
    EXPECT_EQ(used(gateway, "alice"), 1);
}

TEST(Realtime, ADrainEndsSessionsAsGoingAway) {
    FakeUpstream upstream(echo_plain);
    TestGateway gateway({.upstream_url = upstream.url()});
    WebPeer peer = open_greeted(gateway);
    std::thread stopping([&] { gateway.stop(); });
    EXPECT_FALSE(peer.receive());
    EXPECT_EQ(peer.close_code(), 1001);
    stopping.join();
}

TEST(Realtime, ASlowClientSlowsTheUpstreamDown) {
    constexpr std::size_t kPiece = 64 << 10;
    constexpr std::size_t kMost = 1000;
    std::atomic<std::size_t> taken = 0;
    Steps blocked;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        WebPeer peer = WebPeer::accept(wire, request);
        const std::string piece(kPiece, 'x');
        while (taken < kMost && peer.send(piece, false, 700ms)) ++taken;
        blocked.pass();
        wire.close();
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    WebPeer peer = open(gateway);
    ASSERT_TRUE(peer.accepted());
    ASSERT_TRUE(blocked.wait());
    EXPECT_LT(taken, kMost / 2) << "32 MB went nowhere";
    EXPECT_LT(metric(gateway, "weir_body_bytes"), 1 << 20);
    // What had been taken comes whole; then it is told that the rest is missing.
    std::size_t pieces = 0;
    std::optional<WebMessage> last;
    while (auto message = peer.receive()) {
        if (message->text) {
            last = message;
            continue;
        }
        EXPECT_EQ(message->bytes.size(), kPiece);
        ++pieces;
    }
    EXPECT_GE(pieces + 1, taken);
    expect_error_event(last, "upstream_error");
    EXPECT_EQ(peer.close_code(), 1011);
}

TEST(Realtime, AnEventThatRepeatsTheKeyIsBlackedOut) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        WebPeer peer = WebPeer::accept(wire, request);
        static_cast<void>(peer.send(event("a", "\"key\":\"" + std::string(kUpstreamKey) + "\"")));
        static_cast<void>(peer.send("b" + std::string(kUpstreamKey), false));
        peer.close(4000, kUpstreamKey);
        wire.close();
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    WebPeer peer = open(gateway);
    const std::string stars(std::string_view(kUpstreamKey).size(), '*');
    EXPECT_EQ(parse(peer.receive()).value("key", ""), stars);
    const auto binary = peer.receive();
    ASSERT_TRUE(binary);
    EXPECT_EQ(binary->bytes, "b" + stars);
    EXPECT_FALSE(peer.receive());
    EXPECT_EQ(peer.close_reason(), stars);
}

TEST(Realtime, ASilentPeerIsPingedAndThenGivenUp) {
    FakeUpstream upstream(echo_plain);
    TestGateway gateway({.upstream_url = upstream.url(), .more = "limits: {keep_alive: 300ms}\n"});
    WebPeer peer = open_greeted(gateway);
    // It answers pings while it waits, so that it is kept.
    EXPECT_FALSE(peer.receive(700ms));
    EXPECT_GE(peer.pings(), 2);
    // This one never reads.
    WebPeer deaf = open(gateway);
    EXPECT_TRUE(eventually([&] { return metric(gateway, "weir_websockets") == 0; }));
}

TEST(Realtime, TheLogTellsOfASession) {
    FakeUpstream upstream(echo_plain);
    TestGateway gateway({.upstream_url = upstream.url()});
    {
        WebPeer peer = open_greeted(gateway);
        EXPECT_EQ(metric(gateway, "weir_websockets"), 1);
        expect_same(peer, event("a"), true);
        peer.close(1000);
    }
    EXPECT_TRUE(eventually([&] { return metric(gateway, "weir_websockets") == 0; }));
    const Answer metrics = ask(gateway.port(), {.method = "GET", .path = "/metrics"});
    EXPECT_NE(
        metrics.body.find("weir_websocket_messages_total{direction=\"in\"} 1\n"), std::string::npos
    );
    EXPECT_NE(
        metrics.body.find("weir_websocket_messages_total{direction=\"out\"} 2\n"), std::string::npos
    );
}

}  // namespace
}  // namespace weir::test
