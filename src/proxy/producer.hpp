// The producer of a flight: upstream calls, one after the other until one works, under one
// reservation. It belongs to the flight, not to the exchange that started it: it goes on while
// anybody listens, and settles when it ends.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "weir/cache/flight.hpp"
#include "weir/http/api.hpp"
#include "weir/proxy/exchange.hpp"
#include "weir/proxy/worker.hpp"
#include "weir/upstream/fleet.hpp"

namespace weir::proxy {

// What of a body is different from upstream to upstream.
struct BodyNeed {
    bool usage = false;  // the stream is asked to tell its usage, by us
    std::string model;   // as it is called there
    friend bool operator==(const BodyNeed&, const BodyNeed&) = default;
};

// All that the calls need, taken from the exchange that starts them.
struct FlightPlan {
    std::shared_ptr<cache::Flight> flight;
    quota::Reservation reservation;
    SnapshotPtr snapshot;
    upstream::Errand errand;  // where it may go; borrows from the snapshot
    std::string request_id;
    // The request, but for what is different from upstream to upstream.
    std::string method;
    std::string path;
    std::string query;
    std::string asked_upstream;  // the model, as it is asked there
    http::Fields fields;
    // As the client sent it, or with another model or options: for each upstream of the route.
    using Body = std::shared_ptr<const Buffer>;
    std::vector<std::pair<BodyNeed, Body>> bodies;
    std::shared_ptr<IncomingBody> upload;  // in their place: passed on as it comes
    bool usage_wanted = false;             // where the upstream can tell it
    Deadline patience;                     // of the client: behind it nothing is begun any more
    http::Shape shape = http::Shape::kOther;
    http::Api api = http::Api::kOpenAi;
    std::uint64_t choices = 1;
    bool limit_set = false;
    bool usage_asked = false;  // of the stream, by the client
    std::string served_model;
    std::string owner;  // the key whose message it is
    config::Price price;
    std::chrono::seconds ttl{0};  // how long its answer may be kept
    // How long it may go on when nobody listens, so that its answer is kept.
    std::chrono::milliseconds finish_abandoned{0};
    // Set if the whole answer is to be kept; on the board if also `shareable`.
    std::shared_ptr<const cache::CacheKey> key;
    bool shareable = false;
    std::shared_ptr<CallReport> report;

    [[nodiscard]] BodyNeed need_of(const config::Upstream& upstream) const;
    // nullptr: there is none.
    [[nodiscard]] Body body_for(const BodyNeed& need) const;
};

// The calls that a miss makes. `reservation` may be empty for what is free. nullptr: a body that
// has to be rewritten has no room in `bodies`.
[[nodiscard]] std::unique_ptr<FlightPlan> plan_flight(
    Exchange& x,
    const http::RequestHead& head,
    std::shared_ptr<cache::Flight> flight,
    quota::Reservation reservation,
    BufferBudget& bodies
);

// Until when the client waits for its answer to begin, if it says so (SDKs do: x-stainless-timeout,
// x-stainless-read-timeout, in seconds).
[[nodiscard]] Deadline patience_of(const http::Fields& fields);

// Starts it on this worker and returns at once.
void take_off(Worker& worker, std::unique_ptr<FlightPlan> plan);

}  // namespace weir::proxy
