// Stage 3 of the line, and what of a body belongs to it: stored state is an endpoint's, too.
#include "endpoint.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "weir/proxy/proxy.hpp"

namespace weir::proxy {

namespace {

constexpr std::string_view kResponses = "stored_responses";
constexpr std::string_view kAnyMethod = "GET, HEAD, POST, PUT, PATCH, DELETE";

bool opens(const config::Plan& plan, std::string_view group) {
    return std::ranges::find(plan.endpoints, group) != plan.endpoints.end();
}

// The closed endpoints that a field of a body reaches into.
std::string_view group_of(std::string_view field) noexcept {
    static constexpr std::pair<std::string_view, std::string_view> kGroups[] = {
        {"vector_store", "vector_stores"},
        {"skill", "skills"},
        {"file", "files"},
        {"container", "containers"},
        {"conversation", "conversations"},
        {"audio", "stored_completions"},
    };
    for (const auto& [part, group] : kGroups) {
        if (field.find(part) != std::string_view::npos) return group;
    }
    return kResponses;
}

// State is in one account: the first upstream of the kind that has the path, by its first key.
// Where that is does not depend on the model, nor on which upstream is well.
std::optional<http::ApiError> pin_to_account(Exchange& x) {
    const bool anthropic = x.api == http::Api::kAnthropic;
    for (const config::Upstream& upstream : x.snapshot->config->upstreams) {
        if ((upstream.kind == config::Kind::kAnthropic) != anthropic) continue;
        x.pin = Pin{upstream.name, 0};
        return std::nullopt;
    }
    return http::no_account(x.path);
}

// "resp_1" of "/v1/responses/resp_1/input_items".
std::string_view response_of(std::string_view path) noexcept {
    constexpr std::string_view kPrefix = "/v1/responses/";
    if (!path.starts_with(kPrefix)) return {};
    path.remove_prefix(kPrefix.size());
    return path.substr(0, path.find('/'));
}

}  // namespace

std::optional<http::ApiError> check_endpoint(
    Exchange& x, const http::RequestHead& head, const StoredResponses& stored
) {
    const std::string_view method = head.method == "HEAD" ? std::string_view("GET") : head.method;
    const http::Found found = http::find_endpoint(method, x.path);
    switch (found.match) {
        case http::Match::kUnknown:
            return http::unknown_path(head.method, x.path);
        case http::Match::kWrongMethod:
            return http::wrong_method(
                head.method,
                x.path,
                found.endpoint->method == "*" ? kAnyMethod : found.endpoint->method
            );
        case http::Match::kFound:
            break;
    }
    x.endpoint = found.endpoint;
    const config::Plan& plan = *x.member->plan;
    const std::string_view group = x.endpoint->group;
    switch (x.endpoint->access) {
        case http::Access::kOpen:
            return std::nullopt;
        case http::Access::kNever:
            return http::closed_endpoint(x.path, plan.name, "");
        case http::Access::kClosed:
            break;
    }
    // What a key was given, it may read again, and take back.
    if (group == kResponses) x.pin = stored.find(response_of(x.path), x.member->account);
    if (x.pin) return std::nullopt;
    if (!opens(plan, group)) return http::closed_endpoint(x.path, plan.name, group);
    return pin_to_account(x);
}

// What the shared upstream account stores belongs to everybody on the team, or to nobody.
std::optional<http::ApiError> check_named_state(const config::Plan& plan, std::string_view field) {
    const std::string_view group = group_of(field);
    if (opens(plan, group)) return std::nullopt;
    return http::closed_endpoint("a body with `" + std::string(field) + "`", plan.name, group);
}

std::optional<http::ApiError> check_stored_state(Exchange& x, const StoredResponses& stored) {
    if (x.endpoint->access == http::Access::kOpen) x.pin.reset();  // another model's body's
    const config::Plan& plan = *x.member->plan;
    bool in_account = false;
    for (const std::string_view field : x.json.stateful_fields) {
        if (field == "previous_response_id" && x.json.previous_response_id) {
            auto given = stored.find(*x.json.previous_response_id, x.member->account);
            if (given) {
                x.pin = std::move(given);
                continue;
            }
            if (!opens(plan, kResponses)) return http::not_your_response(plan.name);
        }
        if (auto closed = check_named_state(plan, field)) return closed;
        in_account = true;
    }
    return in_account && !x.pin ? pin_to_account(x) : std::nullopt;
}

std::optional<http::ApiError> route_to_pin(Exchange& x) {
    const auto& upstreams = x.snapshot->config->upstreams;
    const auto at = std::ranges::find(upstreams, x.pin->upstream, &config::Upstream::name);
    // A reload may have taken away what a response was noted for.
    if (at == upstreams.end()) return http::no_account(x.path);
    x.route = {};
    x.route.upstreams.push_back(&*at);
    return std::nullopt;
}

Result<Buffer> body_with_model(const Exchange& x, std::string_view model, BufferBudget& bodies) {
    if (x.form) return http::rewrite_form(x.body->view(), x.json, *x.form, model, &bodies);
    return http::rewrite_body(x.body->view(), x.json, {.model = model}, &bodies);
}

bool may_go_on(const Exchange& x) noexcept {
    return x.endpoint->shape == http::Shape::kResponse && !x.json.store_off;
}

bool passes_body_on(const Exchange& x, const http::RequestHead& head) noexcept {
    if (x.endpoint->body != http::BodyKind::kRelayed) return false;
    return head.framing != http::Framing::kNone && !http::is_json(head.fields);
}

bool lists_models(const Exchange& x) noexcept {
    return x.endpoint->access == http::Access::kOpen && x.endpoint->body == http::BodyKind::kNone;
}

}  // namespace weir::proxy
