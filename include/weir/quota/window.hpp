// A rolling window over admissions, without I/O. Property: for any history and any order of calls,
// at most `limit` kept admissions lie in any half-open span (t, t + span]. A place is free again
// exactly `span` after the admission that took it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "weir/base/clock.hpp"

namespace weir::quota {

// A number that grows with each admission of a ledger, over all runs: its row id. (One that never
// came to the disk before a crash may be given again: nobody got an answer for it.)
using Sequence = std::uint64_t;

// What a window says at one moment.
struct WindowState {
    std::uint64_t limit = 0;
    std::uint64_t used = 0;
    // Until more places are free than now (until one is, where more are used than a lowered limit
    // allows). 0: nothing is used, or the limit is 0 and none will ever be free.
    std::chrono::microseconds next_free{0};
    std::chrono::microseconds full_reset{0};  // until nothing is used
    [[nodiscard]] std::uint64_t remaining() const noexcept {
        return used >= limit ? 0 : limit - used;
    }
};

// Admissions of one key under one counter, oldest first. Not thread-safe (the ledger locks).
class Window {
public:
    explicit Window(std::chrono::microseconds span) noexcept : span_(span) {}

    // Drops what no window that ends at `now` or later can hold. Times never go back between calls.
    void expire(LedgerTime now);
    // REQUIRES: expire(now) was called.
    [[nodiscard]] bool admits(std::uint64_t limit) const noexcept { return size() < limit; }
    // REQUIRES: `at` and `sequence` are not before the newest entry's.
    void add(LedgerTime at, Sequence sequence);
    // Takes an admission back; true if it was still in the window.
    bool remove(Sequence sequence);
    // What is out of the window at `now` is not counted, expired or not.
    [[nodiscard]] WindowState state(std::uint64_t limit, LedgerTime now) const noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return entries_.size() - first_; }
    [[nodiscard]] std::chrono::microseconds span() const noexcept { return span_; }

private:
    struct Entry {
        LedgerTime at;
        Sequence sequence;
    };
    std::chrono::microseconds span_;
    // Live entries are [first_, end), sorted by time and by sequence. Not a deque: that takes 600
    // bytes when empty, and most keys are idle.
    std::vector<Entry> entries_;
    std::size_t first_ = 0;
};

}  // namespace weir::quota
