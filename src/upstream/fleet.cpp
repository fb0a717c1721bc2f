#include "weir/upstream/fleet.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "weir/base/log.hpp"

#include "fleet_state.hpp"

namespace weir::upstream {

namespace {

std::uint64_t digest_of(std::string_view text) noexcept {
    return std::hash<std::string_view>()(text);
}

std::shared_ptr<KeyState> key_of(const UpstreamState& state, const Target& target) {
    const std::uint64_t digest = digest_of(target.upstream->key_at(target.key));
    // An older config may have had it elsewhere in its list.
    const auto same = [digest](const auto& key) { return key->digest == digest; };
    if (target.key < state.keys.size() && same(state.keys[target.key])) {
        return state.keys[target.key];
    }
    const auto found = std::ranges::find_if(state.keys, same);
    return found != state.keys.end() ? *found : std::make_shared<KeyState>();
}

std::shared_ptr<UpstreamState> make_state(const config::Upstream& upstream) {
    auto state = std::make_shared<UpstreamState>();
    state->name = upstream.name;
    state->url = upstream.url;
    return state;
}

void take_over(UpstreamState& state, const config::Upstream& upstream) {
    std::vector<std::shared_ptr<KeyState>> keys;
    const std::size_t count = std::max<std::size_t>(upstream.keys.size(), 1);
    keys.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        std::shared_ptr<KeyState> key = key_of(state, {&upstream, i});
        key->digest = digest_of(upstream.key_at(i));
        keys.push_back(std::move(key));
    }
    state.keys = std::move(keys);
    state.line = upstream.at_once;
    state.call_next(Deadline::Clock::now());  // there may be more room now
}

}  // namespace

// ---- Errand

Errand::Errand(
    const config::Config& config,
    const Route& route,
    std::optional<Target> pin,
    std::string_view model,
    std::uint64_t who
)
    : config_(&config),
      upstreams_(route.upstreams),
      pin_(pin),
      model_(digest_of(model)),
      who_(who) {
    if (pin_) upstreams_ = {pin_->upstream};
}

bool Errand::tried(const Target& target, const Outcome& outcome, Next next) {
    const Blame whose = blame(outcome);
    tried_.push_back(
        {.target = target,
         .of_upstream = whose == Blame::kUpstream || whose == Blame::kNobody,
         .next = next}
    );
    paid_ = false;
    paused_ = false;
    if (next == Next::kNowhere) return false;
    const bool sent_again =
        next == Next::kOtherUpstream && (outcome.status == 0 || outcome.broke_off);
    if (sent_again && std::exchange(sent_again_, true)) return false;
    return tried_.size() < config_->retry.attempts;
}

// ---- Permit

Permit::Permit(Permit&& other) noexcept {
    *this = std::move(other);
}

Permit& Permit::operator=(Permit&& other) noexcept {
    if (this == &other) return *this;
    std::swap(fleet_, other.fleet_);
    std::swap(state_, other.state_);
    std::swap(key_, other.key_);
    std::swap(model_, other.model_);
    std::swap(who_, other.who_);
    std::swap(counted_, other.counted_);
    std::swap(probes_state_, other.probes_state_);
    std::swap(probes_key_, other.probes_key_);
    std::swap(noted_, other.noted_);
    return *this;
}

Permit::~Permit() {
    if (fleet_ == nullptr) return;
    const MutexLock lock(fleet_->mutex_);
    if (!noted_ && probes_state_) state_->breaker.drop_probe();
    if (!noted_ && probes_key_) key_->breaker.drop_probe();
    fleet_->give_back(*state_, who_, counted_);
}

void Permit::note(const Outcome& outcome, const http::Fields& fields, Fleet::Time now) {
    if (fleet_ == nullptr || std::exchange(noted_, true)) return;
    const Blame whose = blame(outcome);
    bool opened = false;
    bool closed = false;
    {
        const auto wall =
            std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
        Fleet& fleet = *fleet_;
        const MutexLock lock(fleet.mutex_);
        const std::uint32_t break_after = fleet.policy_.break_after;
        const milliseconds rest_time = fleet.policy_.rest;
        Breaker& upstream = state_->breaker;
        if (whose == Blame::kUpstream) {
            opened = upstream.fail(probes_state_, break_after, rest_time, now);
        } else if (outcome.status != 0) {
            closed = upstream.succeed();
        } else if (probes_state_) {
            upstream.drop_probe();
        }
        Breaker& key = key_->breaker;
        if (whose == Blame::kKey) {
            opened = key.fail(probes_key_, break_after, rest_time, now) || opened;
        } else if (whose == Blame::kNobody) {
            closed = key.succeed() || closed;
        } else if (probes_key_) {
            key.drop_probe();
        }
        if (opened) ++state_->opened;
        if (outcome.status == 429 && whose != Blame::kKey) {
            key_->rest(model_, told_wait(fields, wall), now);
        } else if (whose == Blame::kNobody) {
            if (const auto rest = rest_by_room(fields, wall)) {
                key_->rest(model_, rest, now);
            } else {
                key_->is_well(model_);
            }
        }
    }
    if (opened) {
        log::warn(
            "an upstream fails again and again: it is left alone for a while",
            {{"upstream", std::string_view(state_->name)},
             {"why", std::string_view(whose == Blame::kKey ? "its key is refused" : "it fails")}}
        );
    }
    if (closed) {
        log::info("an upstream is back", {{"upstream", std::string_view(state_->name)}});
    }
}

// ---- Place

Place& Place::operator=(Place&& other) noexcept {
    if (this != &other) {
        const Place left = std::move(*this);
        fleet_ = std::exchange(other.fleet_, nullptr);
        ticket_ = std::move(other.ticket_);
    }
    return *this;
}

Place::~Place() {
    if (!ticket_) return;
    const MutexLock lock(fleet_->mutex_);
    fleet_->leave(*ticket_);
}

bool Place::called() const {
    if (!ticket_) return false;
    const MutexLock lock(fleet_->mutex_);
    return ticket_->called;
}

// ---- Fleet

// An upstream's key that a message may go to, with what decides when.
struct Fleet::Candidate {
    enum class State : std::uint8_t { kReady, kBroken, kResting };
    Target target;
    StatePtr state;
    std::shared_ptr<KeyState> key;
    State is = State::kReady;
    Time until;      // of kResting
    int again = 0;   // 0: new; 1: another key of an upstream that failed; 2: the same
    double lot = 0;  // of those alike, the smallest first

    [[nodiscard]] std::tuple<State, bool, int, int> rank() const noexcept {
        return {is, again > 0, target.upstream->priority, again};
    }
};

bool Fleet::same_rank(const Candidate& a, const Candidate& b) noexcept {
    return a.rank() == b.rank();
}

Fleet::Fleet(std::uint64_t seed) : random_(seed) {}

Fleet::~Fleet() = default;

void Fleet::follow(const config::Config& config) {
    const MutexLock lock(mutex_);
    policy_ = config.retry;
    decltype(states_) next;
    next.reserve(config.upstreams.size());
    for (const config::Upstream& upstream : config.upstreams) {
        const auto found = states_.find(upstream.name);
        const bool same = found != states_.end() && found->second->url == upstream.url;
        StatePtr state = same ? found->second : make_state(upstream);
        take_over(*state, upstream);
        next.emplace(upstream.name, std::move(state));
    }
    // Who waits before what is gone goes there still: its message began under that config.
    for (const auto& [name, state] : states_) {
        const auto kept = next.find(name);
        if (kept != next.end() && kept->second == state) continue;
        state->line.calls = 0;
        state->call_next(Deadline::Clock::now());
    }
    states_ = std::move(next);
}

// What a message that began under an older config means is not always there any more; what happens
// to it there nobody needs to know.
Fleet::StatePtr Fleet::state_of(const config::Upstream& upstream) {
    const auto found = states_.find(std::string_view(upstream.name));
    if (found != states_.end() && found->second->url == upstream.url) return found->second;
    return make_state(upstream);
}

void Fleet::add_candidate(
    const Errand& errand, const config::Upstream& upstream, Time now, std::vector<Candidate>& all
) {
    const StatePtr state = state_of(upstream);
    const std::size_t keys = std::max<std::size_t>(upstream.keys.size(), 1);
    const std::size_t first = errand.pin_ ? errand.pin_->key : state->next_key;
    std::optional<Candidate> best;
    for (std::size_t i = 0; i < (errand.pin_ ? 1 : keys); ++i) {
        Candidate one;
        one.target = {&upstream, (first + i) % keys};
        one.state = state;
        bool closed = false;
        for (const Errand::Tried& tried : errand.tried_) {
            if (tried.target.upstream != &upstream) continue;
            const bool same = tried.target == one.target;
            closed = closed || tried.next == Next::kOtherUpstream ||
                     (same && tried.next == Next::kOtherKey);
            if (same) one.again = 2;
            if (tried.of_upstream) one.again = std::max(one.again, 1);
        }
        if (closed) continue;
        one.key = key_of(*state, one.target);
        if (const Time until = one.key->rests_until(errand.model_); until > now) {
            one.is = Candidate::State::kResting;
            one.until = until;
        } else if (!state->breaker.lets_pass(now) || !one.key->breaker.lets_pass(now)) {
            one.is = Candidate::State::kBroken;
        }
        const auto rank = [](const Candidate& c) { return std::tuple(c.is, c.again, c.until); };
        if (!best || rank(one) < rank(*best)) best = std::move(one);
    }
    if (!best) return;
    const double share = std::max(upstream.weight, 0);
    const double drawn = std::uniform_real_distribution<double>(1e-12, 1)(random_);
    // The smallest of such lots falls to each with the odds of its share.
    best->lot = share > 0 ? -std::log(drawn) / share : HUGE_VAL;
    all.push_back(std::move(*best));
}

std::vector<Fleet::Candidate> Fleet::candidates(
    const Errand& errand, Time now, const UpstreamState* held
) {
    std::vector<Candidate> all;
    all.reserve(errand.upstreams_.size());
    for (const config::Upstream* const upstream : errand.upstreams_) {
        add_candidate(errand, *upstream, now, all);
    }
    // Who waited somewhere goes there, if it can.
    const auto rank = [held](const Candidate& c) {
        return std::tuple(c.rank(), held == nullptr || c.state.get() != held, c.lot);
    };
    std::ranges::sort(all, {}, rank);
    return all;
}

// What asks an upstream more than once for a message, or asks one that fails as well, is bounded.
bool Fleet::pays(Errand& errand, const Candidate& one, Time now) {
    const bool extra = one.again > 0 || one.state->breaker.failures() > 0;
    if (errand.tried_.empty() || !extra || errand.paid_) return true;
    errand.paid_ = one.state->budget.take(policy_.budget_percent, now);
    return errand.paid_;
}

Permit Fleet::call(const Errand& errand, const Candidate& chosen, bool has_place, Time now) {
    UpstreamState& state = *chosen.state;
    if (!errand.pin_) state.next_key = chosen.target.key + 1;
    if (errand.tried_.empty()) state.budget.count(now);
    Permit permit;
    permit.fleet_ = this;
    permit.state_ = chosen.state;
    permit.key_ = chosen.key;
    permit.model_ = errand.model_;
    permit.who_ = errand.who_;
    permit.counted_ = has_place || state.enter(errand.who_);
    if (state.breaker.lets_pass(now)) permit.probes_state_ = state.breaker.begin_probe();
    if (chosen.key->breaker.lets_pass(now)) permit.probes_key_ = chosen.key->breaker.begin_probe();
    return permit;
}

// The place that it has in that line already stays.
Choice Fleet::wait(
    const Errand& errand,
    const Candidate& chosen,
    const std::shared_ptr<Signal>& signal,
    Place& place
) {
    Choice choice;
    choice.kind = Choice::Kind::kWait;
    choice.target = chosen.target;
    if (place.ticket_ && !place.ticket_->called && place.ticket_->state == chosen.state) {
        choice.place = std::move(place);
        return choice;
    }
    auto ticket = std::make_shared<UpstreamTicket>();
    ticket->state = chosen.state;
    ticket->who = errand.who_;
    ticket->signal = signal;
    chosen.state->join(ticket);
    choice.place.fleet_ = this;
    choice.place.ticket_ = std::move(ticket);
    return choice;
}

Choice Fleet::choose(Errand& errand, const std::shared_ptr<Signal>& signal, Time now, Place place) {
    using State = Candidate::State;
    const MutexLock lock(mutex_);
    Choice choice;
    // Its turn has come: the place is used, or given back where the call goes elsewhere.
    const bool called = place.ticket_ && place.ticket_->called;
    const UpstreamState* const held = called ? place.ticket_->state.get() : nullptr;
    const std::vector<Candidate> all = candidates(errand, now, held);
    const Candidate* queue = nullptr;
    const Candidate* full = nullptr;
    for (const Candidate& one : all) {
        // Rather there than in a line; rather in a line than behind it in priority.
        if (queue != nullptr && !same_rank(one, *queue)) break;
        // A first call may go to what is broken, if that is all there is.
        if (one.is == State::kResting || (one.is == State::kBroken && errand.calls() > 0)) continue;
        if (!pays(errand, one, now)) continue;
        if (one.again > 0 && !errand.paused_) {
            choice.kind = Choice::Kind::kPause;
            choice.target = one.target;
            break;
        }
        if (one.state.get() == held || one.state->has_room(errand.who_, now)) {
            choice.kind = Choice::Kind::kCall;
            choice.target = one.target;
            choice.permit = call(errand, one, one.state.get() == held, now);
            if (one.state.get() == held) place.ticket_.reset();
            break;
        }
        const bool room = one.state->waiting < one.state->line.queue ||
                          (place.ticket_ && place.ticket_->state == one.state);
        const Candidate*& first = room ? queue : full;
        if (first == nullptr) first = &one;
    }
    if (choice.kind == Choice::Kind::kNothing && queue != nullptr) {
        choice = wait(errand, *queue, signal, place);
    } else if (choice.kind == Choice::Kind::kNothing && full != nullptr) {
        choice.kind = Choice::Kind::kFull;
        choice.target = full->target;
    } else if (choice.kind == Choice::Kind::kNothing) {
        const Candidate* soonest = nullptr;
        for (const Candidate& one : all) {
            if (one.is != State::kResting) continue;
            if (soonest == nullptr || one.until < soonest->until) soonest = &one;
        }
        // Nobody is to wait for a call that would then be refused.
        if (soonest != nullptr && pays(errand, *soonest, now)) {
            choice.kind = Choice::Kind::kResting;
            choice.target = soonest->target;
            choice.until = soonest->until;
        }
    }
    if (place.ticket_) leave(*std::exchange(place.ticket_, nullptr));
    return choice;
}

void Fleet::give_back(UpstreamState& state, std::uint64_t who, bool counted) {
    const Time now = Deadline::Clock::now();
    state.leave(who, counted, now);
    state.call_next(now);
}

void Fleet::leave(UpstreamTicket& ticket) {
    if (ticket.called) {
        give_back(*ticket.state, ticket.who, true);
    } else {
        ticket.state->drop(ticket);
        ticket.state->call_next(Deadline::Clock::now());
    }
}

Fleet::Shown Fleet::show(std::string_view upstream, Time now) const {
    const MutexLock lock(mutex_);
    Shown shown;
    const auto found = states_.find(upstream);
    if (found == states_.end()) return shown;
    const UpstreamState& state = *found->second;
    shown.broken = state.breaker.is_open();
    shown.in_flight = state.in_flight;
    shown.waiting = state.waiting;
    shown.opened = state.opened;
    for (const auto& key : state.keys) {
        if (key->breaker.is_open()) ++shown.keys_broken;
        const auto rests = [now](const KeyState::Rest& rest) { return rest.until > now; };
        if (std::ranges::any_of(key->rests, rests)) ++shown.keys_resting;
    }
    return shown;
}

}  // namespace weir::upstream
