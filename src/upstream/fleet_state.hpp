// What the Fleet knows of one upstream and of one key. No I/O, not thread-safe: the Fleet locks.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "weir/base/deadline.hpp"
#include "weir/base/signal.hpp"
#include "weir/config/config.hpp"
#include "weir/upstream/retry.hpp"

namespace weir::upstream {

using Time = Deadline::Clock::time_point;

// Closed while things go well; open after some failures in a row; when it has rested, one call at a
// time tries, and its outcome decides.
class Breaker {
public:
    [[nodiscard]] bool is_open() const noexcept { return open_; }
    [[nodiscard]] std::uint32_t failures() const noexcept { return failures_; }
    // A call may go there now, if only to try.
    [[nodiscard]] bool lets_pass(Time now) const noexcept {
        return !open_ || (!probing_ && now >= until_);
    }
    // REQUIRES: lets_pass(). Whether the call is the one that tries.
    [[nodiscard]] bool begin_probe() noexcept {
        if (open_) probing_ = true;
        return open_;
    }
    // The probe ended and says nothing.
    void drop_probe() noexcept { probing_ = false; }
    // Whether it was open.
    bool succeed() noexcept {
        failures_ = 0;
        probing_ = false;
        return std::exchange(open_, false);
    }
    // Whether it opened just now. A failure of what is asked though it is open moves nothing.
    bool fail(bool probe, std::uint32_t break_after, std::chrono::milliseconds rest, Time now) {
        if (failures_ < break_after) ++failures_;
        if (open_ && !probe) return false;
        if (!probe && failures_ < break_after) return false;
        probing_ = false;
        until_ = now + rest;
        return !std::exchange(open_, true);
    }

private:
    std::uint32_t failures_ = 0;  // in a row
    bool open_ = false;
    bool probing_ = false;
    Time until_;
};

struct KeyState {
    // Not before `until`, for that model; 429s in a row that named no time.
    struct Rest {
        std::uint64_t model = 0;
        Time until = {};
        std::uint32_t untold = 0;
    };
    std::uint64_t digest = 0;
    Breaker breaker;
    std::vector<Rest> rests;

    // When it may be asked for that model again; not behind `now` if it may.
    [[nodiscard]] Time rests_until(std::uint64_t model) const noexcept;
    void rest(std::uint64_t model, std::optional<std::chrono::milliseconds> told, Time now);
    void is_well(std::uint64_t model) noexcept;
};

struct UpstreamTicket {
    std::shared_ptr<struct UpstreamState> state;
    std::uint64_t who = 0;
    std::shared_ptr<Signal> signal;
    bool called = false;  // a place is held for it
    bool left = false;
};

struct UpstreamState {
    // Of one of our keys.
    struct Who {
        std::uint32_t in_flight = 0;
        std::deque<std::shared_ptr<UpstreamTicket>> waiting;
    };

    std::string name;
    std::string url;
    config::UpstreamLine line;
    Breaker breaker;
    std::vector<std::shared_ptr<KeyState>> keys;
    std::size_t next_key = 0;
    RetryBudget budget;
    std::uint32_t in_flight = 0;  // places held for those called too
    std::size_t waiting = 0;      // and not called
    std::uint64_t opened = 0;
    std::unordered_map<std::uint64_t, Who> by_who;
    std::deque<std::uint64_t> order;  // who waits; in turn

    // Who had the last call that ended of each of a few of our keys.
    struct Left {
        std::uint64_t who = 0;
        Time at;
    };
    std::vector<Left> lately;  // at most kMostLately

    [[nodiscard]] bool bounded() const noexcept { return line.calls > 0; }
    // For a newcomer; does not get past those who wait, but for the place that they leave free.
    [[nodiscard]] bool has_room(std::uint64_t who, Time now) const noexcept;
    // Takes a place; whether it stands in the account of `who`.
    bool enter(std::uint64_t who);
    void leave(std::uint64_t who, bool counted, Time now);
    void join(const std::shared_ptr<UpstreamTicket>& ticket);
    // Gives the places that are free to those who wait.
    void call_next(Time now);
    // Out of the line, not called.
    void drop(UpstreamTicket& ticket);
    void forget_if_idle(std::uint64_t who);
    // There is a place, and it is not the one that is left to others. Who has a call in flight
    // leaves the last place to a key that had one a moment ago and has none: a batch would have
    // taken it by the time that a user with one call at a time comes again.
    [[nodiscard]] bool may_take(std::uint64_t who, Time now) const noexcept;
};

}  // namespace weir::upstream
