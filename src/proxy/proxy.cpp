#include "weir/proxy/proxy.hpp"

#include <algorithm>
#include <ctime>
#include <random>
#include <utility>

#include "weir/base/crypto.hpp"
#include "weir/base/text.hpp"
#include "weir/http/answer.hpp"
#include "weir/http/rate_headers.hpp"
#include "weir/proxy/meters.hpp"

#include "endpoint.hpp"
#include "estimate.hpp"
#include "producer.hpp"
#include "relay.hpp"
#include "socket_open.hpp"

namespace weir::proxy {

namespace {

constexpr std::uint64_t kLagBytes = 256 << 10;
// Looking at so much takes half a millisecond, or two if it is hashed: another thread's work.
constexpr std::size_t kLongBody = 2 << 20;

std::string_view name_of(CacheUse use) noexcept {
    switch (use) {
        case CacheUse::kHit:
            return "HIT";
        case CacheUse::kMiss:
            return "MISS";
        case CacheUse::kBypass:
            return "BYPASS";
        case CacheUse::kNone:
            break;
    }
    return "";
}

http::RateUnit unit_of(const config::Cap& cap) noexcept {
    if (cap.period == config::Period::kAtOnce) return http::RateUnit::kConcurrent;
    switch (cap.unit) {
        case config::Unit::kTokens:
            return http::RateUnit::kTokens;
        case config::Unit::kMoney:
            return http::RateUnit::kMoney;
        case config::Unit::kMessages:
            break;
    }
    return http::RateUnit::kRequests;
}

std::string_view prefix_of(quota::Whose whose) noexcept {
    switch (whose) {
        case quota::Whose::kTeam:
            return "team ";
        case quota::Whose::kAll:
            return "all ";
        case quota::Whose::kKey:
            break;
    }
    return "";
}

class InProgress {
public:
    explicit InProgress(std::uint64_t& count) noexcept : count_(count) { ++count_; }
    ~InProgress() { --count_; }
    InProgress(const InProgress&) = delete;
    InProgress& operator=(const InProgress&) = delete;

private:
    std::uint64_t& count_;
};

}  // namespace

std::string make_request_id() {
    thread_local std::mt19937_64 generator = [] {
        std::uint64_t seed = 0;
        random_bytes(&seed, sizeof seed);
        return std::mt19937_64(seed);
    }();
    static constexpr std::string_view kDigits = "0123456789abcdef";
    std::string id = "req_";
    id.reserve(28);
    std::uint64_t bits = generator();
    for (int i = 0; i < 24; ++i) {
        if (i == 16) bits = generator();
        id += kDigits[bits & 15];
        bits >>= 4;
    }
    return id;
}

void decorate(Worker& worker, Exchange& x, http::Fields& fields) {
    fields.set("x-request-id", x.id);
    if (x.api == http::Api::kAnthropic) fields.set("request-id", x.id);
    if (!x.attempts.empty()) fields.set("x-weir-attempts", x.attempts);
    if (x.cache != CacheUse::kNone) {
        fields.set("x-cache", name_of(x.cache));
        if (x.cache == CacheUse::kHit) fields.set("age", std::to_string(x.age_s));
        if (x.joined) fields.set("x-weir-flight", "joined");
        if (x.saved) fields.set("x-weir-saved-tokens", std::to_string(x.saved->total()));
        // Names the entry for whoever wants to have it cleared. (Of a digest nobody reads more than
        // an equal request tells.)
        if (x.key && x.cache != CacheUse::kBypass) {
            fields.set("x-weir-cache-entry", to_hex(x.key->hash));
        }
    }
    if (x.member == nullptr) return;
    if (!std::exchange(x.caps_known, true)) {
        x.caps_of = x.snapshot;
        x.caps = worker.shared.ledger.peek(
            x.member->levels, x.served_model, http::path_behind_v1(x.path)
        );
    }
    std::vector<http::RateState> states;
    states.reserve(x.caps.size());
    for (const quota::CapState& state : x.caps) {
        if (state.cap->warn) continue;  // it limits nothing
        states.push_back(
            {.name = std::string(prefix_of(state.whose)) + state.cap->name(),
             .limit = state.window.limit,
             .remaining = state.window.remaining(),
             .window = state.window.length,
             .next_free = state.window.next_free,
             .full_reset = state.window.full_reset,
             .unit = unit_of(*state.cap)}
        );
    }
    http::add_rate_headers(
        fields,
        states,
        x.api,
        std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now())
    );
    if (!x.fallback.empty()) fields.set("x-weir-fallback", x.fallback);
    if (x.refusal) return;
    x.notice = notice_of(x);
    if (!x.notice.empty()) fields.set("x-weir-notice", x.notice);
}

Awaitable<> Proxy::serve(ClientStream& client) {
    Exchange x;
    x.begun = Deadline::Clock::now();
    x.id = client.id();
    x.patience = patience_of(client.head().fields);
    x.snapshot = worker_.snapshot;
    x.path = std::string(client.head().path());
    x.api = http::api_of(x.path);
    const InProgress counted(worker_.exchanges);
    const Problem problem = co_await run(x, client);
    if (problem) co_await tell_error(worker_, x, client, *problem);
    settle(x, client);
}

Awaitable<Proxy::Problem> Proxy::run(Exchange& x, ClientStream& client) {
    const http::RequestHead& head = client.head();
    if (auto problem = authenticate(x, head)) co_return problem;
    if (is_socket_path(x.path) && head.method == "GET") co_return co_await serve_socket(x, client);
    if (auto problem = check_endpoint(x, head, worker_.shared.stored_responses)) {
        co_return problem;
    }
    if (const auto encoding = head.fields.find("content-encoding");
        encoding && !iequals(*encoding, "identity")) {
        co_return http::encoded_body(*encoding);
    }
    Problem broken = co_await take_body(x, client);
    if (broken) co_return broken;
    // A body may take its time: a key that was revoked meanwhile gets nothing, not even a hit.
    if (worker_.snapshot != x.snapshot && worker_.snapshot->find_same(*x.member->key) == nullptr) {
        co_return http::unknown_key();
    }
    const auto signal = Signal::create(worker_.context.get_executor());
    if (lists_models(x)) {
        const Waiting waiting(worker_, signal);
        client.watch(signal);
        auto listed = co_await list_models(worker_, x, client, signal);
        if (!listed) co_return std::move(listed.error());
        decorate(worker_, x, listed->fields);
        x.status = listed->status;
        const bool sent = co_await client.send(*listed);
        x.client_gone = !sent;
        co_return std::nullopt;
    }

    if (auto refused = begin_classify(x, head)) co_return refused;
    Problem problem;
    if (x.body && x.body->size() >= kLongBody) {
        co_await worker_.aside([&] { problem = read_request(x, head); });
    } else {
        problem = read_request(x, head);
    }
    if (problem) co_return problem;
    if (auto refused = end_classify(x, head, worker_.shared.stored_responses)) co_return refused;
    problem = co_await answer(x, client, signal);
    if (!problem || !x.refusal) co_return problem;
    co_return co_await fall_back(x, client, signal, std::move(*problem));
}

Awaitable<Proxy::Problem> Proxy::take_body(Exchange& x, ClientStream& client) {
    const config::Limits& limits = x.snapshot->config->limits;
    if (passes_body_on(x, client.head())) {
        auto upload = client.open_body(limits.upload_bytes);
        if (!upload) co_return std::move(upload.error());
        x.upload = std::move(*upload);
        co_return std::nullopt;
    }
    auto body = co_await client.read_body(limits.body_bytes);
    if (!body) co_return std::move(body.error());
    x.bytes_in = body->size();
    x.body = std::make_shared<const Buffer>(std::move(*body));
    co_return std::nullopt;
}

Awaitable<Proxy::Problem> Proxy::answer(
    Exchange& x, ClientStream& client, std::shared_ptr<Signal> signal
) {
    x.joined = false;  // a model before this one, or a try before this one, may have
    x.age_s = 0;
    x.attempts.clear();
    x.saved.reset();
    if (x.control.only_if_cached) {
        cache::EntryPtr entry;
        if (x.shareable) entry = co_await worker_.shared.cache.find(x.key);
        if (!wants(x, entry)) co_return http::not_cached();
        co_return co_await answer_hit(x, client, signal, entry);
    }
    if (!x.shareable) co_return co_await fly_unshared(x, client, signal);
    if (const auto entry = worker_.shared.cache.find_in_memory(*x.key); wants(x, entry)) {
        co_return co_await answer_hit(x, client, signal, entry);
    }
    cache::FlightBoard::Joined joined = worker_.shared.board.join(x.key, flight_options(x), signal);
    if (joined.started) {
        // Also what an equal request stored between our look and our joining is found here.
        const auto entry = co_await worker_.shared.cache.find(x.key);
        if (wants(x, entry)) {
            hand_over(x, *joined.subscription.flight(), entry);
            co_return co_await answer_hit(x, client, signal, entry);
        }
    } else {
        worker_.shared.meters.flights_joined.add();
        Problem problem = co_await charge_hit(x, signal);
        if (problem) co_return problem;
        x.cache = CacheUse::kHit;
        x.joined = true;
    }
    co_return co_await fly(x, client, signal, std::move(joined.subscription), joined.started);
}

// Others joined while we looked into the file: they get what we found from the flight.
void Proxy::hand_over(const Exchange& x, cache::Flight& flight, cache::EntryPtr entry) {
    worker_.shared.board.remove(*x.key, flight.shared_from_this());
    flight.take_off();
    cache::FlightHead head;
    head.status = entry->status;
    head.entry = std::move(entry);
    flight.publish_head(std::move(head));
    flight.end({.clean = true, .error = std::nullopt});
}

Awaitable<Proxy::Problem> Proxy::answer_hit(
    Exchange& x, ClientStream& client, std::shared_ptr<Signal> signal, cache::EntryPtr entry
) {
    Problem problem = co_await charge_hit(x, signal);
    if (problem) co_return problem;
    const bool served = co_await relay_entry(worker_, x, client, *entry, signal);
    if (served) co_return std::nullopt;
    co_return co_await fly_alone(x, client, signal);
}

// What is there for others cannot be told to this client: an upstream call for it alone.
Awaitable<Proxy::Problem> Proxy::fly_alone(
    Exchange& x, ClientStream& client, std::shared_ptr<Signal> signal
) {
    x.joined = false;
    x.age_s = 0;
    x.saved.reset();
    if (x.control.only_if_cached) {
        x.cache = CacheUse::kMiss;
        co_return http::not_cached();
    }
    // Its answer may be kept: of the kind that this client asks for, it may serve both.
    x.shareable = false;
    x.cache = CacheUse::kBypass;
    co_return co_await fly_unshared(x, client, signal);
}

// Not on the board: nobody else is to find it.
Awaitable<Proxy::Problem> Proxy::fly_unshared(
    Exchange& x, ClientStream& client, std::shared_ptr<Signal> signal
) {
    const auto flight = std::make_shared<cache::Flight>(flight_options(x));
    co_return co_await fly(x, client, signal, *flight->subscribe(signal), true);
}

cache::Flight::Options Proxy::flight_options(const Exchange& x) const {
    cache::Flight::Options options;
    options.lag_limit_bytes = kLagBytes;
    options.budget = &worker_.shared.backlogs;
    const config::Cache& cache = x.snapshot->config->cache;
    if (x.storable) options.backlog_limit_bytes = cache.max_entry_bytes;
    options.may_finish = cache.finish_abandoned.count() > 0;
    return options;
}

Awaitable<Proxy::Problem> Proxy::fly(
    Exchange& x,
    ClientStream& client,
    std::shared_ptr<Signal> signal,
    cache::Subscription subscription,
    bool asking
) {
    const Waiting waiting(worker_, signal);
    client.watch(signal);
    while (true) {
        if (asking) {
            Problem problem;
            x.hit.refund();  // it pays for the whole message now
            x.client_gone = client.gone();
            if (!x.client_gone) {
                problem = co_await admit(x, client, signal, subscription.flight());
            }
            if (x.client_gone || problem) {
                give_up(x, subscription);
                co_return problem;
            }
        }
        const Relayed relayed = co_await relay_flight(worker_, x, client, subscription, signal);
        if (relayed == Relayed::kDone) co_return std::nullopt;
        if (relayed == Relayed::kTooOld || relayed == Relayed::kAskUpstream) {
            // Left first: who does not listen must not hold the others back.
            {
                const cache::Subscription left = std::move(subscription);
            }
            if (relayed == Relayed::kAskUpstream) co_return co_await fly_alone(x, client, signal);
            // Others may want a newer one as well: together.
            x.hit.refund();
            x.cache = CacheUse::kMiss;
            co_return co_await answer(x, client, signal);
        }
        asking = true;
        x.joined = false;
        x.cache = x.shareable ? CacheUse::kMiss : CacheUse::kBypass;
    }
}

// The next subscriber asks the caps for itself. With none left, the next equal request makes a
// flight of its own.
void Proxy::give_up(const Exchange& x, const cache::Subscription& subscription) {
    const std::shared_ptr<cache::Flight>& flight = subscription.flight();
    flight->give_up_asking(subscription.id());
    if (x.shareable && !flight->takes_newcomers()) worker_.shared.board.remove(*x.key, flight);
}

// Every cap that covers the message decides, in one step; then the upstream call starts at once,
// while the charge is being written.
Awaitable<Proxy::Problem> Proxy::admit(
    Exchange& x,
    ClientStream& client,
    std::shared_ptr<Signal> signal,
    std::shared_ptr<cache::Flight> flight
) {
    quota::Reservation reservation;
    if (x.endpoint->counts) {
        Problem problem = co_await ask_caps(x, client, signal, reservation);
        if (problem || x.client_gone) co_return problem;
    }
    auto plan =
        plan_flight(x, client.head(), flight, std::move(reservation), worker_.shared.bodies);
    if (!plan) {
        x.caps_known = false;  // the message was given back
        co_return http::bodies_full();
    }
    take_off(worker_, std::move(plan));
    x.body.reset();
    co_return std::nullopt;
}

// Only of requests that were answered well: then the names in it are those of models that exist.
void Proxy::note_saved(const Exchange& x, std::uint64_t bytes) {
    cache::Answered answered;
    answered.key = x.member->key->name;
    answered.model = x.served_model;
    answered.bytes = bytes;
    if (x.cache == CacheUse::kBypass) answered.outcome = cache::Outcome::kBypass;
    if (x.cache == CacheUse::kHit) {
        answered.outcome = x.joined ? cache::Outcome::kJoined : cache::Outcome::kHit;
        if (x.saved) {
            answered.saved_tokens = x.saved->total();
            answered.saved_money = cost(x.price, *x.saved);
        }
    }
    worker_.shared.savings.add(answered);
}

// Never awaits: also right after the client left.
void Proxy::settle(Exchange& x, const ClientStream& client) {
    Meters& meters = worker_.shared.meters;
    if (x.hit.open() && x.status >= 200 && x.status < 300 && !x.broken) x.hit.charge();
    if (x.cache == CacheUse::kHit) meters.cache_hits.add();
    if (x.cache == CacheUse::kMiss) meters.cache_misses.add();
    if (x.cache == CacheUse::kBypass) meters.cache_bypasses.add();
    if (x.cache != CacheUse::kNone && x.status >= 200 && x.status < 300 && !x.broken) {
        note_saved(x, client.bytes_sent());
    }
    if (x.upload) x.bytes_in = x.upload->bytes_read();
    if (x.client_gone) meters.clients_gone.add();
    if (x.status >= 500)
        meters.requests_5xx.add();
    else if (x.status >= 400)
        meters.requests_4xx.add();
    else if (x.status >= 200)
        meters.requests_2xx.add();
    // A session's length says nothing of how fast requests are.
    if (!x.socket) meters.duration.observe(Deadline::Clock::now() - x.begun);
    if (x.first_byte.count() > 0) meters.first_byte.observe(x.first_byte);
    const std::uint64_t bytes_out = x.socket ? x.socket->bytes_out : client.bytes_sent();
    if (x.snapshot->config->log_requests) log_request(x, client.head(), bytes_out);
}

}  // namespace weir::proxy
