// Caps: how much may be used, of which models, in which time. One grammar for the config file, the
// command line and the admin API. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "weir/base/time_zone.hpp"

namespace weir::config {

// What a cap counts. Money is in nano-dollars (1e-9 usd), so that one token of the cheapest model
// is a whole number of them.
enum class Unit : std::uint8_t { kMessages, kTokens, kMoney };
constexpr std::uint64_t kNanoDollars = 1'000'000'000;  // of one dollar

// Over which time it counts.
enum class Period : std::uint8_t {
    kRolling,  // any window (t, t + span]: what was taken is free again exactly `span` later
    kFixed,    // `span` long; opens with the first message behind the one before
    kDay,      // of the calendar, in `zone`
    kWeek,     // from Monday
    kMonth,
    kAtOnce,     // what is in flight at the same time; messages only
    kUnlimited,  // counts nothing and refuses nothing
};

// Their names for programs: "messages", "tokens", "usd"; "rolling", "fixed", "day", "week",
// "month", "at_once", "unlimited".
[[nodiscard]] std::string_view name_of(Unit unit) noexcept;
[[nodiscard]] std::string_view name_of(Period period) noexcept;

// One line under `caps:`.
struct Cap {
    std::string models = "*";            // glob, case-insensitive, on the served model
    std::vector<std::string> endpoints;  // globs on the path behind "/v1/"; empty: all
    Unit unit = Unit::kMessages;
    Period period = Period::kRolling;
    std::uint64_t limit = 0;               // messages, tokens or nano-dollars
    std::chrono::seconds span{0};          // of kRolling and kFixed; else 0
    std::shared_ptr<const TimeZone> zone;  // of kDay, kWeek and kMonth
    std::string allow;                     // as written: "100/4h"; names the cap to people
    std::string then;                      // the model that serves instead when it is used up
    std::chrono::milliseconds queue{0};    // kAtOnce: how long a message waits for its turn
    bool warn = false;                     // `mode: warn`: admits all the same, and tells

    // To people, where there is little room: "gpt-4* 100/4h".
    [[nodiscard]] std::string name() const { return models + " " + allow; }
    // Stable name of what is counted, whatever the limit: "messages|gpt-4*||rolling|14400".
    [[nodiscard]] std::string counter() const;
    // "100 messages in any 4 h for gpt-4*", "5 usd in any 30 days for all models", "4 messages at
    // once for all models".
    [[nodiscard]] std::string in_words() const;
    // The amount alone: "100 messages", "1 message", "200000 tokens", "5 usd", "0.0125 usd".
    [[nodiscard]] std::string amount_in_words(std::uint64_t amount) const;
    // The time alone, behind "in": "4 h", "the day (Asia/Shanghai)"; empty: none.
    [[nodiscard]] std::string time_in_words() const;
    friend bool operator==(const Cap&, const Cap&) = default;
};

// Caps of one holder, decided together: all admit, or nothing is taken.
using CapSet = std::vector<Cap>;

// `allow:` of a cap. An amount, a slash and a time, or one of two phrases:
//   100/4h            messages, rolling: a duration of 1 s to 32 days, or second|minute|min|hour
//   100/4h fixed      the window opens with its first message
//   1000/day          a calendar day, week or month in `zone` (nullptr: UTC)
//   200000 tokens/1d, 0.50 usd/day, 5 usd/30d fixed
//   4 at once         messages in flight
//   unlimited
// On failure: what is wrong and what was expected, for a person.
[[nodiscard]] std::expected<Cap, std::string> parse_allow(
    std::string_view text, std::shared_ptr<const TimeZone> zone = nullptr
);

}  // namespace weir::config
