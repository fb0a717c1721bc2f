// GET /v1/models and /v1/models/{id}: what the upstreams list, cut to what the key's plan and the
// routes allow, and the names that the config gives.
#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "weir/proxy/proxy.hpp"

#include "model_lists.hpp"

namespace weir::proxy {

namespace {

using Json = nlohmann::ordered_json;

// A name without wildcards that the config itself gives.
bool is_literal(std::string_view pattern) noexcept {
    return pattern.find_first_of("*?") == std::string_view::npos;
}

Json json_of(const ListedModel& model) {
    return {
        {"id", model.id},
        {"object", "model"},
        {"created", model.created},
        {"owned_by", model.owned_by}
    };
}

std::string dump(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Whether messages for `served` go to that upstream; nullptr: to any. One that does not answer at
// the moment counts too: models do not vanish because of a blip.
bool is_served(
    const config::Config& config, const std::string& served, const config::Upstream* by
) {
    static constexpr auto kApis = std::to_array({http::Api::kOpenAi, http::Api::kAnthropic});
    return std::ranges::any_of(kApis, [&](http::Api api) {
        const auto route = upstream::find_route(config, served, "", api);
        return by == nullptr ? !route.upstreams.empty()
                             : std::ranges::find(route.upstreams, by) != route.upstreams.end();
    });
}

// What this key may use, by id. `lists` are those of the config's upstreams, in their order.
std::map<std::string, ListedModel> allowed_models(
    const Exchange& x, const std::vector<ModelList>& lists
) {
    const config::Config& config = *x.snapshot->config;
    const config::Plan& plan = *x.member->plan;
    std::map<std::string, ListedModel> found;
    const auto offer =
        [&](const std::string& served, const ListedModel& model, const config::Upstream* by) {
            if (found.contains(model.id)) return;
            if (!model_allowed(plan, model.id, served)) return;
            if (is_served(config, served, by)) found.emplace(model.id, model);
        };
    for (const config::Model& alias : config.models) {
        const std::string& served = alias.serve_as.empty() ? alias.name : alias.serve_as;
        offer(served, {.id = alias.name, .owned_by = "weir"}, nullptr);
    }
    for (std::size_t i = 0; i < lists.size(); ++i) {
        const config::Upstream& upstream = config.upstreams[i];
        for (const ListedModel& model : *lists[i]) offer(model.id, model, &upstream);
        for (const std::string& pattern : upstream.models) {
            if (!is_literal(pattern)) continue;
            offer(pattern, {.id = pattern, .owned_by = upstream.name}, &upstream);
        }
    }
    return found;
}

}  // namespace

Awaitable<std::expected<http::Response, http::ApiError>> list_models(
    Worker& worker, Exchange& x, const ClientStream& client, std::shared_ptr<Signal> signal
) {
    const auto enough = [&worker, &client] { return client.gone() || worker.stopping; };
    const std::vector<ModelList> lists =
        co_await worker.model_lists->get(x.snapshot, enough, std::move(signal));
    if (worker.stopping) co_return std::unexpected(http::draining());
    std::map<std::string, ListedModel> models = allowed_models(x, lists);
    http::Response answer;
    answer.fields.set("content-type", "application/json");
    static constexpr std::string_view kList = "/v1/models";
    if (x.path == kList) {
        Json data = Json::array();
        for (const auto& [id, model] : models) data.push_back(json_of(model));
        answer.body = dump({{"object", "list"}, {"data", std::move(data)}});
        co_return answer;
    }
    const std::string id = x.path.substr(kList.size() + 1);
    const auto found = models.find(id);
    if (found == models.end()) co_return std::unexpected(http::model_not_found(id));
    answer.body = dump(json_of(found->second));
    co_return answer;
}

}  // namespace weir::proxy
