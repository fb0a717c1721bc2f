// The ledger's half on the writer's thread: batches, and what follows from their commit or failure.
#include <algorithm>
#include <iterator>
#include <utility>

#include "ledger_impl.hpp"

namespace weir::quota {
namespace {

// Rows a transaction takes at most: a few ms of work, so that jobs and stop() get their turn.
constexpr std::size_t kBatch = 4096;
// How often old rows are looked for, and how many accounts are swept of old messages then.
constexpr std::chrono::minutes kPruneEvery{1};
constexpr AccountId kSweep = 1024;
// Each outage of the disk leaves one range of failed sequences, kept for gates that ask late. Past
// this many the two oldest become one (a message between them is then told "failed" if it asks only
// now: an answer is lost, no charge is).
constexpr std::size_t kFailedRanges = 1024;

}  // namespace

Result<> Ledger::connected(sqlite::Connection& connection) {
    return impl_->journal.prepare(connection);
}

void Ledger::disconnected() noexcept {
    impl_->journal.drop();
}

bool Ledger::has_more() noexcept {
    MutexLock lock(impl_->mutex);
    return !impl_->queue.empty() || !impl_->refunds.empty() || !impl_->settled.empty() ||
           !impl_->opened.empty() || !impl_->old_subjects.empty() || !impl_->doubtful.empty() ||
           impl_->clock.now() >= impl_->prune_at;
}

void Ledger::Impl::take_batch() {
    batch = {};
    batch_messages.clear();
    batch_accounts.clear();
    batch.doubtful = doubtful;
    // Rows are pruned by this time, so it is also the time that the next run starts from at least.
    batch.last_time = tick();
    batch.last_sequence = decided;
    batch.old_subjects = std::exchange(old_subjects, {});
    batch.refunds = std::exchange(refunds, {});
    batch.settled = std::exchange(settled, {});
    while (!queue.empty() && batch_messages.size() < kBatch) {
        const Queued& next = queue.front();
        batch.last_sequence = next.taken.sequence;
        if (next.subject != nullptr) {
            const std::int64_t team = next.taken.team == kNobody ? 0 : store(next.taken.team);
            if (!std::exchange(next.subject->stored, true)) {
                batch.subjects.push_back(
                    {next.subject->row, next.subject->model, next.subject->endpoint}
                );
            }
            batch.messages.push_back(
                {.sequence = next.taken.sequence,
                 .account = store(next.taken.key),
                 .team = team,
                 .subject = next.subject->row,
                 .at = next.at,
                 .amounts = next.amounts,
                 .grant = next.taken.grant}
            );
            batch_messages.push_back(next.taken);
            book.release(next.subject);
        }
        queue.pop_front();
    }
    batch_opened = std::exchange(opened, {});
    for (const AccountId id : batch_opened) {
        const std::int64_t row = id == Book::kEverybody ? 0 : store(id);
        for (auto& [counter, at] : book.at(id).take_opened()) {
            batch.opened.push_back({row, std::move(counter), at});
        }
    }
}

// The account's row, which is in this batch if it was not on disk before.
std::int64_t Ledger::Impl::store(AccountId id) {
    Account& account = book.at(id);
    if (!std::exchange(account.stored, true)) {
        batch.accounts.push_back({account.row, Book::name_of(account)});
        batch_accounts.push_back(id);
    }
    return account.row;
}

Result<bool> Ledger::write(sqlite::Connection& /*connection*/) {
    if (!has_more()) return false;
    {
        MutexLock lock(impl_->mutex);
        impl_->take_batch();
        impl_->in_flight = true;
    }
    if (const Result<> done = impl_->journal.write(impl_->batch); !done) {
        return std::unexpected(done.error());
    }
    const LedgerTime now = impl_->batch.last_time;
    if (now >= impl_->prune_at) {
        const Result<bool> more = impl_->journal.prune(now - kHistory);
        if (!more) return std::unexpected(more.error());
        if (!*more) impl_->prune_at = now + kPruneEvery;
        MutexLock lock(impl_->mutex);
        impl_->sweep(now);
    }
    return true;
}

void Ledger::Impl::sweep(LedgerTime now) {
    const auto all = static_cast<AccountId>(book.accounts());
    for (AccountId i = 0; i < std::min(kSweep, all); ++i) {
        if (sweep_next >= all) sweep_next = 0;
        book.expire(book.at(sweep_next++), now);
    }
}

void Ledger::committed() noexcept {
    std::vector<Waiter> ready;
    {
        MutexLock lock(impl_->mutex);
        if (impl_->in_flight) {
            impl_->in_flight = false;
            impl_->doubtful = {};
            if (impl_->batch.last_sequence > impl_->decided) {
                impl_->durable = impl_->batch.last_sequence;
                impl_->decided = impl_->batch.last_sequence;
            }
        }
        impl_->down = false;
        impl_->take_waiters(ready);
    }
    for (const Waiter& waiter : ready) waiter.signal->notify();
}

void Ledger::failed(const Error& /*error*/) noexcept {
    std::vector<Waiter> ready;
    {
        MutexLock lock(impl_->mutex);
        impl_->down = true;
        if (std::exchange(impl_->in_flight, false)) {
            // What the batch was to take away must go again. What it was to add is given back
            // below, and whatever of it is on disk has to go.
            std::ranges::copy(impl_->batch.refunds, std::back_inserter(impl_->refunds));
            std::ranges::copy(impl_->batch.old_subjects, std::back_inserter(impl_->old_subjects));
            std::ranges::copy(impl_->batch.settled, std::back_inserter(impl_->settled));
            // Older than what was said since; in front, so that the newer word is the last.
            std::rotate(
                impl_->settled.begin(),
                std::prev(impl_->settled.end(), std::ptrdiff_t(impl_->batch.settled.size())),
                impl_->settled.end()
            );
            for (const AccountId id : impl_->batch_opened) {
                impl_->book.at(id).keep_opened();
                impl_->opened.push_back(id);
            }
            for (const AccountId id : impl_->batch_accounts) impl_->book.at(id).stored = false;
            if (impl_->batch.last_sequence > impl_->decided) {
                if (impl_->doubtful.empty()) impl_->doubtful.first = impl_->decided + 1;
                impl_->doubtful.last = impl_->batch.last_sequence;
            }
            for (const Taken& one : impl_->batch_messages) impl_->give_back(one);
        }
        // Those behind it would wait for as long as the disk is down: they get their answer now.
        for (const Queued& one : impl_->queue) {
            if (one.subject == nullptr) continue;
            impl_->give_back(one.taken);
            impl_->book.release(one.subject);
        }
        impl_->queue.clear();
        impl_->pump_all();
        if (impl_->last_sequence > impl_->decided) {
            std::vector<SequenceRange>& ranges = impl_->failed_ranges;
            ranges.push_back({impl_->decided + 1, impl_->last_sequence});
            if (ranges.size() > kFailedRanges) {
                ranges[1].first = ranges[0].first;
                ranges.erase(ranges.begin());
            }
            impl_->any_failed = true;
            impl_->decided = impl_->last_sequence;
        }
        impl_->take_waiters(ready);
    }
    for (const Waiter& waiter : ready) waiter.signal->notify();
}

}  // namespace weir::quota
