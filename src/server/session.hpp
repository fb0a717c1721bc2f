// One client connection: reads requests, one after the other, and lends itself to the handler as
// its ClientStream. Home worker only. It owns the socket; the coroutine that runs it keeps it
// alive.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weir/base/awaitable.hpp"
#include "weir/base/watchdog.hpp"
#include "weir/http/parser.hpp"
#include "weir/http/write.hpp"
#include "weir/server/listener.hpp"

#include "session_body.hpp"

namespace weir::server {

// Each read of a body may take `idle`; after `grace` the whole must not be slower than the slowest
// pace that is bearable.
[[nodiscard]] Deadline body_deadline(
    std::chrono::milliseconds idle,
    std::chrono::milliseconds grace,
    Deadline::Clock::time_point begun,
    std::uint64_t bytes
);
[[nodiscard]] http::ApiError late_body();
[[nodiscard]] http::ApiError cut_body();

class Session final : public proxy::ClientStream, public std::enable_shared_from_this<Session> {
public:
    Session(
        TcpSocket socket,
        ConnectionSlot slot,
        Handler& handler,
        std::shared_ptr<SessionSettings> settings
    );
    ~Session() override;

    // Serves until the connection closes.
    [[nodiscard]] Awaitable<> run();
    // Ends it: at once, or (`idle_only`) if it waits for a request and none is on its way.
    void close(bool idle_only) noexcept;
    // Reads a request, handles one, or has bytes of one to read.
    [[nodiscard]] bool busy() noexcept;

    // proxy::ClientStream
    [[nodiscard]] const http::RequestHead& head() const noexcept override { return head_; }
    [[nodiscard]] const std::string& id() const noexcept override { return id_; }
    [[nodiscard]] Awaitable<std::expected<Buffer, http::ApiError>> read_body(
        std::uint64_t limit_bytes
    ) override;
    [[nodiscard]] std::expected<std::shared_ptr<proxy::IncomingBody>, http::ApiError> open_body(
        std::uint64_t limit_bytes
    ) override;
    void watch(std::shared_ptr<Signal> signal) override;
    [[nodiscard]] bool gone() const noexcept override { return gone_; }
    void answer_with(http::Fields fields) override { more_fields_ = std::move(fields); }
    [[nodiscard]] Awaitable<bool> send(const http::Response& response) override;
    void begin(int status, http::Fields fields, std::optional<std::uint64_t> content_length)
        override;
    [[nodiscard]] Awaitable<bool> write(const std::vector<std::string_view>& pieces) override;
    [[nodiscard]] Awaitable<bool> flush() override;
    [[nodiscard]] Awaitable<bool> finish() override;
    void abort() noexcept override;
    [[nodiscard]] std::shared_ptr<ByteStream> take_over() override;
    [[nodiscard]] bool begun() const noexcept override { return sent_ > 0; }
    [[nodiscard]] std::uint64_t bytes_sent() const noexcept override { return sent_; }

private:
    friend class SessionBody;  // reads the socket in the session's place

    enum class State : std::uint8_t { kIdle, kReadingHead, kHandling, kLingering, kClosing };
    enum class Answer : std::uint8_t { kNone, kPromised, kInPieces, kDone, kAborted, kTaken };

    [[nodiscard]] Awaitable<bool> read_head();
    // More input behind what is there. False: closed, broken or too late (see timed_out_).
    [[nodiscard]] Awaitable<bool> fill(Deadline deadline);
    [[nodiscard]] Awaitable<std::optional<http::ApiError>> read_sized_body(
        Buffer& body, std::uint64_t size
    );
    [[nodiscard]] Awaitable<std::optional<http::ApiError>> read_chunked_body(
        Buffer& body, std::uint64_t limit_bytes
    );
    [[nodiscard]] Awaitable<bool> serve_one();
    [[nodiscard]] Awaitable<> refuse(const http::ApiError& error);
    [[nodiscard]] Awaitable<> linger();
    // As much as the socket takes, out of `buffers`. False: it took not all.
    [[nodiscard]] bool write_now(std::vector<asio::const_buffer>& buffers);
    [[nodiscard]] Awaitable<bool> write_all(std::vector<asio::const_buffer> buffers);
    [[nodiscard]] std::string make_head(
        int status, const http::Fields& fields, std::optional<std::uint64_t> content_length
    );
    [[nodiscard]] bool has_input() noexcept;
    // Bytes that were read behind the request.
    void put_back(std::string_view bytes);
    // Somebody else reads the socket.
    [[nodiscard]] bool passes_body_on() const noexcept;
    void skip_body();
    void tell_answered(const http::ApiError& error, bool sent);
    void look_soon();
    void check_gone();
    void lost() noexcept;
    // Closes the socket, so that an answer that is not whole does not look like one.
    void hang_up() noexcept;
    [[nodiscard]] std::string_view input() const noexcept {
        return {input_.get() + input_begin_, input_end_ - input_begin_};
    }

    ConnectionSlot slot_;  // outlives the socket
    TcpSocket socket_;
    Handler& handler_;
    std::shared_ptr<SessionSettings> settings_;
    http::RequestParser parser_;
    Watchdog watchdog_;
    Timer look_timer_;  // see look_soon()

    // Bytes read and not yet used: [begin, end) of a buffer that grows up to the head limit.
    std::unique_ptr<char[]> input_;
    std::size_t input_size_ = 0;
    std::size_t input_begin_ = 0;
    std::size_t input_end_ = 0;

    http::RequestHead head_;
    std::string id_;
    http::Fields more_fields_;           // of each answer
    Deadline::Clock::time_point begun_;  // its first byte was seen
    State state_ = State::kIdle;
    Answer answer_ = Answer::kNone;
    bool first_request_ = true;
    bool body_read_ = false;   // nothing of the request is left on the wire
    bool keep_alive_ = false;  // of the answer being written
    bool chunked_ = false;
    bool until_close_ = false;  // its end is the end of the connection
    bool whole_ = false;        // all of the answer went out
    bool no_body_ = false;      // HEAD, 204, 304
    std::string pending_head_;  // begin() was called, nothing went out yet
    std::string chunk_head_;
    std::uint64_t sent_ = 0;
    bool timed_out_ = false;
    bool told_to_end_ = false;  // by a drain, while it waited for a request
    bool gone_ = false;
    bool watching_ = false;
    std::shared_ptr<Signal> watcher_;
    std::shared_ptr<SessionBody> upload_;  // until the exchange has ended
    std::uint64_t upload_limit_ = 0;       // a body up to it may be on the wire
};

}  // namespace weir::server
