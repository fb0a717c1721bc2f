// What is done when a call failed before a byte of its answer reached anybody: whether another one
// may mend it, where it may go, how long to wait. Decisions only: no clock, no sockets. Pure, but
// for RetryBudget, which is thread-safe.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "weir/base/deadline.hpp"
#include "weir/base/error.hpp"
#include "weir/base/mutex.hpp"
#include "weir/base/time_zone.hpp"
#include "weir/config/config.hpp"
#include "weir/http/message.hpp"
#include "weir/upstream/client.hpp"

namespace weir::upstream {

using std::chrono::milliseconds;

// How a call ended.
struct Outcome {
    int status = 0;                          // of its answer; 0: it has no head
    ErrorCode error = ErrorCode::kInternal;  // why it has none, or why a good one broke off
    Call::Stage stage = Call::Stage::kResolve;
    bool broke_off = false;     // behind a head of 2xx
    bool written = false;       // the request had gone out whole
    bool out_of_money = false;  // an answer that says so of our account
    bool told_to_stop = false;  // x-should-retry: false
};

[[nodiscard]] inline bool is_good(const Outcome& outcome) noexcept {
    return outcome.status >= 200 && outcome.status <= 299 && !outcome.broke_off;
}

// Where a message may go from there.
enum class Next : std::uint8_t {
    kNowhere,        // it is told as it is
    kAnywhere,       // also there again
    kOtherKey,       // another key of that upstream, or another upstream
    kOtherUpstream,  // what was sent there may have been worked on (and paid): never there again
};
// What never went out whole may go anywhere. What did, and got no answer, may have been worked on:
// it goes to another upstream, and the caller sees to it that this happens once for a message.
// Answers: as `policy.statuses` says; a refused key or an empty account: to another key.
[[nodiscard]] Next judge(const config::Retry& policy, const Outcome& outcome) noexcept;

// Whom an outcome speaks against, for the circuit breakers.
enum class Blame : std::uint8_t {
    kNobody,    // it answers, whatever it says
    kUpstream,  // it cannot be reached, breaks off, is too slow, or fails (5xx)
    kKey,       // it does not take the key, or the account is out of money
    kUnknown,   // says nothing of it: we ended the call, or it is only busy (429)
};
[[nodiscard]] Blame blame(const Outcome& outcome) noexcept;

// For x-weir-attempts and the log: the status, or one word: connect, tls, write, timeout, closed,
// protocol, broke-off, cancelled.
[[nodiscard]] std::string word_of(const Outcome& outcome);

// How long the upstream asks to be left alone: retry-after-ms, x-ms-retry-after-ms, or retry-after
// in seconds or as a date. nullopt: it does not say, or nonsense.
[[nodiscard]] std::optional<milliseconds> told_wait(const http::Fields& fields, WallTime now);

// Before retry number `retry` (from 1) of the same upstream, with full jitter: anything up to
// `backoff` doubled each time, at most `longest_wait`. `random` is from [0, 1).
[[nodiscard]] milliseconds backoff(
    const config::Retry& policy, std::uint32_t retry, double random
) noexcept;

// How long a key should rest by the rate fields of an answer: not at all (nullopt) while they tell
// of room left. `x-ratelimit-*-requests` (Go durations) or `anthropic-ratelimit-requests-*`
// (times). What they call reset is when all of the limit is free again; one call more is free in
// that time's share, as far as the limit is told.
[[nodiscard]] std::optional<milliseconds> rest_by_room(const http::Fields& fields, WallTime now);

// The extra calls to one upstream: at most a share of its calls of the last 10 s, so that retries
// never make much of a bad hour worse; but a few, so that a quiet gateway can retry at all.
// Thread-safe.
class RetryBudget {
public:
    using Time = Deadline::Clock::time_point;
    static constexpr std::chrono::seconds kSpan{10};
    static constexpr std::uint64_t kAlways = 3;  // within the span; none if the share is 0

    // A first call of a message.
    void count(Time now);
    // Takes one extra call. False: there is none left.
    [[nodiscard]] bool take(std::uint32_t percent, Time now);

private:
    struct Second {
        std::int64_t number = -1;
        std::uint64_t calls = 0;
        std::uint64_t extra = 0;
    };
    [[nodiscard]] Second& at(Time now) REQUIRES_LOCK(mutex_);

    Mutex mutex_;
    std::array<Second, static_cast<std::size_t>(kSpan.count())> seconds_ GUARDED_BY(mutex_);
};

}  // namespace weir::upstream
