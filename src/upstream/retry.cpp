#include "weir/upstream/retry.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <string_view>

#include "weir/base/text.hpp"

namespace weir::upstream {

namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

// Longer than anybody waits; keeps sums in range.
constexpr milliseconds kForever = std::chrono::hours(24);

std::optional<double> number_of(std::string_view text) noexcept {
    double number = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
    if (!(number >= 0)) return std::nullopt;  // nor what is no number
    return number;
}

milliseconds bounded(double ms) noexcept {
    return milliseconds(std::llround(std::ceil(std::min(ms, static_cast<double>(kForever.count()))))
    );
}

milliseconds until(WallTime at, WallTime now) noexcept {
    const auto left = std::chrono::ceil<milliseconds>(at - now);
    return std::clamp(left, milliseconds(0), kForever);
}

// "Wed, 21 Oct 2026 07:28:00 GMT" (RFC 9110 5.6.7; the two obsolete forms are nobody's any more).
std::optional<WallTime> parse_http_date(std::string_view text) {
    std::tm parts{};
    const std::string copy(text);
    const char* const end = ::strptime(copy.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    if (end == nullptr || *end != '\0') return std::nullopt;
    return WallTime(seconds(::timegm(&parts)));
}

bool listed(const config::Retry& policy, int status) noexcept {
    return std::ranges::find(policy.statuses, status) != policy.statuses.end();
}

// An upstream's own doing; not ours, nor that of a client whose body broke.
bool of_upstream(ErrorCode error) noexcept {
    return error == ErrorCode::kUpstreamConnect || error == ErrorCode::kUpstreamClosed ||
           error == ErrorCode::kUpstreamProtocol || error == ErrorCode::kUpstreamTimeout;
}

bool refuses_key(const Outcome& outcome) noexcept {
    return outcome.status == 401 || outcome.status == 403 || outcome.out_of_money;
}

}  // namespace

Next judge(const config::Retry& policy, const Outcome& outcome) noexcept {
    if (is_good(outcome)) return Next::kNowhere;
    if (outcome.status == 0 || outcome.broke_off) {
        if (!of_upstream(outcome.error)) return Next::kNowhere;
        const bool may_be_paid = outcome.written || outcome.broke_off;
        return may_be_paid ? Next::kOtherUpstream : Next::kAnywhere;
    }
    if (refuses_key(outcome)) return Next::kOtherKey;
    if (!listed(policy, outcome.status)) return Next::kNowhere;
    return outcome.told_to_stop ? Next::kOtherUpstream : Next::kAnywhere;
}

Blame blame(const Outcome& outcome) noexcept {
    if (is_good(outcome)) return Blame::kNobody;
    if (outcome.status == 0 || outcome.broke_off) {
        return of_upstream(outcome.error) ? Blame::kUpstream : Blame::kUnknown;
    }
    if (refuses_key(outcome)) return Blame::kKey;
    if (outcome.status == 429) return Blame::kUnknown;
    return outcome.status >= 500 ? Blame::kUpstream : Blame::kNobody;
}

std::string word_of(const Outcome& outcome) {
    using Stage = Call::Stage;
    if (outcome.broke_off && outcome.error != ErrorCode::kCancelled) return "broke-off";
    if (outcome.status != 0 && !outcome.broke_off) return std::to_string(outcome.status);
    switch (outcome.error) {
        case ErrorCode::kUpstreamTimeout:
            return "timeout";
        case ErrorCode::kUpstreamConnect:
            return outcome.stage == Stage::kTls ? "tls" : "connect";
        case ErrorCode::kUpstreamProtocol:
            return "protocol";
        case ErrorCode::kCancelled:
            return "cancelled";
        default:
            break;
    }
    return outcome.written ? "closed" : "write";
}

std::optional<milliseconds> told_wait(const http::Fields& fields, WallTime now) {
    for (const std::string_view name : {"retry-after-ms", "x-ms-retry-after-ms"}) {
        const auto text = fields.find(name);
        if (!text) continue;
        if (const auto ms = number_of(*text)) return bounded(*ms);
    }
    const auto text = fields.find("retry-after");
    if (!text) return std::nullopt;
    if (const auto s = number_of(*text)) return bounded(*s * 1000);
    if (const auto at = parse_http_date(*text)) return until(*at, now);
    return std::nullopt;
}

milliseconds backoff(const config::Retry& policy, std::uint32_t retry, double random) noexcept {
    const std::uint32_t doublings = std::min<std::uint32_t>(std::max(retry, 1U) - 1, 20);
    const double most = std::min(
        std::ldexp(static_cast<double>(policy.backoff.count()), static_cast<int>(doublings)),
        static_cast<double>(policy.longest_wait.count())
    );
    return milliseconds(std::llround(most * random));
}

std::optional<milliseconds> rest_by_room(const http::Fields& fields, WallTime now) {
    const auto rest = [&](std::string_view prefix, std::string_view suffix, bool time
                      ) -> std::optional<milliseconds> {
        const auto named = [&](std::string_view what) {
            std::string name(prefix);
            name += what;
            name += suffix;
            return fields.find(name);
        };
        const auto remaining = named("remaining");
        if (!remaining) return std::nullopt;
        const auto left = number_of(*remaining);
        if (!left || *left >= 1) return std::nullopt;
        const auto text = named("reset");
        if (!text) return std::nullopt;
        std::optional<milliseconds> all;
        if (time) {
            if (const auto at = parse_iso_time(*text)) all = until(*at, now);
        } else if (const auto span = parse_duration(*text)) {
            all = bounded(static_cast<double>(span->count()) / 1000);
        } else if (const auto s = number_of(*text)) {
            all = bounded(*s * 1000);
        }
        if (!all) return std::nullopt;
        const auto limit_text = named("limit");
        const double limit = limit_text ? number_of(*limit_text).value_or(1) : 1;
        return bounded(static_cast<double>(all->count()) / std::max(limit, 1.0));
    };
    if (const auto told = rest("x-ratelimit-", "-requests", false)) return told;
    return rest("anthropic-ratelimit-requests-", "", true);
}

RetryBudget::Second& RetryBudget::at(Time now) {
    const std::int64_t number =
        std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count();
    const auto size = static_cast<std::int64_t>(seconds_.size());
    Second& second = seconds_[static_cast<std::size_t>((number % size + size) % size)];
    if (second.number != number) second = {.number = number};
    return second;
}

void RetryBudget::count(Time now) {
    const MutexLock lock(mutex_);
    ++at(now).calls;
}

bool RetryBudget::take(std::uint32_t percent, Time now) {
    if (percent == 0) return false;
    const MutexLock lock(mutex_);
    Second& current = at(now);
    const std::int64_t oldest = current.number - static_cast<std::int64_t>(seconds_.size());
    std::uint64_t calls = 0;
    std::uint64_t extra = 0;
    for (const Second& second : seconds_) {
        if (second.number <= oldest || second.number > current.number) continue;
        calls += second.calls;
        extra += second.extra;
    }
    if (extra + 1 > std::max(kAlways, calls * percent / 100)) return false;
    ++current.extra;
    return true;
}

}  // namespace weir::upstream
