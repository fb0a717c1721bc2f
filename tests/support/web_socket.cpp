#include "support/web_socket.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <unistd.h>

#include "weir/base/text.hpp"

namespace weir::test {

namespace beast = boost::beast;
namespace websocket = beast::websocket;
namespace asio = boost::asio;
using Stream = websocket::stream<asio::ip::tcp::socket>;
using Error = boost::system::error_code;

struct WebPeer::Impl {
    asio::io_context context{1};
    Stream ws{context};
    Answer answer;
    bool accepted = false;
    bool extension = false;
    std::string pong;
    int pings = 0;
    int close_code = 0;
    std::string close_reason;

    // Starts something and waits for its end. False: it did not come.
    template <class Start>
    bool run(Start start, std::chrono::milliseconds patience, Error& error) {
        bool done = false;
        start([&done, &error](Error outcome, auto...) {
            error = outcome;
            done = true;
        });
        context.restart();
        const auto until = std::chrono::steady_clock::now() + patience;
        while (!done && context.run_one_until(until) > 0) {
        }
        if (!done) {
            // What has begun is not to be touched again.
            Error ignored;
            beast::get_lowest_layer(ws).close(ignored);
            context.restart();
            while (!done && context.run_one() > 0) {
            }
            return false;
        }
        return !error;
    }

    void listen() {
        ws.read_message_max(256 << 20);
        ws.control_callback([this](websocket::frame_type type, beast::string_view payload) {
            if (type == websocket::frame_type::pong) pong.assign(payload.data(), payload.size());
            if (type == websocket::frame_type::ping) ++pings;
        });
    }
    void note_close() {
        close_code = ws.reason().code == websocket::close_code::none ? 1005 : ws.reason().code;
        close_reason.assign(ws.reason().reason.data(), ws.reason().reason.size());
    }
    void set_deflate(bool wanted) {
        websocket::permessage_deflate options;
        options.client_enable = options.server_enable = wanted;
        ws.set_option(options);
    }
};

namespace {
constexpr std::chrono::seconds kPatience{20};
}  // namespace

WebPeer::WebPeer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
WebPeer::~WebPeer() = default;
WebPeer::WebPeer(WebPeer&&) noexcept = default;
WebPeer& WebPeer::operator=(WebPeer&&) noexcept = default;

WebPeer WebPeer::connect(std::uint16_t port, const std::string& target, const WebOptions& options) {
    auto impl = std::make_unique<Impl>();
    Impl& self = *impl;
    Error error;
    self.ws.next_layer().connect({asio::ip::address_v4::loopback(), port}, error);
    self.ws.next_layer().set_option(asio::ip::tcp::no_delay(true), error);
    self.set_deflate(options.deflate);
    self.ws.set_option(websocket::stream_base::decorator([&](websocket::request_type& request) {
        if (!options.key.empty()) request.set("Authorization", "Bearer " + options.key);
        if (!options.protocols.empty()) request.set("Sec-WebSocket-Protocol", options.protocols);
        for (const auto& [name, value] : options.fields) request.set(name, value);
    }));
    websocket::response_type answer;
    self.accepted = self.run(
        [&](auto done) { self.ws.async_handshake(answer, "localhost", target, done); },
        kPatience,
        error
    );
    self.answer.status = static_cast<int>(answer.result_int());
    self.answer.complete = true;
    for (const auto& field : answer) {
        self.answer.fields.emplace_back(
            to_lower({field.name_string().data(), field.name_string().size()}),
            std::string(field.value().data(), field.value().size())
        );
    }
    self.answer.body = answer.body();
    self.extension = self.answer.has("sec-websocket-extensions");
    self.listen();
    return WebPeer(std::move(impl));
}

WebPeer WebPeer::accept(Wire& wire, const SeenRequest& seen, const WebOptions& options) {
    auto impl = std::make_unique<Impl>();
    Impl& self = *impl;
    Error error;
    self.ws.next_layer().assign(asio::ip::tcp::v4(), ::dup(wire.socket().descriptor()), error);
    self.set_deflate(options.deflate);
    websocket::request_type request;
    request.method(beast::http::verb::get);
    request.version(11);
    request.target(seen.target);
    for (const auto& [name, value] : seen.fields) request.insert(name, value);
    self.ws.set_option(websocket::stream_base::decorator([&](websocket::response_type& answer) {
        if (!options.protocols.empty()) answer.set("Sec-WebSocket-Protocol", options.protocols);
        for (const auto& [name, value] : options.fields) answer.set(name, value);
        self.extension = answer.count("Sec-WebSocket-Extensions") > 0;
    }));
    self.accepted =
        self.run([&](auto done) { self.ws.async_accept(request, done); }, kPatience, error);
    self.extension = options.deflate && seen.has("sec-websocket-extensions");
    self.listen();
    return WebPeer(std::move(impl));
}

bool WebPeer::accepted() const noexcept {
    return impl_->accepted;
}
const Answer& WebPeer::answer() const noexcept {
    return impl_->answer;
}
bool WebPeer::deflates() const {
    return impl_->extension;
}

bool WebPeer::send(std::string_view bytes, bool text, std::chrono::milliseconds patience) {
    Error error;
    impl_->ws.text(text);
    return impl_->run(
        [&](auto done) { impl_->ws.async_write(asio::buffer(bytes.data(), bytes.size()), done); },
        patience,
        error
    );
}

bool WebPeer::send_parts(const std::vector<std::string>& parts) {
    impl_->ws.text(true);
    impl_->ws.auto_fragment(false);
    for (std::size_t i = 0; i < parts.size(); ++i) {
        Error error;
        const bool last = i + 1 == parts.size();
        const bool sent = impl_->run(
            [&](auto done) { impl_->ws.async_write_some(last, asio::buffer(parts[i]), done); },
            kPatience,
            error
        );
        if (!sent) return false;
    }
    return true;
}

std::optional<WebMessage> WebPeer::receive(std::chrono::milliseconds patience) {
    beast::flat_buffer buffer;
    Error error;
    const bool got =
        impl_->run([&](auto done) { impl_->ws.async_read(buffer, done); }, patience, error);
    if (!got) {
        if (error == websocket::error::closed) impl_->note_close();
        return std::nullopt;
    }
    const auto data = buffer.data();
    return WebMessage{{static_cast<const char*>(data.data()), data.size()}, impl_->ws.got_text()};
}

bool WebPeer::ping(std::string_view payload) {
    Error error;
    websocket::ping_data data;
    data.assign(payload.data(), payload.size());
    return impl_->run([&](auto done) { impl_->ws.async_ping(data, done); }, kPatience, error);
}

std::string WebPeer::pong() const {
    return impl_->pong;
}
int WebPeer::pings() const {
    return impl_->pings;
}

void WebPeer::close(std::uint16_t code, std::string_view reason) {
    websocket::close_reason why;
    why.code = code;
    why.reason.assign(reason.data(), reason.size());
    Error error;
    impl_->run([&](auto done) { impl_->ws.async_close(why, done); }, kPatience, error);
    impl_->note_close();
}

void WebPeer::cut() {
    Error ignored;
    // Also of the descriptor that the wire holds.
    impl_->ws.next_layer().shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
    impl_->ws.next_layer().close(ignored);
}

int WebPeer::close_code() const {
    return impl_->close_code;
}
std::string WebPeer::close_reason() const {
    return impl_->close_reason;
}

}  // namespace weir::test
