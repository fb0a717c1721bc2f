// The answering half of a session: heads, chunks, and what becomes of the connection behind them.
#include <algorithm>
#include <utility>

#include "session.hpp"

namespace weir::server {

bool Session::write_now(std::vector<asio::const_buffer>& buffers) {
    while (!buffers.empty() && !gone_) {
        SysError error;
        std::size_t size = socket_.write_some(buffers, error);
        if (error == asio::error::would_block || error == asio::error::try_again) return false;
        if (error) {
            lost();
            break;
        }
        sent_ += size;
        auto at = buffers.begin();
        while (at != buffers.end() && size >= at->size()) size -= (at++)->size();
        if (at != buffers.end()) *at += size;
        buffers.erase(buffers.begin(), at);
    }
    return true;
}

Awaitable<bool> Session::write_all(std::vector<asio::const_buffer> buffers) {
    while (!write_now(buffers)) {
        watchdog_.set(Deadline::in(handler_.limits().write_stall));
        const auto [error] = co_await socket_.async_wait(TcpSocket::wait_write, kAwait);
        watchdog_.set(Deadline::never());
        if (error) lost();
    }
    co_return !gone_;
}

std::string Session::make_head(
    int status, const http::Fields& fields, std::optional<std::uint64_t> content_length
) {
    no_body_ = head_.method == "HEAD" || status == 204 || status == 304 || status < 200;
    const bool old_client = head_.minor_version == 0;
    chunked_ = !content_length && !no_body_ && !old_client;
    until_close_ = !content_length && !no_body_ && old_client;
    if (!body_read_) skip_body();
    keep_alive_ = head_.keep_alive && body_read_ && !until_close_ && !settings_->draining;

    const auto has = [&](std::string_view name) {
        return fields.find(name) || more_fields_.find(name);
    };
    std::string own;
    own.reserve(160);
    const auto add = [&own](std::string_view name, std::string_view value) {
        own.append(name).append(": ").append(value).append("\r\n");
    };
    if (!has("x-request-id")) add("x-request-id", id_);
    if (!has("date")) add("date", http::http_date());
    if (content_length && status != 204 && status != 304) {
        add("content-length", std::to_string(*content_length));
    }
    if (chunked_) add("transfer-encoding", "chunked");
    if (!keep_alive_) {
        add("connection", "close");
    } else if (old_client) {
        add("connection", "keep-alive");
    }
    return http::write_response_head(1, status, {&fields, &more_fields_}, own);
}

// Refused before its body was read: a small body that has arrived as well is read over, and the
// connection stays usable.
void Session::skip_body() {
    const bool here = upload_ == nullptr && head_.framing == http::Framing::kLength &&
                      head_.content_length <= input_end_ - input_begin_;
    if (!here || state_ != State::kHandling) return;
    input_begin_ += static_cast<std::size_t>(head_.content_length);
    parser_.body_was_read_outside();
    body_read_ = true;
}

Awaitable<bool> Session::send(const http::Response& response) {
    pending_head_.clear();  // of an answer that came to nothing
    const std::string head = make_head(response.status, response.fields, response.body.size());
    answer_ = Answer::kDone;
    std::vector<asio::const_buffer> buffers = {asio::buffer(head)};
    if (!no_body_ && !response.body.empty()) buffers.push_back(asio::buffer(response.body));
    whole_ = write_now(buffers) ? !gone_ : co_await write_all(std::move(buffers));
    co_return whole_;
}

void Session::begin(int status, http::Fields fields, std::optional<std::uint64_t> content_length) {
    pending_head_ = make_head(status, fields, content_length);
    answer_ = Answer::kPromised;
    // A stream may take its time, and most clients say nothing meanwhile.
    if (!content_length && input_begin_ == input_end_) {
        input_.reset();
        input_size_ = input_begin_ = input_end_ = 0;
    }
}

Awaitable<bool> Session::write(const std::vector<std::string_view>& pieces) {
    std::vector<asio::const_buffer> buffers;
    buffers.reserve(pieces.size() + 3);
    const std::string head = std::exchange(pending_head_, {});
    if (!head.empty()) buffers.push_back(asio::buffer(head));
    answer_ = Answer::kInPieces;
    std::size_t size = 0;
    for (const std::string_view piece : pieces) size += piece.size();
    if (size > 0 && !no_body_) {  // an empty chunk would be the end of the body
        if (chunked_) {
            chunk_head_ = http::chunk_head(size);
            buffers.emplace_back(asio::buffer(chunk_head_));
        }
        for (const std::string_view piece : pieces) buffers.emplace_back(asio::buffer(piece));
        if (chunked_) buffers.emplace_back(asio::buffer("\r\n", 2));
    }
    // Most of it fits into the socket's buffer: no need to ask the reactor first, nor for another
    // coroutine.
    if (write_now(buffers)) co_return !gone_;
    co_return co_await write_all(std::move(buffers));
}

Awaitable<bool> Session::flush() {
    if (pending_head_.empty()) co_return !gone_;
    co_return co_await write({});
}

Awaitable<bool> Session::finish() {
    const std::string head = std::exchange(pending_head_, {});
    std::vector<asio::const_buffer> buffers;
    if (!head.empty()) buffers.push_back(asio::buffer(head));
    if (chunked_) buffers.push_back(asio::buffer(http::kLastChunk));
    answer_ = Answer::kDone;
    whole_ = write_now(buffers) ? !gone_ : co_await write_all(std::move(buffers));
    co_return whole_;
}

std::shared_ptr<ByteStream> Session::take_over() {
    answer_ = Answer::kTaken;
    watcher_.reset();
    watchdog_.set(Deadline::never());
    look_timer_.cancel();
    SysError ignored;
    socket_.cancel(ignored);  // of the watch
    return make_tcp_stream(std::move(socket_), std::string(input()));
}

void Session::abort() noexcept {
    answer_ = Answer::kAborted;
    hang_up();
}

}  // namespace weir::server
