// Stages 2 and 5 of the line: who asks, for which model.
#include "classify.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "weir/base/text.hpp"
#include "weir/http/crossing.hpp"
#include "weir/proxy/proxy.hpp"

#include "endpoint.hpp"
#include "estimate.hpp"

namespace weir::proxy {

namespace {

constexpr std::size_t kLongestModel = 256;  // the ledger keeps each name that it counts

bool any_matches(const std::vector<std::string>& patterns, std::string_view name) noexcept {
    return std::ranges::any_of(patterns, [&](const std::string& pattern) {
        return glob_match(pattern, name);
    });
}

std::optional<http::ApiError> read_json(Exchange& x, bool want_canonical) {
    // An answer of the Responses API repeats these members: who asked first would be told.
    std::span<const std::string> ignored;
    if (x.endpoint->shape != http::Shape::kResponse) ignored = x.snapshot->config->cache.ignore;
    auto read = http::read_json_request(*x.body, want_canonical, ignored);
    if (!read) {
        if (!read.error().param.empty()) {
            return http::invalid_field(read.error().param, read.error().message);
        }
        return http::invalid_json(read.error().message);
    }
    x.json = std::move(*read);
    return std::nullopt;
}

std::optional<http::ApiError> read_form(Exchange& x, const http::RequestHead& head) {
    const std::string_view type = head.fields.find("content-type").value_or("");
    auto form = http::read_form(x.body->view(), type, x.endpoint->files);
    if (!form) return http::invalid_field(form.error().param, form.error().message);
    x.json = std::move(form->request);
    x.form = std::move(form->place);
    return std::nullopt;
}

}  // namespace

// What the body is, by the endpoint's row of the table.
std::optional<http::ApiError> read_request(Exchange& x, const http::RequestHead& head) {
    x.json = {};
    x.form.reset();
    const bool empty = x.body == nullptr || x.body->empty();
    if (empty && !x.endpoint->names_model) return std::nullopt;
    switch (x.endpoint->body) {
        case http::BodyKind::kNone:
            return std::nullopt;
        case http::BodyKind::kRelayed:
            if (!http::is_json(head.fields)) return std::nullopt;
            break;
        case http::BodyKind::kForm:
            if (http::is_json(head.fields)) break;
            return read_form(x, head);
        case http::BodyKind::kJson:
            break;
    }
    return read_json(x, x.storable);
}

std::optional<http::ApiError> check_kinds(const Member& member, bool image, bool audio, bool file) {
    const config::Inputs& inputs = member.plan->inputs;
    std::string_view kind;
    if (image && !inputs.image) kind = "image";
    if (audio && !inputs.audio) kind = "audio";
    if (file && !inputs.file) kind = "file";
    if (kind.empty()) return std::nullopt;
    std::string allowed = "text";
    if (inputs.image) allowed += ", image";
    if (inputs.audio) allowed += ", audio";
    if (inputs.file) allowed += ", file";
    return http::input_not_allowed(kind, member.plan->name, allowed);
}

std::optional<http::ApiError> choose_route(Exchange& x) {
    const config::Config& config = *x.snapshot->config;
    x.asked_model = x.json.model ? *x.json.model : std::string(x.endpoint->default_model);
    if (x.asked_model.empty() && x.endpoint->names_model) {
        return http::invalid_field(
            "model", "The request names no model; add a `model` to the body."
        );
    }
    if (x.asked_model.size() > kLongestModel) {
        return http::invalid_field("model", "The name of the model is longer than 256 bytes.");
    }
    const config::Model* const alias = config.find_model(x.asked_model);
    x.serve_as = alias != nullptr ? alias->serve_as : "";
    x.served_model = x.serve_as.empty() ? x.asked_model : x.serve_as;
    if (!x.asked_model.empty() && !model_allowed(*x.member->plan, x.asked_model, x.served_model)) {
        return http::model_not_allowed(x.asked_model, x.member->plan->name);
    }
    if (x.pin) return route_to_pin(x);
    x.route = upstream::find_route(config, x.served_model, x.serve_as, x.api);
    if (x.route.upstreams.empty()) return http::model_not_found(x.asked_model, x.api);
    return std::nullopt;
}

namespace {

void make_key(Exchange& x, const http::RequestHead& head) {
    std::vector<std::string> fields = http::shaping_fields(head.fields);
    // What was kept while other members were left out is not found any more.
    for (const std::string& name : x.snapshot->config->cache.ignore) {
        fields.push_back("cache.ignore: " + name);
    }
    // Where a stream and a plain answer do not cross, they are different requests.
    const bool crosses = http::crosses(x.endpoint->shape);
    cache::CacheKeyParts parts;
    parts.scope = x.member->scope;
    parts.endpoint = x.path;
    parts.query = head.query();
    parts.fields = fields;
    parts.route = x.route.rule;
    parts.shape = crosses ? "" : x.json.stream ? "stream" : "json";
    parts.variant = x.control.variant;
    parts.canonical = x.json.canonical;
    x.key = std::make_shared<const cache::CacheKey>(cache::make_cache_key(parts));
    std::string().swap(x.json.canonical);  // `= {}` would keep its memory
}

// Models that search the web for each answer, though nothing in the request says so.
bool searches_by_itself(std::string_view model) noexcept {
    static constexpr std::string_view kModels[] = {
        "*-search-preview*", "*-search-api*", "*sonar*", "*:online"
    };
    return std::ranges::any_of(kModels, [model](std::string_view pattern) {
        return glob_match(pattern, model);
    });
}

// Whether the rules of the cache keep answers to such a request.
bool kept_by_rule(const Exchange& x) {
    const config::Cache& cache = x.snapshot->config->cache;
    switch (cache.when_of(x.asked_model, x.served_model, x.member->plan->name)) {
        case config::CacheWhen::kAlways:
            return true;
        case config::CacheWhen::kNever:
            return false;
        case config::CacheWhen::kDeterministic:
            break;
    }
    switch (x.endpoint->shape) {
        case http::Shape::kChat:
        case http::Shape::kCompletion:
        case http::Shape::kResponse:
        case http::Shape::kMessage:
            return x.json.deterministic;
        case http::Shape::kEmbedding:
        case http::Shape::kOther:
            break;
    }
    return true;  // nothing is sampled
}

// How long the answer may be kept: what the config says, or less where the client asks for less.
std::chrono::seconds time_to_live(const Exchange& x) {
    const std::chrono::seconds most =
        x.snapshot->config->cache.ttl_of(x.asked_model, x.served_model, x.member->plan->name);
    return std::min(most, x.control.ttl.value_or(most));
}

}  // namespace

bool model_allowed(
    const config::Plan& plan, std::string_view asked, std::string_view served
) noexcept {
    if (any_matches(plan.deny, asked) || any_matches(plan.deny, served)) return false;
    return any_matches(plan.models, asked) || any_matches(plan.models, served);
}

std::optional<http::ApiError> authenticate(Exchange& x, const http::RequestHead& head) {
    const std::string_view presented = http::presented_key(head.fields);
    if (presented.empty()) return http::missing_key();
    x.member = x.snapshot->find(presented);
    if (x.member == nullptr) return http::unknown_key();
    return std::nullopt;
}

std::optional<http::ApiError> begin_classify(Exchange& x, const http::RequestHead& head) {
    const config::Plan& plan = *x.member->plan;
    const std::size_t bytes = x.body ? x.body->size() : 0;
    if (plan.max_input_bytes > 0 && bytes > plan.max_input_bytes) {
        return http::input_too_large(plan.max_input_bytes, plan.name);
    }
    const config::Cache& cache = x.snapshot->config->cache;
    auto control = http::read_cache_control(head.fields);
    if (!control) return std::move(control.error());
    x.control = std::move(*control);
    const bool cacheable = x.endpoint->cacheable && cache.enabled;
    const bool small = bytes <= cache.max_request_bytes;
    x.storable = cacheable && small && !x.control.no_store;
    return std::nullopt;
}

std::optional<http::ApiError> end_classify(
    Exchange& x, const http::RequestHead& head, const StoredResponses& stored
) {
    if (auto problem =
            check_kinds(*x.member, x.json.has_image, x.json.has_audio, x.json.has_file)) {
        return problem;
    }
    if (auto problem = check_stored_state(x, stored)) return problem;
    if (auto problem = choose_route(x)) return problem;
    // A wish to have the answer stored upstream is not fulfilled by one that is stored here, and
    // what the upstream does for an answer is to be done each time.
    x.storable = x.storable && x.json.canonical_complete && x.json.stateful_fields.empty() &&
                 !x.json.store && !x.json.acts && !searches_by_itself(x.served_model) &&
                 kept_by_rule(x);
    x.shareable = x.storable && !x.control.no_cache;
    if (x.storable) {
        x.ttl = time_to_live(x);
        make_key(x, head);
    }
    if (auto problem = estimate(x)) return problem;
    if (x.endpoint->cacheable) x.cache = x.shareable ? CacheUse::kMiss : CacheUse::kBypass;
    return std::nullopt;
}

}  // namespace weir::proxy
