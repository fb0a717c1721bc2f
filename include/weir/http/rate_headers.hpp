// x-ratelimit-*, RateLimit-Policy and RateLimit from the state of a key's caps. Pure.
// Sources: OpenAI's rate-limit guide; draft-ietf-httpapi-ratelimit-headers-11.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

#include "weir/http/message.hpp"

namespace weir::http {

struct RateState {
    std::string name;  // of the cap: its models pattern and allow text, made a Structured Fields
                       // string here
    std::uint64_t limit = 0;
    std::uint64_t remaining = 0;
    std::chrono::seconds window{0};
    std::chrono::microseconds next_free{0};   // until one more is free; 0: nothing is used
    std::chrono::microseconds full_reset{0};  // until all are free
    bool tokens = false;                      // a token cap, not one of messages
};

// Adds x-ratelimit-{limit,remaining,reset}-requests of the tightest (fewest remaining, then the
// longest reset), the same with -tokens for token caps, and RateLimit-Policy / RateLimit with all.
// Nothing for an empty span.
void add_rate_headers(Fields& fields, std::span<const RateState> caps);

}  // namespace weir::http
