#include "producer.hpp"

#include <exception>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>

#include "weir/base/log.hpp"
#include "weir/base/watchdog.hpp"
#include "weir/http/error_body.hpp"
#include "weir/http/upstream_error.hpp"
#include "weir/proxy/meters.hpp"

#include "producer_call.hpp"

namespace weir::proxy {

namespace {

constexpr std::size_t kErrorBodyBytes = 256 << 10;
// What an upstream says about a refusal is not waited for longer.
constexpr std::chrono::seconds kErrorBodyTime{10};

http::UpstreamFault fault_of(const Error& error, upstream::Call::Stage stage, Deadline total) {
    using Stage = upstream::Call::Stage;
    using http::UpstreamFault;
    switch (error.code) {
        case ErrorCode::kUpstreamTimeout:
            if (total.passed()) return UpstreamFault::kTotalTimeout;
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

Awaitable<> Producer::listen() {
    const auto self = shared_from_this();
    const Waiting waiting(worker_, wake_);
    while (!ended_) {
        co_await wake_->wait(unattended_until_);
        if (ended_) break;
        attend();
        if (call_ && (flight_->abandoned() || charge_failed())) call_->cancel();
        room_->notify_home();
    }
}

// A flight that nobody listens to any more goes on for a while, if its answer is to be kept.
void Producer::attend() {
    if (!flight_->unattended()) {
        unattended_until_ = Deadline::never();
    } else if (worker_.stopping || unattended_until_.passed()) {
        flight_->abandon_if_unattended();
    } else if (unattended_until_.is_never()) {
        unattended_until_ = Deadline::in(plan_->finish_abandoned);
    }
}

Awaitable<> Producer::run() {
    const auto self = shared_from_this();
    Meters& meters = worker_.shared.meters;
    meters.upstream_calls.add();
    call_ = worker_.client->call(plan_->upstream, plan_->key_number);
    const auto whole_time = plan_->upstream->timeouts.total;
    const Deadline total = whole_time.count() > 0 ? Deadline::in(whole_time) : Deadline::never();
    const quota::Sequence sequence = plan_->reservation.sequence();
    if (sequence != 0) worker_.shared.ledger.notify_of_failure(sequence, wake_);
    const Result<> outcome = co_await answer();
    if (!outcome) {
        meters.upstream_failures.add();
        // Nobody listens any more. What was sent to the upstream whole has been used: it counts,
        // unless the upstream had said no already, or it is we who end it (the drain is over).
        if (flight_->abandoned()) {
            if (call_->request_written() && !refused_ && !worker_.stopping) {
                plan_->reservation.charge();
            }
            leave_board();
            flight_->end({});
        } else if (charge_failed()) {
            fail_with(http::storage_down());
        } else if (plan_->upload && plan_->upload->fault()) {
            fail_with(*plan_->upload->fault());
        } else {
            log::warn(
                "an upstream call failed",
                {{"upstream", std::string_view(plan_->upstream->name)},
                 {"why", std::string_view(outcome.error().detail)},
                 {"id", std::string_view(plan_->request_id)}}
            );
            fail_with(http::upstream_failed(
                fault_of(outcome.error(), call_->stage(), total), plan_->upstream->name
            ));
        }
    }
    give_back();
    call_.reset();
}

// Before anybody hears of the failure, so that its rate headers tell what is left now.
void Producer::give_back() {
    if (!plan_->reservation.open()) return;
    if (plan_->reservation.sequence() != 0) worker_.shared.meters.messages_refunded.add();
    plan_->reservation.refund();
}

Awaitable<Result<>> Producer::answer() {
    Result<> started = co_await call_->start(std::move(plan_->request));
    // Its memory is others' once it is sent. An upstream may answer before it took all of it: then
    // the call goes on sending, and needs it to its end.
    if (call_->request_written()) plan_->body.reset();
    const upstream::CallTimes times = call_->times();
    plan_->report->connect = times.connect;
    plan_->report->first_byte = times.first_byte;
    if (!started) co_return started;
    worker_.shared.meters.upstream_first_byte.observe(times.first_byte);
    const http::ResponseHead& head = call_->head();
    refused_ = head.status < 200 || head.status > 299;
    if (refused_) co_return co_await refused_by_upstream();
    const bool durable = co_await gate();
    if (!durable) {
        fail_with(http::storage_down());
        co_return Result<>();
    }
    // The events of an encoded stream cannot be told apart: it passes as bytes.
    const bool readable = !head.fields.find("content-encoding");
    if (readable && head.content_type() == "text/event-stream") {
        co_return co_await relay_events();
    }
    co_return co_await relay_plain();
}

// The output gate: nothing is published before the charge is on disk. Normally it is long there.
Awaitable<bool> Producer::gate() {
    const quota::Sequence sequence = plan_->reservation.sequence();
    if (sequence == 0) co_return true;
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

// nullopt: it did not come whole, in time and within reason.
Awaitable<std::optional<std::string>> Producer::error_body() {
    Watchdog patience(worker_.context.get_executor(), [this] { call_->cancel(); });
    patience.set(Deadline::in(kErrorBodyTime));
    std::string body;
    std::string part;
    while (body.size() <= kErrorBodyBytes) {
        const Result<bool> more = co_await call_->read(part);
        if (!more) break;
        if (!*more) co_return body;
        body += part;
    }
    co_return std::nullopt;
}

Awaitable<Result<>> Producer::refused_by_upstream() {
    worker_.shared.meters.upstream_failures.add();
    const int status = call_->head().status;
    std::optional<std::string> body;
    if (!http::body_tells_nothing(status)) body = co_await error_body();
    if (flight_->abandoned()) co_return fail(ErrorCode::kCancelled, "nobody listens any more");
    http::Explained told = http::explain_upstream_answer(
        call_->head(), body, plan_->upstream->name, plan_->snapshot->secrets, plan_->api
    );
    if (told.ours) {
        log::warn(
            "an upstream refused a call",
            {{"upstream", std::string_view(plan_->upstream->name)},
             {"status", static_cast<std::int64_t>(status)},
             {"told", std::string_view(told.code)},
             {"id", std::string_view(plan_->request_id)}}
        );
    }
    leave_board();
    give_back();
    cache::FlightHead head;
    head.status = told.answer.status;
    head.fields = std::move(told.answer.fields);
    head.content_length = told.answer.body.size();
    head.upstream = plan_->upstream->name;
    head.error_code = std::move(told.code);
    flight_->publish_head(std::move(head));
    std::vector<cache::Chunk> chunks(1);
    chunks.front().bytes = std::move(told.answer.body);
    flight_->publish(std::move(chunks));
    flight_->end({.clean = true, .error = std::nullopt});
    co_return Result<>();
}

void Producer::fail_with(http::ApiError error) {
    leave_board();
    give_back();
    flight_->end({.clean = false, .error = std::move(error)});
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
    flight->take_off();
    ++worker.flights;
    const Executor home = worker.context.get_executor();
    asio::co_spawn(home, producer->listen(), report_bug);
    asio::co_spawn(home, producer->run(), [producer, flight, &worker](std::exception_ptr bug) {
        --worker.flights;
        report_bug(bug);
        if (bug) flight->end({.clean = false, .error = http::internal_error()});
        producer->done();
    });
}

}  // namespace weir::proxy
