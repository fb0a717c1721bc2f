#include "weir/config/config.hpp"

#include <algorithm>

#include "weir/base/text.hpp"

namespace weir::config {

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

}  // namespace weir::config
