// What a cap says at one moment. Pure.
#pragma once

#include <chrono>
#include <cstdint>

namespace weir::quota {

// A number that grows with each admission of a ledger, over all runs: its row id. (One that never
// came to the disk before a crash may be given again: nobody got an answer for it.)
using Sequence = std::uint64_t;

// Amounts are in the cap's unit: messages, tokens or nano-dollars.
struct WindowState {
    std::uint64_t limit = 0;
    // Of the whole window; a calendar one is as long as the one that runs. 0: at once.
    std::chrono::seconds length{0};
    std::uint64_t used = 0;   // of a cap at once: in flight
    std::uint64_t extra = 0;  // messages granted beside the limit, for this model, not yet used
    // Until more is free than now (until something is, where more is used than a lowered limit
    // allows). 0: nothing is used, or nobody can tell (at once), or the limit is 0.
    std::chrono::microseconds next_free{0};
    std::chrono::microseconds full_reset{0};  // until nothing is used
    [[nodiscard]] std::uint64_t remaining() const noexcept {
        return (used >= limit ? 0 : limit - used) + extra;
    }
};

}  // namespace weir::quota
