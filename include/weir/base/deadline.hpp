// A point on the monotonic clock by which something must have happened. A value: pass it down,
// never a raw timeout. Steps of the wall clock do not touch it.
#pragma once

#include <algorithm>
#include <chrono>

namespace weir {

class Deadline {
public:
    using Clock = std::chrono::steady_clock;

    // Never passes.
    constexpr Deadline() noexcept = default;
    constexpr explicit Deadline(Clock::time_point at) noexcept : at_(at) {}

    [[nodiscard]] static Deadline in(Clock::duration span) noexcept {
        return Deadline(Clock::now() + span);
    }
    [[nodiscard]] static constexpr Deadline never() noexcept { return {}; }

    [[nodiscard]] constexpr Clock::time_point at() const noexcept { return at_; }
    [[nodiscard]] bool passed() const noexcept { return Clock::now() >= at_; }
    [[nodiscard]] constexpr bool is_never() const noexcept {
        return at_ == Clock::time_point::max();
    }
    [[nodiscard]] constexpr Deadline earlier(Deadline other) const noexcept {
        return Deadline(std::min(at_, other.at_));
    }
    friend constexpr bool operator==(Deadline, Deadline) noexcept = default;

private:
    Clock::time_point at_ = Clock::time_point::max();
};

}  // namespace weir
