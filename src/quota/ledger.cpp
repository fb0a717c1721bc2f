#include "weir/quota/ledger.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include <fmt/core.h>

#include "weir/base/log.hpp"
#include "weir/base/text.hpp"

#include "ledger_impl.hpp"

namespace weir::quota {
namespace {

using std::chrono::microseconds;

}  // namespace

// ---------------------------------------------------------------- Reservation

Reservation::Reservation(Reservation&& other) noexcept
    : ledger_(std::exchange(other.ledger_, nullptr)),
      account_(other.account_),
      sequence_(other.sequence_) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
    if (this != &other) {
        refund();
        ledger_ = std::exchange(other.ledger_, nullptr);
        account_ = other.account_;
        sequence_ = other.sequence_;
    }
    return *this;
}

Reservation::~Reservation() {
    refund();
}

void Reservation::charge() noexcept {
    if (Ledger* const ledger = std::exchange(ledger_, nullptr)) {
        ledger->settle(account_, sequence_, true);
    }
}

void Reservation::refund() noexcept {
    if (Ledger* const ledger = std::exchange(ledger_, nullptr)) {
        ledger->settle(account_, sequence_, false);
    }
}

// ---------------------------------------------------------------- start

Ledger::Ledger(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Ledger::~Ledger() = default;

Result<> Ledger::Impl::load(sqlite::Connection& connection) {
    const Result<Journal::End> end = Journal::end(connection);
    if (!end) return std::unexpected(end.error());
    if (const auto behind = end->time - clock.now(); behind > std::chrono::seconds(1)) {
        log::warn(
            "the wall clock is behind the ledger: windows go on from the ledger's time",
            {{"behind", std::string_view(human_duration(behind))}}
        );
    }
    clock.start_at_least(end->time);
    last_time = end->time;
    last_sequence = end->sequence;
    decided = durable = last_sequence;
    const LedgerTime since = tick() - kHistory;
    prune_at = last_time;

    std::unordered_map<std::int64_t, AccountId> accounts;
    std::unordered_map<std::int64_t, Model*> models;
    LedgerTime newest = since;
    const Journal::Reader reader{
        .account =
            [&](const NamedRow& row) NO_LOCK_ANALYSIS {
                const AccountId id = book.load_account(row.row, row.name);
                book.at(id).stored = true;
                accounts.emplace(row.row, id);
            },
        .model =
            [&](const NamedRow& row) NO_LOCK_ANALYSIS {
                Model* const model = book.load_model(row.row, row.name);
                model->stored = true;
                models.emplace(row.row, model);
            },
        .message = [&](const MessageRow& row) NO_LOCK_ANALYSIS -> Result<> {
            const auto account = accounts.find(row.account);
            const auto model = models.find(row.model);
            if (account == accounts.end() || model == models.end()) {
                return fail(
                    ErrorCode::kStorage,
                    fmt::format(
                        "the ledger is damaged: message {} belongs to no known account or model. "
                        "Restore it from a backup",
                        row.sequence
                    )
                );
            }
            // Written in order of time; if somebody edited them, later is the safe side.
            newest = std::max(newest, row.at);
            book.add(book.at(account->second), newest, row.sequence, model->second);
            return {};
        }
    };
    if (Result<> read = Journal::load(connection, since, reader); !read) return read;
    book.drop_unused_models();
    if (newest > last_time) {
        clock.start_at_least(newest);
        last_time = newest;
    }
    return {};
}

Result<std::unique_ptr<Ledger>> Ledger::open(
    sqlite::Connection& connection, sqlite::Writer& writer, Clock& clock, std::size_t most_messages
) {
    auto impl = std::make_unique<Impl>(writer, clock, most_messages);
    if (const Result<> loaded = impl->load(connection); !loaded) {
        return std::unexpected(loaded.error());
    }
    return std::unique_ptr<Ledger>(new Ledger(std::move(impl)));
}

// ---------------------------------------------------------------- decisions

AccountId Ledger::account(std::string_view name) {
    MutexLock lock(impl_->mutex);
    return impl_->book.account(name);
}

std::vector<CapState> Ledger::Impl::states(
    Account& account, const config::CapSet& caps, std::string_view model, LedgerTime now
) {
    std::vector<CapState> all;
    all.reserve(caps.size());
    for (const config::Cap& cap : caps) {
        if (!model.empty() && !glob_match(cap.models, model)) continue;
        all.push_back({cap, book.window(account, cap, now).state(cap.limit, now)});
    }
    return all;
}

Decision Ledger::Impl::decide(
    Account& account, const config::CapSet& caps, std::string_view model
) {
    const LedgerTime now = tick();
    book.expire(account, now);
    bool admitted = true;
    for (const config::Cap& cap : caps) {
        if (!glob_match(cap.models, model)) continue;
        if (!book.window(account, cap, now).admits(cap.limit)) admitted = false;
    }
    Decision decision;
    if (admitted) {
        const Sequence sequence = ++last_sequence;
        Model* const interned = book.add(account, now, sequence, model);
        Book::hold(interned);
        queue.push_back({sequence, 0, now, interned});
        decision.admission.emplace();
        decision.admission->caps = states(account, caps, model, now);
    } else {
        Refusal& refusal = decision.refusal.emplace();
        refusal.all = states(account, caps, model, now);
        const CapState* worst = nullptr;
        for (const CapState& state : refusal.all) {
            if (state.window.remaining() > 0) continue;
            const bool never = state.cap.limit == 0;
            if (worst != nullptr &&
                (refusal.never || (!never && state.window.next_free <= refusal.retry_after))) {
                continue;
            }
            worst = &state;
            refusal.never = never;
            refusal.retry_after = never ? microseconds(0) : state.window.next_free;
        }
        refusal.cap = *worst;
    }
    Book::trim(account, caps.size());
    return decision;
}

bool Ledger::Impl::has_room() {
    const bool room = book.messages() < most_messages;
    const bool said = std::exchange(full, !room);
    if (!room && !said) {
        log::error(
            "the ledger is full: messages are refused until older ones leave",
            {{"messages", static_cast<std::int64_t>(book.messages())}}
        );
    }
    return room;
}

Decision Ledger::admit(AccountId account, const config::CapSet& caps, std::string_view model) {
    Decision decision;
    {
        MutexLock lock(impl_->mutex);
        if (impl_->down) {
            decision.error = Error{
                ErrorCode::kStorage, "the ledger cannot be written at the moment, see the log"
            };
            return decision;
        }
        if (!impl_->has_room()) {
            decision.error = Error{
                ErrorCode::kOverloaded, "the ledger holds as many messages as it may, see the log"
            };
            return decision;
        }
        decision = impl_->decide(impl_->book.at(account), caps, model);
        if (!decision.admission) return decision;
        impl_->queue.back().account = account;
        Reservation& reservation = decision.admission->reservation;
        reservation.ledger_ = this;
        reservation.account_ = account;
        reservation.sequence_ = impl_->last_sequence;
    }
    impl_->writer.wake();
    return decision;
}

std::vector<CapState> Ledger::peek(
    AccountId account, const config::CapSet& caps, std::string_view model
) {
    MutexLock lock(impl_->mutex);
    const LedgerTime now = impl_->tick();
    Account& one = impl_->book.at(account);
    impl_->book.expire(one, now);
    std::vector<CapState> all = impl_->states(one, caps, model, now);
    Book::trim(one, caps.size());
    return all;
}

void Ledger::settle(AccountId account, Sequence sequence, bool keep) noexcept {
    // It was counted when it was admitted.
    if (keep) return;
    {
        MutexLock lock(impl_->mutex);
        // Not there: its commit failed, which gave it back, or it is over 32 days old.
        if (!impl_->book.remove(impl_->book.at(account), sequence)) return;
        const auto queued = std::ranges::lower_bound(impl_->queue, sequence, {}, &Queued::sequence);
        if (queued != impl_->queue.end() && queued->sequence == sequence) {
            // It keeps its place, since gates may wait for it.
            impl_->book.release(std::exchange(queued->model, nullptr));
        } else {
            impl_->refunds.push_back(sequence);
        }
    }
    impl_->writer.wake();
}

std::vector<AccountUsage> Ledger::usage(microseconds span) {
    std::vector<AccountUsage> all;
    const LedgerTime since = now() - span;
    for (AccountId id = 0;; ++id) {
        // One account at a time: admissions get in between.
        MutexLock lock(impl_->mutex);
        if (id >= impl_->book.accounts()) return all;
        const Account& account = impl_->book.at(id);
        const std::size_t first = all.size();
        const auto live = std::next(account.messages.begin(), std::ptrdiff_t(account.first));
        auto message = std::ranges::partition_point(
            live, account.messages.end(), [since](const Message& one) { return one.at <= since; }
        );
        std::unordered_map<const Model*, std::size_t> lines;
        for (; message != account.messages.end(); ++message) {
            const auto [line, added] = lines.try_emplace(message->model, all.size());
            if (added) all.push_back({account.name, message->model->name, 0});
            ++all[line->second].messages;
        }
        std::ranges::sort(
            std::next(all.begin(), std::ptrdiff_t(first)), all.end(), {}, &AccountUsage::model
        );
    }
}

bool Ledger::healthy() const noexcept {
    return !impl_->down.load(std::memory_order_relaxed);
}

LedgerTime Ledger::now() const noexcept {
    return impl_->clock.now();
}

// ---------------------------------------------------------------- the output gate

Sequence Ledger::durable_sequence() const noexcept {
    return impl_->durable.load(std::memory_order_acquire);
}

std::optional<bool> Ledger::gate(Sequence sequence, const std::shared_ptr<Signal>& signal) {
    if (sequence == 0) return true;
    // In this order: `any_failed` is set before `decided` passes the sequences that failed.
    if (sequence <= impl_->decided.load(std::memory_order_acquire) &&
        !impl_->any_failed.load(std::memory_order_acquire)) {
        return true;
    }
    MutexLock lock(impl_->mutex);
    if (sequence <= impl_->decided) return !impl_->is_failed(sequence);
    impl_->waiters.push_back({sequence, signal});
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
