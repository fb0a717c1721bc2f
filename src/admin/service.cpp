// The calls on the running gateway: usage, cache, config, audit trail, version.
#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "weir/base/log.hpp"
#include "weir/base/text.hpp"
#include "weir/quota/cap_view.hpp"

#include "request.hpp"
#include "routes.hpp"

namespace weir::admin {
namespace {

// The ledger keeps its rows for this long.
constexpr std::chrono::hours kLongestSpan{32 * 24};

Json view_of(const cache::Saved& saved) {
    return Json{
        {"hits", saved.hits},
        {"joined", saved.joined},
        {"misses", saved.misses},
        {"bypasses", saved.bypasses},
        {"hit_rate", saved.hit_rate()},
        {"bytes", saved.bytes},
        {"saved_tokens", saved.tokens},
        {"saved_usd", quota::usd(saved.money)}
    };
}

Json view_of(std::string_view what, const std::vector<cache::Saved>& rows) {
    Json list = Json::array();
    for (const cache::Saved& row : rows) {
        Json named = Json{{what, row.name}};
        named.update(view_of(row));
        list.push_back(std::move(named));
    }
    return list;
}

}  // namespace

http::Response Admin::show_usage(const Call& call) {
    const auto text = find(call.query, "span").value_or("1d");
    const auto span = parse_duration(text);
    if (!span || *span < std::chrono::seconds(1) || *span > kLongestSpan) {
        return refuse(bad_request(
            "`span` is not a duration of 1s to 32d (4h, 1d, 1h30m).", "invalid_field", "span"
        ));
    }
    auto rows = services_.ledger.usage(*span);
    std::ranges::sort(rows, {}, [](const auto& row) { return std::tie(row.account, row.model); });
    Json usage = Json::array();
    quota::AccountUsage total;
    for (const auto& row : rows) {
        total.messages += row.messages;
        total.tokens += row.tokens;
        total.money += row.money;
        usage.push_back(Json{
            {"key", row.account},
            {"model", row.model},
            {"messages", row.messages},
            {"tokens", row.tokens},
            {"usd", quota::usd(row.money)}
        });
    }
    return answer(
        200,
        Json{
            {"span", text},
            {"span_s", std::chrono::floor<std::chrono::seconds>(*span).count()},
            {"usage", std::move(usage)},
            {"messages", total.messages},
            {"tokens", total.tokens},
            {"usd", quota::usd(total.money)}
        }
    );
}

http::Response Admin::show_cache(const Call&) {
    const auto stats = services_.cache.stats();
    const cache::Saved all = services_.savings.all();
    return answer(
        200,
        Json{
            {"enabled", services_.config()->cache.enabled},
            {"entries", stats.entries},
            {"bytes", stats.bytes},
            {"memory_entries", stats.memory_entries},
            {"memory_bytes", stats.memory_bytes},
            {"hits_memory", stats.hits_memory},
            {"hits_disk", stats.hits_disk},
            {"misses", stats.misses},
            {"stored", stats.stored},
            {"evicted", stats.evicted},
            {"write_failures", stats.write_failures},
            {"all", view_of(all)},
            {"models", view_of("model", services_.savings.models())},
            {"keys", view_of("key", services_.savings.keys())}
        }
    );
}

http::Response Admin::clear_cache(const Call& call) {
    cache::Which which{
        .model = find(call.query, "model"), .owner = find(call.query, "key"), .hash = {}
    };
    const auto entry = find(call.query, "entry");
    std::string subject;
    for (const auto& [name, value] :
         {std::pair("model", which.model), std::pair("key", which.owner), std::pair("entry", entry)
         }) {
        if (!value) continue;
        // `?model=` from a script whose variable is empty must not clear everything.
        if (value->empty()) {
            return refuse(bad_request(fmt::format("`{}` is empty.", name), "invalid_field", name));
        }
        subject += fmt::format("{}{} {}", subject.empty() ? "" : ", ", name, *value);
    }
    if (entry) {
        const auto hash = read_digest("entry", *entry);
        if (!hash) return refuse(hash.error());
        which.hash = *hash;
    }
    if (subject.empty()) subject = "all models";
    const auto removed = services_.cache.clear(which);
    if (!removed) return refuse(failure(removed.error()));
    log::info(
        "admin: cache cleared",
        {{"subject", std::string_view(subject)}, {"removed", static_cast<std::int64_t>(*removed)}}
    );
    record(
        {.actor = std::string(kByToken),
         .what = "cache.clear",
         .subject = subject,
         .detail = fmt::format("{} removed", *removed)}
    );
    return answer(200, Json{{"removed", *removed}});
}

http::Response Admin::reload(const Call& call) {
    if (!trim(call.body).empty() && trim(call.body) != "{}") {
        return refuse(bad_request("A reload takes no body.", "unknown_field"));
    }
    const auto done = services_.reload();
    if (!done) {
        log::warn("admin: reload refused", {{"faults", std::string_view(done.error().detail)}});
        return refuse(failure(done.error()));
    }
    log::info("admin: config reloaded");
    record({.actor = std::string(kByToken), .what = "reload", .subject = "config", .detail = ""});
    return answer(200, Json{{"reloaded", true}, {"restart_needed", *done}});
}

http::Response Admin::show_audit(const Call& call) {
    const auto limit =
        read_number("limit", find(call.query, "limit").value_or("100"), 1, AuditTrail::kMostRows);
    if (!limit) return refuse(limit.error());
    const auto rows = services_.audit.newest(*limit);
    if (!rows) return refuse(failure(rows.error()));
    Json list = Json::array();
    for (const auto& row : *rows) {
        list.push_back(Json{
            {"id", row.id},
            {"at", iso_time(row.at)},
            {"actor", row.act.actor},
            {"act", row.act.what},
            {"subject", row.act.subject},
            {"detail", row.act.detail}
        });
    }
    return answer(200, Json{{"audit", std::move(list)}});
}

http::Response Admin::show_version(const Call&) {
    return answer(200, Json{{"version", services_.version}});
}

}  // namespace weir::admin
