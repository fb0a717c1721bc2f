// The producer itself: the upstream call of one flight, from take_off() to its settling. Its life
// in producer.cpp, what it reads and publishes in producer_relay.cpp. Private to these; home worker
// only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "weir/base/deadline.hpp"
#include "weir/base/signal.hpp"
#include "weir/http/answer.hpp"
#include "weir/http/secrets.hpp"

#include "producer.hpp"

namespace weir::proxy {

// One flight in the air: the plan and what the coroutines around it share.
class Producer : public std::enable_shared_from_this<Producer> {
public:
    Producer(Worker& worker, std::unique_ptr<FlightPlan> plan)
        : worker_(worker),
          plan_(std::move(plan)),
          flight_(plan_->flight),
          mask_(plan_->upstream->key_at(plan_->key_number)),
          wake_(Signal::create(worker.context.get_executor())),
          room_(Signal::create(worker.context.get_executor())) {
        flight_->set_producer(wake_);
    }

    [[nodiscard]] Awaitable<> run();
    // Hears from the flight while run() waits for the upstream: cancels the call when nobody
    // listens any more, passes on that there is room again.
    [[nodiscard]] Awaitable<> listen();
    void done() noexcept {
        ended_ = true;
        wake_->notify_home();
    }

private:
    [[nodiscard]] Awaitable<Result<>> answer();
    [[nodiscard]] Awaitable<bool> gate();
    [[nodiscard]] bool charge_failed();
    [[nodiscard]] Awaitable<Result<>> refused_by_upstream();
    [[nodiscard]] Awaitable<std::optional<std::string>> error_body();
    [[nodiscard]] Awaitable<Result<>> relay_events();
    [[nodiscard]] Awaitable<Result<>> relay_plain();
    [[nodiscard]] Awaitable<bool> publish(std::vector<cache::Chunk> chunks);
    void publish_head(std::optional<std::uint64_t> content_length, bool event_stream);
    void conclude(http::Ending ending, bool event_stream, const std::optional<http::Usage>& usage);
    void keep(bool event_stream, const std::optional<http::Usage>& usage);
    void attend();
    void fail_with(http::ApiError error);
    void leave_board();
    void give_back();

    Worker& worker_;
    std::unique_ptr<FlightPlan> plan_;
    std::shared_ptr<cache::Flight> flight_;
    http::SecretMask mask_;
    std::shared_ptr<Signal> wake_;
    std::shared_ptr<Signal> room_;
    std::unique_ptr<upstream::Call> call_;
    bool head_published_ = false;
    bool refused_ = false;  // the upstream's answer is not a 2xx
    bool ended_ = false;
    Deadline unattended_until_ = Deadline::never();
};

}  // namespace weir::proxy
