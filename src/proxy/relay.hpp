// From a flight or a cache entry to one client: passed on as it is, or crossed between stream and
// JSON.
#pragma once

#include <memory>

#include "weir/cache/flight.hpp"
#include "weir/cache/response_cache.hpp"
#include "weir/proxy/client_stream.hpp"
#include "weir/proxy/exchange.hpp"
#include "weir/proxy/worker.hpp"

namespace weir::proxy {

enum class Relayed : std::uint8_t {
    kDone,         // answered, or the client is gone
    kAskCaps,      // the flight's starter was refused: this exchange is the starter now
    kCannotCross,  // a joined flight's answer cannot be had as the other kind: ask upstream
};

// Some part of the stored stream carries a usage object, and not just a null.
[[nodiscard]] bool tells_usage(const cache::Entry& entry);
// For the `age` field: whole seconds, never below 0.
[[nodiscard]] std::int64_t age_of(std::int64_t stored_at_s);

// Follows the flight to its end. `signal` is the one that the subscription and the client notify.
[[nodiscard]] Awaitable<Relayed> relay_flight(
    Worker& worker,
    Exchange& x,
    ClientStream& client,
    cache::Subscription& subscription,
    std::shared_ptr<Signal> signal
);

// Answers from a cache entry. False: it cannot be had as the other kind; nothing was sent.
[[nodiscard]] Awaitable<bool> relay_entry(
    Worker& worker, Exchange& x, ClientStream& client, const cache::Entry& entry
);

// Refuses, or ends what was begun so that the client sees that it broke.
[[nodiscard]] Awaitable<> tell_error(
    Worker& worker, Exchange& x, ClientStream& client, const http::ApiError& error
);

}  // namespace weir::proxy
