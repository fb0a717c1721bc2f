// What a miss sends upstream: the caller's own bytes, unless a name or the stream options must
// change.
#include <utility>

#include "weir/http/hygiene.hpp"
#include "weir/http/json_request.hpp"
#include "weir/upstream/target.hpp"

#include "endpoint.hpp"
#include "producer.hpp"

namespace weir::proxy {

namespace {

// The body with its model and stream options as the upstream is to see them. nullptr: no room.
std::shared_ptr<const Buffer> body_for_upstream(
    const Exchange& x, bool inject_usage, BufferBudget& bodies
) {
    http::Rewrite rewrite;
    if (x.body == nullptr || x.body->empty()) return std::make_shared<const Buffer>();
    if (!x.serve_as.empty()) rewrite.model = x.serve_as;  // also where the API's default is meant
    rewrite.add_include_usage = inject_usage;
    if (x.output_limit > 0) {
        rewrite.output_limit = x.output_limit;
        rewrite.output_limit_field = http::output_limit_field(x.endpoint->shape, x.served_model);
    }
    if (!rewrite.model && !inject_usage && !rewrite.output_limit) return x.body;
    auto rewritten = x.form ? body_with_model(x, x.serve_as, bodies)
                            : http::rewrite_body(x.body->view(), x.json, rewrite, &bodies);
    if (!rewritten) return nullptr;
    return std::make_shared<const Buffer>(std::move(*rewritten));
}

}  // namespace

std::unique_ptr<FlightPlan> plan_flight(
    Exchange& x,
    const http::RequestHead& head,
    std::shared_ptr<cache::Flight> flight,
    quota::Reservation reservation,
    BufferBudget& bodies
) {
    auto plan = std::make_unique<FlightPlan>();
    const config::Upstream* const upstream = x.route.upstreams.front();
    plan->flight = std::move(flight);
    plan->reservation = std::move(reservation);
    plan->snapshot = x.snapshot;
    plan->request_id = x.id;
    plan->upstream = {x.snapshot->config, upstream};  // lives as long as its config
    plan->key_number = x.pin ? x.pin->key : 0;
    plan->shape = x.endpoint->shape;
    plan->api = x.api;
    plan->choices = x.json.choices;
    plan->limit_set = x.limit_own;
    plan->served_model = x.served_model;
    plan->owner = x.member->key->name;
    plan->price = x.price;
    plan->ttl = x.ttl;
    plan->finish_abandoned = x.snapshot->config->cache.finish_abandoned;
    plan->shareable = x.shareable;
    plan->key = x.storable ? x.key : nullptr;
    plan->report = std::make_shared<CallReport>();
    plan->report->upstream = upstream->name;
    x.call = plan->report;

    // A stream must say what it used: for the caps, and since it may serve a plain request later.
    const bool inject_usage =
        (x.storable || x.endpoint->counts) && x.json.stream && !x.json.include_usage &&
        upstream->stream_usage &&
        (x.endpoint->shape == http::Shape::kChat || x.endpoint->shape == http::Shape::kCompletion);
    plan->usage_asked = inject_usage || x.json.include_usage;
    plan->body = body_for_upstream(x, inject_usage, bodies);
    if (plan->body == nullptr) return nullptr;

    upstream::CallRequest& request = plan->request;
    request.method = head.method;
    request.target = upstream::target_on(
        *upstream, x.path, head.query(), x.serve_as.empty() ? x.asked_model : x.serve_as
    );
    request.fields = http::forwarded_request_fields(head.fields);
    request.fields.set("x-request-id", x.id);
    if (head.method == "GET") {
        for (const std::string_view part : {"range", "if-range"}) {
            if (const auto value = head.fields.find(part)) request.fields.set(part, *value);
        }
    }
    request.body = plan->body->view();
    plan->upload = x.upload;
    if (x.upload) {
        request.source = x.upload;
        request.source_bytes = x.upload->size();
    }
    return plan;
}

}  // namespace weir::proxy
