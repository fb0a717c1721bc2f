// GET /api/me: what the holder of a key may know of it.
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "weir/base/time_zone.hpp"
#include "weir/http/hygiene.hpp"
#include "weir/proxy/proxy.hpp"
#include "weir/quota/cap_view.hpp"

namespace weir::proxy {

namespace {

using quota::Json;

Json number_or_null(std::uint64_t value) {
    return value == 0 ? Json(nullptr) : Json(value);
}

Json view_of(const config::Plan& plan) {
    std::vector<std::string> inputs = {"text"};
    if (plan.inputs.image) inputs.emplace_back("image");
    if (plan.inputs.audio) inputs.emplace_back("audio");
    if (plan.inputs.file) inputs.emplace_back("file");
    return Json{
        {"models", plan.models},
        {"deny", plan.deny},
        {"inputs", std::move(inputs)},
        {"max_input", number_or_null(plan.max_input_bytes)},
        {"max_output", number_or_null(plan.max_output)}
    };
}

Json view_of(const cache::Saved& saved) {
    return Json{
        {"hits", saved.hits},
        {"joined", saved.joined},
        {"misses", saved.misses},
        {"bypasses", saved.bypasses},
        {"hit_rate", saved.hit_rate()},
        {"saved_tokens", saved.tokens},
        {"saved_usd", quota::usd(saved.money)}
    };
}

Json view_of(const keys::Key& key) {
    return Json{
        {"id", key.id},
        {"name", key.name},
        {"team", key.team.empty() ? Json(nullptr) : Json(key.team)},
        {"plan", key.plan}
    };
}

}  // namespace

http::Response describe_holder(Worker& worker, const http::RequestHead& head) {
    const std::string_view presented = http::presented_key(head.fields);
    if (presented.empty()) return http::missing_key().response();
    const Member* const member = worker.snapshot->find(presented);
    if (member == nullptr) return http::unknown_key().response();

    quota::Ledger& ledger = worker.shared.ledger;
    const quota::Now now = {
        .ledger = ledger.now(),
        .wall = std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now())
    };
    Json caps = Json::array();
    for (const quota::CapState& state : ledger.peek(member->levels, "", "")) {
        caps.push_back(quota::cap_view(state, now.wall));
    }
    Json grants = Json::array();
    for (const quota::Grant& grant : ledger.grants(member->account)) {
        grants.push_back(quota::grant_view(grant, now));
    }
    http::Response response;
    response.fields.set("content-type", "application/json");
    response.fields.set("cache-control", "no-store");
    response.body = quota::json_text(Json{
        {"key", view_of(*member->key)},
        {"now", iso_time(now.wall)},
        {"caps", std::move(caps)},
        {"grants", std::move(grants)},
        {"cache", view_of(worker.shared.savings.key(member->key->name))},
        {"plan", view_of(*member->plan)}
    });
    return response;
}

}  // namespace weir::proxy
