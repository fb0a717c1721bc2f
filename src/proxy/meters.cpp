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
      streams_broken(
          all.counter("weir_streams_broken_total", "Answers that broke off after their first byte.")
      ),
      duration(all.histogram("weir_request_seconds", "Whole requests.")),
      first_byte(all.histogram(
          "weir_first_byte_seconds", "From a request's head to the first byte of its answer."
      )),
      upstream_first_byte(all.histogram(
          "weir_upstream_first_byte_seconds", "From an upstream call's start to its answer's head."
      )) {}

}  // namespace weir::proxy
