#include "weir/quota/ledger.hpp"

#include <algorithm>
#include <iterator>
#include <unordered_map>
#include <utility>

#include "weir/base/log.hpp"
#include "weir/base/text.hpp"

#include "ledger_impl.hpp"

namespace weir::quota {
namespace {

using config::Cap;
using config::Period;
using config::Unit;
using std::chrono::microseconds;

std::uint64_t amount_of(const Cap& cap, const Ask& ask) noexcept {
    switch (cap.unit) {
        case Unit::kMessages:
            return 1;
        case Unit::kTokens:
            return ask.hit ? 0 : ask.reserve.tokens;
        case Unit::kMoney:
            return ask.hit ? 0 : ask.reserve.money;
    }
    return 0;
}

std::uint64_t left_of(const Grant& grant, std::string_view model, LedgerTime now) noexcept {
    const bool runs = grant.until > now && grant.used < grant.messages;
    return runs && glob_match(grant.models, model) ? grant.messages - grant.used : 0;
}

bool by_grant(const Claim& claim) noexcept {
    return claim.level->whose == Whose::kKey && claim.cap->unit == Unit::kMessages &&
           claim.cap->period != Period::kAtOnce;
}

}  // namespace

bool covers(const config::Cap& cap, std::string_view model, std::string_view endpoint) noexcept {
    return covers(cap.models, cap.endpoints, model, endpoint);
}

// ---------------------------------------------------------------- Reservation

Reservation::Reservation(Reservation&& other) noexcept
    : ledger_(std::exchange(other.ledger_, nullptr)),
      taken_(other.taken_),
      reserved_(other.reserved_) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
    if (this != &other) {
        refund();
        ledger_ = std::exchange(other.ledger_, nullptr);
        taken_ = other.taken_;
        reserved_ = other.reserved_;
    }
    return *this;
}

Reservation::~Reservation() {
    refund();
}

void Reservation::charge(std::optional<Amounts> used) noexcept {
    Ledger* const ledger = std::exchange(ledger_, nullptr);
    if (used == reserved_) used.reset();
    if (ledger != nullptr) ledger->charge(taken_, used);
}

void Reservation::restate(const Amounts& used) noexcept {
    if (ledger_ == nullptr || used == reserved_) return;
    reserved_ = used;
    ledger_->restate(taken_, used);
}

void Reservation::refund() noexcept {
    if (Ledger* const ledger = std::exchange(ledger_, nullptr)) ledger->refund(taken_);
}

// ---------------------------------------------------------------- decisions

Ledger::Ledger(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Ledger::~Ledger() = default;

AccountId Ledger::account(std::string_view key) {
    MutexLock lock(impl_->mutex);
    return impl_->book.account(Whose::kKey, key);
}

AccountId Ledger::team(std::string_view name) {
    MutexLock lock(impl_->mutex);
    return impl_->book.account(Whose::kTeam, name);
}

AccountId Ledger::everybody() const noexcept {
    return Book::kEverybody;
}

void Ledger::Impl::expire(std::span<const Level> levels, LedgerTime now) {
    AccountId last = kNobody;
    for (const Level& level : levels) {
        if (level.account != std::exchange(last, level.account)) {
            book.expire(book.at(level.account), now);
        }
    }
}

// The caps that cover the message, or `all` of them, each with its window as of now. A message may
// name no model (on endpoints whose stored state has it): then caps on `*` cover it.
void Ledger::Impl::find_claims(
    std::span<const Level> levels,
    std::string_view model,
    std::string_view endpoint,
    const Moment& moment,
    bool all
) {
    claims.clear();
    for (const Level& level : levels) {
        Account& account = book.at(level.account);
        for (const Cap& cap : *level.caps) {
            if (cap.period == Period::kUnlimited) continue;
            if (!all && !covers(cap.models, cap.endpoints, model, endpoint)) continue;
            claims.push_back({&cap, &level, book.counter(account, cap, moment)});
        }
        note_opened(level.account);
    }
}

Grant* Ledger::Impl::find_grant(AccountId key, std::string_view model, LedgerTime now) {
    const auto own = grants.find(key);
    if (own == grants.end()) return nullptr;
    Grant* best = nullptr;
    for (Grant& grant : own->second) {
        if (left_of(grant, model, now) == 0) continue;
        // The one that is lost first.
        if (best == nullptr || grant.until < best->until) best = &grant;
    }
    return best;
}

Grant* Ledger::Impl::grant_of(AccountId key, std::uint32_t id) {
    const auto own = grants.find(key);
    if (id == 0 || own == grants.end()) return nullptr;
    const auto found = std::ranges::find(own->second, id, &Grant::id);
    return found == own->second.end() ? nullptr : &*found;
}

// What is left of them for a model.
std::uint64_t Ledger::Impl::granted(AccountId key, std::string_view model, LedgerTime now) {
    const auto own = grants.find(key);
    if (own == grants.end()) return 0;
    std::uint64_t left = 0;
    for (const Grant& grant : own->second) left += left_of(grant, model, now);
    return left;
}

// Of the caps at once that one line stands before: a plan and a key may each have one.
const Cap& Ledger::Impl::tightest(const Claim& claim) {
    const Cap* cap = claim.cap;
    for (const Claim& other : claims) {
        const bool same = other.level->account == claim.level->account && has_line(*other.cap) &&
                          same_messages(*other.cap, *cap);
        if (same && other.cap->limit < cap->limit) cap = other.cap;
    }
    return *cap;
}

void Ledger::Impl::judge(Claim& claim, const Ask& ask) {
    const Cap& cap = *claim.cap;
    const Counter& counter = book.at(claim.level->account).at(claim.counter);
    if (cap.period == Period::kAtOnce) {
        if (ask.hit) return;
        std::uint64_t taken = counter.open;
        bool behind_others = false;
        // A cap that only warns has no line; one with the same name as it may.
        Line* const line = has_line(cap) ? find_line(claim.level->account, cap) : nullptr;
        if (line != nullptr) {
            const std::uint64_t before = std::exchange(line->cap, tightest(claim)).limit;
            line->recheck = false;
            if (line->cap.limit > before) pump(*line);
            const bool called = ask.turn != nullptr && ask.turn->ticket_ &&
                                ask.turn->ticket_->line == line && ask.turn->called_now();
            taken += line->called - (called ? 1 : 0);
            behind_others = !called && line->waiting > 0;
        }
        claim.refuses = claim.busy = taken >= cap.limit || behind_others;
        return;
    }
    const std::uint64_t amount = amount_of(cap, ask);
    if (amount == 0 && ask.hit) return;
    if (cap.unit == Unit::kMessages) {
        claim.refuses = counter.sum >= cap.limit;
        return;
    }
    const bool some_left = counter.sum < cap.limit;
    const bool fits = some_left && amount <= cap.limit - counter.sum;
    // One that does not fit goes only alone: so no more than this one can pass the limit.
    claim.refuses = !fits && !(some_left && counter.open == 0);
    claim.busy = claim.refuses && counter.sum - counter.reserved < cap.limit && counter.open > 0;
}

Decision Ledger::Impl::decide(const Ask& ask) {
    const Moment at = moment();
    expire(ask.levels, at.now);
    find_claims(ask.levels, ask.model, ask.endpoint, at, false);
    bool refused = false;
    bool wants_grant = false;
    for (Claim& claim : claims) {
        judge(claim, ask);
        if (!claim.refuses || claim.cap->warn) continue;
        (by_grant(claim) ? wants_grant : refused) = true;
    }
    Grant* const grant = wants_grant ? find_grant(ask.key, ask.model, at.now) : nullptr;
    Decision decision;
    if (refused || (wants_grant && grant == nullptr)) {
        refuse(decision, ask, at);
    } else {
        take(decision, ask, grant, at.now);
        decision.admission->caps = states(ask.model, at);
    }
    trim(ask.levels);
    return decision;
}

void Ledger::Impl::take(Decision& decision, const Ask& ask, Grant* grant, LedgerTime now) {
    Taken taken{.key = ask.key, .team = ask.team, .sequence = ++last_sequence};
    if (grant != nullptr) {
        taken.grant = grant->id;
        ++grant->used;
    }
    Subject* const subject = book.subject(ask.model, ask.endpoint);
    Book::hold(subject);
    const Amounts amounts = ask.hit ? Amounts() : ask.reserve;
    Entry entry;
    entry.at = now;
    entry.sequence = taken.sequence;
    entry.subject = subject;
    entry.set(amounts);
    entry.open = !ask.hit;
    entry.granted = grant != nullptr;
    book.add(ask.key, ask.team, entry);
    queue.push_back({taken, now, amounts, subject});
    note_opened(taken);
    Admission& admission = decision.admission.emplace();
    admission.granted = grant != nullptr;
    admission.reservation.taken_ = taken;
    admission.reservation.reserved_ = amounts;
}

// Until a cap that is spent would admit.
microseconds Ledger::Impl::wait_of(const Claim& claim, const Ask& ask, const Moment& at) {
    const Account& account = book.at(claim.level->account);
    const std::uint64_t limit = claim.cap->limit;
    std::uint64_t need = amount_of(*claim.cap, ask);
    // Nothing in flight, or more than fits at all: it goes alone, when anything is free.
    if (account.at(claim.counter).open == 0 || need > limit) need = 1;
    return account.wait_for(claim.counter, limit, std::max<std::uint64_t>(need, 1), at);
}

// Of those that refuse the one that frees last; `granted`: of those that no grant gets past.
std::optional<Ledger::Impl::Verdict> Ledger::Impl::worst(
    const Ask& ask, const Moment& at, bool granted
) {
    using Why = Refusal::Why;
    const auto rank = [](Why why) { return why == Why::kNever ? 2 : why == Why::kSpent ? 1 : 0; };
    std::optional<Verdict> worst;
    for (std::size_t i = 0; i < claims.size(); ++i) {
        const Claim& claim = claims[i];
        if (!claim.refuses || claim.cap->warn || (granted && by_grant(claim))) continue;
        Verdict one{.claim = i, .why = claim.busy ? Why::kBusy : Why::kSpent};
        if (claim.cap->limit == 0) {
            one.why = Why::kNever;
        } else if (one.why == Why::kSpent) {
            one.wait = wait_of(claim, ask, at);
        }
        const bool further = !worst || rank(one.why) > rank(worst->why) ||
                             (one.why == worst->why && one.wait > worst->wait);
        if (further) worst = one;
    }
    return worst;
}

void Ledger::Impl::refuse(Decision& decision, const Ask& ask, const Moment& at) {
    Refusal& refusal = decision.refusal.emplace();
    refusal.all = states(ask.model, at);
    // A grant that still runs when the others admit gets past the message caps of the key.
    std::optional<Verdict> verdict = worst(ask, at, true);
    if (verdict && verdict->why != Refusal::Why::kNever &&
        find_grant(ask.key, ask.model, at.now + verdict->wait) == nullptr) {
        verdict.reset();
    }
    if (!verdict) verdict = worst(ask, at, false);
    refusal.cap = refusal.all[verdict->claim];
    refusal.why = verdict->why;
    refusal.retry_after = verdict->wait;
}

// Of the claims, in their order.
std::vector<CapState> Ledger::Impl::states(std::string_view model, const Moment& at) {
    std::vector<CapState> all;
    all.reserve(claims.size());
    for (const Claim& claim : claims) {
        CapState& state = all.emplace_back();
        state.cap = claim.cap;
        state.whose = claim.level->whose;
        state.refuses = claim.refuses;
        state.window = book.at(claim.level->account).state(claim.counter, claim.cap->limit, at);
        if (by_grant(claim) && !grants.empty()) {
            const std::string_view asked =
                model.empty() ? std::string_view(claim.cap->models) : model;
            state.window.extra = granted(claim.level->account, asked, at.now);
        }
    }
    return all;
}

void Ledger::Impl::trim(std::span<const Level> levels) {
    for (std::size_t i = 0; i < levels.size(); ++i) {
        // Levels of one account stand beside each other.
        std::size_t in_use = levels[i].caps->size();
        while (i + 1 < levels.size() && levels[i + 1].account == levels[i].account) {
            in_use += levels[++i].caps->size();
        }
        book.at(levels[i].account).trim(in_use);
    }
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

Decision Ledger::admit(const Ask& ask) {
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
        decision = impl_->decide(ask);
        if (ask.turn != nullptr && ask.turn->ticket_) {
            impl_->use_turn(ask.turn->ticket_, decision.admission.has_value());
        }
        if (!decision.admission) return decision;
        decision.admission->reservation.ledger_ = this;
    }
    impl_->writer.wake();
    return decision;
}

std::vector<CapState> Ledger::peek(
    std::span<const Level> levels, std::string_view model, std::string_view endpoint
) {
    MutexLock lock(impl_->mutex);
    const Moment at = impl_->moment();
    impl_->expire(levels, at.now);
    impl_->find_claims(levels, model, endpoint, at, model.empty());
    std::vector<CapState> all = impl_->states(model, at);
    impl_->trim(levels);
    return all;
}

// ---------------------------------------------------------------- settling

// Out of memory; whether its row is on disk is the caller's to know. False: it is not there.
bool Ledger::Impl::give_back(const Taken& taken) {
    if (!book.remove(taken.key, taken.team, taken.sequence)) return false;
    if (Grant* const grant = grant_of(taken.key, taken.grant)) --grant->used;
    return true;
}

// nullptr: it went to the writer's batch already.
Queued* Ledger::Impl::find_queued(Sequence sequence) {
    const auto found = std::ranges::lower_bound(queue, sequence, {}, [](const Queued& one) {
        return one.taken.sequence;
    });
    return found == queue.end() || found->taken.sequence != sequence ? nullptr : &*found;
}

void Ledger::charge(const Taken& taken, const std::optional<Amounts>& used) noexcept {
    {
        MutexLock lock(impl_->mutex);
        Book& book = impl_->book;
        // Not there: its commit failed, which gave it back, or it is over 32 days old.
        if (!book.settle(taken.key, taken.team, taken.sequence, used, impl_->tick())) return;
        impl_->note_opened(taken);
        impl_->pump_all();
        if (!used) return;
        if (Queued* const queued = impl_->find_queued(taken.sequence)) {
            queued->amounts = *used;
            return;
        }
        impl_->settled.push_back({taken.sequence, *used});
    }
    impl_->writer.wake();
}

void Ledger::restate(const Taken& taken, const Amounts& amounts) noexcept {
    {
        MutexLock lock(impl_->mutex);
        if (!impl_->book.restate(taken.key, taken.team, taken.sequence, amounts, impl_->tick()))
            return;
        if (Queued* const queued = impl_->find_queued(taken.sequence)) {
            queued->amounts = amounts;
            return;
        }
        impl_->settled.push_back({taken.sequence, amounts});
    }
    impl_->writer.wake();
}

void Ledger::refund(const Taken& taken) noexcept {
    {
        MutexLock lock(impl_->mutex);
        if (!impl_->give_back(taken)) return;
        impl_->pump_all();
        if (Queued* const queued = impl_->find_queued(taken.sequence)) {
            // It keeps its place, since gates may wait for it.
            impl_->book.release(std::exchange(queued->subject, nullptr));
        } else {
            impl_->refunds.push_back(taken.sequence);
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
        if (account.kind != Whose::kKey) continue;
        const std::size_t first = all.size();
        const std::vector<Entry>& entries = account.entries();
        auto entry = std::ranges::partition_point(
            std::next(entries.begin(), std::ptrdiff_t(account.front())),
            entries.end(),
            [since](const Entry& one) { return one.at <= since; }
        );
        std::unordered_map<std::string_view, std::size_t> lines;
        for (; entry != entries.end(); ++entry) {
            if (entry->gone) continue;
            const auto [line, added] = lines.try_emplace(entry->subject->model, all.size());
            if (added) all.push_back({account.name, entry->subject->model, 0, 0, 0});
            AccountUsage& sum = all[line->second];
            ++sum.messages;
            sum.tokens += entry->tokens;
            sum.money += entry->money;
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

}  // namespace weir::quota
