#include "dial.hpp"

#include <algorithm>
#include <exception>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <fmt/format.h>

#include "weir/base/log.hpp"

#include "request_head.hpp"

namespace weir::upstream {
namespace {

// RFC 8305, 5: how long an address may keep silent before the next one is tried beside it.
constexpr std::chrono::milliseconds kHeadStart{250};
// More of one answer are not tried: an upstream with so many dead addresses is down.
constexpr std::size_t kAddressesTried = 8;

Deadline in_or_never(std::chrono::milliseconds span) {
    return span.count() > 0 ? Deadline::in(span) : Deadline::never();
}

void log_escaped(std::exception_ptr error) {
    if (error == nullptr) return;
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& what) {
        log::error("connecting failed", {{"what", std::string_view(what.what())}});
    }
}

}  // namespace

// Shared with the attempts, which may come back when nobody dials any more.
struct Dial::Race {
    explicit Race(Executor home) : wake(Signal::create(home)) {}

    void end() noexcept {
        over = true;
        for (const std::shared_ptr<Connection>& one : running) one->close();
        running.clear();
    }

    static Awaitable<> run(
        std::shared_ptr<Race> race,
        std::shared_ptr<Connection> connection,
        asio::ip::tcp::endpoint endpoint
    ) {
        const SysError error = co_await connection->connect(endpoint);
        if (race->over) co_return;
        std::erase(race->running, connection);
        if (error) {
            race->failed = true;
            race->why = error.message();
        } else if (race->won == nullptr) {
            race->won = std::move(connection);
        } else {
            connection->close();
        }
        race->wake->notify_home();
    }

    std::shared_ptr<Signal> wake;
    std::vector<std::shared_ptr<Connection>> running;
    std::shared_ptr<Connection> won;
    bool failed = false;  // one has, since it was looked at
    std::string why = "no address";
    bool over = false;
};

Dial::Dial(
    std::shared_ptr<ClientState> client,
    std::shared_ptr<const config::Upstream> upstream,
    std::shared_ptr<Pool> pool
)
    : client_(std::move(client)),
      upstream_(std::move(upstream)),
      pool_(std::move(pool)),
      race_(std::make_shared<Race>(client_->home)) {}

Dial::~Dial() {
    race_->end();
    if (race_->won != nullptr) race_->won->close();
    if (connection_ == nullptr) return;
    connection_->set_owner(nullptr);
    connection_->close();
}

void Dial::cancel() noexcept {
    cancelled_ = true;
    if (connection_ != nullptr) connection_->close();
    race_->wake->notify_home();
}

Awaitable<Result<std::shared_ptr<Connection>>> Dial::connect(Deadline total) {
    total_ = total;
    connect_by_ = total.earlier(in_or_never(upstream_->timeouts.connect));
    const Result<> raced = co_await race();
    race_->end();
    if (!raced) co_return std::unexpected(raced.error());
    connection_ = std::move(race_->won);
    connection_->set_owner(this);
    connection_->set_deadline(connect_by_);
    if (upstream_->proxy) {
        const Result<> tunnelled = co_await open_tunnel();
        if (!tunnelled && too_late_) co_return timed_out();
        if (!tunnelled) co_return std::unexpected(tunnelled.error());
    }
    if (upstream_->tls) {
        const Result<> secured = co_await secure();
        if (!secured && too_late_) co_return timed_out();
        if (!secured) co_return std::unexpected(secured.error());
    }
    if (cancelled_) co_return failed("given up");
    connection_->set_owner(nullptr);
    connection_->set_deadline(Deadline::never());
    co_return std::exchange(connection_, nullptr);
}

Awaitable<Result<>> Dial::race() {
    look_up();
    Deadline next(Deadline::Clock::now());
    for (;;) {
        const bool known = take_addresses();
        if (!known) co_return failed("cannot resolve the host: " + ticket_->error);
        if (race_->won != nullptr) break;
        if (cancelled_) co_return failed("given up");
        if (connect_by_.passed()) co_return timed_out();
        if (std::exchange(race_->failed, false)) next = Deadline(Deadline::Clock::now());
        const bool more = tried_ < addresses_.size();
        if (more && next.passed()) {
            try_next();
            next = Deadline::in(kHeadStart);
            continue;
        }
        if (!more && race_->running.empty() && ticket_ == nullptr) {
            co_return failed("cannot connect: " + race_->why);
        }
        co_await race_->wake->wait(more ? connect_by_.earlier(next) : connect_by_);
    }
    // It answered where the ones before it had not: it is tried first for a while.
    if (race_->won->peer() != addresses_.front()) {
        client_->resolver.prefer(pool_->dialled(), race_->won->peer());
    }
    co_return Result<>();
}

void Dial::look_up() {
    SysError not_literal;
    const asio::ip::address literal = asio::ip::make_address(pool_->dialled(), not_literal);
    if (!not_literal) {
        addresses_ = {literal};
        return;
    }
    ticket_ = client_->resolver.ask(pool_->dialled(), race_->wake);
    if (!ticket_->done || !ticket_->old) return;
    // The host may have moved: the lookup that is under way may bring better ones.
    addresses_ = ticket_->addresses;
    if (addresses_.size() > kAddressesTried) addresses_.resize(kAddressesTried);
    ticket_ = client_->resolver.ask(pool_->dialled(), race_->wake, Resolver::Want::kNew);
}

bool Dial::take_addresses() {
    if (ticket_ == nullptr || !ticket_->done) return true;
    std::size_t taken = 0;
    for (const asio::ip::address& address : ticket_->addresses) {
        if (taken++ >= kAddressesTried) break;
        const bool has = std::ranges::find(addresses_, address) != addresses_.end();
        if (!has) addresses_.push_back(address);
    }
    if (addresses_.empty()) return false;
    ticket_.reset();
    return true;
}

void Dial::try_next() {
    stage_ = Call::Stage::kConnect;
    ++client_->connects;
    const auto connection = Connection::create(client_->home);
    race_->running.push_back(connection);
    const asio::ip::tcp::endpoint endpoint(addresses_[tried_++], pool_->dialled_port());
    asio::co_spawn(client_->home, Race::run(race_, connection, endpoint), &log_escaped);
}

Awaitable<Result<>> Dial::open_tunnel() {
    using State = http::ResponseParser::State;
    const config::HttpProxy& proxy = *upstream_->proxy;
    if (proxy.tls) {
        Result<std::shared_ptr<TlsContext>> context = pool_->proxy_tls_context();
        if (!context) co_return std::unexpected(context.error());
        const Result<> secured =
            co_await connection_->start_tls(std::move(*context), bare_host(proxy.host));
        if (!secured) co_return failed("the proxy: " + secured.error().detail);
    }
    http::ResponseParser& parser = connection_->parser();
    parser.reset(true);  // nothing follows the head of its answer but the tunnel
    connection_->send(tunnel_head(*upstream_), std::string_view());
    while (parser.state() == State::kHead) {
        const Connection::Read read = co_await connection_->read_more();
        if (read.kind != Connection::Read::Kind::kBytes) {
            co_return failed("the proxy closed: " + read.detail);
        }
        while (parser.state() == State::kHead) {
            const std::size_t used = parser.feed(connection_->unread());
            connection_->consume(used);
            if (used == 0) break;
        }
    }
    if (parser.state() == State::kBroken) {
        co_return failed("the proxy does not speak HTTP: " + parser.broken());
    }
    const int status = parser.head().status;
    if (status < 200 || status > 299) {
        co_return failed(fmt::format("the proxy refused the tunnel with status {}", status));
    }
    // The upstream speaks second: it cannot be its words.
    if (!connection_->unread().empty()) co_return failed("the proxy sent more than its answer");
    co_return Result<>();
}

Awaitable<Result<>> Dial::secure() {
    stage_ = Call::Stage::kTls;
    connection_->set_deadline(total_.earlier(in_or_never(upstream_->timeouts.tls)));
    Result<std::shared_ptr<TlsContext>> context = pool_->tls_context();
    if (!context) co_return std::unexpected(context.error());
    Result<> secured =
        co_await connection_->start_tls(std::move(*context), bare_host(upstream_->host));
    co_return secured;
}

void Dial::deadline_passed(Connection& connection) {
    too_late_ = true;
    connection.close();
}

std::unexpected<Error> Dial::timed_out() const {
    return fail(ErrorCode::kUpstreamTimeout, "not connected in time");
}

std::unexpected<Error> Dial::failed(std::string what) const {
    return fail(ErrorCode::kUpstreamConnect, std::move(what));
}

}  // namespace weir::upstream
