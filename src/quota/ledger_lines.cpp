// The lines before caps at once. A place that frees is promised to the next in line, who is called
// and asks again with all its caps; newcomers do not get past those who wait.
#include <utility>

#include "ledger_impl.hpp"

namespace weir::quota {

Turn::Turn(Ledger& ledger, std::shared_ptr<Ticket> ticket) noexcept
    : ledger_(&ledger), ticket_(std::move(ticket)) {}

Turn& Turn::operator=(Turn&& other) noexcept {
    if (this != &other) {
        const Turn left = std::move(*this);
        ledger_ = std::exchange(other.ledger_, nullptr);
        ticket_ = std::move(other.ticket_);
    }
    return *this;
}

Turn::~Turn() {
    if (!ticket_) return;
    MutexLock lock(ledger_->impl_->mutex);
    ledger_->impl_->step_out(ticket_);
}

bool Turn::called() const {
    if (!ticket_) return false;
    MutexLock lock(ledger_->impl_->mutex);
    return called_now();
}

bool Turn::called_now() const {
    return ticket_->called;
}

bool Turn::in_line() const {
    if (!ticket_) return false;
    MutexLock lock(ledger_->impl_->mutex);
    return ticket_->line != nullptr;
}

Line* Ledger::Impl::find_line(AccountId account, const config::Cap& cap) {
    if (lines.empty()) return nullptr;
    const auto found =
        std::ranges::find_if(lines, [&](const Line& line) { return line.is_before(account, cap); });
    return found == lines.end() ? nullptr : &*found;
}

void Ledger::Impl::pump(Line& line) {
    Account& account = book.at(line.account);
    const std::size_t counter = book.counter(account, line.cap, moment());
    while (line.waiting > 0 && account.at(counter).open + line.called < line.cap.limit) {
        line.call_next();
    }
}

void Ledger::Impl::pump_all() {
    for (Line& line : lines) pump(line);
}

// A turn was used. Who was called too early keeps the place; others make room for the next.
void Ledger::Impl::use_turn(const std::shared_ptr<Ticket>& ticket, bool admitted) {
    Line* const line = ticket->line;
    if (line == nullptr) return;
    const bool too_early = !admitted && std::ranges::any_of(claims, [line](const Claim& claim) {
        return claim.refuses && has_line(*claim.cap) &&
               line->is_before(claim.level->account, *claim.cap);
    });
    if (!too_early) return step_out(ticket);
    // One that asks without having been called stays where it is.
    if (ticket->called) line->put_back(ticket);
}

// Whoever had been called and leaves, whatever came of it, makes room for the next.
void Ledger::Impl::step_out(const std::shared_ptr<Ticket>& ticket) {
    Line* const line = ticket->line;
    if (line == nullptr) return;
    line->leave(*ticket);
    // Nobody asked by this cap since the caps changed: it may be gone. The next one finds out.
    if (line->recheck && line->called == 0) line->call_next();
    if (!line->recheck) pump(*line);
    if (line->empty()) lines.remove_if([line](const Line& one) { return &one == line; });
}

std::optional<Turn> Ledger::wait(
    const Ask& ask, const Refusal& refusal, const std::shared_ptr<Signal>& signal
) {
    MutexLock lock(impl_->mutex);
    for (const Level& level : ask.levels) {
        for (const config::Cap& cap : *level.caps) {
            const bool refused = std::ranges::any_of(refusal.all, [&cap](const CapState& state) {
                return state.cap == &cap && state.refuses;
            });
            if (!refused || !has_line(cap)) continue;
            Line* line = impl_->find_line(level.account, cap);
            if (line == nullptr) {
                line = &impl_->lines.emplace_back();
                line->account = level.account;
                line->cap = cap;
            }
            if (line->waiting >= kLongestLine) return std::nullopt;
            auto ticket = std::make_shared<Ticket>();
            ticket->key = ask.key;
            ticket->signal = signal;
            line->join(ticket);
            // A place may have become free since it was refused.
            impl_->pump(*line);
            return Turn(*this, std::move(ticket));
        }
    }
    return std::nullopt;
}

void Ledger::caps_changed() {
    MutexLock lock(impl_->mutex);
    for (Line& line : impl_->lines) {
        line.recheck = true;
        line.call_next();
    }
}

}  // namespace weir::quota
