#include "weir/config/config.hpp"

#include <algorithm>
#include <optional>

#include "weir/base/text.hpp"

namespace weir::config {

namespace {

// The first of the rules for that model of that plan that says something.
template <class Value>
Value rule_of(
    const Cache& cache,
    std::optional<Value> CacheRule::* said,
    Value otherwise,
    std::string_view asked,
    std::string_view served,
    std::string_view plan
) noexcept {
    for (const CacheRule& rule : cache.rules) {
        if (!(rule.*said)) continue;
        const bool right_plan =
            rule.plans.empty() || std::ranges::find(rule.plans, plan) != rule.plans.end();
        const auto names = [&](const std::string& pattern) {
            return glob_match(pattern, asked) || glob_match(pattern, served);
        };
        if (right_plan && std::ranges::any_of(rule.models, names)) return *(rule.*said);
    }
    return otherwise;
}

}  // namespace

std::vector<std::string_view> Upstream::secrets() const {
    std::vector<std::string_view> all(keys.begin(), keys.end());
    for (const ExtraField& field : headers) all.emplace_back(field.value);
    for (const ExtraField& parameter : query) all.emplace_back(parameter.value);
    if (proxy) all.emplace_back(proxy->credentials);
    return all;
}

const Plan* Config::find_plan(std::string_view name) const noexcept {
    const auto found = std::ranges::find(plans, name, &Plan::name);
    return found == plans.end() ? nullptr : &*found;
}

const Model* Config::find_model(std::string_view name) const noexcept {
    const auto found = std::ranges::find(models, name, &Model::name);
    return found == models.end() ? nullptr : &*found;
}

const Team* Config::find_team(std::string_view name) const noexcept {
    const auto found = std::ranges::find(teams, name, &Team::name);
    return found == teams.end() ? nullptr : &*found;
}

const CapSet* Config::find_key_caps(std::string_view name) const noexcept {
    const auto found = std::ranges::find(keys, name, &Key::name);
    return found == keys.end() || found->caps.empty() ? nullptr : &found->caps;
}

const Price* Config::find_price(std::string_view model) const noexcept {
    const auto found = std::ranges::find_if(prices, [model](const PricedModels& one) {
        return glob_match(one.models, model);
    });
    return found == prices.end() ? nullptr : &found->price;
}

std::string_view name_of(CacheWhen when) noexcept {
    switch (when) {
        case CacheWhen::kAlways:
            return "always";
        case CacheWhen::kDeterministic:
            return "deterministic";
        case CacheWhen::kNever:
            break;
    }
    return "never";
}

CacheWhen Cache::when_of(std::string_view asked, std::string_view served, std::string_view plan)
    const noexcept {
    return rule_of(*this, &CacheRule::when, when, asked, served, plan);
}

std::chrono::seconds Cache::ttl_of(
    std::string_view asked, std::string_view served, std::string_view plan
) const noexcept {
    return rule_of(*this, &CacheRule::ttl, ttl, asked, served, plan);
}

}  // namespace weir::config
