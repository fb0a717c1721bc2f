#include "producer.hpp"

#include <algorithm>
#include <ctime>
#include <exception>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>

#include "weir/base/log.hpp"
#include "weir/base/watchdog.hpp"
#include "weir/http/answer.hpp"
#include "weir/http/error_body.hpp"
#include "weir/http/hygiene.hpp"
#include "weir/http/secrets.hpp"
#include "weir/http/sse.hpp"
#include "weir/http/upstream_error.hpp"
#include "weir/proxy/meters.hpp"

#include "estimate.hpp"

namespace weir::proxy {

namespace {

// A plain JSON answer up to this size is gathered before it is published: then one that breaks off
// is a clean 502 instead of a cut body. Larger ones are relayed as they come.
constexpr std::size_t kGatherBytes = 1 << 20;
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

// The end of an answer that is too long to be kept. Most have their usage there (embeddings).
constexpr std::size_t kTailBytes = 4096;

void keep_tail(std::string& tail, std::string_view part) {
    tail += part.substr(part.size() - std::min(part.size(), kTailBytes));
    if (tail.size() > kTailBytes) tail.erase(0, tail.size() - kTailBytes);
}

// Of a member `usage` at the end of the JSON's outermost object.
std::optional<http::Usage> usage_in(std::string_view tail) {
    const std::size_t at = tail.rfind("\"usage\"");
    std::optional<http::Usage> usage;
    if (at == std::string_view::npos) return usage;
    const std::string object = "{" + std::string(tail.substr(at));
    static_cast<void>(http::judge_json(http::Shape::kOther, object, false, &usage));
    return usage;
}

// One flight in the air: the plan and what the coroutines around it share.
class Producer : public std::enable_shared_from_this<Producer> {
public:
    Producer(Worker& worker, std::unique_ptr<FlightPlan> plan)
        : worker_(worker),
          plan_(std::move(plan)),
          flight_(plan_->flight),
          mask_(plan_->upstream->key),
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
    call_ = worker_.client->call(plan_->upstream);
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
        call_->head(), body, plan_->upstream->name, plan_->snapshot->secrets
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

void Producer::publish_head(std::optional<std::uint64_t> content_length, bool event_stream) {
    if (std::exchange(head_published_, true)) return;
    cache::FlightHead head;
    head.status = call_->head().status;
    head.fields = http::forwarded_response_fields(call_->head().fields);
    for (http::Field& field : head.fields) mask_.mask_whole(field.value);
    head.event_stream = event_stream;
    head.usage_asked = plan_->usage_asked;
    head.content_length = content_length;
    head.upstream = plan_->upstream->name;
    flight_->publish_head(std::move(head));
}

// False: nobody listens any more. Waits while the listeners are far behind.
Awaitable<bool> Producer::publish(std::vector<cache::Chunk> chunks) {
    const bool heard = flight_->publish(std::move(chunks));
    if (!heard) co_return false;
    while (flight_->congested()) {
        co_await room_->wait();
        if (flight_->abandoned()) co_return false;
    }
    co_return true;
}

Awaitable<Result<>> Producer::relay_events() {
    publish_head(std::nullopt, true);
    http::StreamWatch watch(plan_->shape, plan_->choices, plan_->limit_set);
    http::SseSplitter splitter;
    std::vector<std::string> blocks;
    std::string part;
    bool any = false;
    Deadline::Clock::time_point begun;  // the first block
    while (true) {
        const Result<bool> more = co_await call_->read(part);
        if (!more) {
            // Behind the terminal nothing matters to the client; but what broke is not kept, and
            // what the terminal came too early for is broken all the same.
            http::Ending ending = watch.end("");
            if (ending == http::Ending::kWhole) ending = http::Ending::kWholeNoCache;
            if (watch.terminal_seen() && ending != http::Ending::kBroken && !flight_->abandoned()) {
                conclude(ending, true, watch.usage());
                co_return Result<>();
            }
            co_return std::unexpected(more.error());
        }
        mask_.mask(part, !*more);
        if (part.empty() && !*more) break;
        blocks.clear();
        if (const Result<> cut = splitter.feed(part, blocks); !cut) {
            co_return fail(ErrorCode::kUpstreamProtocol, cut.error().detail);
        }
        if (blocks.empty()) {
            if (!*more) break;
            continue;
        }
        const auto now = Deadline::Clock::now();
        if (!any) begun = now;
        any = true;
        const auto at = std::chrono::duration_cast<std::chrono::milliseconds>(now - begun);
        std::vector<cache::Chunk> chunks;
        chunks.reserve(blocks.size());
        for (std::string& block : blocks) {
            const bool content = watch.see(block);
            chunks.push_back(
                {.bytes = std::move(block),
                 .usage_only = !content && plan_->usage_asked,
                 .at_ms = static_cast<std::uint32_t>(at.count())}
            );
        }
        const bool heard = co_await publish(std::move(chunks));
        if (!heard) co_return fail(ErrorCode::kCancelled, "nobody listens any more");
        if (!*more) break;
    }
    const http::Ending ending = watch.end(splitter.rest());
    if (ending == http::Ending::kBroken) {
        co_return fail(ErrorCode::kUpstreamClosed, "the stream ended before its terminal event");
    }
    if (!splitter.rest().empty()) {
        std::vector<cache::Chunk> last(1);
        last.front().bytes = splitter.rest();
        flight_->publish(std::move(last));
    }
    conclude(ending, true, watch.usage());
    co_return Result<>();
}

Awaitable<Result<>> Producer::relay_plain() {
    const http::ResponseHead& head = call_->head();
    std::optional<std::uint64_t> length;
    if (head.framing == http::Framing::kLength) length = head.content_length;
    if (head.framing == http::Framing::kNone) length = 0;
    const bool json =
        head.content_type() == "application/json" && !head.fields.find("content-encoding");
    const bool gather = json && (!length || *length <= kGatherBytes);
    const bool until_close = json && head.framing == http::Framing::kUntilClose;
    std::string body;
    std::string part;
    bool whole = false;  // all of it is in `body`
    if (gather) {
        while (!whole && body.size() <= kGatherBytes) {
            const Result<bool> more = co_await call_->read(part);
            if (!more) co_return std::unexpected(more.error());
            whole = !*more;
            mask_.mask(part, whole);
            body += part;
        }
        if (whole) length = body.size();
    }
    std::optional<http::Usage> usage;
    const http::Ending judged = whole
                                    ? http::judge_json(plan_->shape, body, plan_->limit_set, &usage)
                                    : http::Ending::kWholeNoCache;
    if (whole && judged == http::Ending::kBroken) {
        co_return fail(
            ErrorCode::kUpstreamProtocol, "the answer is not the JSON that it says it is"
        );
    }
    publish_head(length, false);
    const bool unjudged = until_close && !whole;
    http::JsonBalance balance;
    if (unjudged) balance.see(body);
    std::string tail;
    if (json && !whole) keep_tail(tail, body);
    if (!body.empty()) {
        std::vector<cache::Chunk> first(1);
        first.front().bytes = std::move(body);
        const bool heard = co_await publish(std::move(first));
        if (!heard) co_return fail(ErrorCode::kCancelled, "nobody listens any more");
    }
    while (!whole) {
        const Result<bool> more = co_await call_->read(part);
        if (!more) co_return std::unexpected(more.error());
        whole = !*more;
        mask_.mask(part, whole);
        if (part.empty()) continue;
        if (unjudged) balance.see(part);
        if (json) keep_tail(tail, part);
        std::vector<cache::Chunk> next(1);
        next.front().bytes = std::move(part);
        const bool heard = co_await publish(std::move(next));
        if (!heard) co_return fail(ErrorCode::kCancelled, "nobody listens any more");
    }
    // Where the connection's end is the answer's, a cut is a clean end to HTTP.
    if (unjudged && !balance.closed()) {
        co_return fail(ErrorCode::kUpstreamClosed, "the JSON ended in its middle");
    }
    http::Ending ending = judged;
    if (json && judged == http::Ending::kWholeNoCache && plan_->key) {
        // It was relayed in pieces; if the flight kept them all, it can still be judged and kept.
        if (const auto kept = flight_->backlog()) {
            std::string all;
            for (const cache::ChunkPtr& chunk : *kept) all += chunk->bytes;
            ending = http::judge_json(plan_->shape, all, plan_->limit_set, &usage);
            if (ending == http::Ending::kBroken) {
                co_return fail(
                    ErrorCode::kUpstreamProtocol, "the answer is not the JSON that it says it is"
                );
            }
        }
    }
    if (!usage && !tail.empty()) usage = usage_in(tail);
    conclude(ending, false, usage);
    co_return Result<>();
}

// The answer came to its end. Store before leaving the board: a request that comes now finds the
// one or the other.
void Producer::conclude(
    http::Ending ending, bool event_stream, const std::optional<http::Usage>& usage
) {
    if (ending != http::Ending::kError) {
        // What nobody told stays as it was reserved.
        std::optional<quota::Amounts> used;
        if (usage) used = amounts_of(plan_->price, *usage);
        plan_->reservation.charge(used);
    } else {
        give_back();
    }
    if (mask_.seen()) {
        log::warn(
            "an answer repeated the upstream's key: it was blacked out",
            {{"upstream", std::string_view(plan_->upstream->name)},
             {"id", std::string_view(plan_->request_id)}}
        );
    } else if (ending == http::Ending::kWhole && call_->head().status == 200) {
        keep(event_stream, usage);
    }
    leave_board();
    const bool tells_error = ending == http::Ending::kError;
    flight_->end({.clean = true, .error = std::nullopt, .tells_error = tells_error, .usage = usage}
    );
}

void Producer::keep(bool event_stream, const std::optional<http::Usage>& usage) {
    if (!plan_->key || call_->head().fields.find("content-encoding")) return;
    const auto backlog = flight_->backlog();
    if (!backlog) return;
    const config::Cache& options = plan_->snapshot->config->cache;
    auto entry = std::make_shared<cache::Entry>();
    entry->key_text = plan_->key->text;
    entry->stream = event_stream;
    std::size_t bytes = 0;
    for (const cache::ChunkPtr& chunk : *backlog) bytes += chunk->bytes.size();
    if (bytes > options.max_entry_bytes) return;
    if (event_stream) {
        entry->parts.reserve(backlog->size());
        entry->times_ms.reserve(backlog->size());
        for (const cache::ChunkPtr& chunk : *backlog) {
            entry->parts.push_back(chunk->bytes);
            entry->times_ms.push_back(chunk->at_ms);
        }
    } else {
        std::string whole;
        whole.reserve(bytes);
        for (const cache::ChunkPtr& chunk : *backlog) whole += chunk->bytes;
        entry->parts.push_back(std::move(whole));
    }
    entry->content_type =
        std::string(call_->head().fields.find("content-type").value_or("application/json"));
    entry->status = call_->head().status;
    entry->model = plan_->served_model;
    entry->owner = plan_->owner;
    entry->usage = usage;
    entry->stored_at_s = std::time(nullptr);
    entry->expires_at_s = entry->stored_at_s + plan_->ttl.count();
    worker_.shared.cache.store(*plan_->key, std::move(entry));
}

void Producer::fail_with(http::ApiError error) {
    leave_board();
    give_back();
    flight_->end({.clean = false, .error = std::move(error)});
}

void Producer::leave_board() {
    if (plan_->shareable && plan_->key) worker_.shared.board.remove(*plan_->key, flight_);
}

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
