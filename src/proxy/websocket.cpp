#include "websocket.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <span>
#include <utility>

#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/websocket/stream.hpp>

#include "weir/base/signal.hpp"
#include "weir/base/text.hpp"
#include "weir/base/watchdog.hpp"

namespace weir::proxy {

namespace websocket = boost::beast::websocket;

namespace {

constexpr std::size_t kFirstRead = 1 << 10;     // most events of a session fit
constexpr std::size_t kWriteBuffer = 16 << 10;  // a frame of what is compressed or masked
constexpr std::size_t kGathered = 16;           // buffers of one write
constexpr std::size_t kLongestReason = 123;     // a control frame's 125 bytes less the code

// What a stream and whoever watches it share.
struct Line {
    Line(std::shared_ptr<ByteStream> bytes, std::chrono::milliseconds stall)
        : stream(std::move(bytes)),
          write_stall(stall),
          heard(Deadline::Clock::now()),
          watchdog(stream->home(), [this] { stream->close(); }) {}

    std::shared_ptr<ByteStream> stream;
    std::chrono::milliseconds write_stall;
    Deadline::Clock::time_point heard;
    bool reading = false;
    Watchdog watchdog;  // of what is being written
};

// The stream as Beast wants it.
class Wire {
public:
    using executor_type = Executor;

    explicit Wire(std::shared_ptr<Line> line) noexcept : line_(std::move(line)) {}
    [[nodiscard]] executor_type get_executor() const noexcept { return line_->stream->home(); }

    template <class Buffers, class Token>
    auto async_read_some(const Buffers& buffers, Token&& token) {
        asio::mutable_buffer first;
        for (auto at = asio::buffer_sequence_begin(buffers);
             at != asio::buffer_sequence_end(buffers) && first.size() == 0;
             ++at) {
            first = *at;
        }
        return asio::async_initiate<Token, void(SysError, std::size_t)>(
            [](auto handler, std::shared_ptr<Line> line, asio::mutable_buffer into) {
                line->reading = true;
                Line& there = *line;
                there.stream->read_some(
                    into,
                    [line = std::move(line),
                     handler = std::move(handler)](SysError error, std::size_t size) mutable {
                        line->reading = false;
                        if (!error) line->heard = Deadline::Clock::now();
                        std::move(handler)(error, size);
                    }
                );
            },
            token,
            line_,
            first
        );
    }

    template <class Buffers, class Token>
    auto async_write_some(const Buffers& buffers, Token&& token) {
        std::array<asio::const_buffer, kGathered> gathered;
        std::size_t count = 0;
        for (auto at = asio::buffer_sequence_begin(buffers);
             at != asio::buffer_sequence_end(buffers) && count < kGathered;
             ++at) {
            const asio::const_buffer one = *at;
            if (one.size() > 0) gathered[count++] = one;
        }
        return asio::async_initiate<Token, void(SysError, std::size_t)>(
            [count](
                auto handler,
                std::shared_ptr<Line> line,
                const std::array<asio::const_buffer, kGathered>& from
            ) {
                line->watchdog.set(Deadline::in(line->write_stall));
                Line& there = *line;
                there.stream->write_some(
                    std::span(from).first(count),
                    [line = std::move(line),
                     handler = std::move(handler)](SysError error, std::size_t size) mutable {
                        line->watchdog.set(Deadline::never());
                        std::move(handler)(error, size);
                    }
                );
            },
            token,
            line_,
            gathered
        );
    }

    void close() const noexcept { line_->stream->close(); }

private:
    std::shared_ptr<Line> line_;
};

// Found by Beast where it ends a connection. Its owner closes it, when the last bytes are out.
template <class Handler>
void async_teardown(boost::beast::role_type, Wire& wire, Handler&& handler) {
    asio::post(wire.get_executor(), [handler = std::forward<Handler>(handler)]() mutable {
        std::move(handler)(SysError());
    });
}
[[maybe_unused]] void beast_close_socket(Wire& wire) {
    wire.close();
}

websocket::permessage_deflate deflate_options(bool wanted) {
    websocket::permessage_deflate options;
    options.server_enable = options.client_enable = wanted;
    // Of a session's compressor: 24 KiB instead of 256.
    options.server_max_window_bits = 12;
    options.memLevel = 4;
    options.compLevel = 3;
    options.msg_size_threshold = 128;  // less gains nothing
    return options;
}

std::string_view as_view(boost::beast::string_view text) noexcept {
    return {text.data(), text.size()};
}

// As much of it as fits into a close frame, and no half of a character.
std::string_view as_reason(std::string_view text) noexcept {
    if (text.size() <= kLongestReason) return text;
    std::size_t size = kLongestReason;
    while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0U) == 0x80U) --size;
    return text.substr(0, size);
}

SocketEnd end_of(SysError error, const websocket::close_reason& close) {
    SocketEnd end;
    end.detail = error.message();
    if (error == websocket::error::closed) {
        end.kind = SocketEnd::Kind::kClosed;
        end.close.code = close.code;
        end.close.reason.assign(close.reason.data(), close.reason.size());
    } else if (error == websocket::error::message_too_big ||
               error == websocket::error::buffer_overflow) {
        end.kind = SocketEnd::Kind::kTooBig;
    } else if (error.category() == make_error_code(websocket::error::closed).category()) {
        end.kind = SocketEnd::Kind::kProtocol;
    }
    return end;
}

}  // namespace

bool offers_deflate(const http::Fields& fields) {
    return std::ranges::any_of(fields, [](const http::Field& field) {
        return iequals(field.name, "sec-websocket-extensions") &&
               to_lower(field.value).find("permessage-deflate") != std::string::npos;
    });
}

struct WebSocket::Impl {
    Impl(std::shared_ptr<ByteStream> stream, const SocketOptions& given)
        : options(given),
          line(std::make_shared<Line>(std::move(stream), given.write_stall)),
          ws(line) {
        ws.read_message_max(options.message_limit_bytes);
        ws.auto_fragment(false);
        ws.write_buffer_bytes(kWriteBuffer);
        ws.set_option(deflate_options(options.deflate));
    }

    // Writes of several coroutines, one after the other.
    [[nodiscard]] Awaitable<> take_turn() {
        if (!std::exchange(writing, true)) co_return;
        const auto signal = Signal::create(line->stream->home());
        queue.push_back(signal);
        // Its turn is passed on with `writing` still set.
        while (std::ranges::find(queue, signal) != queue.end()) co_await signal->wait();
    }
    void pass_turn() {
        if (queue.empty()) {
            writing = false;
            return;
        }
        const auto next = std::move(queue.front());
        queue.pop_front();
        next->notify_home();
    }

    [[nodiscard]] SocketEnd ended(SysError error) {
        SocketEnd end = end_of(error, ws.reason());
        gave_up = end.kind == SocketEnd::Kind::kTooBig || end.kind == SocketEnd::Kind::kProtocol;
        return end;
    }

    SocketOptions options;
    std::shared_ptr<Line> line;
    websocket::stream<Wire> ws;
    bool gave_up = false;  // the peer was told why, in the middle of what it sent
    bool writing = false;
    std::deque<std::shared_ptr<Signal>> queue;
    std::array<char, kFirstRead> first{};
};

WebSocket::WebSocket(std::shared_ptr<ByteStream> stream, const SocketOptions& options)
    : impl_(std::make_shared<Impl>(std::move(stream), options)) {}

WebSocket::~WebSocket() {
    cut();
}

Awaitable<bool> WebSocket::accept(const http::RequestHead& head, http::Fields fields) {
    const auto impl = impl_;
    websocket::request_type request;
    request.method(boost::beast::http::verb::get);
    request.version(11);
    request.target(boost::beast::string_view(head.target.data(), head.target.size()));
    for (const http::Field& field : head.fields) {
        const bool needed = iequals(field.name, "host") || iequals(field.name, "upgrade") ||
                            iequals(field.name, "connection") ||
                            to_lower(field.name).starts_with("sec-websocket-");
        if (needed) request.insert(field.name, field.value);
    }
    impl->ws.set_option(websocket::stream_base::decorator([fields = std::move(fields
                                                           )](websocket::response_type& answer) {
        answer.set(boost::beast::http::field::server, "weir");  // else Beast's version
        for (const http::Field& field : fields) answer.insert(field.name, field.value);
    }));
    const auto [error] = co_await impl->ws.async_accept(request, kAwait);
    co_return !error;
}

Awaitable<WebSocket::Handshake> WebSocket::handshake(
    std::string host, std::string target, http::Fields fields
) {
    const auto impl = impl_;
    impl->ws.set_option(websocket::stream_base::decorator([fields = std::move(fields
                                                           )](websocket::request_type& request) {
        for (const http::Field& field : fields) request.insert(field.name, field.value);
    }));
    websocket::response_type answer;
    const auto [error] = co_await impl->ws.async_handshake(answer, host, target, kAwait);
    Handshake done;
    done.accepted = !error;
    // Told at once: it stays set, and holds the key.
    impl->ws.set_option(websocket::stream_base::decorator([](websocket::request_type&) {}));
    if (error && error != websocket::error::upgrade_declined) {
        done.broken = error.message();
        co_return done;
    }
    done.head.status = static_cast<int>(answer.result_int());
    for (const auto& field : answer) {
        done.head.fields.add(as_view(field.name_string()), as_view(field.value()));
    }
    done.body = std::move(answer.body());
    co_return done;
}

Awaitable<std::expected<SocketMessage, SocketEnd>> WebSocket::read() {
    const auto impl = impl_;
    SocketMessage message{Buffer(impl->options.budget), true};
    Buffer& bytes = message.bytes;
    const auto no_room = [] {
        return std::unexpected(SocketEnd{SocketEnd::Kind::kNoRoom, {}, "no room for a message"});
    };
    // Nothing is taken from the budget while there is nothing to read.
    const auto [first_error, first_size] =
        co_await impl->ws.async_read_some(asio::buffer(impl->first), kAwait);
    if (first_error) co_return std::unexpected(impl->ended(first_error));
    if (!bytes.append({impl->first.data(), first_size})) co_return no_room();
    while (!impl->ws.is_message_done()) {
        if (bytes.room().empty() && !bytes.reserve(std::max(bytes.size() * 2, 4 * kFirstRead))) {
            co_return no_room();
        }
        const auto room = bytes.room();
        const auto [error, size] =
            co_await impl->ws.async_read_some(asio::buffer(room.data(), room.size()), kAwait);
        if (error) co_return std::unexpected(impl->ended(error));
        bytes.commit(size);
    }
    message.text = impl->ws.got_text();
    co_return message;
}

Awaitable<bool> WebSocket::write(std::string_view bytes, bool text) {
    const auto impl = impl_;
    co_await impl->take_turn();
    if (!impl->ws.is_open()) {
        impl->pass_turn();
        co_return false;
    }
    impl->ws.text(text);
    const auto [error, size] =
        co_await impl->ws.async_write(asio::buffer(bytes.data(), bytes.size()), kAwait);
    impl->pass_turn();
    co_return !error;
}

Awaitable<> WebSocket::ping() {
    const auto impl = impl_;
    if (!impl->ws.is_open()) co_return;
    const websocket::ping_data nothing;
    static_cast<void>(co_await impl->ws.async_ping(nothing, kAwait));
}

Awaitable<> WebSocket::close(Close close, std::chrono::milliseconds patience) {
    const auto impl = impl_;
    ByteStream& stream = *impl->line->stream;
    Watchdog watchdog(stream.home(), [&stream] { stream.close(); });
    watchdog.set(Deadline::in(patience));
    if (impl->ws.is_open()) {
        websocket::close_reason reason;
        reason.code = close.code;
        if (close.code != 0) {
            const std::string_view text = as_reason(close.reason);
            reason.reason.assign(text.begin(), text.end());
        }
        // Not between two frames of a message.
        co_await impl->take_turn();
        if (impl->ws.is_open()) static_cast<void>(co_await impl->ws.async_close(reason, kAwait));
        impl->pass_turn();
    } else if (impl->gave_up) {
        // Closing with bytes unread would send a reset that can eat our word on its way.
        stream.finish_sending();
        Wire wire(impl->line);
        while (true) {
            const auto [error, size] =
                co_await wire.async_read_some(asio::buffer(impl->first), kAwait);
            if (error) break;
        }
    }
    stream.close();
}

void WebSocket::cut() noexcept {
    impl_->line->stream->close();
}

Deadline::Clock::time_point WebSocket::heard() const noexcept {
    return impl_->line->heard;
}

bool WebSocket::listening() const noexcept {
    return impl_->line->reading;
}

}  // namespace weir::proxy
