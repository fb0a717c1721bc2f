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
    kTooOld,       // the flight found an entry that is older than this client wants: look again
    kAskUpstream,  // a joined flight's answer is not what this client wants, or cannot be had as
                   // the other kind
};

// Whether an entry that was found (nullptr: none was) is what the client wants: with
// `Cache-Control: max-age` an older one is not.
[[nodiscard]] bool wants(const Exchange& x, const cache::EntryPtr& entry);

// Follows the flight to its end. `signal` is the one that the subscription and the client notify.
[[nodiscard]] Awaitable<Relayed> relay_flight(
    Worker& worker,
    Exchange& x,
    ClientStream& client,
    cache::Subscription& subscription,
    std::shared_ptr<Signal> signal
);

// Answers from a cache entry. False: it cannot be had as the other kind; nothing was sent.
// `signal`: for the pauses of a paced replay; from then on the client notifies it.
[[nodiscard]] Awaitable<bool> relay_entry(
    Worker& worker,
    Exchange& x,
    ClientStream& client,
    const cache::Entry& entry,
    std::shared_ptr<Signal> signal
);

// Refuses, or ends what was begun so that the client sees that it broke.
[[nodiscard]] Awaitable<> tell_error(
    Worker& worker, Exchange& x, ClientStream& client, const http::ApiError& error
);

}  // namespace weir::proxy
