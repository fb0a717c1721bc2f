// The producer itself: the upstream calls of one flight, from take_off() to its settling. Its life
// in producer.cpp, which upstream is called when in producer_attempts.cpp, what it reads and
// publishes in producer_relay.cpp. Private to these; home worker only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "weir/base/deadline.hpp"
#include "weir/base/signal.hpp"
#include "weir/base/watchdog.hpp"
#include "weir/http/answer.hpp"
#include "weir/http/secrets.hpp"
#include "weir/http/upstream_error.hpp"

#include "producer.hpp"

namespace weir::proxy {

// One flight in the air: the plan and what the coroutines around it share.
class Producer : public std::enable_shared_from_this<Producer> {
public:
    Producer(Worker& worker, std::unique_ptr<FlightPlan> plan)
        : worker_(worker),
          plan_(std::move(plan)),
          flight_(plan_->flight),
          room_(Signal::create(worker.context.get_executor())) {}

    // Once, before run(): from here on it hears from the flight.
    void listen();
    [[nodiscard]] Awaitable<> run();

private:
    // What a search for an upstream came to.
    enum class Found : std::uint8_t {
        kTarget,   // target_ and permit_ are set
        kNothing,  // what the last call brought is all there will be
        kRefused,  // there was no call, and the listeners were told why
        kOver,     // nobody waits for it any more
    };

    // Calls until one works, none is left or nobody listens. An error: its flight did not end yet.
    [[nodiscard]] Awaitable<Result<>> fly();
    [[nodiscard]] Awaitable<Found> find_target();
    [[nodiscard]] Awaitable<bool> wait_for_turn(const upstream::Place& place, Deadline patience);
    [[nodiscard]] Awaitable<bool> pause(std::chrono::milliseconds span);
    [[nodiscard]] std::chrono::milliseconds pause_before_retry() const;
    [[nodiscard]] bool leaves_time_for(std::chrono::milliseconds span) const;
    [[nodiscard]] Found refuse(const http::ApiError& error);
    [[nodiscard]] Awaitable<Result<>> attempt();
    [[nodiscard]] upstream::CallRequest request();
    // How the attempt ended, noted everywhere. Whether another one may follow.
    bool note(const Result<>& result);
    [[nodiscard]] upstream::Outcome outcome_of(const Result<>& result) const;
    void name_attempt(std::string_view word);
    [[nodiscard]] std::string attempts_with(std::string_view word) const;
    // The call that could be made again is over.
    void end_attempt();

    [[nodiscard]] Awaitable<Result<>> answer();
    [[nodiscard]] Awaitable<bool> gate();
    [[nodiscard]] bool charge_failed();
    // Nobody waits for a further call.
    [[nodiscard]] bool over() { return flight_->abandoned() || charge_failed(); }
    [[nodiscard]] Awaitable<Result<>> read_refusal();
    void tell_refusal();
    [[nodiscard]] http::ApiError error_of(const Error& error) const;
    [[nodiscard]] Awaitable<std::optional<std::string>> error_body();
    [[nodiscard]] Awaitable<Result<>> relay_events();
    [[nodiscard]] Awaitable<Result<>> relay_plain();
    [[nodiscard]] Awaitable<bool> wait_for_room();
    void publish_head(std::optional<std::uint64_t> content_length, bool event_stream);
    void publish_stream_head();
    void conclude(http::Ending ending, bool event_stream, const std::optional<http::Usage>& usage);
    void keep(bool event_stream, const std::optional<http::Usage>& usage);
    // While run() waits: cancels the call when nobody listens any more, passes on that there is
    // room again.
    void hear();
    void attend();
    void fail_with(http::ApiError error);
    void leave_board();
    void give_back();

    Worker& worker_;
    std::unique_ptr<FlightPlan> plan_;
    std::shared_ptr<cache::Flight> flight_;
    std::shared_ptr<Signal> wake_;  // calls hear()
    std::shared_ptr<Signal> room_;
    // A stream's head waits for its first event, so that another upstream can still be asked; but
    // not for long.
    std::optional<Watchdog> head_limit_;
    Deadline whole_;  // all the calls together; known with the first upstream
    // Of the present attempt.
    upstream::Target target_;
    std::shared_ptr<const config::Upstream> upstream_;  // its upstream
    upstream::Permit permit_;
    http::SecretMask mask_;
    std::unique_ptr<upstream::Call> call_;
    bool usage_asked_ = false;
    std::shared_ptr<bool> source_taken_ = std::make_shared<bool>(false);
    // What the last one brought, if it was not told yet: an answer, or none.
    std::optional<http::Explained> refusal_;
    std::optional<std::chrono::milliseconds> told_wait_;
    upstream::Call::Stage last_stage_ = upstream::Call::Stage::kResolve;

    std::string attempts_;  // x-weir-attempts, of those that are over
    bool head_published_ = false;
    bool told_ = false;  // the flight has its end
    Deadline unattended_until_ = Deadline::never();
    std::optional<Watchdog> unattended_;  // calls hear() then
};

}  // namespace weir::proxy
