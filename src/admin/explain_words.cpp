// Why a message goes or does not, in sentences.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "weir/base/text.hpp"

#include "explain.hpp"

namespace weir::admin {
namespace {

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

bool is_open(const http::Endpoint& endpoint, const config::Plan& plan) {
    if (endpoint.access == http::Access::kOpen) return true;
    const auto& groups = plan.endpoints;
    return endpoint.access == http::Access::kClosed &&
           std::ranges::find(groups, endpoint.group) != groups.end();
}

std::string on_endpoint(
    const http::Endpoint& endpoint, std::string_view path, const config::Plan& plan
) {
    if (endpoint.access == http::Access::kNever) {
        return fmt::format("The endpoint {} is never forwarded: 403.", path);
    }
    if (!is_open(endpoint, plan)) {
        return fmt::format(
            "The endpoint {} is closed, without `endpoints: [{}]` in the plan: 403.",
            path,
            endpoint.group
        );
    }
    return endpoint.counts ? "" : fmt::format("Messages to {} are free: no cap is asked.", path);
}

}  // namespace

std::vector<std::string> in_words(const keys::SetAside& aside) {
    return {
        fmt::format("The key is not in force: {}: 401.", aside.why),
        "To mend it: " + aside.cure + ".",
        "So a message is refused."
    };
}

Explained in_words(
    const config::Plan& plan,
    const http::Endpoint& endpoint,
    std::string_view path,
    const Way& way,
    const std::vector<Fallback>& fallbacks
) {
    Explained explained;
    auto& [why, goes] = explained;
    if (way.served != way.asked) {
        why.push_back(
            fmt::format("`{}` is served as `{}`, by `models` of the config.", way.asked, way.served)
        );
    }
    why.push_back(on_plan(way, plan));
    why.push_back(on_route(way));
    if (auto line = on_endpoint(endpoint, path, plan); !line.empty())
        why.push_back(std::move(line));
    for (const auto& state : way.caps) why.push_back(on_cap(state));
    if (endpoint.counts && way.caps.empty()) why.emplace_back("No cap covers it.");
    const bool money = std::ranges::any_of(way.caps, [](const quota::CapState& state) {
        return state.cap->unit == config::Unit::kMoney;
    });
    if (money && way.price == nullptr) why.push_back(on_price(way));
    for (const auto& one : fallbacks) why.push_back(on_fallback(one));
    std::string last = verdict(way, fallbacks, goes);
    if (!is_open(endpoint, plan)) {
        goes = false;
        last = "So a message is refused.";
    }
    why.push_back(std::move(last));
    return explained;
}

}  // namespace weir::admin
