// Which upstream a producer calls, and what it does when that fails: the next one, the same again
// after a pause, or nothing more. All of it before the first byte to anybody.
#include <algorithm>
#include <random>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "weir/base/log.hpp"
#include "weir/base/text.hpp"
#include "weir/http/error_body.hpp"
#include "weir/proxy/meters.hpp"
#include "weir/upstream/target.hpp"

#include "producer_call.hpp"

namespace weir::proxy {

namespace {

using std::chrono::milliseconds;
using upstream::Outcome;

constexpr std::size_t kErrorBodyBytes = 256 << 10;
// What an upstream says about a refusal is not waited for longer.
constexpr std::chrono::seconds kErrorBodyTime{10};
// A key that rests no longer than that is waited for, rather than that the client is sent away.
constexpr milliseconds kShortRest{500};

double random_share() {
    thread_local std::mt19937_64 generator{std::random_device()()};
    return std::uniform_real_distribution<double>(0, 1)(generator);
}

WallTime wall_now() {
    return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
}

// What must not come back in an answer: the key, and extra fields and parameters that look like
// one. Others may well stand in an answer, a date or a product's name.
std::vector<std::string_view> secrets_of(const config::Upstream& upstream, std::size_t key) {
    static constexpr std::string_view kNames[] = {
        "*auth*", "*key*", "*token*", "*secret*", "*password*", "*cookie*", "*signature*"
    };
    std::vector<std::string_view> secrets = {upstream.key_at(key)};
    for (const auto* const extras : {&upstream.headers, &upstream.query}) {
        for (const config::ExtraField& extra : *extras) {
            const auto fits = [&](std::string_view glob) { return glob_match(glob, extra.name); };
            if (std::ranges::any_of(kNames, fits)) secrets.emplace_back(extra.value);
        }
    }
    return secrets;
}

// A body that is passed on as it comes, until it is known whether any of it was taken: before that
// it can still be passed on to another upstream.
class Untouched final : public upstream::BodySource {
public:
    Untouched(std::shared_ptr<upstream::BodySource> source, std::shared_ptr<bool> taken)
        : source_(std::move(source)), taken_(std::move(taken)) {}
    [[nodiscard]] Awaitable<Result<std::string_view>> next() override {
        *taken_ = true;
        return source_->next();
    }
    void stop() noexcept override {
        if (*taken_) source_->stop();
    }

private:
    std::shared_ptr<upstream::BodySource> source_;
    std::shared_ptr<bool> taken_;
};

// A name of the config in a header: what would be a comma, or is not printable ASCII, is not there.
void append_name(std::string& out, std::string_view name) {
    for (const char c : name) out += c > ' ' && c <= '~' && c != ',' ? c : '_';
}

}  // namespace

Awaitable<Result<>> Producer::fly() {
    Result<> last = fail(ErrorCode::kCancelled, "nobody listens any more");
    while (true) {
        const Found found = co_await find_target();
        if (found == Found::kRefused) co_return Result<>();
        if (found == Found::kOver) co_return Result<>();
        if (found == Found::kTarget) {
            last = co_await attempt();
            head_limit_.reset();
            if (head_published_ || told_ || flight_->abandoned()) {
                if (!last) worker_.shared.meters.upstream_failures.add();
                co_return last;
            }
            const bool again = note(last) && !over() && leaves_time_for(milliseconds(0));
            if (again) {
                end_attempt();
                continue;
            }
        }
        if (refusal_ && !flight_->abandoned()) {
            tell_refusal();
            co_return Result<>();
        }
        co_return last;
    }
}

// The next upstream that may be asked, when it may be asked.
Awaitable<Producer::Found> Producer::find_target() {
    using Kind = upstream::Choice::Kind;
    upstream::Fleet& fleet = worker_.shared.fleet;
    upstream::Errand& errand = plan_->errand;
    const bool first = errand.calls() == 0;
    upstream::Place place;
    std::optional<Deadline> turn_by;
    while (true) {
        if (over()) co_return Found::kOver;
        const auto now = Deadline::Clock::now();
        upstream::Choice choice = fleet.choose(errand, room_, now, std::move(place));
        place = {};
        const config::Upstream* const chosen = choice.target.upstream;
        switch (choice.kind) {
            case Kind::kCall:
                target_ = choice.target;
                permit_ = std::move(choice.permit);
                co_return Found::kTarget;
            case Kind::kPause: {
                const milliseconds span = pause_before_retry();
                if (span < milliseconds(0) || !leaves_time_for(span)) co_return Found::kNothing;
                const bool on = co_await pause(span);
                if (!on) co_return Found::kOver;
                errand.paused();
                break;
            }
            case Kind::kWait: {
                if (!turn_by) {
                    turn_by = Deadline::in(chosen->at_once.wait);
                    worker_.shared.meters.upstream_queued.add();
                }
                const auto waited = Deadline::Clock::now();
                place = std::move(choice.place);
                const bool on = co_await wait_for_turn(place, *turn_by);
                if (!on && over()) co_return Found::kOver;
                if (!on && !first) co_return Found::kNothing;
                if (!on) {
                    const auto span = Deadline::Clock::now() - waited;
                    co_return refuse(http::upstream_busy(
                        chosen->name, std::chrono::duration_cast<milliseconds>(span)
                    ));
                }
                break;
            }
            case Kind::kResting: {
                const auto left = std::chrono::ceil<milliseconds>(choice.until - now);
                const milliseconds most =
                    first ? kShortRest : plan_->snapshot->config->retry.longest_wait;
                if (left > most || !leaves_time_for(left)) {
                    if (!first) co_return Found::kNothing;
                    co_return refuse(http::upstream_rate_limited(
                        chosen->name, std::chrono::ceil<std::chrono::seconds>(left)
                    ));
                }
                const bool on = co_await pause(left);
                if (!on) co_return Found::kOver;
                errand.paused();
                break;
            }
            case Kind::kFull:
                if (!first) co_return Found::kNothing;
                co_return refuse(http::upstream_busy(chosen->name, milliseconds(0)));
            case Kind::kNothing:
                co_return Found::kNothing;
        }
    }
}

// There is no call at all: told without x-weir-attempts.
Producer::Found Producer::refuse(const http::ApiError& error) {
    fail_with(error);
    return Found::kRefused;
}

// False: the time is over, or nobody waits any more.
Awaitable<bool> Producer::wait_for_turn(const upstream::Place& place, Deadline patience) {
    const Deadline until = patience.earlier(plan_->patience);
    while (!place.called()) {
        if (over() || until.passed()) co_return false;
        co_await room_->wait(until);
    }
    co_return true;
}

// False: nobody waits any more.
Awaitable<bool> Producer::pause(milliseconds span) {
    const Deadline until = Deadline::in(span);
    while (!over() && !until.passed()) co_await room_->wait(until);
    co_return !over();
}

// Negative: the upstream asks for more than is waited.
milliseconds Producer::pause_before_retry() const {
    const config::Retry& policy = plan_->snapshot->config->retry;
    if (told_wait_) return *told_wait_ <= policy.longest_wait ? *told_wait_ : milliseconds(-1);
    const auto retry = static_cast<std::uint32_t>(plan_->errand.calls());
    return upstream::backoff(policy, retry, random_share());
}

bool Producer::leaves_time_for(milliseconds span) const {
    const auto at = Deadline::Clock::now() + span;
    return at < plan_->patience.at() && at < whole_.at();
}

Awaitable<Result<>> Producer::attempt() {
    Meters& meters = worker_.shared.meters;
    if (plan_->errand.calls() == 0) {
        const auto total = target_.upstream->timeouts.total;
        if (total.count() > 0) whole_ = Deadline::in(total);
    } else if (upstream_.get() == target_.upstream) {
        meters.upstream_retries.add();
    } else {
        meters.upstream_failovers.add();
    }
    meters.upstream_calls.add();
    refusal_.reset();
    upstream_ = {plan_->snapshot->config, target_.upstream};
    mask_ = http::SecretMask(secrets_of(*upstream_, target_.key));
    plan_->report->upstream = upstream_->name;
    call_ = worker_.client->call(upstream_, target_.key);
    Result<> result = co_await answer();
    last_stage_ = call_->stage();
    co_return result;
}

upstream::CallRequest Producer::request() {
    const BodyNeed need = plan_->need_of(*upstream_);
    usage_asked_ = plan_->usage_asked || need.usage;
    upstream::CallRequest request;
    request.method = plan_->method;
    request.target =
        upstream::target_on(*upstream_, plan_->path, plan_->query, plan_->asked_upstream);
    request.fields = plan_->fields;
    if (plan_->upload) {
        request.source = std::make_shared<Untouched>(plan_->upload, source_taken_);
        request.source_bytes = plan_->upload->size();
    } else {
        request.body = plan_->body_for(need)->view();
    }
    request.deadline = whole_;
    return request;
}

Awaitable<Result<>> Producer::answer() {
    Result<> started = co_await call_->start(request());
    const upstream::CallTimes times = call_->times();
    plan_->report->connect = times.connect;
    plan_->report->first_byte = times.first_byte;
    if (!started) co_return started;
    worker_.shared.meters.upstream_first_byte.observe(times.first_byte);
    const http::ResponseHead& head = call_->head();
    if (head.status < 200 || head.status > 299) co_return co_await read_refusal();
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

Awaitable<Result<>> Producer::read_refusal() {
    const int status = call_->head().status;
    std::optional<std::string> body;
    if (!http::body_tells_nothing(status)) body = co_await error_body();
    refusal_ = http::explain_upstream_answer(
        call_->head(), body, upstream_->name, plan_->snapshot->secrets, plan_->api
    );
    if (flight_->abandoned()) co_return fail(ErrorCode::kCancelled, "nobody listens any more");
    co_return Result<>();
}

Outcome Producer::outcome_of(const Result<>& result) const {
    Outcome outcome;
    outcome.stage = last_stage_;
    outcome.written = call_->request_written();
    if (last_stage_ == upstream::Call::Stage::kBody) outcome.status = call_->head().status;
    if (refusal_) {
        outcome.out_of_money = refusal_->code == "upstream_quota_exhausted";
        const auto again = call_->head().fields.find("x-should-retry");
        outcome.told_to_stop = again && *again == "false";
    } else if (!result) {
        outcome.error = result.error().code;
        outcome.broke_off = outcome.status != 0;
    }
    return outcome;
}

bool Producer::note(const Result<>& result) {
    const Outcome outcome = outcome_of(result);
    worker_.shared.meters.upstream_failures.add();
    name_attempt(upstream::word_of(outcome));
    static const http::Fields kNone;
    const http::Fields& fields = outcome.status != 0 ? call_->head().fields : kNone;
    told_wait_ = upstream::told_wait(fields, wall_now());
    permit_.note(outcome, fields, Deadline::Clock::now());
    const upstream::Next next = upstream::judge(plan_->snapshot->config->retry, outcome);
    return plan_->errand.tried(target_, outcome, next) && !*source_taken_;
}

std::string Producer::attempts_with(std::string_view word) const {
    std::string text = attempts_;
    if (!text.empty()) text += ", ";
    append_name(text, upstream_->name);
    if (upstream_->keys.size() > 1) text += fmt::format("#{}", target_.key + 1);
    text += ' ';
    text += word;
    return text;
}

void Producer::name_attempt(std::string_view word) {
    attempts_ = attempts_with(word);
    plan_->report->attempts = attempts_;
}

// Before the next one: the place is free for others, the connection is given back or closed.
void Producer::end_attempt() {
    call_.reset();
    permit_ = {};
}

}  // namespace weir::proxy
