#include "weir/http/rate_headers.hpp"

#include <algorithm>
#include <string_view>
#include <vector>

#include "weir/base/text.hpp"

namespace weir::http {

namespace {

// Largest integer of Structured Fields (RFC 9651 3.3.1).
constexpr std::uint64_t kMaxInteger = 999'999'999'999'999;

// An sf-string: printable ASCII only, quote and backslash escaped.
std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c >= ' ' && c < 0x7f ? c : '?';
    }
    out += '"';
    return out;
}

std::string integer(std::uint64_t value) {
    return std::to_string(std::min(value, kMaxInteger));
}

std::string seconds_up(std::chrono::microseconds span) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(span).count();
    return integer(static_cast<std::uint64_t>(std::max<std::int64_t>(seconds, 0)));
}

std::uint64_t shown_amount(RateUnit unit, std::uint64_t amount) {
    constexpr std::uint64_t kNanoDollarsOfACent = 10'000'000;
    return unit == RateUnit::kMoney ? amount / kNanoDollarsOfACent : amount;
}

std::string_view unit_parameter(RateUnit unit) {
    switch (unit) {
        case RateUnit::kTokens:
            return ";qu=\"tokens\"";
        case RateUnit::kMoney:
            return ";qu=\"usd-cents\"";
        case RateUnit::kConcurrent:
            return ";qu=\"concurrent-requests\"";
        case RateUnit::kRequests:
            break;
    }
    return "";
}

// A name that none of `others` has, so that a policy and its state find each other.
std::string own_name(std::string name, std::span<const std::string> others) {
    std::string own = name;
    for (std::size_t i = 2; std::ranges::find(others, own) != others.end(); ++i) {
        own = name.substr(0, name.size() - 1) + " (" + std::to_string(i) + ")\"";
    }
    return own;
}

bool tighter(const RateState& a, const RateState& b) {
    if (a.remaining != b.remaining) return a.remaining < b.remaining;
    return a.full_reset > b.full_reset;
}

const RateState* tightest_of(std::span<const RateState> caps, RateUnit unit) {
    const RateState* tightest = nullptr;
    for (const RateState& cap : caps) {
        if (cap.unit != unit) continue;
        if (tightest == nullptr || tighter(cap, *tightest)) tightest = &cap;
    }
    return tightest;
}

void add_openai_headers(Fields& fields, std::span<const RateState> caps, RateUnit unit) {
    const RateState* const tightest = tightest_of(caps, unit);
    if (tightest == nullptr) return;
    const std::string_view what_of = unit == RateUnit::kTokens ? "-tokens" : "-requests";
    const auto name = [what_of](std::string_view what) {
        return std::string("x-ratelimit-").append(what).append(what_of);
    };
    fields.add(name("limit"), std::to_string(tightest->limit));
    fields.add(name("remaining"), std::to_string(tightest->remaining));
    fields.add(name("reset"), go_duration(std::max(tightest->full_reset, {})));
}

void add_anthropic_headers(
    Fields& fields, std::span<const RateState> caps, RateUnit unit, WallTime now
) {
    const RateState* const tightest = tightest_of(caps, unit);
    if (tightest == nullptr) return;
    const std::string_view of_what = unit == RateUnit::kTokens ? "tokens-" : "requests-";
    const auto name = [of_what](std::string_view what) {
        return std::string("anthropic-ratelimit-").append(of_what).append(what);
    };
    const WallTime full = now + std::max(tightest->full_reset, {});
    fields.add(name("limit"), std::to_string(tightest->limit));
    fields.add(name("remaining"), std::to_string(tightest->remaining));
    fields.add(name("reset"), iso_time(std::chrono::ceil<std::chrono::seconds>(full)));
}

}  // namespace

void add_rate_headers(Fields& fields, std::span<const RateState> caps, Api api, WallTime now) {
    if (caps.empty()) return;
    for (const RateUnit unit : {RateUnit::kRequests, RateUnit::kTokens}) {
        if (api == Api::kAnthropic) {
            add_anthropic_headers(fields, caps, unit, now);
        } else {
            add_openai_headers(fields, caps, unit);
        }
    }
    std::string policy;
    std::string state;
    std::vector<std::string> names;
    names.reserve(caps.size());
    for (const RateState& cap : caps) {
        if (!policy.empty()) {
            policy += ", ";
            state += ", ";
        }
        names.push_back(own_name(quoted(cap.name), names));
        const std::string& name = names.back();
        policy.append(name).append(";q=").append(integer(shown_amount(cap.unit, cap.limit)));
        if (cap.window.count() > 0) policy.append(";w=").append(seconds_up(cap.window));
        policy += unit_parameter(cap.unit);
        state.append(name).append(";r=").append(integer(shown_amount(cap.unit, cap.remaining)));
        if (cap.next_free.count() > 0) state.append(";t=").append(seconds_up(cap.next_free));
    }
    fields.add("ratelimit-policy", policy);
    fields.add("ratelimit", state);
}

}  // namespace weir::http
