#include "session_body.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <boost/asio/bind_cancellation_slot.hpp>

#include "session.hpp"

namespace weir::server {

namespace {

constexpr std::size_t kPiece = 128 << 10;

}  // namespace

SessionBody::SessionBody(
    Session& session, std::uint64_t limit_bytes, BufferBudget* budget, bool whole
)
    : session_(&session),
      limit_(limit_bytes),
      watchdog_(
          session.socket_.get_executor(),
          [this] {
              timed_out_ = true;
              end_read();
          }
      ),
      buffer_(budget),
      whole_(whole) {
    const http::RequestHead& head = session.head_;
    if (whole) size_ = 0;
    if (head.framing == http::Framing::kLength) size_ = head.content_length;
}

void SessionBody::detach() noexcept {
    if (std::exchange(session_, nullptr) == nullptr) return;
    watchdog_.set(Deadline::never());
    end_read();
}

// What is left is the session's to read over, once the answer is out.
void SessionBody::stop() noexcept {
    detach();
}

void SessionBody::end_read() noexcept {
    if (waiting_) read_ends_.emit(asio::cancellation_type::terminal);
}

bool SessionBody::broken(http::ApiError fault) {
    fault_ = std::move(fault);
    return false;
}

Awaitable<Result<std::string_view>> SessionBody::next() {
    if (session_ != nullptr && !whole_ && !fault_) {
        // Its bytes are read where the session is alive, whatever becomes of the exchange.
        const std::shared_ptr<Session> alive = session_->shared_from_this();
        bool fine = std::exchange(began_, true) || say_continue();
        if (fine && size_) {
            fine = co_await next_of_length();
        } else if (fine) {
            fine = co_await next_of_chunks();
        }
        if (fine && session_ != nullptr) {
            if (whole_) session_->body_read_ = true;
            co_return std::string_view(size_ ? bytes_ : std::string_view(piece_));
        }
    }
    if (fault_) co_return fail(ErrorCode::kClientGone, "the client's body did not come whole");
    if (session_ == nullptr) co_return fail(ErrorCode::kCancelled, "the exchange has ended");
    co_return std::string_view();
}

// Only now: an upstream that cannot be reached costs the client no upload.
bool SessionBody::say_continue() {
    Session& session = *session_;
    if (!session.head_.expect_continue || !session.input().empty()) return true;
    if (session.answer_ != Session::Answer::kNone) return true;
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    SysError error;
    // Nothing was written on this connection that the client has not read: there is room.
    const std::size_t sent = session.socket_.write_some(asio::buffer(kContinue), error);
    if (!error && sent == kContinue.size()) return true;
    session.lost();
    return broken(cut_body());
}

Awaitable<bool> SessionBody::read_some(std::uint64_t at_most) {
    if (const std::string_view there = session_->input(); !there.empty()) {
        // A copy: the session's own place is not kept for as long.
        const auto count = std::min<std::uint64_t>({there.size(), at_most, buffer_.room().size()});
        std::memcpy(buffer_.room().data(), there.data(), count);
        session_->input_begin_ += count;
        bytes_ = {buffer_.room().data(), count};
        co_return true;
    }
    const auto begun = Deadline::Clock::now();
    const std::chrono::milliseconds idle = session_->handler_.limits().body_idle;
    watchdog_.set(body_deadline(idle, session_->settings_->slow_body_after, begun - waited_, read_)
    );
    waiting_ = true;
    const std::size_t room = std::min<std::uint64_t>(buffer_.room().size(), at_most);
    auto token = asio::bind_cancellation_slot(read_ends_.slot(), kAwait);
    const auto [error, count] = co_await session_->socket_.async_read_some(
        asio::buffer(buffer_.room().data(), room), std::move(token)
    );
    waiting_ = false;
    if (session_ == nullptr) co_return false;
    watchdog_.set(Deadline::never());
    waited_ += Deadline::Clock::now() - begun;
    if (error) {
        if (timed_out_) co_return broken(late_body());
        session_->lost();
        co_return broken(cut_body());
    }
    bytes_ = {buffer_.room().data(), count};
    co_return true;
}

Awaitable<bool> SessionBody::next_of_length() {
    if (buffer_.room().empty() && !buffer_.reserve(std::min<std::uint64_t>(kPiece, *size_))) {
        co_return broken(http::bodies_full());
    }
    bytes_ = {};
    if (read_ < *size_) {
        const bool more = co_await read_some(*size_ - read_);
        if (!more) co_return false;
        read_ += bytes_.size();
        if (read_ < *size_) co_return true;
        session_->parser_.body_was_read_outside();
        session_->body_read_ = true;
        co_return true;
    }
    whole_ = true;
    co_return true;
}

Awaitable<bool> SessionBody::next_of_chunks() {
    using State = http::RequestParser::State;
    if (buffer_.room().empty() && !buffer_.reserve(kPiece)) {
        co_return broken(http::bodies_full());
    }
    http::RequestParser& parser = session_->parser_;
    piece_.clear();
    while (piece_.empty() && parser.state() != State::kDone) {
        if (bytes_.empty()) {
            const bool more = co_await read_some(buffer_.room().size());
            if (!more) co_return false;
        }
        bytes_.remove_prefix(parser.feed(bytes_, &piece_));
        if (parser.state() == State::kRefused) {
            const http::Refused& why = parser.refused();
            co_return broken(http::malformed_request(why.status, why.message));
        }
        read_ += piece_.size();
        if (read_ > limit_) co_return broken(http::upload_too_large(limit_));
    }
    if (parser.state() == State::kDone) {
        session_->put_back(std::exchange(bytes_, {}));  // the next request
        session_->body_read_ = true;
        whole_ = piece_.empty();
    }
    co_return true;
}

}  // namespace weir::server
