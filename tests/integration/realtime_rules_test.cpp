// WebSocket sessions: who may open them, what is refused, what counts.
#include "socket_tools.hpp"

namespace weir::test {
namespace {

TEST(Realtime, AnUpstreamThatRefusesIsToldInPlainHttp) {
    int status = 401;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest&) {
        wire.json(
            R"({"error":{"message":"upstream-secret-key-1234 is wrong","type":"requests",)"
            R"("param":null,"code":"rate_limit_exceeded"}})",
            status
        );
    });
    TestGateway gateway({.upstream_url = upstream.url(), .caps = "[{allow: 100/1h}]"});
    expect_error(open(gateway).answer(), 502, "upstream_error");
    status = 429;
    expect_error(open(gateway).answer(), 429, "rate_limit_exceeded");
    EXPECT_EQ(used(gateway, "alice"), 0);
    const std::uint16_t gone = [] { return FakeUpstream(say_an_answer).port(); }();
    TestGateway lost({.upstream_url = "http://127.0.0.1:" + std::to_string(gone) + "/v1"});
    expect_error(open(lost).answer(), 502, "upstream_error");
}

TEST(Realtime, WhatIsNoWebSocketIsToldSo) {
    FakeUpstream upstream(echo_plain);
    TestGateway gateway(
        {.upstream_url = upstream.url(), .plan_more = "    models: [\"gpt-real*\"]\n"}
    );
    for (const char* const path : {kTarget, "/v1/responses"}) {
        const Answer plain = ask(gateway.port(), {.method = "GET", .path = path, .key = kAlice});
        expect_error(plain, 426, "upgrade_required");
        EXPECT_EQ(plain.field("upgrade"), "websocket");
    }
    const std::vector<std::pair<std::string, std::string>> upgrade = {
        {"Upgrade", "websocket"},
        {"Connection", "keep-alive, Upgrade"},
        {"Sec-WebSocket-Version", "13"},
        {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
    };
    for (std::size_t lacks = 0; lacks < upgrade.size(); ++lacks) {
        auto fields = upgrade;
        fields.erase(fields.begin() + static_cast<std::ptrdiff_t>(lacks));
        const Answer answer =
            ask(gateway.port(),
                {.method = "GET", .path = kTarget, .key = kAlice, .fields = fields});
        expect_error(answer, 426, "upgrade_required");
    }
    const auto refused = [&](const std::string& target, const std::string& key) {
        return WebPeer::connect(gateway.port(), target, {.key = key}).answer();
    };
    expect_error(refused("/v1/realtime", kAlice), 400, "");
    expect_error(refused("/v1/realtime?model=a&model=b", kAlice), 400, "");
    expect_error(refused(kTarget, "nobody-has-this-key-1"), 401, "invalid_api_key");
    expect_error(refused(kTarget, ""), 401, "invalid_api_key");
    expect_error(refused("/v1/realtime?model=gpt-4", kAlice), 403, "model_not_allowed");
    expect_error(refused("/v1/realtime?call_id=rtc_1", kAlice), 403, "endpoint_closed");
    EXPECT_EQ(upstream.calls(), 0U);
}

TEST(Realtime, ASessionIsAMessageAndHoldsItsPlace) {
    FakeUpstream upstream(echo_plain);
    TestGateway gateway(
        {.upstream_url = upstream.url(), .caps = "[{allow: 2/1h}, {allow: 1 at once}]"}
    );
    {
        WebPeer first = open_greeted(gateway);
        EXPECT_EQ(first.answer().field("x-ratelimit-remaining-requests"), "1");
        expect_error(open(gateway).answer(), 429, "rate_limit_exceeded");
        first.close(1000);
    }
    EXPECT_TRUE(eventually([&] { return metric(gateway, "weir_websockets") == 0; }));
    EXPECT_EQ(used(gateway, "alice"), 1);
    open_greeted(gateway).close(1000);
    EXPECT_TRUE(eventually([&] { return metric(gateway, "weir_websockets") == 0; }));
    const auto error = expect_error(open(gateway).answer(), 429, "insufficient_quota");
    EXPECT_NE(error.value("message", "").find("You have used 2 of 2 messages"), std::string::npos);
    EXPECT_EQ(upstream.calls(), 2U);
}

TEST(Realtime, TokensOfASessionAreCountedAsTheyAreUsed) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        WebPeer peer = WebPeer::accept(wire, request);
        while (const auto message = peer.receive()) {
            if (message->bytes != event("response.create")) continue;
            static_cast<void>(peer.send(event("response.created", R"("response":{"id":"r"})")));
            static_cast<void>(peer.send(event(
                "response.done",
                R"("response":{"id":"r","status":"completed","usage":{"total_tokens":6000,)"
                R"("input_tokens":1000,"output_tokens":5000}})"
            )));
        }
        wire.close();
    });
    TestGateway gateway({.upstream_url = upstream.url(), .caps = "[{allow: 10000 tokens/1h}]"});
    WebPeer peer = open(gateway);
    ASSERT_TRUE(peer.accepted()) << peer.answer().body;
    ASSERT_TRUE(peer.send(event("response.create")));
    EXPECT_EQ(parse(peer.receive()).value("type", ""), "response.created");
    EXPECT_EQ(parse(peer.receive()).value("type", ""), "response.done");
    EXPECT_EQ(used(gateway, "alice"), 6000) << "while the session goes on";
    ASSERT_TRUE(peer.send(event("response.create")));
    EXPECT_EQ(parse(peer.receive()).value("type", ""), "response.created");
    EXPECT_EQ(parse(peer.receive()).value("type", ""), "response.done");
    const json error = expect_error_event(peer.receive(), "insufficient_quota");
    EXPECT_NE(error.value("message", "").find("10000 tokens"), std::string::npos) << error;
    EXPECT_FALSE(peer.receive());
    EXPECT_EQ(peer.close_code(), 1008);
    EXPECT_EQ(used(gateway, "alice"), 12000);
}

TEST(Realtime, ARevokedKeyEndsItsSessions) {
    FakeUpstream upstream(echo_plain);
    TestGateway gateway({.upstream_url = upstream.url()});
    const Answer made =
        admin(gateway, "POST", "keys", json{{"name", "dora"}, {"plan", "plus"}}.dump());
    const std::string secret = parsed(made).value("secret", parsed(made).value("key", ""));
    WebPeer dora = open_greeted(gateway, {.key = secret});
    WebPeer alice = open_greeted(gateway);
    EXPECT_EQ(admin(gateway, "DELETE", "keys/dora").status, 200);
    expect_error_event(dora.receive(), "invalid_api_key");
    EXPECT_FALSE(dora.receive());
    EXPECT_EQ(dora.close_code(), 1008);
    expect_same(alice, event("still here"), true);
}

TEST(Realtime, WhatIsTooLongOrNoEventIsRefused) {
    FakeUpstream upstream(echo_plain);
    TestGateway gateway({.upstream_url = upstream.url(), .more = "limits: {body: 64KiB}\n"});
    {
        WebPeer peer = open_greeted(gateway, {.key = kAlice, .deflate = true});
        expect_same(peer, event("a", "\"t\":\"" + std::string(60'000, 'x') + "\""), true);
        // Small on the wire.
        ASSERT_TRUE(peer.send(event("a", "\"t\":\"" + std::string(70'000, 'x') + "\"")));
        EXPECT_FALSE(peer.receive());
        EXPECT_EQ(peer.close_code(), 1009);
    }
    WebPeer peer = open_greeted(gateway);
    for (const char* const wrong :
         {"hello", "[1]", R"({"a":1})", R"({"type":"a","type":"response.create"})"}) {
        ASSERT_TRUE(peer.send(wrong));
        const json told = parse(peer.receive());
        EXPECT_EQ(told.value("type", ""), "error") << told;
        EXPECT_EQ(told["error"].value("type", ""), "invalid_request_error") << told;
    }
    expect_same(peer, event("still open"), true);
    EXPECT_EQ(upstream.calls(), 2U);
}

TEST(Realtime, WhatThePlanDoesNotTakeIsNotPassedOn) {
    FakeUpstream upstream(echo_plain);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .plan_more = "    inputs: [text]\n    deny: [\"whisper*\"]\n"}
    );
    WebPeer peer = open_greeted(gateway);
    const auto refused = [&](const std::string& sent, std::string_view code) {
        ASSERT_TRUE(peer.send(sent));
        const json error = expect_error_event(peer.receive(), code);
        EXPECT_EQ(error.value("event_id", ""), "e1") << sent;
    };
    const std::string id = R"("event_id":"e1",)";
    refused(event("input_audio_buffer.append", id + R"("audio":"AAAA")"), "input_not_allowed");
    refused(
        event(
            "conversation.item.create",
            id + R"("item":{"content":[{"type":"input_image","image_url":"data:,"}]})"
        ),
        "input_not_allowed"
    );
    refused(
        event(
            "session.update",
            id + R"("session":{"audio":{"input":{"transcription":{"model":"whisper-1"}}}})"
        ),
        "model_not_allowed"
    );
    refused(
        event("session.update", id + R"("session":{"prompt":{"id":"pmpt_1"}})"), "endpoint_closed"
    );
    refused(
        event("response.create", id + R"("response":{"prompt":{"id":"pmpt_1"}})"), "endpoint_closed"
    );
    expect_same(
        peer,
        event(
            "conversation.item.create", R"("item":{"content":[{"type":"input_text","text":"a"}]})"
        ),
        true
    );
}

}  // namespace
}  // namespace weir::test
