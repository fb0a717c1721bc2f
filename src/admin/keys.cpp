// The calls on keys. A key's text leaves only the answer that made it; a list shows ids.
#include <algorithm>
#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "weir/base/log.hpp"

#include "request.hpp"
#include "routes.hpp"

namespace weir::admin {
namespace {

Json shown(const keys::Key& key, const keys::SetAside* aside = nullptr) {
    Json json{
        {"id", key.id},
        {"name", key.name},
        {"plan", key.plan},
        {"team", key.team.empty() ? Json(nullptr) : Json(key.team)},
        {"declared", key.declared},
        {"created", key.created_us == 0 ? Json(nullptr) : Json(iso_time(key.created_us))},
        {"in_force", aside == nullptr}
    };
    if (aside != nullptr) {
        json["why"] = aside->why;
        json["cure"] = aside->cure;
    }
    return json;
}

// How a cap stands; spans in whole seconds, rounded up, so that waiting them is enough.
Json shown(const quota::CapState& state) {
    const auto seconds = [](std::chrono::microseconds span) {
        return std::chrono::ceil<std::chrono::seconds>(span).count();
    };
    return Json{
        {"models", state.cap->models},
        {"allow", state.cap->allow},
        {"limit", state.window.limit},
        {"used", state.window.used},
        {"remaining", state.window.remaining()},
        {"next_free_s", seconds(state.window.next_free)},
        {"full_reset_s", seconds(state.window.full_reset)}
    };
}

http::ApiError no_such_key(std::string_view name, const keys::KeyTable& table) {
    std::vector<std::string_view> names;
    for (const auto& key : table.all()) names.emplace_back(key.name);
    for (const auto& one : table.set_aside()) names.emplace_back(one.key.name);
    return failure(Error{
        ErrorCode::kNotFound,
        fmt::format("There is no key `{}`.{}", name.substr(0, 64), did_you_mean(name, names))
    });
}

// Names go before ids, keys in force before others: where the config took over the name of a stored
// key, the name means the declared one, and the other is reached by its id.
struct Found {
    const keys::Key* key = nullptr;
    const keys::SetAside* aside = nullptr;  // not in force
};
Found find(const keys::KeyTable& table, std::string_view name_or_id) {
    if (const auto* key = table.find_name(name_or_id)) return {key, nullptr};
    if (const auto* aside = table.find_set_aside(name_or_id)) return {&aside->key, aside};
    for (const auto& key : table.all()) {
        if (key.id == name_or_id) return {&key, nullptr};
    }
    for (const auto& one : table.set_aside()) {
        if (one.key.id == name_or_id) return {&one.key, &one};
    }
    return {};
}

}  // namespace

http::Response Admin::list_keys(const Call&) {
    const auto table = services_.keys.table(*services_.config());
    if (!table) return refuse(failure(table.error()));
    Json list = Json::array();
    for (const auto& key : (*table)->all()) list.push_back(shown(key));
    for (const auto& one : (*table)->set_aside()) list.push_back(shown(one.key, &one));
    return answer(200, Json{{"keys", std::move(list)}});
}

http::Response Admin::show_key(const Call& call) {
    const auto config = services_.config();
    const auto table = services_.keys.table(*config);
    if (!table) return refuse(failure(table.error()));
    const auto [key, aside] = find(**table, call.name);
    if (key == nullptr) return refuse(no_such_key(call.name, **table));
    Json json = shown(*key, aside);
    json["caps"] = Json::array();
    if (const auto* const plan = config->find_plan(key->plan)) {
        const quota::Level own{
            quota::Whose::kKey, services_.ledger.account(key->name), &plan->caps
        };
        for (const auto& state : services_.ledger.peek({&own, 1}, "", "")) {
            json["caps"].push_back(shown(state));
        }
    }
    return answer(200, json);
}

http::Response Admin::create_key(const Call& call) {
    static constexpr std::array<std::string_view, 2> kRequired = {"name", "plan"};
    static constexpr std::array<std::string_view, 1> kOptional = {"team"};
    const auto texts = read_texts(call.body, kRequired, kOptional);
    if (!texts) return refuse(texts.error());
    const auto name = texts->get("name");
    const auto plan = texts->get("plan");
    const auto team = texts->get("team");
    if (const auto fault = name_fault(name)) {
        return refuse(bad_request(fmt::format("The name {}.", *fault), "invalid_field", "name"));
    }

    const auto config = services_.config();
    if (config->find_plan(plan) == nullptr) {
        std::vector<std::string_view> plans;
        for (const auto& one : config->plans) plans.emplace_back(one.name);
        auto hint = did_you_mean(plan, plans);
        if (hint.empty()) hint = fmt::format(" Plans: {}.", fmt::join(plans, ", "));
        return refuse(bad_request(
            fmt::format("There is no plan `{}` in the config.{}", plan.substr(0, 64), hint),
            "unknown_plan",
            "plan"
        ));
    }
    // The store knows its own keys; a declared one may have the name as well, or an id may read
    // like it, and then a later call would not know which is meant.
    const auto table = services_.keys.table(*config);
    if (!table) return refuse(failure(table.error()));
    if (find(**table, name).key != nullptr) {
        return refuse(
            failure(Error{ErrorCode::kConflict, fmt::format("There is a key `{}` already.", name)})
        );
    }

    const auto made = services_.keys.create(name, plan, team, services_.ledger.now());
    if (!made) return refuse(failure(made.error()));
    if (const auto in_force = services_.refresh(); !in_force) {
        // Half a key would be the worst: on disk, but unknown until some later restart.
        const auto taken_back = services_.keys.revoke(made->key.id);
        log::error(
            "admin: key not created",
            {{"name", std::string_view(name)},
             {"error", std::string_view(in_force.error().detail)},
             {"taken_back", taken_back.has_value()}}
        );
        auto error = failure(in_force.error());
        error.message =
            taken_back
                ? fmt::format(
                      "The key could not be put into force, so it was taken back: {}", error.message
                  )
                : fmt::format(
                      "The key could not be put into force, and taking it back failed "
                      "as well; revoke {} when the cause is mended: {}",
                      made->key.id,
                      error.message
                  );
        return refuse(error);
    }
    log::info(
        "admin: key created",
        {{"id", std::string_view(made->key.id)},
         {"name", std::string_view(name)},
         {"plan", std::string_view(plan)},
         {"team", std::string_view(team)}}
    );
    Json json = shown(made->key);
    json["key"] = made->text;
    return answer(201, json);
}

http::Response Admin::revoke_key(const Call& call) {
    const auto config = services_.config();
    const auto table = services_.keys.table(*config);
    if (!table) return refuse(failure(table.error()));
    const auto* const key = find(**table, call.name).key;
    if (key == nullptr) {
        // A revoke whose commit failed may have come through: gone from disk, and still in force.
        static_cast<void>(services_.refresh());
        return refuse(no_such_key(call.name, **table));
    }
    // The store refuses declared ones.
    const auto revoked = services_.keys.revoke(key->id);
    if (!revoked) {
        if (revoked.error().code == ErrorCode::kStorage) static_cast<void>(services_.refresh());
        return refuse(failure(revoked.error()));
    }
    if (const auto in_force = services_.refresh(); !in_force) {
        log::error(
            "admin: revoked key still in force",
            {{"id", std::string_view(revoked->id)},
             {"error", std::string_view(in_force.error().detail)}}
        );
        auto error = failure(in_force.error());
        error.message = fmt::format(
            "The key is revoked on disk, but still in force until the next reload or restart: {}",
            error.message
        );
        return refuse(error);
    }
    log::info(
        "admin: key revoked",
        {{"id", std::string_view(revoked->id)}, {"name", std::string_view(revoked->name)}}
    );
    Json json = shown(*revoked);
    json["in_force"] = false;
    json["revoked"] = true;
    return answer(200, json);
}

}  // namespace weir::admin
