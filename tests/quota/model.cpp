#include "quota/model.hpp"

#include <algorithm>
#include <cctype>
#include <set>

namespace weir::testing {

using config::Cap;
using config::Period;
using config::Unit;
using quota::Amounts;
using quota::Sequence;
using quota::Whose;
using std::chrono::hours;
using std::chrono::microseconds;

namespace {

constexpr hours kHistory{32 * 24};
constexpr microseconds kTick{1};

// Calendars of its own: a zone is how far its clocks are ahead.
microseconds ahead(std::string_view zone, WallTime at) {
    if (zone == "Asia/Shanghai") return hours(8);
    if (zone != "Europe/Berlin") return hours(0);
    using namespace std::chrono;
    const year_month_day date(floor<days>(at));
    const WallTime summer = sys_days(date.year() / March / Sunday[last]) + hours(1);
    const WallTime winter = sys_days(date.year() / October / Sunday[last]) + hours(1);
    return at >= summer && at < winter ? hours(2) : hours(1);
}

// When the clocks of a zone show this midnight. (None of these zones changes at midnight.)
WallTime shows(std::string_view zone, std::chrono::sys_days midnight) {
    for (const hours guess : {hours(0), hours(1), hours(2), hours(8)}) {
        const WallTime at = WallTime(midnight) - guess;
        if (ahead(zone, at) == guess) return at;
    }
    std::abort();
}

TimeZone::Bounds bounds(const Cap& cap, WallTime wall) {
    using namespace std::chrono;
    const std::string zone = cap.zone ? cap.zone->name() : "UTC";
    const sys_days today = floor<days>(wall + ahead(zone, wall));
    if (cap.period == Period::kDay) return {shows(zone, today), shows(zone, today + days(1))};
    if (cap.period == Period::kWeek) {
        const sys_days monday = today - (weekday(today) - Monday);
        return {shows(zone, monday), shows(zone, monday + days(7))};
    }
    const year_month_day date(today);
    const auto month = date.year() / date.month();
    return {shows(zone, sys_days(month / 1)), shows(zone, sys_days((month + months(1)) / 1))};
}

bool by_grant(const Cap& cap, Whose whose) {
    return whose == Whose::kKey && cap.unit == Unit::kMessages && cap.period != Period::kAtOnce;
}

std::uint64_t of(const Cap& cap, const Amounts& amounts) {
    if (cap.unit == Unit::kMessages) return 1;
    return cap.unit == Unit::kTokens ? amounts.tokens : amounts.money;
}

}  // namespace

// By trying every way.
bool Model::matches(std::string_view pattern, std::string_view text) {
    if (pattern.empty()) return text.empty();
    if (pattern[0] == '*') {
        return matches(pattern.substr(1), text) ||
               (!text.empty() && matches(pattern, text.substr(1)));
    }
    if (text.empty()) return false;
    const bool same = pattern[0] == '?' || std::tolower(pattern[0]) == std::tolower(text[0]);
    return same && matches(pattern.substr(1), text.substr(1));
}

bool Model::covers(const Cap& cap, const ModelMessage& message) {
    return matches(cap.models, message.model) &&
           (cap.endpoints.empty() || message.endpoint.empty() ||
            std::ranges::any_of(cap.endpoints, [&](const std::string& one) {
                return matches(one, message.endpoint);
            }));
}

bool Model::is_of(const std::string& account, const ModelMessage& message) {
    return account == "all" || account == message.key || account == message.team;
}

std::uint64_t Model::weight(
    const std::string& account, const Cap& cap, const ModelMessage& message
) {
    if (!message.counted || !is_of(account, message) || !covers(cap, message)) return 0;
    const bool own = account == message.key;
    if (own && message.forgiven) return 0;
    if (own && message.grant != 0 && cap.unit == Unit::kMessages) return 0;
    return of(cap, message.amounts);
}

// ---------------------------------------------------------------- windows

std::uint64_t Model::since(const Fixed& fixed, LedgerTime opened) const {
    std::uint64_t used = 0;
    for (const ModelMessage& message : messages) {
        if (message.at >= opened) used += weight(fixed.account, fixed.cap, message);
    }
    return used;
}

bool Model::runs(const Fixed& fixed, LedgerTime now) const {
    return fixed.opened && now < *fixed.opened + fixed.cap.span;
}

std::optional<std::pair<LedgerTime, LedgerTime>> Model::window(
    const std::string& account, const Cap& cap, const ModelNow& at
) const {
    if (cap.period == Period::kRolling) return std::pair(at.now - cap.span + kTick, at.now);
    if (cap.period == Period::kFixed) {
        const Fixed& fixed = fixed_.at({account, cap.counter()});
        if (!runs(fixed, at.now)) return std::nullopt;
        return std::pair(*fixed.opened, at.now);
    }
    return std::pair(at.now - (at.wall - bounds(cap, at.wall).begin), at.now);
}

Model::Sum Model::sum(const std::string& account, const Cap& cap, const ModelNow& at) const {
    Sum all;
    for (const ModelMessage& message : messages) {
        if (message.counted && message.open && is_of(account, message) && covers(cap, message)) {
            ++all.in_flight;
        }
    }
    if (cap.period == Period::kAtOnce) {
        all.used = all.in_flight;
        return all;
    }
    const auto in = window(account, cap, at);
    if (!in) return all;
    for (const ModelMessage& message : messages) {
        if (message.at < in->first || message.at > in->second) continue;
        all.used += weight(account, cap, message);
        if (message.open) all.reserved += weight(account, cap, message);
    }
    return all;
}

// When what a cap counts may become less if nothing happens.
std::vector<LedgerTime> Model::moments(
    const std::string& account, const Cap& cap, const ModelNow& at
) const {
    std::set<LedgerTime> all;
    switch (cap.period) {
        case Period::kRolling:
            for (const ModelMessage& message : messages) all.insert(message.at + cap.span);
            break;
        case Period::kFixed:
            if (const auto& opened = fixed_.at({account, cap.counter()}).opened) {
                all.insert(*opened + cap.span);
            }
            break;
        case Period::kDay:
        case Period::kWeek:
        case Period::kMonth:
            all.insert(at.now + (bounds(cap, at.wall).end - at.wall));
            break;
        default:
            break;
    }
    return {all.upper_bound(at.now), all.end()};
}

quota::WindowState Model::state(const ModelClaim& claim, std::string_view model, const ModelNow& at)
    const {
    const Cap& cap = *claim.cap;
    quota::WindowState state;
    state.limit = cap.limit;
    state.used = sum(claim.account, cap, at).used;
    if (by_grant(cap, claim.whose)) {
        for (const ModelGrant& grant : grants) {
            const bool fits = matches(grant.models, model.empty() ? cap.models : model);
            if (grant.key == claim.account && grant.until > at.now && fits) {
                state.extra += left(grant);
            }
        }
    }
    if (state.used == 0) return state;
    for (const LedgerTime moment : moments(claim.account, cap, at)) {
        const std::uint64_t used = sum(claim.account, cap, at.later(moment - at.now)).used;
        if (state.next_free == microseconds(0) && used < std::min(state.used, cap.limit)) {
            state.next_free = moment - at.now;
        }
        if (state.full_reset == microseconds(0) && used == 0) state.full_reset = moment - at.now;
    }
    return state;
}

// ---------------------------------------------------------------- decisions

void Model::see(const ModelAsk& ask, const ModelNow& at) {
    for (const ModelLevel& level : ask.levels) {
        for (const Cap& cap : *level.caps) {
            ModelMessage asked;
            asked.model = ask.model;
            asked.endpoint = ask.endpoint;
            if (cap.period != Period::kFixed || (!ask.model.empty() && !covers(cap, asked))) {
                continue;
            }
            Fixed& fixed = fixed_[{level.account, cap.counter()}];
            if (fixed.seen) continue;
            fixed.seen = true;
            fixed.cap = cap;
            fixed.account = level.account;
            derive(fixed, at.now);
        }
    }
}

// The window that is open by what was written down and what followed, if any.
void Model::derive(Fixed& fixed, LedgerTime now) {
    fixed.opened = fixed.written;
    for (const ModelMessage& message : messages) {
        if (message.at <= now - kHistory) continue;
        if (weight(fixed.account, fixed.cap, message) == 0) continue;
        if (!fixed.opened || message.at >= *fixed.opened + fixed.cap.span) {
            fixed.opened = message.at;
        }
    }
    if (!runs(fixed, now) || since(fixed, *fixed.opened) == 0) {
        fixed.opened.reset();
    } else {
        fixed.written = fixed.opened;
    }
}

std::uint64_t Model::left(const ModelGrant& grant) const {
    const auto used = std::ranges::count_if(messages, [&grant](const ModelMessage& message) {
        return message.counted && message.grant == grant.id;
    });
    return grant.messages - std::uint64_t(used);
}

const ModelGrant* Model::find_grant(const std::string& key, std::string_view model, LedgerTime now)
    const {
    const ModelGrant* best = nullptr;
    for (const ModelGrant& grant : grants) {
        if (grant.key != key || grant.until <= now || !matches(grant.models, model)) continue;
        if (left(grant) == 0) continue;
        if (best == nullptr || grant.until < best->until) best = &grant;
    }
    return best;
}

ModelVerdict Model::judge(const ModelAsk& ask, const ModelNow& at) const {
    ModelVerdict verdict;
    bool others = false;
    bool own = false;
    for (const ModelLevel& level : ask.levels) {
        for (const Cap& cap : *level.caps) {
            ModelMessage asked;
            asked.model = ask.model;
            asked.endpoint = ask.endpoint;
            if (cap.period == Period::kUnlimited) continue;
            if (!ask.model.empty() && !covers(cap, asked)) continue;
            ModelClaim& claim = verdict.claims.emplace_back();
            claim = {&cap, level.whose, level.account, false, false};
            if (ask.hit && (cap.period == Period::kAtOnce || cap.unit != Unit::kMessages)) continue;
            const Sum now = sum(level.account, cap, at);
            if (cap.period == Period::kAtOnce) {
                claim.refuses = claim.busy = now.in_flight >= cap.limit;
            } else if (cap.unit == Unit::kMessages) {
                claim.refuses = now.used >= cap.limit;
            } else {
                const bool fits =
                    now.used < cap.limit && (now.used + of(cap, ask.reserve) <= cap.limit);
                const bool alone = now.used < cap.limit && now.in_flight == 0;
                claim.refuses = !fits && !alone;
                claim.busy =
                    claim.refuses && now.in_flight > 0 && now.used - now.reserved < cap.limit;
            }
            if (cap.limit == 0) claim.busy = false;
            if (claim.refuses && !cap.warn) (by_grant(cap, level.whose) ? own : others) = true;
        }
    }
    if (others) return verdict;
    const ModelGrant* const grant = own ? find_grant(ask.key, ask.model, at.now) : nullptr;
    verdict.admitted = !own || grant != nullptr;
    if (verdict.admitted && grant != nullptr) verdict.grant = grant->id;
    return verdict;
}

// It would be admitted by this cap, or, where it asks for more than the limit, once it is alone.
bool Model::cap_frees(const ModelClaim& claim, const ModelAsk& ask, const ModelNow& at) const {
    const Cap& cap = *claim.cap;
    const Sum then = sum(claim.account, cap, at);
    if (then.used >= cap.limit) return false;
    if (cap.unit == Unit::kMessages) return true;
    const std::uint64_t amount = of(cap, ask.reserve);
    return amount > cap.limit || then.in_flight == 0 || then.used + amount <= cap.limit;
}

std::optional<LedgerTime> Model::frees(const ModelAsk& ask, const ModelNow& at) const {
    std::vector<ModelClaim> waits;
    std::set<LedgerTime> candidates = {at.now};
    for (const ModelClaim& claim : judge(ask, at).claims) {
        if (!claim.refuses || claim.busy || claim.cap->warn) continue;
        waits.push_back(claim);
        const std::vector<LedgerTime> own = moments(claim.account, *claim.cap, at);
        candidates.insert(own.begin(), own.end());
    }
    for (const LedgerTime then : candidates) {
        const bool granted = find_grant(ask.key, ask.model, then) != nullptr;
        const bool free = std::ranges::all_of(waits, [&](const ModelClaim& claim) {
            return (granted && by_grant(*claim.cap, claim.whose)) ||
                   cap_frees(claim, ask, at.later(then - at.now));
        });
        if (free) return then;
    }
    return std::nullopt;
}

// ---------------------------------------------------------------- what happens

// Windows that are over, and those that nothing is left in, are closed.
void Model::close(LedgerTime now) {
    for (auto& [key, fixed] : fixed_) {
        const bool over = fixed.opened && (!runs(fixed, now) || since(fixed, *fixed.opened) == 0);
        if (over) fixed.opened.reset();
    }
}

void Model::add(const ModelAsk& ask, Sequence sequence, std::uint32_t grant, LedgerTime now) {
    close(now);
    ModelMessage& message = messages.emplace_back();
    message.sequence = sequence;
    message.at = now;
    message.key = ask.key;
    message.team = ask.team;
    message.model = ask.model;
    message.endpoint = ask.endpoint;
    message.amounts = ask.hit ? Amounts() : ask.reserve;
    message.grant = grant;
    message.open = !ask.hit;
    for (auto& [key, fixed] : fixed_) {
        if (!fixed.seen || fixed.opened || weight(fixed.account, fixed.cap, message) == 0) continue;
        fixed.opened = fixed.written = now;
    }
}

void Model::settle(Sequence sequence, bool keep, std::optional<Amounts> used, LedgerTime now) {
    for (ModelMessage& message : messages) {
        if (message.sequence != sequence || !message.counted) continue;
        const ModelMessage before = message;
        message.open = false;
        if (!keep) message.counted = false;
        if (keep && used) message.amounts = *used;
        close(now);
        // One that begins to count only now may open a window, or the one it lay in, again.
        for (auto& [key, fixed] : fixed_) {
            if (!fixed.seen || fixed.opened) continue;
            if (weight(fixed.account, fixed.cap, before) > 0) continue;
            if (weight(fixed.account, fixed.cap, message) > 0) derive(fixed, now);
        }
    }
}

std::uint64_t Model::reset(const std::string& key, std::string_view models, LedgerTime now) {
    std::uint64_t count = 0;
    for (ModelMessage& message : messages) {
        if (message.key != key || message.forgiven || !matches(models, message.model)) continue;
        message.forgiven = true;
        if (message.counted && message.at > now - kHistory) ++count;
    }
    close(now);
    return count;
}

void Model::commit(bool fails, bool came_through, LedgerTime now) {
    if (!fails || came_through) {
        for (ModelMessage& message : messages) {
            message.on_disk = message.counted;
            message.disk_amounts = message.amounts;
        }
        for (auto& [key, fixed] : fixed_) fixed.on_disk = fixed.written;
    }
    for (ModelMessage& message : messages) {
        if (fails && message.undecided) message.counted = message.open = false;
        message.undecided = false;
    }
    close(now);
}

void Model::crash() {
    std::erase_if(messages, [](const ModelMessage& message) { return !message.on_disk; });
    for (ModelMessage& message : messages) {
        message.counted = true;
        message.open = false;
        message.undecided = false;
        message.amounts = message.disk_amounts;
    }
    for (auto& [key, fixed] : fixed_) {
        fixed.seen = false;
        fixed.opened.reset();
        fixed.written = fixed.on_disk;
    }
}

std::map<std::pair<std::string, std::string>, LedgerTime> Model::openings() const {
    std::map<std::pair<std::string, std::string>, LedgerTime> all;
    for (const auto& [key, fixed] : fixed_) {
        if (fixed.on_disk) all[key] = *fixed.on_disk;
    }
    return all;
}

}  // namespace weir::testing
