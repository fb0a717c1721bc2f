// The output gate: who waits for a commit, and what became of it.
#include <algorithm>
#include <utility>

#include "ledger_impl.hpp"

namespace weir::quota {

Sequence Ledger::durable_sequence() const noexcept {
    return impl_->durable.load(std::memory_order_acquire);
}

bool Ledger::is_durable(Sequence sequence) const noexcept {
    // In this order: `any_failed` is set before `decided` passes the sequences that failed.
    return sequence == 0 || (sequence <= impl_->decided.load(std::memory_order_acquire) &&
                             !impl_->any_failed.load(std::memory_order_acquire));
}

std::optional<bool> Ledger::gate(Sequence sequence, const std::shared_ptr<Signal>& signal) {
    if (is_durable(sequence)) return true;
    {
        MutexLock lock(impl_->mutex);
        if (sequence <= impl_->decided) return !impl_->is_failed(sequence);
        impl_->waiters.push_back({sequence, signal});
    }
    impl_->writer.hurry();
    return std::nullopt;
}

void Ledger::notify_of_failure(Sequence sequence, const std::shared_ptr<Signal>& signal) {
    {
        MutexLock lock(impl_->mutex);
        if (sequence > impl_->decided) {
            impl_->waiters.push_back({sequence, signal, true});
            return;
        }
        if (!impl_->is_failed(sequence)) return;
    }
    signal->notify();
}

bool Ledger::has_failed(Sequence sequence) {
    if (!impl_->any_failed.load(std::memory_order_acquire)) return false;
    MutexLock lock(impl_->mutex);
    return impl_->is_failed(sequence);
}

void Ledger::Impl::take_waiters(std::vector<Waiter>& ready) {
    const Sequence until = decided;
    const auto rest = std::ranges::partition(waiters, [until](const Waiter& waiter) {
        return waiter.sequence > until;
    });
    for (Waiter& waiter : rest) {
        if (!waiter.only_failure || is_failed(waiter.sequence)) ready.push_back(std::move(waiter));
    }
    waiters.erase(rest.begin(), rest.end());
}

}  // namespace weir::quota
