// The calls on keys. A key's text leaves only the answer that made it; a list shows ids.
#include "keys.hpp"

#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "weir/base/log.hpp"
#include "weir/base/time_zone.hpp"
#include "weir/quota/cap_view.hpp"
#include "weir/quota/levels.hpp"

#include "request.hpp"
#include "routes.hpp"

namespace weir::admin {
Json shown(const keys::Key& key, const keys::SetAside* aside) {
    Json json{
        {"id", key.id},
        {"name", key.name},
        {"plan", key.plan},
        {"team", key.team.empty() ? Json(nullptr) : Json(key.team)},
        {"declared", key.declared},
        {"created",
         key.created_us == 0 ? Json(nullptr)
                             : Json(iso_time(WallTime(std::chrono::microseconds(key.created_us))))},
        {"in_force", aside == nullptr}
    };
    if (aside != nullptr) {
        json["why"] = aside->why;
        json["cure"] = aside->cure;
    }
    return json;
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

Checked<Found> find_key(
    const Services& services, const config::Config& config, std::string_view name_or_id
) {
    auto read = services.keys.table(config);
    if (!read) return std::unexpected(failure(read.error()));
    const keys::KeyTable& table = **read;
    if (const auto* key = table.find_name(name_or_id)) return Found{*read, key, nullptr};
    if (const auto* aside = table.find_set_aside(name_or_id)) {
        return Found{*read, &aside->key, aside};
    }
    for (const auto& key : table.all()) {
        if (key.id == name_or_id) return Found{*read, &key, nullptr};
    }
    for (const auto& one : table.set_aside()) {
        if (one.key.id == name_or_id) return Found{*read, &one.key, &one};
    }
    return std::unexpected(no_such_key(name_or_id, table));
}

std::vector<quota::Level> levels_of(
    const Services& services, const config::Config& config, const keys::Key& key
) {
    return quota::standing_of(
               services.ledger,
               config,
               {.name = key.name, .team = key.team, .plan = key.plan, .declared = key.declared}
    )
        .levels;
}

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
    const auto found = find_key(services_, *config, call.name);
    if (!found) return refuse(found.error());
    Json json = shown(*found->key, found->aside);
    json["caps"] = Json::array();
    json["grants"] = Json::array();
    // One that is not in force may have the name, and so the history, of one that is.
    if (found->aside != nullptr) return answer(200, json);
    const quota::Now now{services_.ledger.now(), services_.clock.wall()};
    const auto levels = levels_of(services_, *config, *found->key);
    for (const auto& state : services_.ledger.peek(levels, "", "")) {
        json["caps"].push_back(quota::cap_view(state, now.wall));
    }
    const auto account = services_.ledger.account(found->key->name);
    for (const auto& grant : services_.ledger.grants(account)) {
        json["grants"].push_back(quota::grant_view(grant, now));
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
    const auto same = find_key(services_, *config, name);
    if (same) {
        return refuse(
            failure(Error{ErrorCode::kConflict, fmt::format("There is a key `{}` already.", name)})
        );
    }
    if (same.error().status != 404) return refuse(same.error());

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
    record(
        {.actor = std::string(kByToken),
         .what = "key.create",
         .subject = "key " + name,
         .detail = fmt::format(
             "id {}, plan {}{}{}", made->key.id, plan, team.empty() ? "" : ", team ", team
         )}
    );
    Json json = shown(made->key);
    json["key"] = made->text;
    return answer(201, json);
}

http::Response Admin::revoke_key(const Call& call) {
    const auto config = services_.config();
    const auto found = find_key(services_, *config, call.name);
    if (!found) {
        // A revoke whose commit failed may have come through: gone from disk, and still in force.
        if (found.error().status == 404) static_cast<void>(services_.refresh());
        return refuse(found.error());
    }
    // The store refuses declared ones.
    const auto revoked = services_.keys.revoke(found->key->id);
    if (!revoked) {
        if (revoked.error().code == ErrorCode::kStorage) static_cast<void>(services_.refresh());
        return refuse(failure(revoked.error()));
    }
    if (const auto in_force = services_.refresh(); !in_force) {
        record(
            {.actor = std::string(kByToken),
             .what = "key.revoke",
             .subject = "key " + revoked->name,
             .detail = fmt::format("id {}; on disk only", revoked->id)}
        );
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
    record(
        {.actor = std::string(kByToken),
         .what = "key.revoke",
         .subject = "key " + revoked->name,
         .detail = "id " + revoked->id}
    );
    Json json = shown(*revoked);
    json["in_force"] = false;
    json["revoked"] = true;
    return answer(200, json);
}

}  // namespace weir::admin
