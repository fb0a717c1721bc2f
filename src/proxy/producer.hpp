// The producer of a flight: one upstream call under one reservation. It belongs to the flight, not
// to the exchange that started it: it goes on while anybody listens, and settles when it ends.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "weir/cache/flight.hpp"
#include "weir/http/api.hpp"
#include "weir/proxy/exchange.hpp"
#include "weir/proxy/worker.hpp"

namespace weir::proxy {

// All that the call needs, taken from the exchange that starts it.
struct FlightPlan {
    std::shared_ptr<cache::Flight> flight;
    quota::Reservation reservation;
    SnapshotPtr snapshot;
    std::shared_ptr<const config::Upstream> upstream;
    std::size_t key_number = 0;  // of the upstream's keys
    std::string request_id;
    upstream::CallRequest request;       // its body points into `body`
    std::shared_ptr<const Buffer> body;  // as the client sent it, or with another model or options
    std::shared_ptr<IncomingBody> upload;  // in its place
    http::Shape shape = http::Shape::kOther;
    http::Api api = http::Api::kOpenAi;
    std::uint64_t choices = 1;
    bool limit_set = false;
    bool usage_asked = false;  // of the stream, by the client or by us
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
};

// The call that a miss makes. `reservation` may be empty for what is free. nullptr: a body that has
// to be rewritten has no room in `bodies`.
[[nodiscard]] std::unique_ptr<FlightPlan> plan_flight(
    Exchange& x,
    const http::RequestHead& head,
    std::shared_ptr<cache::Flight> flight,
    quota::Reservation reservation,
    BufferBudget& bodies
);

// Starts it on this worker and returns at once.
void take_off(Worker& worker, std::unique_ptr<FlightPlan> plan);

}  // namespace weir::proxy
