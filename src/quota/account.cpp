#include "account.hpp"

#include <algorithm>
#include <iterator>

#include "weir/base/text.hpp"

namespace weir::quota {
namespace {

using config::Period;
using config::Unit;
using std::chrono::microseconds;

// Windows an account keeps at least; one with more caps than that keeps twice as many as it has in
// use. Dropping one is never wrong: it is made again from the entries.
constexpr std::size_t kCounters = 16;
constexpr microseconds kTick{1};  // of the ledger's time

TimeZone::Bounds bounds_of(const config::Cap& cap, WallTime wall) {
    static const auto utc = TimeZone::find("UTC");
    const TimeZone& zone = cap.zone ? *cap.zone : *utc;
    if (cap.period == Period::kDay) return zone.day(wall);
    return cap.period == Period::kWeek ? zone.week(wall) : zone.month(wall);
}

// Under which its windows are written down.
std::string name_of(const Counter& counter) {
    config::Cap cap;
    cap.models = counter.pattern->models;
    cap.endpoints = counter.pattern->endpoints;
    cap.unit = counter.unit;
    cap.period = counter.period;
    cap.span = counter.span;
    return cap.counter();
}

std::ptrdiff_t offset(std::size_t index) noexcept {
    return static_cast<std::ptrdiff_t>(index);
}

}  // namespace

bool covers(
    std::string_view models,
    const std::vector<std::string>& endpoints,
    std::string_view model,
    std::string_view endpoint
) noexcept {
    if (!glob_match(models, model)) return false;
    if (endpoints.empty() || endpoint.empty()) return true;
    return std::ranges::any_of(endpoints, [endpoint](const std::string& one) {
        return glob_match(one, endpoint);
    });
}

bool Pattern::fits(Subject& subject) const {
    if (subject.fits.size() <= number) subject.fits.resize(number + 1);
    std::uint8_t& known = subject.fits[number];
    if (known == 0) {
        known = covers(models, endpoints, subject.model, subject.endpoint) ? 2 : 1;
    }
    return known == 2;
}

std::uint64_t Counter::weight(const Entry& entry) const {
    if (entry.gone || entry.forgiven || !covers(entry)) return 0;
    switch (unit) {
        case Unit::kMessages:
            return entry.granted ? 0 : 1;
        case Unit::kTokens:
            return entry.tokens;
        case Unit::kMoney:
            return entry.money;
    }
    return 0;
}

bool Counter::is(const config::Cap& cap) const noexcept {
    // Two zones are two windows: both may be asked for by one message.
    const bool same_zone =
        zone == cap.zone || (zone && cap.zone && zone->name() == cap.zone->name());
    return unit == cap.unit && period == cap.period && span == cap.span && same_zone &&
           pattern->models == cap.models && pattern->endpoints == cap.endpoints;
}

// ---------------------------------------------------------------- windows

void Account::make(const config::Cap& cap, const Pattern& pattern, const Moment& moment) {
    Counter& counter = counters_.emplace_back();
    counter.pattern = &pattern;
    counter.unit = cap.unit;
    counter.period = cap.period;
    counter.span = cap.span;
    counter.zone = cap.zone;
    for (std::size_t i = front_; i < entries_.size(); ++i) {
        if (entries_[i].open && counter.covers(entries_[i])) ++counter.open;
    }
    // Made empty behind the newest entry; the first advance() goes back as far as it has to.
    counter.first = entries_.size();
    counter.bound = LedgerTime::max();
    if (counter.period == Period::kFixed) find_window(counter, moment.now);
}

// Looks for the fixed window that is open now. Whoever counted before wrote down when its last
// window opened; what follows from it, or from the oldest entry, is the same for everybody.
void Account::find_window(Counter& counter, LedgerTime now) {
    counter.running = false;
    counter.sum = counter.reserved = 0;
    counter.first = entries_.size();
    counter.bound = LedgerTime::max();
    std::optional<LedgerTime> opened;
    const auto known = std::ranges::find(opened_, name_of(counter), &Opened::counter);
    if (known != opened_.end()) opened = known->at;
    for (std::size_t i = front_; i < entries_.size(); ++i) {
        const Entry& entry = entries_[i];
        if (entry.at + kHistory <= now || counter.weight(entry) == 0) continue;
        if (!opened || entry.at >= *opened + counter.span) opened = entry.at;
    }
    if (!opened || *opened + counter.span <= now) return;
    seek(counter, *opened - kTick);
    if (counter.sum == 0) {
        counter.bound = LedgerTime::max();
        return;
    }
    counter.running = true;
    counter.ends = *opened + counter.span;
    write_down(counter, *opened);
}

// Moves the window to where it is now.
void Account::advance(Counter& counter, const config::Cap& cap, const Moment& moment) {
    switch (counter.period) {
        case Period::kRolling:
            seek(counter, moment.now - counter.span);
            break;
        case Period::kFixed:
            if (counter.running && counter.ends <= moment.now) counter.running = false;
            if (!counter.running) seek(counter, LedgerTime::max());
            break;
        case Period::kDay:
        case Period::kWeek:
        case Period::kMonth: {
            // By the wall clock, whatever it says; only the time since then is the ledger's own.
            TimeZone::Bounds& bounds = counter.bounds;
            if (moment.wall < bounds.begin || moment.wall >= bounds.end) {
                bounds = bounds_of(cap, moment.wall);
            }
            seek(counter, moment.now - (moment.wall - bounds.begin) - kTick);
            counter.ends = moment.now + (bounds.end - moment.wall);
            break;
        }
        case Period::kAtOnce:
        case Period::kUnlimited:
            break;
    }
}

// A window moves on, but for calendar ones, whose clock may be put back.
void Account::seek(Counter& counter, LedgerTime bound) {
    if (bound < counter.bound) {
        // Those between the two bounds come back. What lies behind the old one and before `first`
        // counts nothing, however much it is: the two clocks of a calendar window differ by some
        // microseconds each time, and must not have us walk over it each time.
        const auto is_behind = [](LedgerTime time, const Entry& entry) { return time < entry.at; };
        const auto front = std::next(entries_.begin(), offset(front_));
        const auto first = std::next(entries_.begin(), offset(std::max(counter.first, front_)));
        const auto begin = std::upper_bound(front, first, bound, is_behind);
        for (auto at = std::upper_bound(begin, first, counter.bound, is_behind); at != begin;) {
            const Entry& entry = *--at;
            const std::uint64_t weight = counter.weight(entry);
            if (weight == 0) continue;
            counter.first = static_cast<std::size_t>(at - entries_.begin());
            if (counter.sum == 0) {
                counter.last = entry.sequence;
                counter.last_at = entry.at;
            }
            counter.sum += weight;
            if (entry.open) counter.reserved += weight;
        }
    }
    counter.bound = bound;
    skip(counter);
}

// Leaves behind what is out of the window, and what counts nothing.
void Account::skip(Counter& counter) {
    while (counter.first < entries_.size()) {
        const Entry& entry = entries_[counter.first];
        const std::uint64_t weight = counter.weight(entry);
        if (entry.at > counter.bound && weight > 0) break;
        counter.sum -= weight;
        if (entry.open) counter.reserved -= weight;
        ++counter.first;
    }
}

// An entry is about to go for good: no window may hold it, nor look at it again.
void Account::leave(std::size_t index) {
    for (Counter& counter : counters_) {
        if (counter.period == Period::kAtOnce || counter.first > index) continue;
        const std::uint64_t weight = counter.weight(entries_[index]);
        counter.sum -= weight;
        ++counter.first;
        skip(counter);
    }
}

void Account::put(Counter& counter, std::size_t index) {
    const Entry& entry = entries_[index];
    const std::uint64_t weight = counter.weight(entry);
    if (weight == 0 || counter.period == Period::kAtOnce) return;
    if (counter.period == Period::kFixed) {
        if (counter.running && counter.ends <= entry.at) counter.running = false;
        if (!counter.running) open_window(counter, entry.at);
    }
    if (entry.at <= counter.bound) return;
    if (counter.sum == 0) counter.first = index;
    counter.sum += weight;
    if (entry.open) counter.reserved += weight;
    counter.last = entry.sequence;
    counter.last_at = entry.at;
}

void Account::open_window(Counter& counter, LedgerTime at) {
    counter.running = true;
    counter.ends = at + counter.span;
    counter.bound = at - kTick;
    counter.first = entries_.size();
    counter.sum = 0;
    counter.reserved = 0;
    write_down(counter, at);
}

void Account::write_down(const Counter& counter, LedgerTime opened) {
    std::string counter_name = name_of(counter);
    const auto known = std::ranges::find(opened_, counter_name, &Opened::counter);
    if (known != opened_.end() && known->at == opened) return;
    Opened& changed = known != opened_.end() ? *known : opened_.emplace_back();
    changed = {std::move(counter_name), opened, true};
    opened_changed_ = true;
}

WindowState Account::state(std::size_t index, std::uint64_t limit, const Moment& moment) const {
    const Counter& counter = counters_[index];
    WindowState state;
    state.limit = limit;
    state.length = counter.span;
    if (counter.span.count() == 0) {
        state.length = std::chrono::duration_cast<std::chrono::seconds>(
            counter.bounds.end - counter.bounds.begin
        );
    }
    if (counter.period == Period::kAtOnce) {
        state.used = counter.open;
        return state;
    }
    state.used = counter.sum;
    if (state.used == 0) return state;
    if (counter.period != Period::kRolling) {
        state.full_reset = counter.ends - moment.now;
    } else {
        state.full_reset = counter.last_at + counter.span - moment.now;
    }
    if (limit > 0) {
        // One more than now, or one at all.
        const std::uint64_t least = std::min(state.used, limit) - 1;
        state.next_free = wait_for(index, least + 1, 1, moment);
    }
    return state;
}

microseconds Account::wait_for(
    std::size_t index, std::uint64_t limit, std::uint64_t need, const Moment& moment
) const {
    const Counter& counter = counters_[index];
    if (counter.period != Period::kRolling) return counter.ends - moment.now;
    const std::uint64_t target = limit > need ? limit - need : 0;
    std::uint64_t left = counter.sum;
    for (std::size_t i = counter.first; i < entries_.size(); ++i) {
        const std::uint64_t weight = counter.weight(entries_[i]);
        left -= std::min(left, weight);
        if (weight > 0 && left <= target) return entries_[i].at + counter.span - moment.now;
    }
    return microseconds(0);
}

// ---------------------------------------------------------------- entries

void Account::add(const Entry& entry) {
    entries_.push_back(entry);
    for (Counter& counter : counters_) {
        const std::size_t index = entries_.size() - 1;
        if (entry.open && counter.covers(entry)) ++counter.open;
        // One that no cap asks for any more moves on all the same.
        if (counter.period == Period::kRolling) seek(counter, entry.at - counter.span);
        put(counter, index);
    }
}

std::size_t Account::find(Sequence sequence) const {
    // From behind, in steps that double: what is looked for is nearly always among the newest, and
    // a search from the middle of half a million looks at twenty places that nobody has looked at.
    std::size_t begin = entries_.size();
    std::size_t end = begin;
    for (std::size_t step = 1; begin > front_; step *= 2) {
        end = begin;
        begin -= std::min(step, begin - front_);
        if (entries_[begin].sequence <= sequence) break;
    }
    const auto found = std::ranges::lower_bound(
        std::next(entries_.begin(), offset(begin)),
        std::next(entries_.begin(), offset(end)),
        sequence,
        {},
        &Entry::sequence
    );
    if (found == entries_.end() || found->sequence != sequence || found->gone) {
        return entries_.size();
    }
    return static_cast<std::size_t>(found - entries_.begin());
}

// What an entry counts changes, in all windows that hold it.
void Account::change(std::size_t index, const Entry& changed) {
    const Entry before = std::exchange(entries_[index], changed);
    for (Counter& counter : counters_) {
        if (!counter.covers(changed)) continue;
        if (before.open && !changed.open) --counter.open;
        if (counter.period == Period::kAtOnce || before.at <= counter.bound) continue;
        const std::uint64_t old_weight = counter.weight(before);
        const std::uint64_t new_weight = counter.weight(changed);
        // One that counted nothing may have been left behind.
        if (new_weight > 0 && (counter.sum == 0 || index < counter.first)) counter.first = index;
        if (before.open) counter.reserved -= old_weight;
        if (changed.open) counter.reserved += new_weight;
        const bool was_any = counter.sum > 0;
        counter.sum = counter.sum - old_weight + new_weight;
        if (new_weight > 0 && (!was_any || before.sequence > counter.last)) {
            counter.last = changed.sequence;
            counter.last_at = changed.at;
        }
        if (new_weight == 0 && old_weight > 0) {
            skip(counter);
            if (counter.last == changed.sequence) find_last(counter, index);
            // A fixed window that nothing is left in was never opened.
            if (counter.period == Period::kFixed && counter.sum == 0) counter.running = false;
        }
    }
}

void Account::find_last(Counter& counter, std::size_t before) {
    if (counter.sum == 0) return;
    for (std::size_t i = before; i > counter.first; --i) {
        const Entry& entry = entries_[i - 1];
        if (counter.weight(entry) == 0) continue;
        counter.last = entry.sequence;
        counter.last_at = entry.at;
        return;
    }
}

Subject* Account::remove(Sequence sequence) {
    const std::size_t index = find(sequence);
    if (index == entries_.size()) return nullptr;
    Entry changed = entries_[index];
    changed.gone = true;
    changed.open = false;
    ++gone_;
    change(index, changed);
    return std::exchange(entries_[index].subject, nullptr);
}

bool Account::settle(Sequence sequence, const std::optional<Amounts>& used, LedgerTime now) {
    const std::size_t index = find(sequence);
    if (index == entries_.size()) return false;
    Entry changed = entries_[index];
    changed.open = false;
    if (used) changed.set(*used);
    amend(index, changed, now);
    return true;
}

bool Account::restate(Sequence sequence, const Amounts& amounts, LedgerTime now) {
    const std::size_t index = find(sequence);
    if (index == entries_.size()) return false;
    Entry changed = entries_[index];
    changed.set(amounts);
    amend(index, changed, now);
    return true;
}

void Account::amend(std::size_t index, const Entry& changed, LedgerTime now) {
    const Entry before = entries_[index];
    change(index, changed);
    // One that begins to count only now opens the window that it would have opened.
    for (Counter& counter : counters_) {
        if (counter.period != Period::kFixed || counter.weight(before) > 0) continue;
        if (counter.weight(changed) == 0 || (counter.running && counter.ends > now)) continue;
        find_window(counter, now);
    }
}

std::uint64_t Account::forgive(Sequence until, const Pattern& pattern, LedgerTime now) {
    std::uint64_t forgiven = 0;
    for (std::size_t i = front_; i < entries_.size() && entries_[i].sequence <= until; ++i) {
        if (entries_[i].gone || entries_[i].forgiven) continue;
        if (!pattern.fits(*entries_[i].subject)) continue;
        Entry changed = entries_[i];
        changed.forgiven = true;
        change(i, changed);
        if (changed.at + kHistory > now) ++forgiven;
    }
    return forgiven;
}

void Account::trim(std::size_t in_use) {
    const std::size_t most = std::max(kCounters, 2 * in_use);
    while (counters_.size() > most) {
        counters_.erase(std::ranges::min_element(counters_, {}, &Counter::last_use));
    }
}

void Account::drop_front() {
    entries_.erase(entries_.begin(), std::next(entries_.begin(), offset(front_)));
    for (Counter& counter : counters_) counter.first -= std::min(counter.first, front_);
    front_ = 0;
    gone_ = static_cast<std::size_t>(std::ranges::count(entries_, true, &Entry::gone));
}

void Account::drop_gone() {
    // How many are dropped before each window's first.
    for (Counter& counter : counters_) {
        const auto end =
            std::next(entries_.begin(), offset(std::min(counter.first, entries_.size())));
        const auto dropped = std::count_if(
            std::next(entries_.begin(), offset(std::min(front_, counter.first))),
            end,
            [](const Entry& entry) { return entry.gone; }
        );
        counter.first -= static_cast<std::size_t>(dropped);
    }
    const auto live = std::next(entries_.begin(), offset(front_));
    entries_.erase(
        std::remove_if(live, entries_.end(), [](const Entry& entry) { return entry.gone; }),
        entries_.end()
    );
    gone_ = 0;
}

// ---------------------------------------------------------------- fixed windows on disk

void Account::load_opened(std::string counter, LedgerTime at) {
    opened_.push_back({std::move(counter), at, false});
}

std::vector<std::pair<std::string, LedgerTime>> Account::take_opened() {
    std::vector<std::pair<std::string, LedgerTime>> taken;
    for (Opened& opened : opened_) {
        if (std::exchange(opened.changed, false)) taken.emplace_back(opened.counter, opened.at);
    }
    return taken;
}

void Account::keep_opened() noexcept {
    for (Opened& opened : opened_) opened.changed = true;
}

}  // namespace weir::quota
