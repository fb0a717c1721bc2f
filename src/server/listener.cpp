#include "weir/server/listener.hpp"

#include <utility>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/post.hpp>

#include "weir/base/log.hpp"
#include "weir/proxy/proxy.hpp"

namespace weir::server {

namespace {

using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, Executor>;

constexpr int kBacklog = 1024;
// No descriptors left: wait for some to be closed instead of spinning.
constexpr std::chrono::milliseconds kAcceptPause{100};

std::string cannot_listen(const config::Listen& address, const SysError& error) {
    return "cannot listen on " + address.host + ":" + std::to_string(address.port) + ": " +
           error.message() +
           (error == asio::error::address_in_use
                ? " (another process has it; stop that one or change `listen`)"
                : "");
}

}  // namespace

std::optional<ConnectionSlot> ConnectionSlot::take(const std::shared_ptr<SessionSettings>& settings
) {
    const std::uint32_t before = settings->connections.fetch_add(1, std::memory_order_relaxed);
    if (before >= settings->max_connections.load(std::memory_order_relaxed)) {
        settings->connections.fetch_sub(1, std::memory_order_relaxed);
        return std::nullopt;
    }
    return ConnectionSlot(settings);
}

ConnectionSlot::~ConnectionSlot() {
    if (settings_) settings_->connections.fetch_sub(1, std::memory_order_relaxed);
}

struct Listener::Impl : std::enable_shared_from_this<Listener::Impl> {
    Impl(
        asio::io_context& control, std::vector<Place> some, std::shared_ptr<SessionSettings> shared
    )
        : acceptor(control.get_executor()),
          pause(control.get_executor()),
          places(std::move(some)),
          settings(std::move(shared)) {}

    void accept() {
        const Place place = places[next_place++ % places.size()];
        acceptor.async_accept(
            *place.context,
            [self = shared_from_this(), place](SysError error, TcpSocket socket) {
                self->accepted(error, std::move(socket), place);
            }
        );
    }

    void accepted(SysError error, TcpSocket socket, Place place) {
        if (error && (error == asio::error::operation_aborted || !acceptor.is_open())) return;
        if (error) {
            if (settings->accept_failures.fetch_add(1) % 100 == 0) {
                log::warn("cannot accept", {{"error", std::string_view(error.message())}});
            }
            pause.expires_after(kAcceptPause);
            pause.async_wait([self = shared_from_this()](SysError stopped) {
                if (!stopped) self->accept();
            });
            return;
        }
        welcome(std::move(socket), place);
        if (acceptor.is_open()) accept();
    }

    void welcome(TcpSocket socket, Place place) {
        // Counted here and not by its session: that one begins later, on another thread.
        auto slot = ConnectionSlot::take(settings);
        if (!slot) {
            refuse(std::move(socket));
            return;
        }
        // By value into the worker: from here on the socket belongs to that thread.
        asio::post(
            *place.context,
            [peer = std::move(socket), counted = std::move(*slot), place, all = settings](
            ) mutable {
                start_session(std::move(peer), std::move(counted), *place.handler, std::move(all));
            }
        );
    }

    // What stands in the kernel's queue would be reset by the close, with requests in it.
    void accept_waiting() {
        SysError error;
        acceptor.non_blocking(true, error);
        for (int i = 0; i < kBacklog && !error; ++i) {
            const Place place = places[next_place++ % places.size()];
            TcpSocket socket(*place.context);
            acceptor.accept(socket, error);
            if (!error) welcome(std::move(socket), place);
        }
    }

    // One write that fits the socket's buffer; a client that does not read it loses nothing else.
    void refuse(TcpSocket socket) {
        const std::string id = proxy::make_request_id();
        if (settings->refused_connections.fetch_add(1, std::memory_order_relaxed) % 100 == 0) {
            log::warn(
                "refused a connection: as many as limits.connections are open",
                {{"id", std::string_view(id)}}
            );
        }
        const http::ApiError error = http::too_many_connections();
        const std::string body = error.body();
        const std::string answer =
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
            "connection: close\r\nretry-after: 1\r\nx-request-id: " +
            id + "\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
        SysError ignored;
        socket.non_blocking(true, ignored);
        socket.write_some(asio::buffer(answer), ignored);
        socket.shutdown(TcpSocket::shutdown_send, ignored);
    }

    Acceptor acceptor;
    Timer pause;
    std::vector<Place> places;
    std::shared_ptr<SessionSettings> settings;
    std::size_t next_place = 0;
    std::uint16_t port = 0;
};

Listener::Listener(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

Listener::~Listener() {
    stop();
}

Result<std::unique_ptr<Listener>> Listener::open(
    asio::io_context& control,
    const config::Listen& address,
    std::vector<Place> places,
    std::shared_ptr<SessionSettings> settings
) {
    auto impl = std::make_shared<Impl>(control, std::move(places), std::move(settings));
    SysError error;
    asio::ip::tcp::resolver resolver(control);
    const auto found = resolver.resolve(
        address.host, std::to_string(address.port), asio::ip::tcp::resolver::passive, error
    );
    if (error || found.empty()) return fail(ErrorCode::kConfig, cannot_listen(address, error));
    const asio::ip::tcp::endpoint endpoint = found.begin()->endpoint();
    impl->acceptor.open(endpoint.protocol(), error);
    if (!error) impl->acceptor.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) impl->acceptor.bind(endpoint, error);
    if (!error) impl->acceptor.listen(kBacklog, error);
    if (error) return fail(ErrorCode::kConfig, cannot_listen(address, error));
    impl->port = impl->acceptor.local_endpoint(error).port();
    return std::unique_ptr<Listener>(new Listener(std::move(impl)));
}

void Listener::start() {
    impl_->accept();
}

void Listener::stop() {
    SysError ignored;
    if (impl_->acceptor.is_open()) impl_->accept_waiting();
    impl_->acceptor.close(ignored);
    impl_->pause.cancel();
}

std::uint16_t Listener::port() const noexcept {
    return impl_->port;
}

}  // namespace weir::server
