// The calls that help somebody out: extra messages, and a count that begins anew.
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "weir/base/log.hpp"
#include "weir/base/text.hpp"
#include "weir/quota/cap_view.hpp"

#include "keys.hpp"
#include "request.hpp"
#include "routes.hpp"

namespace weir::admin {
namespace {

constexpr std::size_t kLongestPattern = 256;           // as long as a model's name may be
constexpr std::uint64_t kMostGranted = 1'000'000'000;  // as many as a cap may allow

std::optional<http::ApiError> pattern_fault(std::string_view models) {
    const bool control = std::ranges::any_of(models, [](char c) {
        return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
    });
    if (!models.empty() && models.size() <= kLongestPattern && !control) return std::nullopt;
    return bad_request(
        fmt::format(
            "`models` is a model's name or a pattern such as `gpt-4*`, of 1 to {} bytes.",
            kLongestPattern
        ),
        "invalid_field",
        "models"
    );
}

// Only those in force have a count of their own: see find_key().
Checked<Found> find_in_force(
    const Services& services, const config::Config& config, std::string_view name
) {
    auto found = find_key(services, config, name);
    if (!found || found->aside == nullptr) return found;
    return std::unexpected(failure(Error{
        ErrorCode::kConflict,
        fmt::format(
            "The key `{}` is not in force: {}. To mend it: {}.",
            name.substr(0, 64),
            found->aside->why,
            found->aside->cure
        )
    }));
}

}  // namespace

http::Response Admin::grant(const Call& call) {
    static constexpr std::array<std::string_view, 3> kRequired = {"messages", "models", "until"};
    static constexpr std::array<std::string_view, 1> kNumbers = {"messages"};
    const auto texts = read_texts(call.body, kRequired, {}, kNumbers);
    if (!texts) return refuse(texts.error());
    const auto config = services_.config();
    const auto found = find_in_force(services_, *config, call.name);
    if (!found) return refuse(found.error());
    const std::string& name = found->key->name;
    const auto models = texts->get("models");
    if (const auto fault = pattern_fault(models)) return refuse(*fault);
    const auto messages = read_number("messages", texts->get("messages"), 1, kMostGranted);
    if (!messages) return refuse(messages.error());
    // The two clocks differ where the wall clock was set while Weir ran.
    const quota::Now now{services_.ledger.now(), services_.clock.wall()};
    const auto until = read_until(texts->get("until"), now.wall, *config->timezone);
    if (!until) return refuse(until.error());

    const auto made = services_.ledger.grant(
        services_.ledger.account(name), models, *messages, now.ledger + (*until - now.wall)
    );
    if (!made) return refuse(failure(made.error()));
    const Json grant = quota::grant_view(*made, now);
    const auto end = grant["until"].get<std::string>();
    log::info(
        "admin: messages granted",
        {{"name", std::string_view(name)},
         {"messages", static_cast<std::int64_t>(*messages)},
         {"models", std::string_view(models)},
         {"until", std::string_view(end)}}
    );
    record(
        {.actor = std::string(kByToken),
         .what = "grant",
         .subject = "key " + name,
         .detail = fmt::format("{} messages for {} until {}", *messages, models, end)}
    );
    Json json{{"key", name}};
    json.update(grant);
    return answer(201, json);
}

http::Response Admin::reset(const Call& call) {
    static constexpr std::array<std::string_view, 1> kOptional = {"models"};
    std::string models = "*";
    if (!trim(call.body).empty()) {
        const auto texts = read_texts(call.body, {}, kOptional);
        if (!texts) return refuse(texts.error());
        // `"models": ""` from a script whose variable is empty must not reset everything.
        models = find(texts->members, "models").value_or(models);
    }
    if (const auto fault = pattern_fault(models)) return refuse(*fault);
    const auto config = services_.config();
    const auto found = find_in_force(services_, *config, call.name);
    if (!found) return refuse(found.error());
    const std::string& name = found->key->name;
    const auto count = services_.ledger.reset(services_.ledger.account(name), models);
    if (!count) return refuse(failure(count.error()));
    log::info(
        "admin: caps reset",
        {{"name", std::string_view(name)},
         {"models", std::string_view(models)},
         {"messages", static_cast<std::int64_t>(*count)}}
    );
    record(
        {.actor = std::string(kByToken),
         .what = "reset",
         .subject = "key " + name,
         .detail = fmt::format("{} messages for {}", *count, models)}
    );
    return answer(200, Json{{"key", name}, {"models", models}, {"reset", *count}});
}

}  // namespace weir::admin
