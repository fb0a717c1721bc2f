// The conductor: how a session lives, ends and is settled.
#include "socket_session.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include <boost/asio/co_spawn.hpp>

#include "weir/base/log.hpp"
#include "weir/base/watchdog.hpp"
#include "weir/proxy/meters.hpp"

#include "estimate.hpp"

namespace weir::proxy {

namespace {

// For a goodbye and the peer's; less when the process goes down, whose last words are short.
constexpr std::chrono::milliseconds kGoodbye{2'000};
constexpr std::chrono::milliseconds kLastGoodbye{300};
// A side that says nothing is asked so often, in the time after which it is taken for dead.
constexpr int kPings = 3;

void report_bug(const std::exception_ptr& bug) {
    if (!bug) return;
    try {
        std::rethrow_exception(bug);
    } catch (const std::exception& error) {
        log::error(
            "a WebSocket session ended by an exception", {{"what", std::string_view(error.what())}}
        );
    }
}

}  // namespace

SocketSession::SocketSession(Proxy& proxy, Exchange& x, const http::RequestHead& head, Parts parts)
    : proxy_(proxy),
      worker_(proxy.worker_),
      x_(x),
      head_(head),
      api_(parts.api),
      counts_answers_(parts.counts_answers),
      transcribes_(parts.transcribes),
      reservation_(std::move(parts.reservation)),
      first_reserve_(reservation_.reserved()),
      client_(std::move(parts.client)),
      upstream_(std::move(parts.upstream)),
      signal_(Signal::create(worker_.context.get_executor())),
      dialler_(worker_),
      answers_(parts.api == SocketApi::kResponses),
      seen_(x.snapshot) {
    worker_.shared.meters.sockets_open.fetch_add(1, std::memory_order_relaxed);
}

SocketSession::~SocketSession() {
    worker_.shared.meters.sockets_open.fetch_sub(1, std::memory_order_relaxed);
}

void SocketSession::spawn(Awaitable<> coroutine) {
    ++running_;
    asio::co_spawn(
        worker_.context.get_executor(),
        std::move(coroutine),
        [self = shared_from_this()](std::exception_ptr bug) {
            report_bug(bug);
            --self->running_;
            if (bug)
                self->end(
                    {.why = SocketEnding::Why::kUpstreamBroke,
                     .to_client = {1011, "internal error"},
                     .to_upstream = {1001, ""},
                     .error = http::internal_error()}
                );
            self->signal_->notify_home();
        }
    );
}

void SocketSession::end(SocketEnding ending) {
    if (ending_) return;
    ending_ = std::move(ending);
    dialler_.cancel();
    signal_->notify_home();
}

Awaitable<> SocketSession::run() {
    const auto self = shared_from_this();
    const Waiting waiting(worker_, signal_);
    const Waiting attending(worker_.sockets, signal_);
    spawn(pump_client(self));
    if (upstream_) spawn(pump_upstream(self));
    while (!ending_) {
        look_around();
        if (ending_) break;
        Deadline next = look_after(*client_, x_.snapshot->config->limits.keep_alive, true);
        if (upstream_ && !ending_) {
            const auto limit = upstream_->upstream->timeouts.idle;
            next = next.earlier(look_after(*upstream_->socket, limit, false));
        }
        if (ending_) break;
        co_await signal_->wait(next);
    }
    settle();
    co_await finish();
}

// What may have changed since the last look.
void SocketSession::look_around() {
    using Why = SocketEnding::Why;
    if (worker_.stopping ||
        (worker_.draining && api_ == SocketApi::kResponses && answers_.size() == 0)) {
        end(
            {.why = Why::kGoingDown,
             .to_client = {1001, "the gateway goes down; connect again"},
             .to_upstream = {1001, ""},
             .error = std::nullopt}
        );
        return;
    }
    if (worker_.snapshot == seen_) return;
    seen_ = worker_.snapshot;
    if (seen_->find_same(*x_.member->key) == nullptr) {
        end(
            {.why = Why::kRevoked,
             .to_client = {1008, "this key was revoked"},
             .to_upstream = {1001, ""},
             .error = http::unknown_key()}
        );
    }
}

// Pings a silent side, and ends the session when it stays silent. When to look again.
Deadline SocketSession::look_after(WebSocket& side, std::chrono::milliseconds limit, bool client) {
    if (limit.count() == 0) return Deadline::never();
    const auto step = limit / kPings;
    // Nobody reads from it while the other side takes nothing: that one is what is waited for.
    if (!side.listening()) return Deadline::in(step);
    const auto now = Deadline::Clock::now();
    const auto heard = side.heard();
    if (now - heard >= limit) {
        using Why = SocketEnding::Why;
        if (client) {
            end(
                {.why = Why::kClientLeft,
                 .to_client = {1001, "no answer to pings"},
                 .to_upstream = {1001, ""},
                 .error = std::nullopt}
            );
            client_->cut();
        } else {
            upstream_ended({SocketEnd::Kind::kBroken, {}, "no answer to pings"});
            side.cut();
        }
        return Deadline::never();
    }
    auto& pinged = client ? client_pinged_ : upstream_pinged_;
    const auto due = std::max(heard, pinged) + step;
    if (due > now) return Deadline(due);
    pinged = now;
    spawn(ping(shared_from_this(), client));
    return Deadline::in(step);
}

Awaitable<> SocketSession::ping(std::shared_ptr<SocketSession> self, bool client) {
    WebSocket* const side = client ? self->client_.get() : self->upstream_->socket.get();
    co_await side->ping();
}

Awaitable<> SocketSession::part_from_upstream(std::shared_ptr<SocketSession> self) {
    const auto patience = self->worker_.stopping ? kLastGoodbye : kGoodbye;
    Close close = self->ending_->to_upstream;
    co_await self->upstream_->socket->close(std::move(close), patience);
}

// Both goodbyes at once; none of them waits for long.
Awaitable<> SocketSession::finish() {
    const auto patience = worker_.stopping ? kLastGoodbye : kGoodbye;
    if (upstream_) spawn(part_from_upstream(shared_from_this()));
    {
        Watchdog watchdog(worker_.context.get_executor(), [this] { client_->cut(); });
        watchdog.set(Deadline::in(patience));
        if (ending_->error) {
            const http::ErrorContext context{
                .responses = api_ == SocketApi::kResponses, .event_id = {}, .stream_id = {}
            };
            const std::string event = http::error_event(*ending_->error, context);
            const bool told = co_await client_->write(event, true);
            if (told) ++x_.socket->messages_out;
        }
        Close close = ending_->to_client;
        co_await client_->close(std::move(close), patience);
    }
    while (running_ > 0) co_await signal_->wait();
    x_.socket->close_code = ending_->to_client.code;
    x_.client_gone = false;
}

// What is under way is counted or given back, once, when the session has ended. A message counts
// if the client left behind it; what the upstream did not bring to its end does not.
void SocketSession::settle() {
    using Why = SocketEnding::Why;
    const Why why = ending_->why;
    const bool broke = why == Why::kUpstreamBroke || why == Why::kUpstreamLeft ||
                       why == Why::kGoingDown || why == Why::kStorage;
    if (!counts_answers_) settle_session(broke);
    for (SocketAnswer& answer : answers_.take_all()) {
        if (!answer.reservation.open()) continue;
        if (broke) {
            worker_.shared.meters.messages_refunded.add();
            answer.reservation.refund();
        } else {
            answer.reservation.charge();
        }
    }
    x_.broken = why == Why::kUpstreamBroke;
    if (x_.broken) worker_.shared.meters.streams_broken.add();
    if (ending_->error) {
        x_.error_code = ending_->error->code.empty() ? ending_->error->type : ending_->error->code;
    }
}

// A session that brought nothing before its upstream broke off is given back.
void SocketSession::settle_session(bool broke) {
    if (!reservation_.open()) return;
    const bool clean = ending_->why == SocketEnding::Why::kUpstreamLeft && answered_;
    if (broke && !clean && !answered_) {
        worker_.shared.meters.messages_refunded.add();
        reservation_.refund();
        return;
    }
    quota::Amounts used = amounts_of(x_.price, used_);
    // Nobody said what an answer took that was cut off: what was reserved for it stays.
    if (untold_ || answers_.size() > 0) {
        used.tokens += first_reserve_.tokens;
        used.money += first_reserve_.money;
    }
    reservation_.charge(used);
}

}  // namespace weir::proxy
