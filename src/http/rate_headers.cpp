#include "weir/http/rate_headers.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "weir/base/text.hpp"

namespace weir::http {

namespace {

// Largest integer of Structured Fields (RFC 9651 3.3.1).
constexpr std::uint64_t kMaxInteger = 999'999'999'999'999;

// An sf-string: printable ASCII only, quote and backslash escaped.
void append_quoted(std::string& out, std::string_view text) {
    out += '"';
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c >= ' ' && c < 0x7f ? c : '?';
    }
    out += '"';
}

void append_integer(std::string& out, std::uint64_t value) {
    out += std::to_string(std::min(value, kMaxInteger));
}

void append_seconds_up(std::string& out, std::chrono::microseconds span) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(span).count();
    append_integer(out, static_cast<std::uint64_t>(std::max<std::int64_t>(seconds, 0)));
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

// Where in a text a cap's name stands, its quotes included.
struct Name {
    std::size_t at;
    std::size_t size;
    [[nodiscard]] std::string_view in(std::string_view text) const { return text.substr(at, size); }
};

// Appends a name that none of `others` has, so that a policy and its state find each other.
Name append_own_name(std::string& out, std::string_view name, std::span<const Name> others) {
    Name own{out.size(), 0};
    append_quoted(out, name);
    const std::size_t quote = out.size() - 1;
    own.size = out.size() - own.at;
    const auto taken = [&](const Name& other) { return other.in(out) == own.in(out); };
    for (std::size_t i = 2; std::ranges::any_of(others, taken); ++i) {
        out.resize(quote);
        out += " (";
        out += std::to_string(i);
        out += ")\"";
        own.size = out.size() - own.at;
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

struct Triple {
    std::string_view limit, remaining, reset;
};

constexpr Triple kOpenAiRequests = {
    "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"
};
constexpr Triple kOpenAiTokens = {
    "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"
};
constexpr Triple kAnthropicRequests = {
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset"
};
constexpr Triple kAnthropicTokens = {
    "anthropic-ratelimit-tokens-limit",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset"
};

const Triple& names_of(Api api, RateUnit unit) {
    const bool tokens = unit == RateUnit::kTokens;
    if (api == Api::kAnthropic) return tokens ? kAnthropicTokens : kAnthropicRequests;
    return tokens ? kOpenAiTokens : kOpenAiRequests;
}

void add_tightest(
    Fields& fields, std::span<const RateState> caps, Api api, RateUnit unit, WallTime now
) {
    const RateState* const tightest = tightest_of(caps, unit);
    if (tightest == nullptr) return;
    const Triple& names = names_of(api, unit);
    fields.add(names.limit, std::to_string(tightest->limit));
    fields.add(names.remaining, std::to_string(tightest->remaining));
    const std::chrono::microseconds reset = std::max(tightest->full_reset, {});
    if (api == Api::kAnthropic) {
        fields.add(names.reset, iso_time(std::chrono::ceil<std::chrono::seconds>(now + reset)));
    } else {
        fields.add(names.reset, go_duration(reset));
    }
}

}  // namespace

void add_rate_headers(Fields& fields, std::span<const RateState> caps, Api api, WallTime now) {
    if (caps.empty()) return;
    for (const RateUnit unit : {RateUnit::kRequests, RateUnit::kTokens}) {
        add_tightest(fields, caps, api, unit, now);
    }
    constexpr std::size_t kUsualBytes = 64;
    std::string policy;
    std::string state;
    policy.reserve(caps.size() * kUsualBytes);
    state.reserve(caps.size() * kUsualBytes);
    std::vector<Name> names;
    names.reserve(caps.size());
    for (const RateState& cap : caps) {
        if (!policy.empty()) {
            policy += ", ";
            state += ", ";
        }
        const Name name = append_own_name(policy, cap.name, names);
        names.push_back(name);
        state += name.in(policy);
        policy += ";q=";
        append_integer(policy, shown_amount(cap.unit, cap.limit));
        if (cap.window.count() > 0) {
            policy += ";w=";
            append_seconds_up(policy, cap.window);
        }
        policy += unit_parameter(cap.unit);
        state += ";r=";
        append_integer(state, shown_amount(cap.unit, cap.remaining));
        if (cap.next_free.count() > 0) {
            state += ";t=";
            append_seconds_up(state, cap.next_free);
        }
    }
    fields.add("ratelimit-policy", policy);
    fields.add("ratelimit", state);
}

}  // namespace weir::http
