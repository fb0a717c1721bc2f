// What the tests of WebSockets share: an upstream that says everything back, sessions with it,
// events and errors.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "support/web_socket.hpp"
#include "tools.hpp"

namespace weir::test {

using nlohmann::json;

inline constexpr char kTarget[] = "/v1/realtime?model=gpt-realtime";

// Greets, and says everything back.
inline void echo(Wire& wire, const SeenRequest& request, bool deflate = false) {
    WebPeer peer = WebPeer::accept(wire, request, {.deflate = deflate});
    static_cast<void>(peer.send(R"({"type":"session.created"})"));
    while (const auto message = peer.receive()) {
        if (!peer.send(message->bytes, message->text)) break;
    }
    wire.close();
}
inline void echo_plain(Wire& wire, const SeenRequest& request) {
    echo(wire, request);
}
inline void echo_deflated(Wire& wire, const SeenRequest& request) {
    echo(wire, request, true);
}

inline std::string event(std::string_view type, const std::string& more = "") {
    return R"({"type":")" + std::string(type) + "\"" + (more.empty() ? "" : "," + more) + "}";
}

inline WebPeer open(const TestGateway& gateway, WebOptions options = {.key = kAlice}) {
    return WebPeer::connect(gateway.port(), kTarget, options);
}

// The greeting, taken away.
inline WebPeer open_greeted(const TestGateway& gateway, WebOptions options = {.key = kAlice}) {
    WebPeer peer = open(gateway, std::move(options));
    EXPECT_TRUE(peer.accepted()) << peer.answer().status << peer.answer().body;
    if (!peer.accepted()) return peer;
    const auto greeting = peer.receive();
    EXPECT_TRUE(greeting);
    if (greeting) {
        EXPECT_EQ(greeting->bytes, event("session.created"));
    }
    return peer;
}

inline json parse(const std::optional<WebMessage>& message) {
    EXPECT_TRUE(message) << "the connection ended";
    if (!message) return json::object();
    json parsed = json::parse(message->bytes, nullptr, false);
    EXPECT_TRUE(parsed.is_object()) << message->bytes;
    return parsed.is_object() ? parsed : json::object();
}

// The error of an error event.
inline json expect_error_event(const std::optional<WebMessage>& message, std::string_view code) {
    const json parsed = parse(message);
    EXPECT_EQ(parsed.value("type", ""), "error") << parsed;
    const json error = parsed.value("error", json::object());
    EXPECT_EQ(error.value("code", json()), code.empty() ? json() : json(code)) << parsed;
    EXPECT_FALSE(error.value("message", "").empty()) << parsed;
    return error;
}

inline void expect_same(WebPeer& peer, const std::string& bytes, bool text) {
    ASSERT_TRUE(peer.send(bytes, text));
    const auto message = peer.receive();
    ASSERT_TRUE(message) << peer.close_code() << peer.close_reason();
    EXPECT_EQ(message->text, text);
    EXPECT_TRUE(message->bytes == bytes) << message->bytes.size() << " of " << bytes.size();
}

inline std::string noise(std::size_t size) {
    std::string bytes(size, '\0');
    std::uint32_t state = 1;
    for (char& byte : bytes) byte = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
    return bytes;
}

}  // namespace weir::test
