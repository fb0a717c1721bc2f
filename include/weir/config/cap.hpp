// Caps: how much a key may use, of which models, in which time. One grammar for the config file,
// the command line and the admin API. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace weir::config {

// `allow: 100/4h` on the models that match `models`: in no window (t, t + span] are more than
// `limit` messages admitted. A rolling window: each message frees its place exactly `span` after it
// was admitted.
struct Cap {
    std::string models = "*";  // glob, case-insensitive, on the served model
    std::uint64_t limit = 0;
    std::chrono::seconds span{0};
    std::string allow;  // as written: "100/4h"; names the cap to people

    // Stable name of what is counted, whatever the limit: "gpt-4*|14400".
    [[nodiscard]] std::string counter() const;
    // "100 messages in any 4 h for gpt-4*"
    [[nodiscard]] std::string in_words() const;
    friend bool operator==(const Cap&, const Cap&) = default;
};

// A key's caps, decided together: all admit, or nothing is taken.
using CapSet = std::vector<Cap>;

// "100/4h", "1000/day", "20/min": N, a slash, and a duration of 1 s to 32 days or one of
// second|minute|min|hour|day|week. On failure: what is wrong and what was expected, for a person.
// Kinds of the design that come later ("200000 tokens/1d", "4 at once", "fixed", "/month") say so.
[[nodiscard]] std::expected<Cap, std::string> parse_allow(std::string_view text);

}  // namespace weir::config
