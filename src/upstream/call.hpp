// One call (see client.hpp) on a connection from the pool or a fresh one. Home worker only.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "weir/upstream/client.hpp"

#include "client_state.hpp"
#include "connection.hpp"
#include "dial.hpp"

namespace weir::upstream {

class PooledCall final : public Call, private Connection::Owner {
public:
    PooledCall(
        std::shared_ptr<ClientState> client,
        std::shared_ptr<const config::Upstream> upstream,
        std::size_t key
    );
    ~PooledCall() override;
    PooledCall(const PooledCall&) = delete;
    PooledCall& operator=(const PooledCall&) = delete;

    [[nodiscard]] Awaitable<Result<>> start(CallRequest request) override;
    [[nodiscard]] const http::ResponseHead& head() const noexcept override { return head_; }
    [[nodiscard]] Awaitable<Result<bool>> read(std::string& out) override;
    void cancel() noexcept override;
    [[nodiscard]] bool request_written() const noexcept override { return written_; }
    [[nodiscard]] Stage stage() const noexcept override {
        return dial_ != nullptr ? dial_->stage() : stage_;
    }
    [[nodiscard]] CallTimes times() const noexcept override { return times_; }

private:
    // Why we ended it ourselves. Recorded where it is decided, never guessed from an error code.
    enum class Stop : std::uint8_t { kNone, kCancelled, kTimeout, kSource };

    // How far one connection brought us.
    struct Exchange {
        bool headed = false;    // the answer's head is in the parser
        bool answered = false;  // a byte of the answer came
        Error error;            // if there is no head
    };

    [[nodiscard]] Awaitable<Result<>> connect();
    // `head` and `request` are the caller's until it is resumed.
    [[nodiscard]] Awaitable<Exchange> exchange(const std::string& head, const CallRequest& request);
    // The connection was stale when it was taken from the pool, as far as one can tell.
    [[nodiscard]] bool was_stale() const noexcept;

    void deadline_passed(Connection& connection) override;
    void some_written() override;
    void all_written() override;
    void write_failed() override;
    void source_awaited() override;
    void source_failed(Error error) override;

    // Ends the call with an error; for one that we stopped it says why. Drops the connection.
    [[nodiscard]] std::unexpected<Error> end(ErrorCode code, std::string_view what);
    [[nodiscard]] std::unexpected<Error> end_stopped();
    [[nodiscard]] Error failed(ErrorCode code, std::string_view what) const;
    [[nodiscard]] Deadline in_all(Deadline step) const noexcept { return step.earlier(total_); }
    // The answer is whole: the connection goes back, if it is fit for another one.
    void finish();
    // Closes the connection and forgets it. REQUIRES: none of its operations is awaited.
    void drop() noexcept;
    void leave() noexcept;

    std::shared_ptr<ClientState> client_;
    std::shared_ptr<const config::Upstream> upstream_;
    std::size_t key_;
    std::shared_ptr<Pool> pool_;
    std::shared_ptr<Connection> connection_;
    std::unique_ptr<Dial> dial_;  // while connecting
    http::ResponseHead head_;
    CallTimes times_;
    Deadline total_;
    Stop stop_ = Stop::kNone;
    Stage stage_ = Stage::kResolve;
    bool started_ = false;
    bool active_ = false;  // counted in the client's stats
    bool written_ = false;
    bool whole_ = false;
    std::chrono::steady_clock::time_point written_at_;
    std::optional<Error> failure_;  // what start() or read() ended with
};

}  // namespace weir::upstream
