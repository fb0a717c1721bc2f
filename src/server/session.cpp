#include "session.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <sys/socket.h>
#include <tuple>
#include <unordered_set>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <poll.h>

#include "weir/base/log.hpp"
#include "weir/proxy/proxy.hpp"

namespace weir::server {

namespace {

constexpr std::size_t kFirstInput = 4 << 10;  // grows only for heads and uploads that need it
// Lingering reads over at least this much, whatever limits.body says: 64 MiB and the rest of a
// message around it.
constexpr std::uint64_t kLingerBytes = 64 << 20;
constexpr std::uint64_t kLingerSlack = 1 << 20;

constexpr std::chrono::milliseconds kLookForEnd{50};

// The sessions of this worker: a worker is one thread.
thread_local std::unordered_set<Session*> t_sessions;

}  // namespace

Session::Session(
    TcpSocket socket,
    ConnectionSlot slot,
    Handler& handler,
    std::shared_ptr<SessionSettings> settings
)
    : slot_(std::move(slot)),
      socket_(std::move(socket)),
      handler_(handler),
      settings_(std::move(settings)),
      parser_(handler.limits().head_bytes),
      watchdog_(
          socket_.get_executor(),
          [this] {
              timed_out_ = true;
              SysError ignored;
              socket_.cancel(ignored);
          }
      ),
      look_timer_(socket_.get_executor()) {
    t_sessions.insert(this);
}

Session::~Session() {
    if (upload_) upload_->detach();
    hang_up();
    t_sessions.erase(this);
}

Awaitable<> Session::run() {
    const auto self = shared_from_this();
    SysError ignored;
    socket_.non_blocking(true, ignored);
    socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
    while (true) {
        const bool have_head = co_await read_head();
        if (!have_head) break;
        const bool go_on = co_await serve_one();
        if (!go_on) break;
        first_request_ = false;
    }
    state_ = State::kClosing;
    watchdog_.set(Deadline::never());
    look_timer_.cancel();
    hang_up();
}

void Session::close(bool idle_only) noexcept {
    if (!idle_only) {
        hang_up();
        lost();
        return;
    }
    // Only woken: what its read may have got by now is a request, and is answered.
    if (state_ != State::kIdle || has_input()) return;
    told_to_end_ = true;
    SysError ignored;
    socket_.cancel(ignored);
}

bool Session::busy() noexcept {
    switch (state_) {
        case State::kReadingHead:
        case State::kHandling:
            return true;
        case State::kIdle:
            return has_input();
        case State::kLingering:
        case State::kClosing:
            break;
    }
    return false;
}

// Of what stands between two requests: bytes that were read, or that the kernel holds.
bool Session::has_input() noexcept {
    if (input_begin_ < input_end_) return true;
    char byte = 0;
    return ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void Session::hang_up() noexcept {
    if (!socket_.is_open()) return;
    SysError ignored;
    // Such a body ends with the connection: a clean end would make a whole answer of what was cut.
    const bool cut = until_close_ && sent_ > 0 && !whole_;
    if (cut) socket_.set_option(asio::socket_base::linger(true, 0), ignored);
    socket_.close(ignored);
}

// ---- reading
// ---------------------------------------------------------------------------------------

Awaitable<bool> Session::fill(Deadline deadline) {
    if (input_begin_ == input_end_) input_begin_ = input_end_ = 0;
    if (input_end_ == input_size_) {
        const std::size_t used = input_end_ - input_begin_;
        if (input_begin_ > 0 && used < input_size_ / 2) {
            std::memmove(input_.get(), input_.get() + input_begin_, used);
        } else {
            input_size_ = std::max(kFirstInput, input_size_ * 2);
            auto grown = std::make_unique_for_overwrite<char[]>(input_size_);
            if (used > 0) std::memcpy(grown.get(), input_.get() + input_begin_, used);
            input_ = std::move(grown);
        }
        input_begin_ = 0;
        input_end_ = used;
    }
    watchdog_.set(deadline);
    const auto [error, size] = co_await socket_.async_read_some(
        asio::buffer(input_.get() + input_end_, input_size_ - input_end_), kAwait
    );
    watchdog_.set(Deadline::never());
    if (error) {
        // timed_out_ says whether the watchdog did it, told_to_end_ whether a drain did.
        if (!timed_out_ && !told_to_end_) lost();
        co_return false;
    }
    input_end_ += size;
    co_return true;
}

Awaitable<bool> Session::read_head() {
    const config::Limits limits = handler_.limits();
    state_ = State::kIdle;
    parser_.reset();
    answer_ = Answer::kNone;
    body_read_ = false;
    sent_ = 0;
    until_close_ = whole_ = false;
    watcher_.reset();
    upload_limit_ = 0;
    more_fields_.clear();
    begun_ = {};
    // A silent new connection gets the time of a head; a kept one may rest longer.
    Deadline deadline = Deadline::in(first_request_ ? limits.head_time : limits.keep_alive);
    while (true) {
        if (input_begin_ < input_end_) {
            if (begun_ == Deadline::Clock::time_point{}) begun_ = Deadline::Clock::now();
            input_begin_ += parser_.feed(input());
            if (parser_.state() == http::RequestParser::State::kRefused) {
                const auto& why = parser_.refused();
                co_await refuse(http::malformed_request(why.status, why.message));
                co_return false;
            }
            if (parser_.state() != http::RequestParser::State::kHead) break;
            if (state_ == State::kIdle && (parser_.started() || input_begin_ < input_end_)) {
                state_ = State::kReadingHead;
                // A new connection has had a part of its time already.
                const Deadline whole = Deadline::in(limits.head_time);
                deadline = first_request_ ? deadline.earlier(whole) : whole;
            }
        }
        if (state_ == State::kIdle && settings_->draining && !has_input()) co_return false;
        const bool more = co_await fill(deadline);
        const bool told_to_end = std::exchange(told_to_end_, false);
        if (!more) {
            // A request may have come while the drain's word was on its way.
            if (told_to_end && !timed_out_ && has_input()) continue;
            if (timed_out_ && state_ == State::kReadingHead) {
                co_await refuse(http::malformed_request(
                    408, "The head of the request did not arrive in time; send it in one go."
                ));
            }
            co_return false;
        }
    }
    state_ = State::kHandling;
    body_read_ = parser_.state() == http::RequestParser::State::kDone;
    head_ = parser_.take_head();
    id_ = proxy::make_request_id();
    co_return true;
}

// ---- serving
// ---------------------------------------------------------------------------------------

Awaitable<bool> Session::serve_one() {
    std::string failure;
    try {
        co_await handler_.handle(*this);
    } catch (const std::exception& bug) {
        failure = bug.what();
    }
    if (!failure.empty()) {
        log::error(
            "a handler threw", {{"id", std::string_view(id_)}, {"what", std::string_view(failure)}}
        );
        if (answer_ == Answer::kInPieces || answer_ == Answer::kPromised) abort();
        if (answer_ == Answer::kNone) {
            const http::Api api = http::api_of(head_.path());
            (void)co_await send(http::internal_error().response(api, id_));
        }
        tell_answered(http::internal_error(), !gone_);
    }
    watcher_.reset();
    if (upload_) upload_->detach();
    upload_.reset();
    if (gone_ || answer_ == Answer::kAborted || answer_ == Answer::kTaken) co_return false;
    if (answer_ == Answer::kNone) {
        const bool sent = co_await send(http::internal_error().response());
        if (!sent) co_return false;
    }
    if (answer_ !=
        Answer::kDone) {  // begun and not ended: a bug, and the client must not be fooled
        abort();
        co_return false;
    }
    if (keep_alive_) co_return true;
    co_await linger();
    co_return false;
}

Awaitable<> Session::refuse(const http::ApiError& error) {
    head_ = {};  // nothing of it can be trusted
    head_.keep_alive = false;
    body_read_ = false;
    timed_out_ = false;
    id_ = proxy::make_request_id();
    const bool sent = co_await send(error.response());
    tell_answered(error, sent);
    if (sent) co_await linger();
}

void Session::tell_answered(const http::ApiError& error, bool sent) {
    handler_.answered(
        {.id = id_,
         .head = head_,
         .begun = begun_,
         .status = error.status,
         .error = error.code.empty() ? error.type : error.code,
         .bytes_out = sent_,
         .sent = sent}
    );
}

// We answered and will not read on. Closing with unread bytes would send a reset that can eat the
// answer on its way, and most clients write their whole body before they read: say that we are
// done, then read over what still comes until they close, within bounds.
Awaitable<> Session::linger() {
    // What is read over is looked at by nobody, so that the sessions of a worker share the place.
    thread_local std::array<char, 64 << 10> sink;
    state_ = State::kLingering;
    SysError error;
    socket_.shutdown(asio::ip::tcp::socket::shutdown_send, error);
    const std::uint64_t most =
        std::max({handler_.limits().body_bytes, upload_limit_, kLingerBytes}) + kLingerSlack;
    const Deadline end = Deadline::in(settings_->linger);
    std::uint64_t drained = 0;
    while (drained < most) {
        watchdog_.set(Deadline::in(settings_->linger_idle).earlier(end));
        std::tie(error) = co_await socket_.async_wait(TcpSocket::wait_read, kAwait);
        watchdog_.set(Deadline::never());
        if (error) break;
        const std::size_t size = socket_.read_some(asio::buffer(sink), error);
        if (error && error != asio::error::would_block) break;
        drained += size;
    }
}

void Session::watch(std::shared_ptr<Signal> signal) {
    watcher_ = std::move(signal);
    if (gone_) {
        if (watcher_) watcher_->notify_home();
        return;
    }
    look_soon();
}

// Most answers are there before anybody could leave: only who waits for longer is watched. One
// timer may serve many requests.
void Session::look_soon() {
    if (std::exchange(watching_, true)) return;
    look_timer_.expires_after(kLookForEnd);
    look_timer_.async_wait([self = shared_from_this()](SysError) {
        self->watching_ = false;
        self->check_gone();
    });
}

void Session::check_gone() {
    if (state_ != State::kHandling || watcher_ == nullptr || gone_) return;
    pollfd end{socket_.native_handle(), POLLRDHUP, 0};
    const bool ended = ::poll(&end, 1, 0) > 0;  // POLLHUP and POLLERR too
    if (!ended) {
        // Bytes behind this request (the next one, a line's end too many), and those of a body that
        // is passed on, make the socket readable for good: then there is nothing to wait for, and
        // the end behind them is looked for now and then.
        if (has_input() || passes_body_on()) return look_soon();
        watching_ = true;
        socket_.async_wait(TcpSocket::wait_read, [self = shared_from_this()](SysError error) {
            self->watching_ = false;
            if (!error) self->check_gone();
        });
        return;
    }
    // After a half-close our writes would still work, but nobody who speaks this API does that and
    // reads on: an end of input is a client that left. A write that waits for it waits in vain.
    lost();
    SysError ignored;
    socket_.cancel(ignored);
}

void Session::lost() noexcept {
    gone_ = true;
    if (watcher_) watcher_->notify_home();
}

// ---- free functions
// ----------------------------------------------------------------------------------

void start_session(
    TcpSocket socket,
    ConnectionSlot slot,
    Handler& handler,
    std::shared_ptr<SessionSettings> settings
) {
    const Executor home = socket.get_executor();
    auto session =
        std::make_shared<Session>(std::move(socket), std::move(slot), handler, std::move(settings));
    asio::co_spawn(home, session->run(), [session](std::exception_ptr bug) {
        if (!bug) return;
        try {
            std::rethrow_exception(bug);
        } catch (const std::exception& error) {
            log::error(
                "a session ended by an exception", {{"what", std::string_view(error.what())}}
            );
        }
    });
}

void close_sessions(bool all) {
    const std::vector<Session*> sessions(t_sessions.begin(), t_sessions.end());
    for (Session* const session : sessions) session->close(!all);
}

std::size_t busy_sessions() {
    return static_cast<std::size_t>(std::ranges::count_if(t_sessions, [](Session* session) {
        return session->busy();
    }));
}

}  // namespace weir::server
