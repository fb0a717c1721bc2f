// What is inside a Ledger: shared by its parts, the decisions (ledger.cpp), the lines before caps
// at once (ledger_lines.cpp), the output gate (ledger_gate.cpp), the start and rare work
// (ledger_open.cpp) and the writer's thread (ledger_writer.cpp).
#pragma once

#include <algorithm>
#include <atomic>
#include <deque>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "weir/base/mutex.hpp"
#include "weir/quota/ledger.hpp"

#include "book.hpp"
#include "journal.hpp"
#include "line.hpp"

namespace weir::quota {

struct Queued {
    Taken taken;
    LedgerTime at;
    Amounts amounts;
    Subject* subject = nullptr;  // held; nullptr: refunded before it was written
};

struct Waiter {
    Sequence sequence = 0;
    std::shared_ptr<Signal> signal;
    bool only_failure = false;
};

// A cap that covers the message that is being decided.
struct Claim {
    const config::Cap* cap = nullptr;
    const Level* level = nullptr;
    std::size_t counter = 0;
    bool refuses = false;
    bool busy = false;  // only by what is in flight
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
    std::vector<std::int64_t> old_subjects GUARDED_BY(mutex);
    Book book GUARDED_BY(mutex){[this](std::int64_t row)
                                    NO_LOCK_ANALYSIS { old_subjects.push_back(row); }};
    Sequence last_sequence GUARDED_BY(mutex) = 0;
    LedgerTime last_time GUARDED_BY(mutex);
    bool full GUARDED_BY(mutex) = false;  // and that was said
    std::deque<Queued> queue GUARDED_BY(mutex);
    std::vector<Sequence> refunds GUARDED_BY(mutex);
    std::vector<SettledRow> settled GUARDED_BY(mutex);
    std::vector<AccountId> opened GUARDED_BY(mutex);  // accounts with fixed windows to write down
    std::unordered_map<AccountId, std::vector<Grant>> grants GUARDED_BY(mutex);
    std::list<Line> lines GUARDED_BY(mutex);
    std::vector<Waiter> waiters GUARDED_BY(mutex);
    std::vector<SequenceRange> failed_ranges GUARDED_BY(mutex);
    SequenceRange doubtful GUARDED_BY(mutex);
    std::vector<Claim> claims GUARDED_BY(mutex);  // of the decision that is being made

    // The writer's thread only.
    Journal journal;
    Batch batch;
    std::vector<Taken> batch_messages;
    std::vector<AccountId> batch_accounts;
    std::vector<AccountId> batch_opened;
    bool in_flight = false;  // write() was called, neither committed() nor failed() since
    LedgerTime prune_at;
    AccountId sweep_next = 0;

    LedgerTime tick() REQUIRES_LOCK(mutex) {
        last_time = std::max(last_time, clock.now());
        return last_time;
    }
    Moment moment() REQUIRES_LOCK(mutex) { return {tick(), clock.wall()}; }
    bool is_failed(Sequence sequence) REQUIRES_LOCK(mutex) {
        return std::ranges::any_of(failed_ranges, [sequence](const SequenceRange& range) {
            return range.holds(sequence);
        });
    }
    bool has_room() REQUIRES_LOCK(mutex);
    // What changed about an account's fixed windows is to be written.
    void note_opened(AccountId id) REQUIRES_LOCK(mutex) {
        if (id != kNobody && book.at(id).note_opened()) opened.push_back(id);
    }
    void note_opened(const Taken& taken) REQUIRES_LOCK(mutex) {
        for (const AccountId id : {taken.key, taken.team, Book::kEverybody}) note_opened(id);
    }
    // --- decisions ---
    void expire(std::span<const Level> levels, LedgerTime now) REQUIRES_LOCK(mutex);
    void find_claims(
        std::span<const Level> levels,
        std::string_view model,
        std::string_view endpoint,
        const Moment& moment,
        bool all
    ) REQUIRES_LOCK(mutex);
    Decision decide(const Ask& ask) REQUIRES_LOCK(mutex);
    const config::Cap& tightest(const Claim& claim) REQUIRES_LOCK(mutex);
    void judge(Claim& claim, const Ask& ask) REQUIRES_LOCK(mutex);
    Grant* find_grant(AccountId key, std::string_view model, LedgerTime now) REQUIRES_LOCK(mutex);
    Grant* grant_of(AccountId key, std::uint32_t id) REQUIRES_LOCK(mutex);
    std::uint64_t granted(AccountId key, std::string_view model, LedgerTime now)
        REQUIRES_LOCK(mutex);
    void take(Decision& decision, const Ask& ask, Grant* grant, LedgerTime now)
        REQUIRES_LOCK(mutex);
    void refuse(Decision& decision, const Ask& ask, const Moment& at) REQUIRES_LOCK(mutex);
    struct Verdict {
        std::size_t claim = 0;
        Refusal::Why why = Refusal::Why::kBusy;
        std::chrono::microseconds wait{0};
    };
    std::optional<Verdict> worst(const Ask& ask, const Moment& at, bool granted)
        REQUIRES_LOCK(mutex);
    std::chrono::microseconds wait_of(const Claim& claim, const Ask& ask, const Moment& at)
        REQUIRES_LOCK(mutex);
    std::vector<CapState> states(std::string_view model, const Moment& at) REQUIRES_LOCK(mutex);
    void trim(std::span<const Level> levels) REQUIRES_LOCK(mutex);
    bool give_back(const Taken& taken) REQUIRES_LOCK(mutex);
    Queued* find_queued(Sequence sequence) REQUIRES_LOCK(mutex);
    // --- lines before caps at once ---
    Line* find_line(AccountId account, const config::Cap& cap) REQUIRES_LOCK(mutex);
    void pump(Line& line) REQUIRES_LOCK(mutex);
    void pump_all() REQUIRES_LOCK(mutex);
    void use_turn(const std::shared_ptr<Ticket>& ticket, bool admitted) REQUIRES_LOCK(mutex);
    void step_out(const std::shared_ptr<Ticket>& ticket) REQUIRES_LOCK(mutex);
    // --- the writer's thread ---
    void take_batch() REQUIRES_LOCK(mutex);
    std::int64_t store(AccountId id) REQUIRES_LOCK(mutex);
    void sweep(LedgerTime now) REQUIRES_LOCK(mutex);
    void take_waiters(std::vector<Waiter>& ready) REQUIRES_LOCK(mutex);
    Result<> load(sqlite::Connection& connection) NO_LOCK_ANALYSIS;
};

}  // namespace weir::quota
