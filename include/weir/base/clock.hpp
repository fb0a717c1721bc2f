// Time as the ledger knows it. Within a run it advances by CLOCK_BOOTTIME (suspend included, wall
// steps not); a run starts at max(wall clock, the last time in the ledger). Microseconds since
// 1970, UTC. The wall clock is asked only for what people read and for their calendar.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "weir/base/time_zone.hpp"

namespace weir {

// Phantom clock: gives LedgerTime a type of its own, so that it cannot be mixed with other clocks.
struct LedgerClockTag {
    using duration = std::chrono::microseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<LedgerClockTag>;
    static constexpr bool is_steady = true;
};
using LedgerTime = LedgerClockTag::time_point;

[[nodiscard]] constexpr LedgerTime ledger_time_us(std::int64_t us) noexcept {
    return LedgerTime(std::chrono::microseconds(us));
}
[[nodiscard]] constexpr std::int64_t to_us(LedgerTime time) noexcept {
    return time.time_since_epoch().count();
}

// Thread-safe. Tests use TestClock.
class Clock {
public:
    virtual ~Clock() = default;
    // Never goes back within a run.
    [[nodiscard]] virtual LedgerTime now() const noexcept = 0;
    // At start, before anything is admitted: no time before `floor` is told from now on.
    virtual void start_at_least(LedgerTime floor) noexcept = 0;
    // May be stepped to and fro.
    [[nodiscard]] virtual WallTime wall() const noexcept = 0;
};

class SystemClock final : public Clock {
public:
    SystemClock();
    [[nodiscard]] LedgerTime now() const noexcept override;
    void start_at_least(LedgerTime floor) noexcept override;
    [[nodiscard]] WallTime wall() const noexcept override;

private:
    std::atomic<std::int64_t> offset_us_;  // ledger time - CLOCK_BOOTTIME
};

class TestClock final : public Clock {
public:
    explicit TestClock(LedgerTime start = ledger_time_us(1'800'000'000'000'000)) noexcept
        : now_us_(to_us(start)) {}
    [[nodiscard]] LedgerTime now() const noexcept override {
        return ledger_time_us(now_us_.load());
    }
    void start_at_least(LedgerTime floor) noexcept override {
        if (now() < floor) now_us_ = to_us(floor);
    }
    [[nodiscard]] WallTime wall() const noexcept override {
        return WallTime(std::chrono::microseconds(now_us_.load() + wall_ahead_us_.load()));
    }
    void advance(std::chrono::microseconds by) noexcept { now_us_ += by.count(); }
    // The wall clock alone.
    void step_wall(std::chrono::microseconds by) noexcept { wall_ahead_us_ += by.count(); }

private:
    std::atomic<std::int64_t> now_us_;
    std::atomic<std::int64_t> wall_ahead_us_ = 0;
};

}  // namespace weir
