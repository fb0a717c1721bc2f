// What a miss sends upstream: the caller's own bytes, unless a name or the stream options must
// change.
#include <algorithm>
#include <charconv>
#include <optional>
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
    const Exchange& x, const BodyNeed& need, BufferBudget& bodies
) {
    http::Rewrite rewrite;
    if (x.body == nullptr || x.body->empty()) return std::make_shared<const Buffer>();
    // Also where the API's default is meant.
    if (!x.serve_as.empty() || need.model != x.asked_model) rewrite.model = need.model;
    rewrite.add_include_usage = need.usage;
    if (x.output_limit > 0) {
        rewrite.output_limit = x.output_limit;
        rewrite.output_limit_field = http::output_limit_field(x.endpoint->shape, x.served_model);
    }
    if (!rewrite.model && !need.usage && !rewrite.output_limit) return x.body;
    auto rewritten = x.form ? body_with_model(x, need.model, bodies)
                            : http::rewrite_body(x.body->view(), x.json, rewrite, &bodies);
    if (!rewritten) return nullptr;
    return std::make_shared<const Buffer>(std::move(*rewritten));
}

}  // namespace

BodyNeed FlightPlan::need_of(const config::Upstream& upstream) const {
    return {
        .usage = usage_wanted && upstream.stream_usage,
        .model = std::string(upstream::model_on(upstream, asked_upstream))
    };
}

std::shared_ptr<const Buffer> FlightPlan::body_for(const BodyNeed& need) const {
    const auto found = std::ranges::find(bodies, need, &std::pair<BodyNeed, Body>::first);
    return found == bodies.end() ? nullptr : found->second;
}

std::unique_ptr<FlightPlan> plan_flight(
    Exchange& x,
    const http::RequestHead& head,
    std::shared_ptr<cache::Flight> flight,
    quota::Reservation reservation,
    BufferBudget& bodies
) {
    std::optional<upstream::Target> pin;
    if (x.pin) pin = {x.route.upstreams.front(), x.pin->key};
    auto plan = std::make_unique<FlightPlan>();
    plan->flight = std::move(flight);
    plan->reservation = std::move(reservation);
    plan->snapshot = x.snapshot;
    plan->errand =
        upstream::Errand(*x.snapshot->config, x.route, pin, x.served_model, x.member->account);
    plan->request_id = x.id;
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
    plan->patience = x.patience;
    x.call = plan->report;

    plan->asked_upstream = x.serve_as.empty() ? x.asked_model : x.serve_as;
    // A stream must say what it used: for the caps, and since it may serve a plain request later.
    plan->usage_wanted =
        (x.storable || x.endpoint->counts) && x.json.stream && !x.json.include_usage &&
        (x.endpoint->shape == http::Shape::kChat || x.endpoint->shape == http::Shape::kCompletion);
    plan->usage_asked = x.json.include_usage;
    // Most often one, whatever the upstream.
    for (const config::Upstream* const upstream : x.route.upstreams) {
        BodyNeed need = plan->need_of(*upstream);
        if (plan->body_for(need) != nullptr) continue;
        auto body = body_for_upstream(x, need, bodies);
        if (body == nullptr) return nullptr;
        plan->bodies.emplace_back(std::move(need), std::move(body));
    }

    plan->method = head.method;
    plan->path = x.path;
    plan->query = head.query();
    plan->fields = http::forwarded_request_fields(head.fields);
    plan->fields.set("x-request-id", x.id);
    if (head.method == "GET") {
        for (const std::string_view part : {"range", "if-range"}) {
            if (const auto value = head.fields.find(part)) plan->fields.set(part, *value);
        }
    }
    plan->upload = x.upload;
    return plan;
}

Deadline patience_of(const http::Fields& fields) {
    constexpr double kShortestSeconds = 0.1;
    constexpr double kLongestSeconds = 24 * 3600;
    Deadline earliest = Deadline::never();
    for (const std::string_view name : {"x-stainless-timeout", "x-stainless-read-timeout"}) {
        const auto text = fields.find(name);
        if (!text) continue;
        double seconds = 0;
        const char* const begin = text->data();
        const char* const end = begin + text->size();
        const auto [stop, error] = std::from_chars(begin, end, seconds);
        if (error != std::errc{} || stop != end || !(seconds > 0) || seconds > kLongestSeconds)
            continue;
        const auto span = std::chrono::duration<double>(std::max(seconds, kShortestSeconds));
        earliest = earliest.earlier(
            Deadline::in(std::chrono::duration_cast<Deadline::Clock::duration>(span))
        );
    }
    return earliest;
}

}  // namespace weir::proxy
