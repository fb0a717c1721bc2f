#include "call.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "request_head.hpp"

namespace weir::upstream {
namespace {

using std::chrono::steady_clock;

// An upstream that stopped taking the request may still be sending why.
constexpr std::chrono::seconds kLastWords{5};
std::chrono::microseconds since(steady_clock::time_point begin) {
    return std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - begin);
}

Deadline in_or_never(std::chrono::milliseconds span) {
    return span.count() > 0 ? Deadline::in(span) : Deadline::never();
}

}  // namespace

PooledCall::PooledCall(
    std::shared_ptr<ClientState> client,
    std::shared_ptr<const config::Upstream> upstream,
    std::size_t key
)
    : client_(std::move(client)), upstream_(std::move(upstream)), key_(key) {}

PooledCall::~PooledCall() {
    drop();
    leave();
}

Awaitable<Result<>> PooledCall::start(CallRequest request) {
    if (started_) co_return fail(ErrorCode::kInternal, "a call is started once");
    started_ = true;
    active_ = true;
    ++client_->active;
    if (stop_ != Stop::kNone) co_return end_stopped();
    if (!is_request_line(request.method, request.target)) {
        co_return end(ErrorCode::kInternal, "not a request line");
    }
    const auto began = steady_clock::now();
    total_ = in_or_never(upstream_->timeouts.total).earlier(request.deadline);
    pool_ = client_->pool_for(*upstream_, key_);
    const std::string head = request_head(request, *upstream_, key_);

    // A source cannot be asked again, so nothing is risked on a connection that may be stale.
    if (request.source == nullptr) {
        connection_ = pool_->take(client_->resolver.known(pool_->dialled()));
    }
    bool reused = connection_ != nullptr;
    if (reused) ++client_->reused;
    for (;;) {
        if (!reused) {
            const auto connecting = steady_clock::now();
            Result<> connected = co_await connect();
            if (!connected) co_return connected;
            times_.connect = since(connecting);
        }
        const Exchange done = co_await exchange(head, request);
        if (done.headed) break;
        if (stop_ != Stop::kNone) co_return end_stopped();
        if (!reused || done.answered || !was_stale()) {
            failure_ = done.error;
            co_return end(done.error.code, done.error.detail);
        }
        pool_->found_closed(began - connection_->idle_since());
        drop();
        ++client_->replaced;
        reused = false;
        written_ = false;
    }
    times_.first_byte = since(began);
    stage_ = Stage::kBody;
    http::ResponseParser& parser = connection_->parser();
    head_ = parser.head();
    // It has made up its mind without the rest of the request.
    if (head_.status >= 300) connection_->stop_sending();
    connection_->set_deadline(total_);
    if (parser.state() == http::ResponseParser::State::kDone) finish();
    co_return Result<>();
}

Awaitable<PooledCall::Exchange> PooledCall::exchange(
    const std::string& head, const CallRequest& request
) {
    http::ResponseParser& parser = connection_->parser();
    parser.reset(request.method == "HEAD");
    stage_ = Stage::kWrite;
    connection_->set_owner(this);
    connection_->set_deadline(in_all(in_or_never(upstream_->timeouts.write)));
    if (request.source != nullptr) {
        connection_->send(head, request.source, request.source_bytes);
    } else {
        connection_->send(head, request.body);
    }
    Exchange done;
    for (;;) {
        // Read while writing: an upstream may refuse a long request before it has it all.
        Connection::Read read = co_await connection_->read_more();
        if (stop_ != Stop::kNone) co_return done;
        if (read.kind != Connection::Read::Kind::kBytes) {
            done.error = failed(ErrorCode::kUpstreamClosed, "no answer: " + read.detail);
            co_return done;
        }
        done.answered = true;
        while (parser.state() == http::ResponseParser::State::kHead) {
            const std::size_t used = parser.feed(connection_->unread());
            connection_->consume(used);
            if (used == 0) break;
        }
        if (parser.state() == http::ResponseParser::State::kHead) continue;
        done.headed = parser.state() != http::ResponseParser::State::kBroken;
        if (!done.headed) done.error = failed(ErrorCode::kUpstreamProtocol, parser.broken());
        co_return done;
    }
}

Awaitable<Result<bool>> PooledCall::read(std::string& out) {
    using State = http::ResponseParser::State;
    out.clear();
    if (whole_) co_return false;
    if (stop_ != Stop::kNone) co_return end_stopped();
    if (failure_) co_return std::unexpected(*failure_);
    if (stage_ != Stage::kBody) co_return fail(ErrorCode::kInternal, "there is no answer to read");
    http::ResponseParser& parser = connection_->parser();
    for (;;) {
        while (parser.state() == State::kBody && !connection_->unread().empty()) {
            const std::size_t used = parser.feed(connection_->unread(), &out);
            connection_->consume(used);
            if (used == 0) break;
        }
        if (parser.state() == State::kDone) {
            finish();
            co_return !out.empty();
        }
        if (!out.empty()) {
            // The time that the reader takes is not the upstream's.
            connection_->set_deadline(total_);
            co_return true;
        }
        if (parser.state() == State::kBroken) {
            co_return end(ErrorCode::kUpstreamProtocol, parser.broken());
        }
        connection_->set_deadline(in_all(in_or_never(upstream_->timeouts.idle)));
        Connection::Read read = co_await connection_->read_more();
        if (stop_ != Stop::kNone) co_return end_stopped();
        if (read.kind == Connection::Read::Kind::kBytes) continue;
        if (read.kind == Connection::Read::Kind::kEnd) parser.feed_eof();
        if (parser.state() == State::kDone) continue;
        co_return end(ErrorCode::kUpstreamClosed, "the answer broke off: " + read.detail);
    }
}

void PooledCall::cancel() noexcept {
    if (whole_ || stop_ != Stop::kNone) return;
    stop_ = Stop::kCancelled;
    // Whoever waits on the connection is woken by its end; it is let go of there.
    if (connection_ != nullptr) connection_->close();
    if (dial_ != nullptr) dial_->cancel();
}

Awaitable<Result<>> PooledCall::connect() {
    dial_ = std::make_unique<Dial>(client_, upstream_, pool_);
    Result<std::shared_ptr<Connection>> made = co_await dial_->connect(total_);
    stage_ = dial_->stage();
    dial_.reset();
    if (stop_ != Stop::kNone) co_return end_stopped();
    if (!made && made.error().code == ErrorCode::kUpstreamTimeout) {
        stop_ = Stop::kTimeout;
        co_return end_stopped();
    }
    if (!made) co_return end(made.error().code, made.error().detail);
    connection_ = std::move(*made);
    co_return Result<>();
}

bool PooledCall::was_stale() const noexcept {
    // What did not go out whole cannot have been worked on. Whether the peer's kernel acknowledged
    // the rest does not help: it does so for a process that reads no more, and the end of the
    // connection acknowledges or forgets all that was on its way.
    return !written_ ||
           since(written_at_) < stale_window(client_->options, connection_->round_trip());
}

void PooledCall::deadline_passed(Connection& connection) {
    if (stop_ == Stop::kNone && !whole_) stop_ = Stop::kTimeout;
    connection.close();
}

void PooledCall::some_written() {
    if (stage_ != Stage::kWrite) return;
    connection_->set_deadline(in_all(in_or_never(upstream_->timeouts.write)));
}

void PooledCall::all_written() {
    written_ = true;
    written_at_ = steady_clock::now();
    if (stage_ != Stage::kWrite) return;
    stage_ = Stage::kFirstByte;
    connection_->set_deadline(in_all(in_or_never(upstream_->timeouts.first_byte)));
}

void PooledCall::write_failed() {
    if (stage_ == Stage::kWrite) connection_->set_deadline(in_all(Deadline::in(kLastWords)));
}

void PooledCall::source_awaited() {
    if (stage_ == Stage::kWrite) connection_->set_deadline(total_);
}

void PooledCall::source_failed(Error error) {
    if (stop_ != Stop::kNone || whole_) return;
    stop_ = Stop::kSource;
    failure_ = failed(error.code, "the body to send broke off: " + error.detail);
}

Error PooledCall::failed(ErrorCode code, std::string_view what) const {
    return {code, fmt::format("upstream {}: {}", upstream_->name, what)};
}

std::unexpected<Error> PooledCall::end(ErrorCode code, std::string_view what) {
    if (!failure_) failure_ = failed(code, what);
    drop();
    leave();
    return std::unexpected(*failure_);
}

std::unexpected<Error> PooledCall::end_stopped() {
    if (stop_ == Stop::kSource) return end(failure_->code, failure_->detail);
    if (stop_ == Stop::kCancelled) return end(ErrorCode::kCancelled, "the call was cancelled");
    if (total_.passed()) {
        return end(ErrorCode::kUpstreamTimeout, "the time for the whole call is over");
    }
    switch (stage_) {
        case Stage::kResolve:
            return end(ErrorCode::kUpstreamTimeout, "resolving took too long");
        case Stage::kConnect:
            return end(ErrorCode::kUpstreamTimeout, "connecting took too long");
        case Stage::kTls:
            return end(ErrorCode::kUpstreamTimeout, "the TLS handshake took too long");
        case Stage::kWrite:
            return end(ErrorCode::kUpstreamTimeout, "it does not take the request");
        case Stage::kFirstByte:
            return end(ErrorCode::kUpstreamTimeout, "no answer in time");
        case Stage::kBody:
            break;
    }
    return end(ErrorCode::kUpstreamTimeout, "the answer stalled");
}

void PooledCall::finish() {
    whole_ = true;
    connection_->set_owner(nullptr);
    const bool reusable = connection_->sent_all() && head_.keep_alive && connection_->is_open();
    if (reusable) {
        pool_->put(std::move(connection_), head_.fields);
    } else {
        connection_->close_politely();
    }
    connection_.reset();
    leave();
}

void PooledCall::drop() noexcept {
    if (connection_ == nullptr) return;
    connection_->set_owner(nullptr);
    connection_->close();
    connection_.reset();
}

void PooledCall::leave() noexcept {
    if (!active_) return;
    active_ = false;
    --client_->active;
}

}  // namespace weir::upstream
