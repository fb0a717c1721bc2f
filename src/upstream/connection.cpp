#include "connection.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include "weir/base/log.hpp"
#include "weir/http/write.hpp"

namespace weir::upstream {
namespace {

constexpr std::size_t kTlsRecord = 16 << 10;
constexpr unsigned kReadsInARow = 32;

SysError system_error(int number) {
    return {number, boost::system::system_category()};
}

// A silent connection may have been forgotten by a NAT on the way, e.g. while a model thinks for
// minutes: probe it, and notice the dead one after 2 minutes. Best effort.
void keep_alive(int socket) {
    const int on = 1;
    const int idle_s = 60;
    const int interval_s = 15;
    const int probes = 4;
    setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

void log_escaped(std::exception_ptr error) {
    if (error == nullptr) return;
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& what) {
        log::error("upstream writer failed", {{"what", std::string_view(what.what())}});
    }
}

}  // namespace

std::shared_ptr<Connection> Connection::create(Executor home) {
    return std::make_shared<Connection>(home);
}

// The watchdog is a member, so its callback cannot outlive `this`.
Connection::Connection(Executor home)
    : home_(home), socket_(home), watchdog_(home, [this] {
          if (owner_ != nullptr) owner_->deadline_passed(*this);
      }) {}

Connection::~Connection() {
    close();
}

void Connection::close() noexcept {
    if (!open_) return;
    open_ = false;
    stop_sending();
    SysError ignored;
    socket_.close(ignored);
}

void Connection::stop_sending() noexcept {
    sending_ = false;
    rest_ = {};
    const std::shared_ptr<BodySource> source = std::exchange(source_, nullptr);
    if (source != nullptr) source->stop();
}

Connection::Wire Connection::release() {
    open_ = false;
    return {std::move(socket_), std::move(below_), std::move(tls_)};
}

void Connection::close_politely() noexcept {
    if (open_ && tls_ != nullptr) tls_->say_goodbye();
    if (open_ && below_ != nullptr) below_->say_goodbye();
    close();
}

Awaitable<SysError> Connection::connect(asio::ip::tcp::endpoint endpoint) {
    SysError error;
    peer_ = endpoint.address();
    socket_.open(endpoint.protocol(), error);
    if (error) co_return error;
    // Failing to set an option costs speed, not correctness.
    SysError ignored;
    socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
    keep_alive(socket_.native_handle());
    auto [failed] = co_await socket_.async_connect(endpoint, kAwait);
    if (!open_) failed = asio::error::operation_aborted;
    co_return failed;
}

Awaitable<Result<>> Connection::start_tls(std::shared_ptr<TlsContext> context, std::string host) {
    if (tls_ != nullptr) {
        below_ = std::move(tls_);
        tls_ = std::make_unique<TlsSession>(std::move(context), *below_, host);
    } else {
        tls_ = std::make_unique<TlsSession>(std::move(context), socket_.native_handle(), host);
    }
    for (;;) {
        const TlsStep step = tls_->handshake();
        switch (step.kind) {
            case TlsStep::Kind::kDone:
                co_return Result<>();
            case TlsStep::Kind::kWantRead:
            case TlsStep::Kind::kWantWrite:
                break;
            case TlsStep::Kind::kEnd:
            case TlsStep::Kind::kCut:
                co_return fail(ErrorCode::kUpstreamConnect, "TLS: closed during the handshake");
            case TlsStep::Kind::kError:
                co_return fail(ErrorCode::kUpstreamConnect, "TLS: " + tls_->error());
        }
        const auto what =
            step.kind == TlsStep::Kind::kWantRead ? TcpSocket::wait_read : TcpSocket::wait_write;
        const auto [error] = co_await socket_.async_wait(what, kAwait);
        if (error || !open_) {
            co_return fail(ErrorCode::kUpstreamConnect, "TLS: broke during the handshake");
        }
    }
}

void Connection::send(std::string head, std::string_view body) {
    load(std::move(head), body);
    sending_ = true;
    sent_all_ = false;
    switch (pump()) {
        case Pumped::kAll:
            all_sent();
            break;
        case Pumped::kMore:
            asio::co_spawn(home_, write_rest(shared_from_this()), &log_escaped);
            break;
        case Pumped::kStopped:
            break;
    }
}

void Connection::send(
    std::string head, std::shared_ptr<BodySource> source, std::optional<std::uint64_t> bytes
) {
    load(std::move(head), {});
    sending_ = true;
    sent_all_ = false;
    source_ = source;
    // A source that throws must not leave the upstream with half a body until a deadline.
    auto ended = [self = shared_from_this()](std::exception_ptr error) {
        if (error != nullptr) self->close();
        log_escaped(error);
    };
    asio::co_spawn(
        home_, write_source(shared_from_this(), std::move(source), bytes), std::move(ended)
    );
}

void Connection::load(std::string head, std::string_view body) {
    head_ = std::move(head);
    rest_ = body;
    if (tls_ != nullptr && head_.size() < kTlsRecord) {
        // A small request is one record and one packet.
        const std::size_t prefix = std::min(kTlsRecord - head_.size(), body.size());
        head_ += body.substr(0, prefix);
        rest_.remove_prefix(prefix);
    }
    written_ = 0;
}

Connection::Pumped Connection::pump() {
    const std::size_t all = head_.size() + rest_.size();
    const std::size_t stop_at = written_ + kWriteBurst;
    const std::size_t before = written_;
    while (sending_ && written_ < all) {
        if (written_ >= stop_at) break;
        const Result<Write> write = write_once();
        if (!write) {
            stop_sending();
            if (owner_ != nullptr) owner_->write_failed();
            return Pumped::kStopped;
        }
        written_ += write->bytes;
        until_readable_ = write->until_readable;
        if (write->blocked) break;
    }
    if (!sending_) return Pumped::kStopped;
    if (written_ == all) return Pumped::kAll;
    if (written_ > before && owner_ != nullptr) owner_->some_written();
    return sending_ ? Pumped::kMore : Pumped::kStopped;
}

void Connection::all_sent() {
    sending_ = false;
    sent_all_ = true;
    rest_ = {};
    source_.reset();
    if (owner_ != nullptr) owner_->all_written();
}

Result<Connection::Write> Connection::write_once() {
    const std::string_view head = std::string_view(head_).substr(std::min(written_, head_.size()));
    const std::string_view rest = rest_.substr(written_ - (head_.size() - head.size()));
    if (tls_ != nullptr) {
        const TlsStep step = tls_->write(head.empty() ? rest : head);
        switch (step.kind) {
            case TlsStep::Kind::kDone:
                return Write{step.bytes, false, false};
            case TlsStep::Kind::kWantRead:
                return Write{0, true, true};
            case TlsStep::Kind::kWantWrite:
                return Write{0, true, false};
            default:
                return fail(ErrorCode::kUpstreamClosed, "TLS: " + tls_->error());
        }
    }
    // sendmsg does not write through these, whatever its types say.
    iovec parts[2] = {
        {const_cast<char*>(head.data()), head.size()}, {const_cast<char*>(rest.data()), rest.size()}
    };
    msghdr message{};
    message.msg_iov = head.empty() ? parts + 1 : parts;
    message.msg_iovlen = head.empty() || rest.empty() ? 1 : 2;
    const ssize_t count = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) return Write{static_cast<std::size_t>(count), false, false};
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return Write{0, true, false};
    return fail(ErrorCode::kUpstreamClosed, system_error(errno).message());
}

Awaitable<bool> Connection::flush() {
    for (;;) {
        const Pumped pumped = pump();
        if (pumped != Pumped::kMore) co_return pumped == Pumped::kAll;
        const auto what = until_readable_ ? TcpSocket::wait_read : TcpSocket::wait_write;
        const auto [error] = co_await socket_.async_wait(what, kAwait);
        if (!open_ || !sending_) co_return false;
        if (error) {
            stop_sending();
            if (owner_ != nullptr) owner_->write_failed();
            co_return false;
        }
    }
}

Awaitable<> Connection::write_rest(std::shared_ptr<Connection> self) {
    const bool out = co_await self->flush();
    if (out) self->all_sent();
}

Awaitable<> Connection::write_source(
    std::shared_ptr<Connection> self,
    std::shared_ptr<BodySource> source,
    std::optional<std::uint64_t> left
) {
    bool begun = false;
    std::size_t burst = 0;
    for (;;) {
        const bool out = co_await self->flush();
        if (!out) co_return;
        if (burst >= kWriteBurst) {
            // Neither the source nor the socket need ever wait.
            burst = 0;
            co_await asio::post(self->home_, asio::use_awaitable_t<Executor>{});
            if (!self->sending_) co_return;
        }
        // The peer knows that it has it all, and may answer before a source would say so.
        if (left == 0U) break;
        if (self->owner_ != nullptr) self->owner_->source_awaited();
        const Result<std::string_view> part = co_await source->next();
        if (!self->sending_) co_return;
        if (!part) {
            self->source_broke(part.error());
            co_return;
        }
        if (part->empty()) break;
        burst += part->size();
        if (self->owner_ != nullptr) self->owner_->some_written();
        const bool fits = self->load_part(*part, left, begun);
        if (!fits) {
            self->source_broke({ErrorCode::kInternal, "it is longer than was told"});
            co_return;
        }
    }
    if (left && *left > 0) {
        self->source_broke({ErrorCode::kInternal, "it is shorter than was told"});
        co_return;
    }
    if (!left) self->load((begun ? "\r\n" : "") + std::string(http::kLastChunk), {});
    if (self->owner_ != nullptr) self->owner_->some_written();
    const bool out = co_await self->flush();
    if (out) self->all_sent();
}

bool Connection::load_part(std::string_view part, std::optional<std::uint64_t>& left, bool& begun) {
    if (left) {
        if (part.size() > *left) return false;
        *left -= part.size();
        load({}, part);
    } else {
        // The line end behind a chunk goes out with the next one.
        load((begun ? "\r\n" : "") + http::chunk_head(part.size()), part);
    }
    begun = true;
    return true;
}

void Connection::source_broke(Error error) {
    source_.reset();  // it knows
    stop_sending();
    Owner* const owner = owner_;
    if (owner != nullptr) owner->source_failed(std::move(error));
    // The peer must not take what it has for the whole.
    close();
}

bool Connection::make_room() {
    if (begin_ == end_) begin_ = end_ = 0;
    if (end_ < capacity_ && (begin_ > 0 || end_ > 0)) return true;  // append behind what waits
    const std::size_t waiting = end_ - begin_;
    std::size_t needed = want_;
    while (needed <= waiting) needed *= 4;
    if (needed > kMostUnread * 2 || waiting >= kMostUnread) return false;
    if (needed > capacity_) {
        // Not zero-filled: the kernel writes it.
        auto larger = std::make_unique_for_overwrite<char[]>(needed);
        if (waiting > 0) std::memcpy(larger.get(), buffer_.get() + begin_, waiting);
        buffer_ = std::move(larger);
        capacity_ = needed;
    } else if (begin_ > 0) {
        std::memmove(buffer_.get(), buffer_.get() + begin_, waiting);
    }
    begin_ = 0;
    end_ = waiting;
    return true;
}

bool Connection::give_back_if_slow() noexcept {
    if (!slow_ || begin_ != end_) return false;
    buffer_.reset();
    capacity_ = begin_ = end_ = 0;
    return true;
}

void Connection::received(std::size_t bytes) noexcept {
    end_ += bytes;
    const auto now = std::chrono::steady_clock::now();
    slow_ = read_at_ != std::chrono::steady_clock::time_point() && now - read_at_ > kSlow;
    read_at_ = now;
    if (end_ == capacity_) want_ = std::min(std::max(want_, capacity_) * 4, kLargeRead);
}

Awaitable<Connection::Read> Connection::read_more() {
    if (tls_ == nullptr && give_back_if_slow()) {
        const auto [error] = co_await socket_.async_wait(TcpSocket::wait_read, kAwait);
        if (!open_) co_return Read{Read::Kind::kBroken, "closed by us"};
        if (error) co_return Read{Read::Kind::kBroken, error.message()};
    }
    if (!make_room()) co_return Read{Read::Kind::kBroken, "too much that cannot be parsed"};
    if (tls_ == nullptr) {
        const auto [error, bytes] = co_await socket_.async_read_some(
            asio::buffer(buffer_.get() + end_, capacity_ - end_), kAwait
        );
        if (!open_) co_return Read{Read::Kind::kBroken, "closed by us"};
        if (error == asio::error::eof) co_return Read{Read::Kind::kEnd, "closed by the peer"};
        if (error) co_return Read{Read::Kind::kBroken, error.message()};
        received(bytes);
        co_return Read{Read::Kind::kBytes, {}};
    }
    // Records that are already here are read without a wait; a flood must not keep the worker.
    if (++reads_in_a_row_ % kReadsInARow == 0) {
        co_await asio::post(home_, asio::use_awaitable_t<Executor>{});
    }
    while (open_) {
        const TlsStep step = tls_->read({buffer_.get() + end_, capacity_ - end_});
        switch (step.kind) {
            case TlsStep::Kind::kDone:
                received(step.bytes);
                co_return Read{Read::Kind::kBytes, {}};
            case TlsStep::Kind::kEnd:
                co_return Read{Read::Kind::kEnd, "closed by the peer"};
            case TlsStep::Kind::kCut:
                co_return Read{Read::Kind::kBroken, "closed by the peer without a TLS goodbye"};
            case TlsStep::Kind::kError:
                co_return Read{Read::Kind::kBroken, "TLS: " + tls_->error()};
            case TlsStep::Kind::kWantRead:
            case TlsStep::Kind::kWantWrite:
                break;
        }
        const auto what =
            step.kind == TlsStep::Kind::kWantRead ? TcpSocket::wait_read : TcpSocket::wait_write;
        give_back_if_slow();
        const auto [error] = co_await socket_.async_wait(what, kAwait);
        if (open_ && error) co_return Read{Read::Kind::kBroken, error.message()};
        (void)make_room();  // there was room before
    }
    co_return Read{Read::Kind::kBroken, "closed by us"};
}

Connection::Idle Connection::look() {
    if (!open_) return Idle::kClosed;
    if (begin_ != end_) return Idle::kNoisy;
    char byte = 0;
    if (tls_ != nullptr) {
        // Takes in session tickets that came late; a goodbye or a byte of data is the end of it.
        switch (tls_->read({&byte, 1}).kind) {
            case TlsStep::Kind::kWantRead:
                return Idle::kQuiet;
            case TlsStep::Kind::kEnd:
            case TlsStep::Kind::kCut:
                return Idle::kClosed;
            default:
                return Idle::kNoisy;
        }
    }
    const ssize_t count = ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (count > 0) return Idle::kNoisy;
    const bool waits = count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    return waits ? Idle::kQuiet : Idle::kClosed;
}

std::chrono::microseconds Connection::round_trip() {
    tcp_info info{};
    socklen_t size = sizeof(info);
    if (!open_ || getsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
        return {};
    }
    return std::chrono::microseconds(info.tcpi_rtt);
}

void Connection::rest() noexcept {
    idle_since_ = std::chrono::steady_clock::now();
    buffer_.reset();
    capacity_ = begin_ = end_ = 0;
    want_ = kSmallRead;
    slow_ = false;
    read_at_ = {};
    head_ = std::string();  // it held the key
}

}  // namespace weir::upstream
