// The bodies of a session's requests: held whole, or opened to be passed on.
#include <algorithm>
#include <cstring>
#include <utility>

#include "session.hpp"

namespace weir::server {

namespace {

constexpr std::size_t kBodyStep = 256 << 10;  // a declared length is not believed at once

}  // namespace

Deadline body_deadline(
    std::chrono::milliseconds idle,
    std::chrono::milliseconds grace,
    Deadline::Clock::time_point begun,
    std::uint64_t bytes
) {
    constexpr std::uint64_t kSlowestPerSecond = 16 << 10;
    const auto bearable = grace + std::chrono::seconds(bytes / kSlowestPerSecond);
    return Deadline::in(idle).earlier(Deadline(begun + bearable));
}

http::ApiError late_body() {
    return http::malformed_request(
        408, "The body of the request came too slowly; check the connection and send it again."
    );
}

http::ApiError cut_body() {
    return http::malformed_request(400, "The connection ended inside the body of the request.");
}

Awaitable<std::expected<Buffer, http::ApiError>> Session::read_body(std::uint64_t limit_bytes) {
    Buffer body(settings_->bodies);
    if (body_read_) co_return body;
    const bool sized = head_.framing == http::Framing::kLength;
    if (sized && head_.content_length > limit_bytes) {
        co_return std::unexpected(http::body_too_large(limit_bytes));
    }
    if (head_.expect_continue && input_begin_ == input_end_) {
        static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
        const bool sent = co_await write_all({asio::buffer(kContinue)});
        sent_ = 0;  // not a part of the answer
        if (!sent) co_return std::unexpected(http::malformed_request(400, "The client left."));
    }
    std::optional<http::ApiError> error;
    if (sized) {
        error = co_await read_sized_body(body, head_.content_length);
    } else {
        error = co_await read_chunked_body(body, limit_bytes);
    }
    if (error) co_return std::unexpected(std::move(*error));
    body_read_ = true;
    co_return body;
}

Awaitable<std::optional<http::ApiError>> Session::read_sized_body(
    Buffer& body, std::uint64_t size
) {
    const auto idle = handler_.limits().body_idle;
    const auto begun = Deadline::Clock::now();
    const std::string_view there = input().substr(0, size);
    if (!body.reserve(std::min<std::uint64_t>(size, std::max(kBodyStep, there.size()))) ||
        !body.append(there)) {
        co_return http::bodies_full();
    }
    input_begin_ += there.size();
    while (body.size() < size) {
        if (body.room().empty() && !body.reserve(std::min<std::uint64_t>(size, body.size() * 4))) {
            co_return http::bodies_full();
        }
        const auto room = body.room();
        watchdog_.set(body_deadline(idle, settings_->slow_body_after, begun, body.size()));
        const auto [error, count] = co_await socket_.async_read_some(
            asio::buffer(room.data(), std::min<std::uint64_t>(room.size(), size - body.size())),
            kAwait
        );
        watchdog_.set(Deadline::never());
        if (error) {
            if (timed_out_) co_return late_body();
            lost();
            co_return cut_body();
        }
        body.commit(count);
    }
    parser_.body_was_read_outside();
    co_return std::nullopt;
}

Awaitable<std::optional<http::ApiError>> Session::read_chunked_body(
    Buffer& body, std::uint64_t limit_bytes
) {
    const auto idle = handler_.limits().body_idle;
    const auto begun = Deadline::Clock::now();
    std::string part;
    while (true) {
        if (input_begin_ < input_end_) {
            part.clear();
            input_begin_ += parser_.feed(input(), &part);
            if (parser_.state() == http::RequestParser::State::kRefused) {
                const auto& why = parser_.refused();
                co_return http::malformed_request(why.status, why.message);
            }
            if (body.size() + part.size() > limit_bytes)
                co_return http::body_too_large(limit_bytes);
            if (!body.append(part)) co_return http::bodies_full();
            if (parser_.state() == http::RequestParser::State::kDone) co_return std::nullopt;
        }
        const bool more =
            co_await fill(body_deadline(idle, settings_->slow_body_after, begun, body.size()));
        if (!more) co_return timed_out_ ? late_body() : cut_body();
    }
}

std::expected<std::shared_ptr<proxy::IncomingBody>, http::ApiError> Session::open_body(
    std::uint64_t limit_bytes
) {
    upload_limit_ = limit_bytes;
    if (head_.framing == http::Framing::kLength && head_.content_length > limit_bytes) {
        return std::unexpected(http::upload_too_large(limit_bytes));
    }
    upload_ = std::make_shared<SessionBody>(*this, limit_bytes, settings_->bodies, body_read_);
    return upload_;
}

void Session::put_back(std::string_view bytes) {
    // Nothing else is there: all of it went through the body's reader.
    if (bytes.empty()) return;
    if (bytes.size() > input_size_) {
        input_ = std::make_unique_for_overwrite<char[]>(bytes.size());
        input_size_ = bytes.size();
    }
    std::memcpy(input_.get(), bytes.data(), bytes.size());
    input_begin_ = 0;
    input_end_ = bytes.size();
}

bool Session::passes_body_on() const noexcept {
    return upload_ != nullptr && upload_->open();
}

}  // namespace weir::server
