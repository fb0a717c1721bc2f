// What would become of a message, and why: the rules of the line (proxy/classify, proxy/caps) put
// into words, without sending one.
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

// Which line of the plan decides on a model; `pattern` is empty where none fits.
struct Ruling {
    bool allowed = false;
    std::string_view list;
    std::string_view pattern;
};

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

bool refuses(const quota::CapState& state) noexcept {
    return !state.cap->warn && state.window.remaining() == 0;
}

std::string name_of(const config::Cap& cap) {
    return cap.models + " " + cap.allow;
}

// The rules for one model: that which is asked for, or one that answers instead.
struct Way {
    std::string asked;
    std::string served;
    Ruling ruling;
    upstream::Route route;
    const config::Price* price = nullptr;
    std::vector<quota::CapState> caps;      // that cover it
    const config::Cap* unpriced = nullptr;  // one of money that covers it, and nobody knows a price

    // But for the caps.
    [[nodiscard]] bool open() const {
        return ruling.allowed && !route.upstreams.empty() && unpriced == nullptr;
    }
    [[nodiscard]] bool has_room() const { return std::ranges::none_of(caps, refuses); }
};

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
    way.route = upstream::find_route(question.config, way.served, serve_as);
    way.price = question.config.find_price(way.served);
    if (!question.counts) return way;
    way.caps = question.services.ledger.peek(question.levels, way.served, question.endpoint);
    for (const auto& state : way.caps) {
        const bool money = state.cap->unit == config::Unit::kMoney && !state.cap->warn;
        if (money && way.price == nullptr && way.unpriced == nullptr) way.unpriced = state.cap;
    }
    return way;
}

struct Fallback {
    Way way;
    std::string cap;  // that it stands on
};

// The models that may answer instead, in the order in which they would be tried if all caps before
// them refused.
std::vector<Fallback> fallbacks_of(const Question& question, const Way& first) {
    std::deque<std::pair<std::string, std::string>> next;
    const auto add = [&next](const Way& way) {
        std::vector<std::pair<std::string, std::string>> further;
        for (const auto& state : way.caps) {
            const config::Cap& cap = *state.cap;
            if (!cap.warn && !cap.then.empty()) further.emplace_back(cap.then, name_of(cap));
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

// ---------------------------------------------------------------- in words

std::string_view whose_in_words(quota::Whose whose) noexcept {
    switch (whose) {
        case quota::Whose::kKey:
            return "of the key";
        case quota::Whose::kTeam:
            return "of the team";
        case quota::Whose::kAll:
            break;
    }
    return "of everybody";
}

std::string on_plan(const Way& way, const config::Plan& plan) {
    const auto names = way.served == way.asked ? fmt::format("`{}`", way.asked)
                                               : fmt::format("`{}` or `{}`", way.asked, way.served);
    if (way.ruling.allowed) {
        return fmt::format(
            "The plan {} allows it, by `{}` in its `models`.", plan.name, way.ruling.pattern
        );
    }
    if (!way.ruling.pattern.empty()) {
        return fmt::format(
            "The plan {} denies it, by `{}` in its `deny`: 403.", plan.name, way.ruling.pattern
        );
    }
    return fmt::format(
        "The plan {} does not allow it: nothing in its `models` ({}) matches {}: 403. Add it "
        "there.",
        plan.name,
        fmt::join(plan.models, ", "),
        names
    );
}

std::string on_route(const Way& way) {
    if (way.route.upstreams.empty()) {
        return fmt::format(
            "No upstream serves `{}`: 404. Add it to `models` of one that does.", way.served
        );
    }
    std::vector<std::string_view> names;
    names.reserve(way.route.upstreams.size());
    for (const auto* upstream : way.route.upstreams) names.emplace_back(upstream->name);
    return fmt::format("Asked are, in this order: {}.", fmt::join(names, ", "));
}

std::string on_cap(const quota::CapState& state) {
    const config::Cap& cap = *state.cap;
    const auto& window = state.window;
    std::string text = fmt::format(
        "Cap {}: {}. {} of {} {}",
        whose_in_words(state.whose),
        cap.in_words(),
        cap.amount_in_words(window.used),
        cap.amount_in_words(window.limit),
        cap.period == config::Period::kAtOnce ? "in flight" : "used"
    );
    if (window.extra > 0) text += fmt::format(", {} granted beside", window.extra);
    if (window.remaining() > 0) return text + ".";
    text += cap.warn ? ": it only warns" : ": used up";
    if (window.next_free.count() > 0) {
        text += fmt::format(", the next is free in {}", human_duration(window.next_free));
    }
    return text + ".";
}

std::string on_price(const Way& way) {
    if (way.unpriced != nullptr) {
        return fmt::format(
            "The cap `{}` counts money, and nobody knows what `{}` costs: 403. Add it to `prices`.",
            way.unpriced->allow,
            way.served
        );
    }
    return fmt::format("Nobody knows what `{}` costs: it counts as 0 usd.", way.served);
}

std::string on_fallback(const Fallback& one) {
    const Way& way = one.way;
    std::string text = fmt::format("Past `{}`, `{}` answers", one.cap, way.asked);
    if (!way.ruling.allowed) return text + " not: the plan does not allow it.";
    if (way.route.upstreams.empty()) return text + " not: no upstream serves it.";
    if (way.unpriced != nullptr) return text + " not: a cap counts money, and it has no price.";
    return text + (way.has_room() ? ": it has room now." : ", but its own caps are used up.");
}

std::string verdict(const Way& way, const std::vector<Fallback>& fallbacks, bool& goes) {
    goes = false;
    if (!way.open()) return "So a message is refused.";
    if (way.has_room()) {
        goes = true;
        const bool sized = std::ranges::any_of(way.caps, [](const quota::CapState& state) {
            return state.cap->unit != config::Unit::kMessages && !state.cap->warn;
        });
        return sized ? "So a message goes now, if what it may take fits into what is left."
                     : "So a message goes now.";
    }
    for (const auto& one : fallbacks) {
        if (!one.way.open() || !one.way.has_room()) continue;
        goes = true;
        return fmt::format("So `{}` answers a message now.", one.way.asked);
    }
    const bool queued = std::ranges::all_of(way.caps, [](const quota::CapState& state) {
        return !refuses(state) || state.cap->queue.count() > 0;
    });
    return queued ? "So a message waits in line now." : "So a message gets a 429 now.";
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

std::string on_endpoint(const http::Endpoint& endpoint, std::string_view path) {
    switch (endpoint.access) {
        case http::Access::kOpen:
            break;
        case http::Access::kClosed:
            return fmt::format("The endpoint {} is closed: 403.", path);
        case http::Access::kNever:
            return fmt::format("The endpoint {} is never forwarded: 403.", path);
    }
    return endpoint.counts ? "" : fmt::format("Messages to {} are free: no cap is asked.", path);
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
    Json why = Json::array();
    if (found->aside != nullptr) {
        why.push_back(fmt::format("The key is not in force: {}: 401.", found->aside->why));
        why.push_back("To mend it: " + found->aside->cure + ".");
        why.push_back("So a message is refused.");
        json["goes"] = false;
        json["why"] = std::move(why);
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
        {"scope", cache::scope_of(config->cache.scope, key.name, key.team)}
    };
    json["caps"] = shown(way.caps, now.wall);
    json["grants"] = Json::array();
    for (const auto& grant : services_.ledger.grants(services_.ledger.account(key.name))) {
        if (glob_match(grant.models, way.served)) {
            json["grants"].push_back(quota::grant_view(grant, now));
        }
    }
    json["then"] = shown(fallbacks);

    if (way.served != way.asked) {
        why.push_back(
            fmt::format("`{}` is served as `{}`, by `models` of the config.", way.asked, way.served)
        );
    }
    why.push_back(on_plan(way, plan));
    why.push_back(on_route(way));
    if (auto line = on_endpoint(**endpoint, path); !line.empty()) why.push_back(std::move(line));
    for (const auto& state : way.caps) why.push_back(on_cap(state));
    if ((*endpoint)->counts && way.caps.empty()) why.push_back("No cap covers it.");
    const bool money = std::ranges::any_of(way.caps, [](const quota::CapState& state) {
        return state.cap->unit == config::Unit::kMoney;
    });
    if (money && way.price == nullptr) why.push_back(on_price(way));
    for (const auto& one : fallbacks) why.push_back(on_fallback(one));
    bool goes = false;
    std::string last = verdict(way, fallbacks, goes);
    if ((*endpoint)->access != http::Access::kOpen) {
        goes = false;
        last = "So a message is refused.";
    }
    why.push_back(std::move(last));
    json["goes"] = goes;
    json["why"] = std::move(why);
    return answer(200, json);
}

}  // namespace weir::admin
