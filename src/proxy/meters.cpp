#include "weir/proxy/meters.hpp"

namespace weir::proxy {

namespace {

metrics::Counter& requests(metrics::Registry& registry, const char* status) {
    return registry.counter(
        "weir_requests_total", "Requests answered, by class of status.", {{"status", status}}
    );
}

metrics::Counter& cache(metrics::Registry& registry, const char* result) {
    return registry.counter(
        "weir_cache_requests_total",
        "Cacheable requests, by what the cache said.",
        {{"result", result}}
    );
}

metrics::Counter& messages(metrics::Registry& registry, const char* decision) {
    return registry.counter(
        "weir_messages_total", "Messages by what the caps decided.", {{"decision", decision}}
    );
}

metrics::Counter& socket_messages(metrics::Registry& registry, const char* direction) {
    return registry.counter(
        "weir_websocket_messages_total",
        "Messages over WebSockets, from clients (in) and to them (out).",
        {{"direction", direction}}
    );
}

}  // namespace

Meters::Meters(metrics::Registry& all)
    : registry(all),
      requests_2xx(requests(all, "2xx")),
      requests_4xx(requests(all, "4xx")),
      requests_5xx(requests(all, "5xx")),
      clients_gone(
          all.counter("weir_clients_gone_total", "Clients that left before their answer ended.")
      ),
      cache_hits(cache(all, "hit")),
      cache_misses(cache(all, "miss")),
      cache_bypasses(cache(all, "bypass")),
      flights_joined(all.counter(
          "weir_flights_joined_total", "Requests that shared an upstream call in the air."
      )),
      messages_admitted(messages(all, "admitted")),
      messages_refused(messages(all, "refused")),
      messages_refunded(messages(all, "refunded")),
      messages_warned(
          all.counter("weir_messages_warned_total", "Messages admitted past a cap that only warns.")
      ),
      messages_queued(all.counter(
          "weir_messages_queued_total", "Messages that waited in line before a cap at once."
      )),
      messages_fallen_back(all.counter(
          "weir_messages_fallen_back_total",
          "Messages that another model answered, since a cap was used up."
      )),
      upstream_calls(all.counter("weir_upstream_calls_total", "Calls to upstreams.")),
      upstream_failures(all.counter(
          "weir_upstream_failures_total", "Calls to upstreams that brought no 2xx answer."
      )),
      upstream_retries(all.counter(
          "weir_upstream_retries_total", "Further calls for a message, to the same upstream."
      )),
      upstream_failovers(all.counter(
          "weir_upstream_failovers_total", "Further calls for a message, to another upstream."
      )),
      upstream_queued(all.counter(
          "weir_upstream_queued_total", "Messages that waited in the line of an upstream."
      )),
      streams_broken(
          all.counter("weir_streams_broken_total", "Answers that broke off after their first byte.")
      ),
      socket_messages_in(socket_messages(all, "in")),
      socket_messages_out(socket_messages(all, "out")),
      duration(all.histogram("weir_request_seconds", "Whole requests.")),
      first_byte(all.histogram(
          "weir_first_byte_seconds", "From a request's head to the first byte of its answer."
      )),
      upstream_first_byte(all.histogram(
          "weir_upstream_first_byte_seconds", "From an upstream call's start to its answer's head."
      )) {
    all.gauge("weir_websockets", "WebSocket sessions open.", [this] {
        return static_cast<double>(sockets_open.load(std::memory_order_relaxed));
    });
}

void show_upstreams(
    metrics::Registry& all, const upstream::Fleet& fleet, const config::Config& config
) {
    using Shown = upstream::Fleet::Shown;
    const auto show = [&](const char* name, const char* help, auto member) {
        for (const config::Upstream& upstream : config.upstreams) {
            const auto read = [&fleet, member, of = upstream.name] {
                return static_cast<double>(fleet.show(of, Deadline::Clock::now()).*member);
            };
            all.gauge(name, help, read, {{"upstream", upstream.name}});
        }
    };
    show("weir_upstream_in_flight", "Calls in flight to an upstream.", &Shown::in_flight);
    show("weir_upstream_waiting", "Messages in the line of an upstream.", &Shown::waiting);
    show("weir_upstream_broken", "1 while an upstream is left alone.", &Shown::broken);
    show(
        "weir_upstream_keys_broken", "Keys of an upstream that are left alone.", &Shown::keys_broken
    );
    show(
        "weir_upstream_keys_resting",
        "Keys that an upstream wants to be left alone for some model.",
        &Shown::keys_resting
    );
    show(
        "weir_upstream_breaks",
        "How often an upstream, or a key of it, was found broken.",
        &Shown::opened
    );
}

}  // namespace weir::proxy
