#include "weir/upstream/channel.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include <boost/asio/post.hpp>

#include "channel_made.hpp"
#include "dial.hpp"

namespace weir::upstream {
namespace {

constexpr std::size_t kTlsRecord = 16 << 10;

// TLS on a socket whose handshake is done. Steps never block; what waits keeps the stream alive.
class TlsStream final : public ByteStream, public std::enable_shared_from_this<TlsStream> {
public:
    TlsStream(Executor home, Connection::Wire wire)
        : home_(std::move(home)),
          socket_(std::move(wire.socket)),
          below_(std::move(wire.below)),
          tls_(std::move(wire.tls)) {}
    ~TlsStream() override { close(); }

    [[nodiscard]] Executor home() const noexcept override { return home_; }

    void read_some(asio::mutable_buffer into, Done done) override {
        // By way of the loop: a completion inside the call would not be one.
        asio::post(home_, [self = shared_from_this(), into, done = std::move(done)]() mutable {
            self->read_step(into, std::move(done));
        });
    }

    void write_some(std::span<const asio::const_buffer> from, Done done) override {
        unsent_.clear();
        for (const asio::const_buffer& one : from) {
            const std::size_t room = kTlsRecord - unsent_.size();
            unsent_.append(static_cast<const char*>(one.data()), std::min(one.size(), room));
        }
        asio::post(home_, [self = shared_from_this(), done = std::move(done)]() mutable {
            self->write_step(std::move(done));
        });
    }

    void finish_sending() noexcept override { tls_->say_goodbye(); }

    void close() noexcept override {
        if (!socket_.is_open()) return;
        tls_->say_goodbye();
        SysError ignored;
        socket_.close(ignored);
    }

private:
    static SysError error_of(TlsStep::Kind kind) {
        if (kind == TlsStep::Kind::kEnd) return asio::error::eof;
        return asio::error::connection_reset;
    }

    void read_step(asio::mutable_buffer into, Done done) {
        if (!socket_.is_open()) return std::move(done)(asio::error::operation_aborted, 0);
        const TlsStep step = tls_->read({static_cast<char*>(into.data()), into.size()});
        if (step.kind == TlsStep::Kind::kDone) return std::move(done)(SysError(), step.bytes);
        if (!waits(step)) return std::move(done)(error_of(step.kind), 0);
        socket_.async_wait(
            what_for(step),
            [self = shared_from_this(), into, done = std::move(done)](SysError error) mutable {
                if (error) return std::move(done)(error, 0);
                self->read_step(into, std::move(done));
            }
        );
    }

    void write_step(Done done) {
        if (!socket_.is_open()) return std::move(done)(asio::error::operation_aborted, 0);
        const TlsStep step = tls_->write(unsent_);
        if (step.kind == TlsStep::Kind::kDone) return std::move(done)(SysError(), step.bytes);
        if (!waits(step)) return std::move(done)(error_of(step.kind), 0);
        socket_.async_wait(
            what_for(step),
            [self = shared_from_this(), done = std::move(done)](SysError error) mutable {
                if (error) return std::move(done)(error, 0);
                self->write_step(std::move(done));
            }
        );
    }

    static bool waits(const TlsStep& step) {
        return step.kind == TlsStep::Kind::kWantRead || step.kind == TlsStep::Kind::kWantWrite;
    }
    static TcpSocket::wait_type what_for(const TlsStep& step) {
        return step.kind == TlsStep::Kind::kWantRead ? TcpSocket::wait_read : TcpSocket::wait_write;
    }

    Executor home_;
    TcpSocket socket_;
    std::unique_ptr<TlsSession> below_;  // to a proxy, if `tls_` runs inside it
    std::unique_ptr<TlsSession> tls_;
    std::string unsent_;  // OpenSSL wants the same bytes again after a wait
};

class DialledChannel final : public Channel {
public:
    DialledChannel(
        std::shared_ptr<ClientState> client,
        std::shared_ptr<const config::Upstream> upstream,
        std::size_t key
    )
        : home_(client->home), dial_(client, upstream, client->pool_for(*upstream, key)) {}

    [[nodiscard]] Awaitable<Result<std::shared_ptr<ByteStream>>> run() override {
        Result<std::shared_ptr<Connection>> connection = co_await dial_.connect(Deadline::never());
        if (!connection) co_return std::unexpected(std::move(connection.error()));
        Connection::Wire wire = (*connection)->release();
        if (wire.tls == nullptr) co_return make_tcp_stream(std::move(wire.socket));
        co_return std::make_shared<TlsStream>(home_, std::move(wire));
    }
    void cancel() noexcept override { dial_.cancel(); }
    [[nodiscard]] Call::Stage stage() const noexcept override { return dial_.stage(); }

private:
    Executor home_;
    Dial dial_;
};

}  // namespace

std::unique_ptr<Channel> make_channel(
    std::shared_ptr<ClientState> client,
    std::shared_ptr<const config::Upstream> upstream,
    std::size_t key
) {
    return std::make_unique<DialledChannel>(std::move(client), std::move(upstream), key);
}

}  // namespace weir::upstream
