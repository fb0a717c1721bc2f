// What is inside a Ledger: shared by its two halves, the decisions (ledger.cpp) and the writer's
// thread (ledger_writer.cpp).
#pragma once

#include <algorithm>
#include <atomic>
#include <deque>
#include <memory>
#include <vector>

#include "weir/base/mutex.hpp"
#include "weir/quota/ledger.hpp"

#include "book.hpp"
#include "journal.hpp"

namespace weir::quota {

struct Queued {
    Sequence sequence = 0;
    AccountId account = 0;
    LedgerTime at;
    Model* model = nullptr;  // held; nullptr: refunded before it was written
};

struct Waiter {
    Sequence sequence = 0;
    std::shared_ptr<Signal> signal;
    bool only_failure = false;
};

struct Written {
    Sequence sequence = 0;
    AccountId account = 0;
};

struct Ledger::Impl {
    Impl(sqlite::Writer& to, Clock& from, std::size_t most)
        : writer(to), clock(from), most_messages(most) {}

    sqlite::Writer& writer;
    Clock& clock;
    const std::size_t most_messages;

    // Every sequence up to this one is decided, on disk unless it is in `failed`.
    std::atomic<Sequence> decided = 0;
    std::atomic<Sequence> durable = 0;
    std::atomic<bool> any_failed = false;
    std::atomic<bool> down = false;

    Mutex mutex;
    std::vector<std::int64_t> old_models GUARDED_BY(mutex);
    Book book GUARDED_BY(mutex){[this](std::int64_t row)
                                    NO_LOCK_ANALYSIS { old_models.push_back(row); }};
    Sequence last_sequence GUARDED_BY(mutex) = 0;
    LedgerTime last_time GUARDED_BY(mutex);
    bool full GUARDED_BY(mutex) = false;  // and that was said
    std::deque<Queued> queue GUARDED_BY(mutex);
    std::vector<Sequence> refunds GUARDED_BY(mutex);
    std::vector<Waiter> waiters GUARDED_BY(mutex);
    std::vector<SequenceRange> failed_ranges GUARDED_BY(mutex);
    SequenceRange doubtful GUARDED_BY(mutex);

    // The writer's thread only.
    Journal journal;
    Batch batch;
    std::vector<Written> batch_messages;
    std::vector<AccountId> batch_accounts;
    bool in_flight = false;  // write() was called, neither committed() nor failed() since
    LedgerTime prune_at;
    AccountId sweep_next = 0;

    LedgerTime tick() REQUIRES_LOCK(mutex) {
        last_time = std::max(last_time, clock.now());
        return last_time;
    }
    bool is_failed(Sequence sequence) REQUIRES_LOCK(mutex) {
        return std::ranges::any_of(failed_ranges, [sequence](const SequenceRange& range) {
            return range.holds(sequence);
        });
    }
    bool has_room() REQUIRES_LOCK(mutex);
    Decision decide(Account& account, const config::CapSet& caps, std::string_view model)
        REQUIRES_LOCK(mutex);
    std::vector<CapState> states(
        Account& account, const config::CapSet& caps, std::string_view model, LedgerTime now
    ) REQUIRES_LOCK(mutex);
    void take_batch() REQUIRES_LOCK(mutex);
    void sweep(LedgerTime now) REQUIRES_LOCK(mutex);
    void take_waiters(std::vector<Waiter>& ready) REQUIRES_LOCK(mutex);
    Result<> load(sqlite::Connection& connection) NO_LOCK_ANALYSIS;
};

}  // namespace weir::quota
