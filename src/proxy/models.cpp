// GET /v1/models and /v1/models/{id}. The upstreams' own lists are asked for when a key asks, kept
// for a minute per worker and snapshot, and cut to what the key's plan and the routes allow.
#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "weir/base/log.hpp"
#include "weir/base/text.hpp"
#include "weir/base/watchdog.hpp"
#include "weir/http/bounded_json.hpp"
#include "weir/http/secrets.hpp"
#include "weir/proxy/proxy.hpp"

namespace weir::proxy {

namespace {

using json = nlohmann::ordered_json;

constexpr std::chrono::seconds kKept{60};
constexpr std::chrono::seconds kPatience{10};
constexpr std::size_t kLongestList = 4 << 20;
// The longest known list, OpenRouter's, has some 400; each one costs memory in every worker.
constexpr std::size_t kMostModels = 10'000;
constexpr std::size_t kLongestName = 256;  // a request that names a longer model is refused

struct Kept {
    std::uint64_t generation = 0;
    Deadline until{Deadline::Clock::time_point::min()};
    std::map<std::string, json> lists;  // by upstream name
};
// A worker is a thread.
thread_local Kept t_kept;

json own_model(const std::string& id, const std::string& owner) {
    return {{"id", id}, {"object", "model"}, {"created", 0}, {"owned_by", owner}};
}

// A member that is a text of sensible length; empty if it is not.
std::string text_in(const json& model, const char* name) {
    const auto member = model.find(name);
    if (member == model.end() || !member->is_string()) return {};
    const auto& text = member->get_ref<const std::string&>();
    return text.size() <= kLongestName ? text : std::string();
}

// OpenAI's members of the models that an answer lists, without the upstream's key, and nothing else
// that it may say; empty if it is no list.
json read_list(std::string_view body, const config::Upstream& upstream) {
    json list = json::array();
    const auto answer = http::parse_bounded_json(body);
    if (!answer || !answer->is_object()) return list;
    const auto data = answer->find("data");
    if (data == answer->end() || !data->is_array()) return list;
    const std::vector<std::string> secrets = http::secret_forms(upstream.key);
    for (const auto& model : *data) {
        if (list.size() == kMostModels) break;
        if (!model.is_object()) continue;
        const std::string id = redact(text_in(model, "id"), secrets);
        if (id.empty()) continue;
        std::string owner = redact(text_in(model, "owned_by"), secrets);
        if (owner.empty()) owner = upstream.name;
        const auto created = model.find("created");
        const bool told = created != model.end() && created->is_number_integer();
        list.push_back(own_model(id, owner));
        if (told) list.back()["created"] = created->get<std::int64_t>();
    }
    return list;
}

// The model objects that one upstream lists; empty if it does not say.
Awaitable<json> ask_upstream(Worker& worker, std::shared_ptr<const config::Upstream> upstream) {
    const auto call = worker.client->call(upstream);
    Watchdog patience(worker.context.get_executor(), [&call] { call->cancel(); });
    patience.set(Deadline::in(kPatience));
    upstream::CallRequest request;
    request.method = "GET";
    request.target = upstream->base_path + "/models";
    const Result<> started = co_await call->start(std::move(request));
    if (!started || call->head().status != 200) {
        log::warn(
            "an upstream does not list its models", {{"upstream", std::string_view(upstream->name)}}
        );
        co_return json::array();
    }
    std::string body;
    std::string part;
    while (body.size() < kLongestList) {
        const Result<bool> more = co_await call->read(part);
        if (!more) co_return json::array();
        if (!*more) break;
        body += part;
    }
    co_return read_list(body, *upstream);
}

// A name without wildcards that the config itself gives.
bool is_literal(std::string_view pattern) noexcept {
    return pattern.find_first_of("*?") == std::string_view::npos;
}

// What this key may use, by id.
std::map<std::string, json> allowed_models(const Exchange& x) {
    const config::Config& config = *x.snapshot->config;
    const config::Plan& plan = *x.member->plan;
    std::map<std::string, json> found;
    const auto offer = [&](const std::string& id, const std::string& served, json model) {
        if (!model_allowed(plan, id, served)) return;
        if (upstream::find_route(config, served, "").upstreams.empty()) return;
        model["id"] = id;
        found.emplace(id, std::move(model));
    };
    for (const config::Model& alias : config.models) {
        const std::string served = alias.serve_as.empty() ? alias.name : alias.serve_as;
        offer(alias.name, served, own_model(alias.name, "weir"));
    }
    for (const config::Upstream& upstream : config.upstreams) {
        const auto list = t_kept.lists.find(upstream.name);
        if (list != t_kept.lists.end()) {
            for (const json& model : list->second) {
                const auto id = model["id"].get<std::string>();
                offer(id, id, model);
            }
        }
        for (const std::string& pattern : upstream.models) {
            if (is_literal(pattern)) offer(pattern, pattern, own_model(pattern, upstream.name));
        }
    }
    return found;
}

Awaitable<> refresh(Worker& worker, SnapshotPtr snapshot) {
    if (t_kept.generation == snapshot->generation && !t_kept.until.passed()) co_return;
    std::map<std::string, json> lists;
    for (const config::Upstream& upstream : snapshot->config->upstreams) {
        const std::shared_ptr<const config::Upstream> shared(snapshot->config, &upstream);
        lists[upstream.name] = co_await ask_upstream(worker, shared);
    }
    t_kept.generation = snapshot->generation;
    t_kept.until = Deadline::in(kKept);
    t_kept.lists = std::move(lists);
}

}  // namespace

Awaitable<std::expected<http::Response, http::ApiError>> list_models(Worker& worker, Exchange& x) {
    co_await refresh(worker, x.snapshot);
    const std::map<std::string, json> models = allowed_models(x);
    http::Response answer;
    answer.fields.set("content-type", "application/json");
    static constexpr std::string_view kList = "/v1/models";
    if (x.path == kList) {
        json list = {{"object", "list"}, {"data", json::array()}};
        for (const auto& [id, model] : models) list["data"].push_back(model);
        answer.body = list.dump(-1, ' ', false, json::error_handler_t::replace);
        co_return answer;
    }
    const std::string id = x.path.substr(kList.size() + 1);
    const auto found = models.find(id);
    if (found == models.end()) co_return std::unexpected(http::model_not_found(id));
    answer.body = found->second.dump(-1, ' ', false, json::error_handler_t::replace);
    co_return answer;
}

}  // namespace weir::proxy
