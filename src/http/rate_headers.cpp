#include "weir/http/rate_headers.hpp"

#include <algorithm>
#include <string_view>

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

bool tighter(const RateState& a, const RateState& b) {
    if (a.remaining != b.remaining) return a.remaining < b.remaining;
    return a.full_reset > b.full_reset;
}

void add_openai_headers(Fields& fields, std::span<const RateState> caps, bool tokens) {
    const RateState* tightest = nullptr;
    for (const RateState& cap : caps) {
        if (cap.tokens != tokens) continue;
        if (tightest == nullptr || tighter(cap, *tightest)) tightest = &cap;
    }
    if (tightest == nullptr) return;
    const std::string_view unit = tokens ? "tokens" : "requests";
    const auto name = [unit](std::string_view what) {
        return std::string("x-ratelimit-").append(what).append("-").append(unit);
    };
    fields.add(name("limit"), std::to_string(tightest->limit));
    fields.add(name("remaining"), std::to_string(tightest->remaining));
    fields.add(name("reset"), go_duration(std::max(tightest->full_reset, {})));
}

}  // namespace

void add_rate_headers(Fields& fields, std::span<const RateState> caps) {
    if (caps.empty()) return;
    add_openai_headers(fields, caps, false);
    add_openai_headers(fields, caps, true);
    std::string policy;
    std::string state;
    for (const RateState& cap : caps) {
        if (!policy.empty()) {
            policy += ", ";
            state += ", ";
        }
        const std::string name = quoted(cap.name);
        policy += name + ";q=" + integer(cap.limit);
        if (cap.window.count() > 0) policy += ";w=" + seconds_up(cap.window);
        if (cap.tokens) policy += ";qu=\"tokens\"";
        state += name + ";r=" + integer(cap.remaining);
        if (cap.next_free.count() > 0) state += ";t=" + seconds_up(cap.next_free);
    }
    fields.add("ratelimit-policy", policy);
    fields.add("ratelimit", state);
}

}  // namespace weir::http
