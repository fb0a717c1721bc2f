// x-ratelimit-* (or anthropic-ratelimit-*), RateLimit-Policy and RateLimit from the state of a
// key's caps. Pure. Sources: OpenAI's and Anthropic's rate-limit guides;
// draft-ietf-httpapi-ratelimit-headers-11.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

#include "weir/base/time_zone.hpp"
#include "weir/http/api.hpp"
#include "weir/http/message.hpp"

namespace weir::http {

// What a cap counts.
enum class RateUnit : std::uint8_t {
    kRequests,
    kTokens,
    kMoney,       // in nano-dollars here, in whole cents in the headers
    kConcurrent,  // messages in flight at the same time
};

struct RateState {
    std::string name;  // of the cap: its models pattern and allow text, made a Structured Fields
                       // string here; of equal names the later ones get " (2)", " (3)", ...
    std::uint64_t limit = 0;
    std::uint64_t remaining = 0;
    std::chrono::seconds window{0};           // 0: none
    std::chrono::microseconds next_free{0};   // until one more is free; 0: nothing is used
    std::chrono::microseconds full_reset{0};  // until all are free
    RateUnit unit = RateUnit::kRequests;
};

// Adds x-ratelimit-{limit,remaining,reset}-requests of the tightest (fewest remaining, then the
// longest reset) cap on messages, the same with -tokens of the tightest token cap, and
// RateLimit-Policy / RateLimit with all caps. `qu` there is "tokens", "usd-cents" (rounded down:
// never more than there is) or "concurrent-requests"; its default, "requests", is left out.
// For Anthropic's API the first six are anthropic-ratelimit-requests-limit and so on, and their
// reset is a time (RFC 3339, rounded up to seconds from `now`). Nothing for an empty span.
void add_rate_headers(
    Fields& fields, std::span<const RateState> caps, Api api = Api::kOpenAi, WallTime now = {}
);

}  // namespace weir::http
