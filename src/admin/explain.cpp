// What would become of a message: the rules of the line (proxy/classify, proxy/caps), without
// sending one.
#include "explain.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "weir/base/text.hpp"
#include "weir/cache/cache_key.hpp"
#include "weir/http/api.hpp"
#include "weir/quota/cap_view.hpp"
#include "weir/upstream/route.hpp"

#include "keys.hpp"
#include "request.hpp"
#include "routes.hpp"

namespace weir::admin {
namespace {

constexpr std::size_t kLongestModel = 256;  // as in proxy/classify

Ruling rule_on(const config::Plan& plan, std::string_view asked, std::string_view served) {
    const auto fitting = [&](const std::vector<std::string>& patterns) {
        const auto found = std::ranges::find_if(patterns, [&](const std::string& pattern) {
            return glob_match(pattern, asked) || glob_match(pattern, served);
        });
        return found == patterns.end() ? std::string_view() : std::string_view(*found);
    };
    if (const auto pattern = fitting(plan.deny); !pattern.empty()) return {false, "deny", pattern};
    if (const auto pattern = fitting(plan.models); !pattern.empty()) {
        return {true, "models", pattern};
    }
    return {};
}

struct Question {
    const Services& services;
    const config::Config& config;
    const config::Plan& plan;
    std::span<const quota::Level> levels;
    std::string_view endpoint;  // the path behind "/v1/"
    bool counts = true;
};

Way way_of(const Question& question, std::string asked) {
    Way way;
    const auto* const alias = question.config.find_model(asked);
    const std::string serve_as = alias == nullptr ? "" : alias->serve_as;
    way.served = serve_as.empty() ? asked : serve_as;
    way.asked = std::move(asked);
    way.ruling = rule_on(question.plan, way.asked, way.served);
    way.route = upstream::find_route(
        question.config, way.served, serve_as, http::api_of("/v1/" + std::string(question.endpoint))
    );
    way.price = question.config.find_price(way.served);
    if (!question.counts) return way;
    way.caps = question.services.ledger.peek(question.levels, way.served, question.endpoint);
    for (const auto& state : way.caps) {
        const bool money = state.cap->unit == config::Unit::kMoney && !state.cap->warn;
        if (money && way.price == nullptr && way.unpriced == nullptr) way.unpriced = state.cap;
    }
    return way;
}

// The models that may answer instead, in the order in which they would be tried if all caps before
// them refused.
std::vector<Fallback> fallbacks_of(const Question& question, const Way& first) {
    std::deque<std::pair<std::string, std::string>> next;
    const auto add = [&next](const Way& way) {
        std::vector<std::pair<std::string, std::string>> further;
        for (const auto& state : way.caps) {
            const config::Cap& cap = *state.cap;
            if (!cap.warn && !cap.then.empty()) further.emplace_back(cap.then, cap.name());
        }
        next.insert(next.begin(), further.begin(), further.end());
    };
    std::vector<std::string> tried = {to_lower(first.served)};
    std::vector<Fallback> all;
    add(first);
    while (!next.empty()) {
        auto [model, cap] = std::move(next.front());
        next.pop_front();
        if (std::ranges::find(tried, to_lower(model)) != tried.end()) continue;
        tried.push_back(to_lower(model));
        all.push_back({way_of(question, std::move(model)), std::move(cap)});
        // One that is skipped passes nobody on.
        if (all.back().way.open()) add(all.back().way);
    }
    return all;
}

// ---------------------------------------------------------------- as JSON

Json names_of(const upstream::Route& route) {
    Json list = Json::array();
    for (const auto* upstream : route.upstreams) {
        list.push_back(Json{{"name", upstream->name}, {"priority", upstream->priority}});
    }
    return list;
}

Json shown(const config::Price* price) {
    if (price == nullptr) return nullptr;
    return Json{
        {"input", quota::usd(price->input)},
        {"cached_input", quota::usd(price->cached_input)},
        {"output", quota::usd(price->output)}
    };
}

Json shown(const config::Inputs& inputs) {
    Json list = {"text"};
    if (inputs.image) list.push_back("image");
    if (inputs.audio) list.push_back("audio");
    if (inputs.file) list.push_back("file");
    return list;
}

Json shown(const std::vector<quota::CapState>& caps, WallTime now) {
    Json list = Json::array();
    for (const auto& state : caps) list.push_back(quota::cap_view(state, now));
    return list;
}

Json shown(const std::vector<Fallback>& fallbacks) {
    Json list = Json::array();
    for (const auto& one : fallbacks) {
        list.push_back(Json{
            {"model", one.way.asked},
            {"served", one.way.served},
            {"cap", one.cap},
            {"open", one.way.open()},
            {"has_room", one.way.has_room()}
        });
    }
    return list;
}

Json decided_by(const Ruling& ruling) {
    if (ruling.pattern.empty()) return nullptr;
    return Json{{"list", ruling.list}, {"pattern", ruling.pattern}};
}

// Tokens of one answer; null: no bound.
Json output_bound(const Question& question, const Way& way) {
    std::uint64_t bound = 0;
    for (const auto* name : {&way.served, &way.asked}) {
        const auto* const model = question.config.find_model(*name);
        if (model != nullptr && bound == 0) bound = model->max_output;
    }
    const std::uint64_t plan = question.plan.max_output;
    if (plan > 0 && (bound == 0 || plan < bound)) bound = plan;
    return bound == 0 ? Json(nullptr) : Json(bound);
}

// ---------------------------------------------------------------- the endpoint

Checked<const http::Endpoint*> read_endpoint(std::string_view path) {
    const auto found = http::find_endpoint("POST", fmt::format("/v1/{}", path));
    if (found.match == http::Match::kFound) return found.endpoint;
    std::vector<std::string_view> known;
    for (const auto* row = http::endpoints_begin(); row != http::endpoints_end(); ++row) {
        if (row->method == "POST" && row->access == http::Access::kOpen) {
            known.push_back(row->path.substr(1));
        }
    }
    return std::unexpected(bad_request(
        fmt::format(
            "No message goes to the endpoint `{}`: write the path behind /v1/, such as "
            "`chat/completions`.{}",
            path.substr(0, 64),
            did_you_mean(path, known)
        ),
        "invalid_field",
        "endpoint"
    ));
}

}  // namespace

http::Response Admin::explain(const Call& call) {
    const auto name = find(call.query, "key").value_or("");
    const auto model = find(call.query, "model").value_or("");
    const auto path = find(call.query, "endpoint").value_or("chat/completions");
    if (name.empty() || model.empty()) {
        const std::string missing = name.empty() ? "key" : "model";
        return refuse(bad_request(
            fmt::format("`{}` is missing: explain?key=NAME&model=MODEL", missing),
            "missing_field",
            missing
        ));
    }
    if (model.size() > kLongestModel) {
        return refuse(bad_request(
            fmt::format("`model` is longer than {} bytes.", kLongestModel), "invalid_field", "model"
        ));
    }
    const auto endpoint = read_endpoint(path);
    if (!endpoint) return refuse(endpoint.error());
    const auto config = services_.config();
    const auto found = find_key(services_, *config, name);
    if (!found) return refuse(found.error());
    const keys::Key& key = *found->key;

    Json json{
        {"key", admin::shown(key, found->aside)},
        {"endpoint",
         {{"path", path},
          {"open", (*endpoint)->access == http::Access::kOpen},
          {"counts", (*endpoint)->counts}}}
    };
    if (found->aside != nullptr) {
        json["goes"] = false;
        json["why"] = in_words(*found->aside);
        return answer(200, json);
    }

    const config::Plan& plan = *config->find_plan(key.plan);
    const auto levels = levels_of(services_, *config, key);
    const Question question = {services_, *config, plan, levels, path, (*endpoint)->counts};
    const Way way = way_of(question, model);
    const auto fallbacks = fallbacks_of(question, way);
    const quota::Now now{services_.ledger.now(), services_.clock.wall()};

    json["model"] = Json{{"asked", way.asked}, {"served", way.served}};
    json["allowed"] = way.ruling.allowed;
    json["decided_by"] = decided_by(way.ruling);
    json["route"] = names_of(way.route);
    json["inputs"] = shown(plan.inputs);
    json["max_input"] = plan.max_input_bytes == 0 ? Json(nullptr) : Json(plan.max_input_bytes);
    json["max_output"] = output_bound(question, way);
    json["price"] = shown(way.price);
    json["cache"] = Json{
        {"enabled", config->cache.enabled && (*endpoint)->cacheable},
        {"scope", cache::scope_of(config->cache.scope, key.name, key.team)},
        {"when", name_of(config->cache.when_of(way.asked, way.served, plan.name))},
        {"ttl_s", config->cache.ttl_of(way.asked, way.served, plan.name).count()}
    };
    json["caps"] = shown(way.caps, now.wall);
    json["grants"] = Json::array();
    for (const auto& grant : services_.ledger.grants(services_.ledger.account(key.name))) {
        if (glob_match(grant.models, way.served)) {
            json["grants"].push_back(quota::grant_view(grant, now));
        }
    }
    json["then"] = shown(fallbacks);

    auto [why, goes] = in_words(plan, **endpoint, path, way, fallbacks);
    json["goes"] = goes;
    json["why"] = std::move(why);
    return answer(200, json);
}

}  // namespace weir::admin
