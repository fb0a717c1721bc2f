#include "weir/base/clock.hpp"

#include <ctime>

namespace weir {

namespace {

std::int64_t read_us(clockid_t id) noexcept {
    timespec now{};
    clock_gettime(id, &now);
    return static_cast<std::int64_t>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1'000;
}

}  // namespace

SystemClock::SystemClock() : offset_us_(read_us(CLOCK_REALTIME) - read_us(CLOCK_BOOTTIME)) {}

LedgerTime SystemClock::now() const noexcept {
    return ledger_time_us(read_us(CLOCK_BOOTTIME) + offset_us_.load(std::memory_order_relaxed));
}

void SystemClock::start_at_least(LedgerTime floor) noexcept {
    if (const auto behind = floor - now(); behind.count() > 0) offset_us_ += behind.count();
}

WallTime SystemClock::wall() const noexcept {
    return WallTime(std::chrono::microseconds(read_us(CLOCK_REALTIME)));
}

}  // namespace weir
