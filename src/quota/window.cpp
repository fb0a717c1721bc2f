#include "weir/quota/window.hpp"

#include <algorithm>
#include <iterator>

namespace weir::quota {

void Window::expire(LedgerTime now) {
    while (first_ < entries_.size() && entries_[first_].at + span_ <= now) ++first_;
    if (first_ == entries_.size()) {
        entries_.clear();
        first_ = 0;
    } else if (first_ >= 64 && first_ * 2 >= entries_.size()) {
        // Each move of what is left was paid for by as many entries that went.
        entries_.erase(entries_.begin(), std::next(entries_.begin(), std::ptrdiff_t(first_)));
        first_ = 0;
    }
}

void Window::add(LedgerTime at, Sequence sequence) {
    entries_.push_back({at, sequence});
}

bool Window::remove(Sequence sequence) {
    const auto live = std::next(entries_.begin(), std::ptrdiff_t(first_));
    const auto found = std::ranges::lower_bound(
        live, entries_.end(), sequence, std::ranges::less(), &Entry::sequence
    );
    if (found == entries_.end() || found->sequence != sequence) return false;
    entries_.erase(found);
    return true;
}

WindowState Window::state(std::uint64_t limit, LedgerTime now) const noexcept {
    const auto live = std::partition_point(
        std::next(entries_.begin(), std::ptrdiff_t(first_)),
        entries_.end(),
        [&](const Entry& entry) { return entry.at + span_ <= now; }
    );
    WindowState state;
    state.limit = limit;
    state.used = static_cast<std::uint64_t>(std::distance(live, entries_.end()));
    if (state.used == 0) return state;
    state.full_reset = entries_.back().at + span_ - now;
    if (limit > 0) {
        const std::uint64_t over = state.used > limit ? state.used - limit : 0;
        state.next_free = std::next(live, std::ptrdiff_t(over))->at + span_ - now;
    }
    return state;
}

}  // namespace weir::quota
