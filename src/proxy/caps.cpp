// Stage 7 of the line: every cap that covers a message is asked in one step; who is refused may
// wait in line, or be answered by another model.
#include <algorithm>
#include <deque>
#include <utility>

#include <fmt/format.h>

#include "weir/base/text.hpp"
#include "weir/proxy/meters.hpp"
#include "weir/proxy/proxy.hpp"

#include "endpoint.hpp"

namespace weir::proxy {

namespace {

using config::Period;
using config::Unit;
using quota::Refusal;
using std::chrono::microseconds;

std::int64_t wall_us() {
    return std::chrono::duration_cast<microseconds>(
               std::chrono::system_clock::now().time_since_epoch()
    )
        .count();
}

std::string who_has(quota::Whose whose, const Exchange& x) {
    switch (whose) {
        case quota::Whose::kTeam:
            return fmt::format("Your team {} has", x.member->key->team);
        case quota::Whose::kAll:
            return "All keys of this gateway together have";
        case quota::Whose::kKey:
            break;
    }
    return "You have";
}

// "4 hours", "the calendar day (UTC)".
std::string time_of(const config::Cap& cap) {
    return cap.span.count() > 0 ? http::window_words(cap.span) : cap.time_in_words();
}

// "5" of "5 usd".
std::string number_of(const config::Cap& cap, std::uint64_t amount) {
    std::string words = cap.amount_in_words(amount);
    words.resize(std::min(words.find(' '), words.size()));
    return words;
}

http::SpentCap as_text(const Exchange& x, const quota::CapState& state, const Refusal& refusal) {
    const config::Cap& cap = *state.cap;
    http::SpentCap text;
    text.who = who_has(state.whose, x);
    text.used = number_of(cap, state.window.used);
    text.limit = cap.amount_in_words(cap.limit);
    text.models = cap.models;
    text.time = time_of(cap);
    if (cap.unit != Unit::kMessages) {
        text.one = "There is room for it";
        const bool money = cap.unit == Unit::kMoney;
        text.needs = fmt::format(
            "This message may take up to {}.",
            cap.amount_in_words(money ? x.reserve.money : x.reserve.tokens)
        );
    }
    text.never = refusal.why == Refusal::Why::kNever;
    text.retry_after = refusal.retry_after;
    text.free_at_us = wall_us() + refusal.retry_after.count();
    return text;
}

http::ApiError at_once(
    const Exchange& x, const quota::CapState& state, http::Queued queued, microseconds waited
) {
    http::AtOnceCap cap;
    cap.who = who_has(state.whose, x);
    cap.limit = state.cap->limit;
    cap.models = state.cap->models;
    cap.queued = queued;
    cap.waited = std::chrono::floor<std::chrono::milliseconds>(waited);
    return http::at_once_reached(cap);
}

http::ApiError refused(const Exchange& x, const Refusal& refusal) {
    if (refusal.why != Refusal::Why::kBusy) {
        return http::cap_reached(as_text(x, refusal.cap, refusal));
    }
    if (refusal.cap.cap->period == Period::kAtOnce) {
        return at_once(x, refusal.cap, http::Queued::kNo, {});
    }
    return http::reserved_by_others(as_text(x, refusal.cap, refusal));
}

// The cap at once whose line the message may wait in: nothing else refuses it.
const quota::CapState* line_of(const Refusal& refusal) {
    if (refusal.why != Refusal::Why::kBusy) return nullptr;
    const quota::CapState* line = nullptr;
    for (const quota::CapState& state : refusal.all) {
        if (!state.refuses || state.cap->warn) continue;
        if (state.cap->period != Period::kAtOnce || state.cap->queue.count() == 0) return nullptr;
        if (line == nullptr) line = &state;
    }
    return line;
}

// A field's value: what is not printable ASCII is of no use there.
std::string as_field(std::string text) {
    for (char& c : text) {
        if (c < ' ' || c > '~') c = '?';
    }
    return text;
}

// Another model that may answer, and the cap that says so.
struct Then {
    std::string model;
    std::string cap;
};

std::vector<Then> thens_of(const Refusal& refusal) {
    std::vector<Then> thens;
    for (const quota::CapState& state : refusal.all) {
        if (!state.refuses || state.cap->warn || state.cap->then.empty()) continue;
        thens.push_back({state.cap->then, state.cap->name()});
    }
    return thens;
}

}  // namespace

std::string notice_of(const Exchange& x) {
    std::string notice;
    const auto tell = [&notice](const quota::CapState& state, std::string_view what) {
        const config::Cap& cap = *state.cap;
        if (!notice.empty()) notice += "; ";
        notice += fmt::format(
            "{}: {} of {} used{}",
            cap.name(),
            number_of(cap, state.window.used),
            cap.amount_in_words(cap.limit),
            what
        );
    };
    for (const quota::CapState& state : x.caps) {
        const std::uint64_t limit = state.cap->limit;
        const std::uint64_t used = state.window.used;
        if (state.cap->warn) {
            if (state.refuses || used > limit) tell(state, ", only a warning");
        } else if (state.cap->period != Period::kAtOnce && limit > 0 && used >= limit - limit / 5) {
            tell(state, "");
        }
    }
    return as_field(std::move(notice));
}

// The newest snapshot decides: a key that was revoked meanwhile starts nothing.
Proxy::Problem Proxy::decide(
    Exchange& x, bool hit, const quota::Turn* turn, quota::Reservation& reservation
) {
    Meters& meters = worker_.shared.meters;
    const SnapshotPtr newest = worker_.snapshot;
    const Member* const member = newest->find_same(*x.member->key);
    if (member == nullptr) return http::unknown_key();
    x.refusal.reset();
    quota::Decision decision = worker_.shared.ledger.admit(
        {.key = member->account,
         .team = member->team,
         .levels = member->levels,
         .model = x.served_model,
         .endpoint = http::path_behind_v1(x.path),
         .reserve = x.reserve,
         .hit = hit,
         .turn = turn}
    );
    if (decision.error) {
        const bool full = decision.error->code == ErrorCode::kOverloaded;
        return full ? http::ledger_full() : http::storage_down();
    }
    x.caps_known = true;
    x.caps_of = newest;
    if (decision.refusal) {
        x.caps = decision.refusal->all;
        x.refusal = std::move(decision.refusal);
        return refused(x, *x.refusal);
    }
    meters.messages_admitted.add();
    x.caps = std::move(decision.admission->caps);
    const bool warned = std::ranges::any_of(x.caps, &quota::CapState::refuses);
    if (warned) meters.messages_warned.add();
    reservation = std::move(decision.admission->reservation);
    return std::nullopt;
}

// Asks, and waits in line where a cap at once has one; holds nothing meanwhile, and asks all caps
// again at its turn.
Awaitable<Proxy::Problem> Proxy::ask_caps(
    Exchange& x, ClientStream& client, std::shared_ptr<Signal> signal, quota::Reservation& taken
) {
    quota::Turn turn;
    const auto begun = Deadline::Clock::now();
    Deadline patience = Deadline::never();
    while (true) {
        Problem problem = decide(x, false, turn.in_line() ? &turn : nullptr, taken);
        if (!problem || !x.refusal) co_return problem;
        const quota::CapState* const line = line_of(*x.refusal);
        if (line == nullptr) co_return problem;
        if (!turn.in_line()) {
            const Member* const member = x.caps_of->find_same(*x.member->key);
            auto place = worker_.shared.ledger.wait(
                {.key = member->account,
                 .team = member->team,
                 .levels = member->levels,
                 .model = x.served_model,
                 .endpoint = http::path_behind_v1(x.path)},
                *x.refusal,
                signal
            );
            if (!place) co_return at_once(x, *line, http::Queued::kFull, {});
            if (patience == Deadline::never()) {
                patience = Deadline::in(line->cap->queue);
                worker_.shared.meters.messages_queued.add();
            }
            turn = std::move(*place);
        }
        while (!turn.called()) {
            x.client_gone = client.gone();
            if (x.client_gone) co_return std::nullopt;
            if (worker_.stopping) co_return http::draining();
            const auto waited = Deadline::Clock::now() - begun;
            if (patience.passed()) {
                co_return at_once(
                    x,
                    *line,
                    http::Queued::kWaited,
                    std::chrono::duration_cast<microseconds>(waited)
                );
            }
            co_await signal->wait(patience);
        }
    }
}

Proxy::Problem Proxy::overdrawn(const Exchange& x) {
    const Member* const member = worker_.snapshot->find_same(*x.member->key);
    if (member == nullptr) return http::unknown_key();
    const std::vector<quota::CapState> caps =
        worker_.shared.ledger.peek(member->levels, x.served_model, http::path_behind_v1(x.path));
    for (const quota::CapState& state : caps) {
        if (state.cap->warn || state.cap->unit == Unit::kMessages) continue;
        if (state.window.used <= state.cap->limit) continue;
        Refusal refusal;
        refusal.why = state.cap->limit == 0 ? Refusal::Why::kNever : Refusal::Why::kSpent;
        refusal.cap = state;
        refusal.retry_after = state.window.next_free;
        http::SpentCap text = as_text(x, state, refusal);
        text.needs.clear();
        return http::cap_reached(text);
    }
    return std::nullopt;
}

// `hits: counted`: a hit, or a share in somebody else's flight, is a message as well. Behind the
// gate when it returns.
Awaitable<Proxy::Problem> Proxy::charge_hit(Exchange& x, std::shared_ptr<Signal> signal) {
    if (!x.snapshot->config->cache.hits_counted || !x.endpoint->counts) co_return std::nullopt;
    Problem problem = decide(x, true, nullptr, x.hit);
    if (problem) co_return problem;
    while (true) {
        const std::optional<bool> passed = worker_.shared.ledger.gate(x.hit.sequence(), signal);
        if (passed && *passed) co_return std::nullopt;
        if (passed) co_return http::storage_down();
        co_await signal->wait();
    }
}

// The body as if the client had asked for this model, from classify on. False: it may not take the
// request.
Proxy::Problem Proxy::ask_for(
    Exchange& x, const http::RequestHead& head, const std::string& model
) {
    // What works without naming a model must not be told one.
    if (!x.json.model && !x.endpoint->names_model) {
        return http::model_not_allowed(model, x.member->plan->name);
    }
    auto rewritten = body_with_model(x, model, worker_.shared.bodies);
    if (!rewritten) return http::bodies_full();
    x.body = std::make_shared<const Buffer>(std::move(*rewritten));
    x.refusal.reset();  // that was another model's; so are the caps
    x.caps_known = false;
    if (auto problem = begin_classify(x, head)) return problem;
    if (auto problem = read_request(x, head)) return problem;
    return end_classify(x, head, worker_.shared.stored_responses);
}

// A cap is used up: the models that it, and the caps of these, name instead are asked in turn.
Awaitable<Proxy::Problem> Proxy::fall_back(
    Exchange& x, ClientStream& client, std::shared_ptr<Signal> signal, http::ApiError first
) {
    const std::vector<Then> begin = thens_of(*x.refusal);
    std::deque<Then> next(begin.begin(), begin.end());
    if (next.empty()) {
        worker_.shared.meters.messages_refused.add();
        co_return first;
    }
    const Refusal refusal = *x.refusal;
    const SnapshotPtr caps_of = x.caps_of;  // owns what the refusal points at
    const std::string asked = x.asked_model;
    const std::string served = x.served_model;
    const quota::Amounts reserve = x.reserve;
    Refusal soonest = refusal;
    std::vector<std::string> tried = {to_lower(served)};
    x.first_model = asked;
    while (!next.empty()) {
        const Then then = std::move(next.front());
        next.pop_front();
        const std::string name = to_lower(then.model);
        if (std::ranges::find(tried, name) != tried.end()) continue;
        tried.push_back(name);
        if (ask_for(x, client.head(), then.model)) continue;
        x.fallback = as_field(fmt::format("{} -> {}; cap=\"{}\"", asked, then.model, then.cap));
        Problem problem = co_await answer(x, client, signal);
        if (!problem) {
            worker_.shared.meters.messages_fallen_back.add();
            co_return std::nullopt;
        }
        if (!x.refusal) co_return problem;
        using Why = Refusal::Why;
        const bool sooner =
            x.refusal->why == Why::kBusy ||
            (x.refusal->why == Why::kSpent && soonest.why != Why::kBusy &&
             (soonest.why == Why::kNever || x.refusal->retry_after < soonest.retry_after));
        if (sooner) {
            soonest.why = x.refusal->why;
            soonest.retry_after = x.refusal->retry_after;
        }
        const std::vector<Then> further = thens_of(*x.refusal);
        next.insert(next.begin(), further.begin(), further.end());
    }
    // As it was: told is the first cap, with the shortest wait.
    worker_.shared.meters.messages_refused.add();
    x.fallback.clear();
    x.first_model.clear();
    x.asked_model = asked;
    x.served_model = served;
    x.reserve = reserve;
    x.caps = refusal.all;
    x.caps_of = caps_of;
    x.caps_known = true;
    x.cache = CacheUse::kNone;
    x.refusal = refusal;
    if (soonest.why == refusal.why && soonest.retry_after == refusal.retry_after) co_return first;
    soonest.cap = refusal.cap;
    const bool busy = soonest.why == Refusal::Why::kBusy;
    if (busy) co_return http::reserved_by_others(as_text(x, refusal.cap, soonest));
    co_return http::cap_reached(as_text(x, refusal.cap, soonest));
}

}  // namespace weir::proxy
