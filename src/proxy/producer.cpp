#include "producer.hpp"

#include <exception>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>

#include "weir/base/log.hpp"
#include "weir/base/watchdog.hpp"
#include "weir/http/error_body.hpp"
#include "weir/proxy/meters.hpp"

#include "producer_call.hpp"

namespace weir::proxy {

namespace {

http::UpstreamFault fault_of(const Error& error, upstream::Call::Stage stage, Deadline whole) {
    using Stage = upstream::Call::Stage;
    using http::UpstreamFault;
    switch (error.code) {
        case ErrorCode::kUpstreamTimeout:
            if (whole.passed()) return UpstreamFault::kTotalTimeout;
            if (stage == Stage::kBody) return UpstreamFault::kIdleTimeout;
            if (stage == Stage::kFirstByte || stage == Stage::kWrite) {
                return UpstreamFault::kFirstByteTimeout;
            }
            return UpstreamFault::kConnectTimeout;
        case ErrorCode::kUpstreamProtocol:
            return UpstreamFault::kProtocol;
        case ErrorCode::kUpstreamConnect:
            return stage == Stage::kTls ? UpstreamFault::kTls : UpstreamFault::kConnect;
        default:
            break;
    }
    return stage == Stage::kBody ? UpstreamFault::kBrokeOff : UpstreamFault::kClosedEarly;
}

}  // namespace

void Producer::listen() {
    wake_ = Signal::create(worker_.context.get_executor(), [weak = weak_from_this()] {
        if (const std::shared_ptr<Producer> self = weak.lock()) self->hear();
    });
    flight_->set_producer(wake_);
}

void Producer::hear() {
    attend();
    if (call_ && (flight_->abandoned() || charge_failed())) call_->cancel();
    room_->notify_home();
}

// A flight that nobody listens to any more goes on for a while, if its answer is to be kept.
void Producer::attend() {
    if (!flight_->unattended()) {
        unattended_until_ = Deadline::never();
    } else if (worker_.stopping || unattended_until_.passed()) {
        flight_->abandon_if_unattended();
    } else if (unattended_until_.is_never()) {
        unattended_until_ = Deadline::in(plan_->finish_abandoned);
        if (!unattended_) {
            unattended_.emplace(worker_.context.get_executor(), [this] { hear(); });
        }
        unattended_->set(unattended_until_);
    }
}

Awaitable<> Producer::run() {
    const auto self = shared_from_this();
    const Waiting waiting(worker_, wake_);
    const quota::Sequence sequence = plan_->reservation.sequence();
    if (sequence != 0) worker_.shared.ledger.notify_of_failure(sequence, wake_);
    const Result<> outcome = co_await fly();
    if (!told_) {
        const Error why = outcome ? Error{} : outcome.error();
        // Nobody listens any more. What was sent to the upstream whole has been used: it counts,
        // unless the upstream had said no already, or it is we who end it (the drain is over).
        if (flight_->abandoned()) {
            const bool used = call_ && call_->request_written() && !refusal_;
            if (used && !worker_.stopping) plan_->reservation.charge();
            leave_board();
            flight_->end({});
        } else if (charge_failed()) {
            fail_with(http::storage_down());
        } else if (plan_->upload && plan_->upload->fault()) {
            fail_with(*plan_->upload->fault());
        } else {
            log::warn(
                "an upstream call failed",
                {{"upstream", upstream_ ? std::string_view(upstream_->name) : ""},
                 {"why", std::string_view(why.detail)},
                 {"tried", std::string_view(attempts_)},
                 {"id", std::string_view(plan_->request_id)}}
            );
            fail_with(error_of(why));
        }
    }
    give_back();
    // Nothing is to be heard of any more, and this may go on for a while.
    unattended_.reset();
    call_.reset();
    permit_ = {};
}

http::ApiError Producer::error_of(const Error& error) const {
    return http::upstream_failed(
        fault_of(error, last_stage_, whole_), upstream_ ? std::string_view(upstream_->name) : ""
    );
}

// Before anybody hears of the failure, so that its rate headers tell what is left now.
void Producer::give_back() {
    if (!plan_->reservation.open()) return;
    if (plan_->reservation.sequence() != 0) worker_.shared.meters.messages_refunded.add();
    plan_->reservation.refund();
}

// The output gate: nothing is published before the charge is on disk. Normally it is long there.
Awaitable<bool> Producer::gate() {
    const quota::Sequence sequence = plan_->reservation.sequence();
    if (worker_.shared.ledger.is_durable(sequence)) co_return true;
    const auto signal = Signal::create(worker_.context.get_executor());
    while (true) {
        const std::optional<bool> passed = worker_.shared.ledger.gate(sequence, signal);
        if (passed) co_return *passed;
        co_await signal->wait();
    }
}

// Its commit failed before the gate was asked: nothing of its answer may be published.
bool Producer::charge_failed() {
    return !head_published_ && worker_.shared.ledger.has_failed(plan_->reservation.sequence());
}

// An upstream's refusal, in the words that it is told in.
void Producer::tell_refusal() {
    http::Explained& told = *refusal_;
    if (told.ours) {
        log::warn(
            "an upstream refused a call",
            {{"upstream", std::string_view(upstream_->name)},
             {"told", std::string_view(told.code)},
             {"tried", std::string_view(attempts_)},
             {"id", std::string_view(plan_->request_id)}}
        );
    }
    leave_board();
    give_back();
    cache::FlightHead head;
    head.status = told.answer.status;
    head.fields = std::move(told.answer.fields);
    head.fields.set("x-weir-attempts", attempts_);
    head.content_length = told.answer.body.size();
    head.upstream = upstream_->name;
    head.error_code = std::move(told.code);
    flight_->publish_head(std::move(head));
    std::vector<cache::Chunk> chunks(1);
    chunks.front().bytes = std::move(told.answer.body);
    flight_->publish(std::move(chunks));
    flight_->end({.clean = true, .error = std::nullopt});
    told_ = true;
}

void Producer::fail_with(http::ApiError error) {
    leave_board();
    give_back();
    flight_->end({.clean = false, .error = std::move(error), .attempts = attempts_});
    told_ = true;
}

void Producer::leave_board() {
    if (plan_->shareable && plan_->key) worker_.shared.board.remove(*plan_->key, flight_);
}

namespace {

void report_bug(const std::exception_ptr& bug) {
    if (!bug) return;
    try {
        std::rethrow_exception(bug);
    } catch (const std::exception& error) {
        log::error("a flight ended by an exception", {{"what", std::string_view(error.what())}});
    }
}

}  // namespace

void take_off(Worker& worker, std::unique_ptr<FlightPlan> plan) {
    const auto flight = plan->flight;
    const auto producer = std::make_shared<Producer>(worker, std::move(plan));
    producer->listen();
    flight->take_off();
    ++worker.flights;
    const Executor home = worker.context.get_executor();
    asio::co_spawn(home, producer->run(), [flight, &worker](std::exception_ptr bug) {
        --worker.flights;
        report_bug(bug);
        if (bug) flight->end({.clean = false, .error = http::internal_error()});
    });
}

}  // namespace weir::proxy
