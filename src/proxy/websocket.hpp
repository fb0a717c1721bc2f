// One WebSocket (RFC 6455, permessage-deflate of RFC 7692) on a byte stream, as server or client.
// Messages in and out; pings are answered while read() waits. One coroutine reads; any may write,
// ping or close, and writes of several keep their order. Home worker only.
//
// The one place that knows Beast's WebSocket, whose headers take long to compile.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "weir/base/awaitable.hpp"
#include "weir/base/buffer.hpp"
#include "weir/base/byte_stream.hpp"
#include "weir/base/deadline.hpp"
#include "weir/http/message.hpp"

namespace weir::proxy {

// Of RFC 6455 7.4, as far as they are ours to send.
enum class CloseCode : std::uint16_t {
    kNone = 0,  // a close frame without one
    kNormal = 1000,
    kGoingAway = 1001,
    kBadPayload = 1007,
    kPolicy = 1008,
    kTooBig = 1009,
    kInternal = 1011,
    kTryAgain = 1013,
};

struct Close {
    std::uint16_t code = 0;  // 0: none was told
    std::string reason;
};

// Why read() brought no message.
struct SocketEnd {
    enum class Kind : std::uint8_t {
        kClosed,    // the peer's close frame; it was answered
        kTooBig,    // a message over the limit; the peer was told (1009)
        kProtocol,  // not WebSocket; the peer was told
        kNoRoom,    // the budget has no room for the message
        kBroken,    // the connection ended without a close frame, or we closed it
    };
    Kind kind = Kind::kBroken;
    Close close;         // of kClosed
    std::string detail;  // for operators
};

struct SocketMessage {
    Buffer bytes;
    bool text = true;  // of valid UTF-8; else binary
};

struct SocketOptions {
    bool deflate = false;  // server: if the client offers it; client: offer it
    std::uint64_t message_limit_bytes = 0;
    BufferBudget* budget = nullptr;  // of messages that are read; may be null
    // A peer that takes nothing for so long is cut off.
    std::chrono::milliseconds write_stall{60'000};
};

// Whether the peer offered permessage-deflate.
[[nodiscard]] bool offers_deflate(const http::Fields& fields);

class WebSocket {
public:
    WebSocket(std::shared_ptr<ByteStream> stream, const SocketOptions& options);
    ~WebSocket();  // closes the connection
    WebSocket(const WebSocket&) = delete;
    WebSocket& operator=(const WebSocket&) = delete;

    // Server: answers the request, whose head was checked, with a 101 that has `fields` as well.
    // False: the client is gone.
    [[nodiscard]] Awaitable<bool> accept(const http::RequestHead& head, http::Fields fields);

    struct Handshake {
        bool accepted = false;
        http::ResponseHead head;
        std::string body;    // if it was not accepted
        std::string broken;  // there is no answer to speak of: why
    };
    // Client: asks for the target, with `fields` (no Host and no field of the handshake among
    // them). REQUIRES: nothing else is asked of it meanwhile, but cut().
    [[nodiscard]] Awaitable<Handshake> handshake(
        std::string host, std::string target, http::Fields fields
    );

    [[nodiscard]] Awaitable<std::expected<SocketMessage, SocketEnd>> read();
    // False: the connection is of no use any more. `bytes` are the caller's until then.
    [[nodiscard]] Awaitable<bool> write(std::string_view bytes, bool text);
    [[nodiscard]] Awaitable<> ping();
    // Says goodbye and waits for the peer's, for at most `patience`; then the connection is closed.
    [[nodiscard]] Awaitable<> close(Close close, std::chrono::milliseconds patience);
    // Closes the connection at once.
    void cut() noexcept;

    // When bytes last came; and whether any are waited for: a peer that nobody reads from may say
    // what it likes unheard.
    [[nodiscard]] Deadline::Clock::time_point heard() const noexcept;
    [[nodiscard]] bool listening() const noexcept;

private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace weir::proxy
