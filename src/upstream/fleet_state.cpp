#include "fleet_state.hpp"

#include <utility>

namespace weir::upstream {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A 429 that names no time; doubled for each one behind it.
constexpr seconds kUsualRest{2};
constexpr seconds kLongestUntold{60};
// What is told is not believed past it: a wrong header must not take a key out for a day.
constexpr std::chrono::minutes kLongestTold{5};
// Models that a key may rest for at the same time; past it the one that is over first makes room.
constexpr std::size_t kMostRests = 64;
// How long a place is left to a key that is between two calls; and how many keys are remembered.
constexpr std::chrono::seconds kMoment{1};
constexpr std::size_t kMostLately = 8;
// Of fewer places none is left free: it would be too large a share.
constexpr std::uint32_t kFewPlaces = 4;

}  // namespace

Time KeyState::rests_until(std::uint64_t model) const noexcept {
    const auto found = std::ranges::find(rests, model, &Rest::model);
    return found == rests.end() ? Time() : found->until;
}

void KeyState::rest(std::uint64_t model, std::optional<milliseconds> told, Time now) {
    auto found = std::ranges::find(rests, model, &Rest::model);
    if (found == rests.end()) {
        if (rests.size() >= kMostRests)
            rests.erase(std::ranges::min_element(rests, {}, &Rest::until));
        found = rests.insert(rests.end(), Rest{.model = model});
    }
    if (told) {
        found->untold = 0;
        found->until = now + std::min<milliseconds>(*told, kLongestTold);
        return;
    }
    const auto longer = kUsualRest * (1U << std::min(found->untold, 5U));
    ++found->untold;
    found->until = now + std::min<milliseconds>(longer, kLongestUntold);
}

void KeyState::is_well(std::uint64_t model) noexcept {
    if (rests.empty()) return;
    std::erase_if(rests, [model](const Rest& rest) { return rest.model == model; });
}

bool UpstreamState::may_take(std::uint64_t who, Time now) const noexcept {
    if (!bounded() || in_flight + 1 < line.calls) return true;
    if (in_flight >= line.calls) return false;
    const auto own = by_who.find(who);
    if (line.calls < kFewPlaces || own == by_who.end() || own->second.in_flight == 0) return true;
    return std::ranges::none_of(lately, [&](const Left& left) {
        return left.who != who && now - left.at < kMoment && !by_who.contains(left.who);
    });
}

bool UpstreamState::has_room(std::uint64_t who, Time now) const noexcept {
    return may_take(who, now) && (waiting == 0 || !bounded() || !by_who.contains(who));
}

bool UpstreamState::enter(std::uint64_t who) {
    ++in_flight;
    if (bounded()) ++by_who[who].in_flight;
    return bounded();
}

void UpstreamState::leave(std::uint64_t who, bool counted, Time now) {
    --in_flight;
    if (!counted) return;
    --by_who[who].in_flight;
    forget_if_idle(who);
    auto left = std::ranges::find(lately, who, &Left::who);
    if (left == lately.end() && lately.size() < kMostLately) {
        left = lately.insert(left, Left{});
    } else if (left == lately.end()) {
        left = std::ranges::min_element(lately, {}, &Left::at);
    }
    *left = {who, now};
}

void UpstreamState::join(const std::shared_ptr<UpstreamTicket>& ticket) {
    Who& own = by_who[ticket->who];
    if (own.waiting.empty()) order.push_back(ticket->who);
    own.waiting.push_back(ticket);
    ++waiting;
}

void UpstreamState::call_next(Time now) {
    while (waiting > 0) {
        // Who has the fewest in flight; of several the one whose turn was longest ago.
        const auto next = std::ranges::min_element(order, {}, [this](std::uint64_t who) {
            return by_who.find(who)->second.in_flight;
        });
        const std::uint64_t who = *next;
        if (!may_take(who, now)) return;
        order.erase(next);
        Who& own = by_who.find(who)->second;
        const std::shared_ptr<UpstreamTicket> ticket = std::move(own.waiting.front());
        own.waiting.pop_front();
        if (!own.waiting.empty()) order.push_back(who);
        --waiting;
        ++in_flight;
        ++own.in_flight;
        ticket->called = true;
        ticket->signal->notify();
    }
}

void UpstreamState::drop(UpstreamTicket& ticket) {
    Who& own = by_who.find(ticket.who)->second;
    std::erase_if(own.waiting, [&ticket](const auto& one) { return one.get() == &ticket; });
    --waiting;
    if (own.waiting.empty()) std::erase(order, ticket.who);
    forget_if_idle(ticket.who);
}

void UpstreamState::forget_if_idle(std::uint64_t who) {
    const auto found = by_who.find(who);
    if (found != by_who.end() && found->second.in_flight == 0 && found->second.waiting.empty()) {
        by_who.erase(found);
    }
}

}  // namespace weir::upstream
