// The body of a session's request while it is passed on as it comes. Belongs to the upstream call
// as much as to the session: it outlives the exchange, but is of no use then. Home worker only.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/asio/cancellation_signal.hpp>

#include "weir/base/awaitable.hpp"
#include "weir/base/buffer.hpp"
#include "weir/base/watchdog.hpp"
#include "weir/proxy/client_stream.hpp"

namespace weir::server {

class Session;

class SessionBody final : public proxy::IncomingBody {
public:
    // `session`: until detach(). `whole`: there is none on the wire, or none any more.
    SessionBody(Session& session, std::uint64_t limit_bytes, BufferBudget* budget, bool whole);

    [[nodiscard]] Awaitable<Result<std::string_view>> next() override;
    void stop() noexcept override;
    [[nodiscard]] std::optional<std::uint64_t> size() const noexcept override { return size_; }
    [[nodiscard]] std::uint64_t bytes_read() const noexcept override { return read_; }
    [[nodiscard]] const std::optional<http::ApiError>& fault() const noexcept override {
        return fault_;
    }
    // The exchange has ended: whoever waits in next() is woken, nothing is read any more.
    void detach() noexcept;
    // Some of it may still be asked for.
    [[nodiscard]] bool open() const noexcept { return session_ != nullptr && !whole_ && !fault_; }

private:
    // More bytes of the body, or of its chunks, in the buffer. False: fault_ says why.
    [[nodiscard]] Awaitable<bool> read_some(std::uint64_t at_most);
    [[nodiscard]] Awaitable<bool> next_of_length();
    [[nodiscard]] Awaitable<bool> next_of_chunks();
    [[nodiscard]] bool say_continue();
    bool broken(http::ApiError fault);
    // Ends the read that waits, and no write of the answer with it.
    void end_read() noexcept;

    Session* session_;
    const std::uint64_t limit_;
    std::optional<std::uint64_t> size_;
    asio::cancellation_signal read_ends_;
    Watchdog watchdog_;
    Buffer buffer_;           // what one read may bring; never grows
    std::string_view bytes_;  // what it brought, or what was read with the head
    std::string piece_;       // of a body in chunks, without their framing
    std::uint64_t read_ = 0;
    // The time that was spent waiting for the client; what an upstream takes is not its fault.
    std::chrono::steady_clock::duration waited_{0};
    bool began_ = false;
    bool waiting_ = false;
    bool whole_;
    bool timed_out_ = false;
    std::optional<http::ApiError> fault_;
};

}  // namespace weir::server
