#include "weir/config/config.hpp"

#include <algorithm>

namespace weir::config {

const Plan* Config::find_plan(std::string_view name) const noexcept {
    const auto found = std::ranges::find(plans, name, &Plan::name);
    return found == plans.end() ? nullptr : &*found;
}

const Model* Config::find_model(std::string_view name) const noexcept {
    const auto found = std::ranges::find(models, name, &Model::name);
    return found == models.end() ? nullptr : &*found;
}

std::vector<std::string> Config::secrets() const {
    std::vector<std::string> all;
    for (const Upstream& upstream : upstreams) {
        if (!upstream.key.empty()) all.push_back(upstream.key);
    }
    for (const Key& key : keys) all.push_back(key.secret);
    return all;
}

}  // namespace weir::config
