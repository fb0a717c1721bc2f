// Every number that /metrics shows about requests, registered once. Labels come from fixed sets and
// from the config, never from clients. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>

#include "weir/config/config.hpp"
#include "weir/metrics/metrics.hpp"
#include "weir/upstream/fleet.hpp"

namespace weir::proxy {

struct Meters {
    explicit Meters(metrics::Registry& all);

    metrics::Registry& registry;
    metrics::Counter& requests_2xx;
    metrics::Counter& requests_4xx;
    metrics::Counter& requests_5xx;
    metrics::Counter& clients_gone;  // left before their answer ended (499 in the log)
    metrics::Counter& cache_hits;
    metrics::Counter& cache_misses;
    metrics::Counter& cache_bypasses;
    metrics::Counter& flights_joined;
    metrics::Counter& messages_admitted;
    metrics::Counter& messages_refused;
    metrics::Counter& messages_refunded;
    metrics::Counter& messages_warned;       // past a cap of `mode: warn`
    metrics::Counter& messages_queued;       // waited in line
    metrics::Counter& messages_fallen_back;  // answered by another model
    metrics::Counter& upstream_calls;
    metrics::Counter& upstream_failures;
    metrics::Counter& upstream_retries;     // further calls for a message, to the same upstream
    metrics::Counter& upstream_failovers;   // and to another one
    metrics::Counter& upstream_queued;      // messages that waited in an upstream's line
    metrics::Counter& streams_broken;       // ended with an error event or an aborted body
    metrics::Counter& socket_messages_in;   // over WebSockets, from clients
    metrics::Counter& socket_messages_out;  // and to them
    std::atomic<std::int64_t> sockets_open = 0;
    metrics::Histogram& duration;    // whole requests
    metrics::Histogram& first_byte;  // until our answer's head
    metrics::Histogram& upstream_first_byte;
};

// How each upstream of the config does, by name; again after each reload.
void show_upstreams(
    metrics::Registry& all, const upstream::Fleet& fleet, const config::Config& config
);

}  // namespace weir::proxy
