#include "call.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "weir/base/text.hpp"
#include "weir/http/write.hpp"

namespace weir::upstream {
namespace {

using std::chrono::steady_clock;

// An upstream that stopped taking the request may still be sending why.
constexpr std::chrono::seconds kLastWords{5};
// More addresses than that are not tried: the time for each would be too short.
constexpr std::size_t kAddressesTried = 8;
constexpr std::chrono::milliseconds kShortestSlice{100};

std::chrono::microseconds since(steady_clock::time_point begin) {
    return std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - begin);
}

Deadline in_or_never(std::chrono::milliseconds span) {
    return span.count() > 0 ? Deadline::in(span) : Deadline::never();
}

// Without the brackets of an IPv6 literal.
std::string bare_host(const std::string& host) {
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    return bracketed ? host.substr(1, host.size() - 2) : host;
}

std::string host_field(const config::Upstream& upstream) {
    const std::string host = bare_host(upstream.host);
    std::string out = host.find(':') == std::string::npos ? host : "[" + host + "]";
    if (upstream.port != (upstream.tls ? 443 : 80)) out += ":" + std::to_string(upstream.port);
    return out;
}

// Nothing in the request line may end it early: that would be a second request.
bool is_one_line(std::string_view method, std::string_view target) {
    const bool letters = std::ranges::all_of(method, [](char c) { return c >= 'A' && c <= 'Z'; });
    const bool visible = std::ranges::all_of(target, [](char c) { return c > ' ' && c != '\x7f'; });
    return !method.empty() && letters && target.starts_with('/') && visible;
}

std::uint64_t content_bytes(const CallRequest& request) {
    return request.source != nullptr ? request.source_bytes.value_or(0) : request.body.size();
}

bool has_content(const CallRequest& request) {
    return request.source != nullptr || !request.body.empty() || request.method == "POST" ||
           request.method == "PUT" || request.method == "PATCH";
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
    if (!is_one_line(request.method, request.target)) {
        co_return end(ErrorCode::kInternal, "not a request line");
    }
    const auto began = steady_clock::now();
    total_ = in_or_never(upstream_->timeouts.total).earlier(request.deadline);
    pool_ = client_->pool_for(*upstream_, key_);
    const std::string head = request_head(request);

    // A source cannot be asked again, so nothing is risked on a connection that may be stale.
    if (request.source == nullptr) connection_ = pool_->take();
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
    if (wake_ != nullptr) wake_->notify_home();
}

Awaitable<Result<>> PooledCall::connect() {
    connect_by_ = in_all(in_or_never(upstream_->timeouts.connect));
    std::string last = "no address";
    Addresses tried;
    for (auto want = Resolver::Want::kKnown;; want = Resolver::Want::kNew) {
        stage_ = Stage::kResolve;
        Result<Found> found = co_await resolve(want);
        if (!found) co_return std::unexpected(std::move(found.error()));
        stage_ = Stage::kConnect;
        std::erase_if(found->addresses, [&](const asio::ip::address& address) {
            return std::ranges::find(tried, address) != tried.end();
        });
        const Result<> done =
            co_await connect_to_one_of(found->addresses, found->old ? 1 : 0, last);
        if (!done) co_return done;
        // The host may have moved since it was looked up: one more try with what is true now.
        if (connection_ != nullptr || !found->old) break;
        tried = std::move(found->addresses);
    }
    if (connection_ == nullptr) {
        co_return end(ErrorCode::kUpstreamConnect, "cannot connect: " + last);
    }
    if (!upstream_->tls) co_return Result<>();

    stage_ = Stage::kTls;
    connection_->set_deadline(connect_by_);
    Result<std::shared_ptr<TlsContext>> context = pool_->tls_context();
    if (!context) co_return end(context.error().code, context.error().detail);
    const Result<> secured =
        co_await connection_->start_tls(std::move(*context), bare_host(upstream_->host));
    if (stop_ != Stop::kNone) co_return end_stopped();
    if (!secured) co_return end(secured.error().code, secured.error().detail);
    co_return Result<>();
}

Awaitable<Result<>> PooledCall::connect_to_one_of(
    Addresses addresses, std::size_t later, std::string& last
) {
    if (addresses.size() > kAddressesTried) addresses.resize(kAddressesTried);
    for (std::size_t i = 0; i < addresses.size(); ++i) {
        // A dead address must leave time for the ones behind it.
        const auto left = connect_by_.at() - steady_clock::now();
        const auto share = left / static_cast<std::int64_t>(addresses.size() - i + later);
        slice_over_ = false;
        connection_ = Connection::create(client_->home);
        connection_->set_owner(this);
        connection_->set_deadline(
            connect_by_.is_never() && i + 1 == addresses.size()
                ? connect_by_
                : connect_by_.earlier(
                      Deadline::in(std::max<steady_clock::duration>(share, kShortestSlice))
                  )
        );
        ++client_->connects;
        const SysError error = co_await connection_->connect({addresses[i], upstream_->port});
        if (stop_ != Stop::kNone) co_return end_stopped();
        if (!error) {
            if (i > 0) client_->resolver.prefer(bare_host(upstream_->host), addresses[i]);
            break;
        }
        last = slice_over_ ? "no answer in time" : error.message();
        drop();
    }
    co_return Result<>();
}

Awaitable<Result<PooledCall::Found>> PooledCall::resolve(Resolver::Want want) {
    const std::string host = bare_host(upstream_->host);
    SysError not_literal;
    const asio::ip::address literal = asio::ip::make_address(host, not_literal);
    if (!not_literal) co_return Found{.addresses = {literal}};
    wake_ = Signal::create(client_->home);
    const std::shared_ptr<const Resolver::Ticket> ticket = client_->resolver.ask(host, wake_, want);
    while (!ticket->done && stop_ == Stop::kNone) {
        const bool woken = co_await wake_->wait(connect_by_);
        if (!woken && !ticket->done && stop_ == Stop::kNone) stop_ = Stop::kTimeout;
    }
    wake_.reset();
    if (stop_ != Stop::kNone) co_return end_stopped();
    if (ticket->addresses.empty()) {
        co_return end(ErrorCode::kUpstreamConnect, "cannot resolve the host: " + ticket->error);
    }
    co_return Found{ticket->addresses, ticket->old};
}

std::string PooledCall::request_head(CallRequest& request) const {
    http::Fields& fields = request.fields;
    for (const std::string_view hop : {"Connection", "Transfer-Encoding", "Expect"}) {
        fields.remove(hop);
    }
    fields.set("Host", host_field(*upstream_));
    fields.remove("Authorization");
    const std::string_view key = upstream_->key_at(key_);
    if (!key.empty()) fields.add("Authorization", "Bearer " + std::string(key));
    fields.remove("Content-Length");
    if (request.source != nullptr && !request.source_bytes) {
        fields.add("Transfer-Encoding", "chunked");
    } else if (has_content(request)) {
        fields.add("Content-Length", std::to_string(content_bytes(request)));
    }
    const bool asks_encoding = fields.find("Accept-Encoding").has_value();
    if (!asks_encoding) fields.add("Accept-Encoding", "identity");
    return http::write_request_head(request.method, request.target, fields);
}

bool PooledCall::was_stale() const noexcept {
    // What did not go out whole cannot have been worked on. Whether the peer's kernel acknowledged
    // the rest does not help: it does so for a process that reads no more, and the end of the
    // connection acknowledges or forgets all that was on its way.
    return !written_ ||
           since(written_at_) < stale_window(client_->options, connection_->round_trip());
}

void PooledCall::deadline_passed(Connection& connection) {
    if (stage_ == Stage::kConnect && !connect_by_.passed()) {
        slice_over_ = true;
    } else if (stop_ == Stop::kNone && !whole_) {
        stop_ = Stop::kTimeout;
    }
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
        pool_->put(std::move(connection_));
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
