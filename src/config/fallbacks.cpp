// Where the `then` of caps lead: checked when all caps, plans, models and upstreams are read.
#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "weir/base/text.hpp"

#include "sections_caps.hpp"

namespace weir::config {

namespace {

bool any_matches(const std::vector<std::string>& patterns, std::string_view name) {
    return std::ranges::any_of(patterns, [&](const std::string& pattern) {
        return glob_match(pattern, name);
    });
}

// One cap that falls back.
struct Fallback {
    const Cap* cap;
    const ThenPlace* place;
    std::string served;  // `then` with its aliases followed: what caps match
};

std::vector<Fallback> fallbacks_of(
    const Config& config, const CapSet& caps, const ThenPlaces& places
) {
    std::vector<Fallback> found;
    for (std::size_t i = 0; i < caps.size(); ++i) {
        if (places[i].node == nullptr) continue;
        const Model* const alias = config.find_model(caps[i].then);
        const bool renamed = alias != nullptr && !alias->serve_as.empty();
        found.push_back({&caps[i], &places[i], renamed ? alias->serve_as : caps[i].then});
    }
    return found;
}

// Why `plan` does not let `fallback` through; nothing: it does. As proxy/classify has it.
std::optional<std::string> denied(const Plan& plan, const Fallback& fallback) {
    const std::string& asked = fallback.cap->then;
    if (any_matches(plan.deny, asked) || any_matches(plan.deny, fallback.served)) {
        return "it is in the plan's `deny`";
    }
    if (any_matches(plan.models, asked) || any_matches(plan.models, fallback.served)) {
        return std::nullopt;
    }
    return "add it to the plan's `models`";
}

class Checker {
public:
    Checker(Reader& reader, const Config& config, const RightParts& right)
        : reader_(reader), config_(config), right_(right) {}

    // The caps of one holder: each `then` for itself. `plan`: of the holder; nullptr: any.
    void check_each(const std::vector<Fallback>& fallbacks, const Plan* plan) {
        for (const Fallback& one : fallbacks) {
            const Node& node = *one.place->node;
            if (glob_match(one.cap->models, one.served)) {
                reader_.fault(
                    node,
                    fmt::format(
                        "`then`: {} is covered by the `models` of this cap, and used up with it",
                        one.place->shown
                    ),
                    "name a model that `models` does not match, or narrow `models`"
                );
                continue;
            }
            check_served(one);
            if (right_.plans) check_allowed(one, plan);
        }
    }

    // Caps that may be asked together: no way back.
    void check_circles(const std::vector<Fallback>& together) {
        // What holds on an endpoint that some cap names, for each such endpoint; then what may hold
        // on one that only patterns match.
        std::set<std::string, std::less<>> named;
        for (const Fallback& one : together) {
            for (const std::string& path : one.cap->endpoints) {
                if (path.find_first_of("*?") == std::string::npos) named.insert(to_lower(path));
            }
        }
        for (const std::string& path : named) {
            check_circle(those_of(together, [&](const Cap& cap) {
                return cap.endpoints.empty() || any_matches(cap.endpoints, path);
            }));
        }
        check_circle(those_of(together, [](const Cap& cap) {
            return cap.endpoints.empty() ||
                   std::ranges::any_of(cap.endpoints, [](const std::string& path) {
                       return path.find_first_of("*?") != std::string::npos;
                   });
        }));
    }

private:
    void check_served(const Fallback& one) {
        const bool served = std::ranges::any_of(config_.upstreams, [&](const Upstream& upstream) {
            return any_matches(upstream.models, one.served);
        });
        if (served || !right_.upstreams) return;
        reader_.fault(
            *one.place->node,
            fmt::format("`then`: no upstream serves {}", one.place->shown),
            "add it to the `models` of an upstream"
        );
    }

    void check_allowed(const Fallback& one, const Plan* plan) {
        if (plan != nullptr) {
            auto why = denied(*plan, one);
            if (!why) return;
            reader_.fault(
                *one.place->node,
                fmt::format(
                    "`then`: the plan {} does not allow {}",
                    shown_name(plan->name, "of this cap"),
                    one.place->shown
                ),
                std::move(*why)
            );
            return;
        }
        // A plan that does not allow it passes the fallback by; one has to.
        const bool allowed =
            std::ranges::any_of(config_.plans, [&](const Plan& any) { return !denied(any, one); });
        if (allowed || config_.plans.empty()) return;
        reader_.fault(*one.place->node, fmt::format("`then`: no plan allows {}", one.place->shown));
    }

    template <class Holds>
    static std::vector<const Fallback*> those_of(const std::vector<Fallback>& all, Holds holds) {
        std::vector<const Fallback*> found;
        for (const Fallback& one : all) {
            if (holds(*one.cap)) found.push_back(&one);
        }
        return found;
    }

    // Depth first over the caps: from one to those that cover the model it falls back to.
    void check_circle(const std::vector<const Fallback*>& caps) {
        enum class State : std::uint8_t { kNew, kOpen, kDone };
        struct Step {
            std::size_t cap;
            std::size_t next = 0;
        };
        std::vector<State> states(caps.size(), State::kNew);
        for (std::size_t start = 0; start < caps.size(); ++start) {
            if (states[start] != State::kNew) continue;
            std::vector<Step> way = {{start}};
            states[start] = State::kOpen;
            while (!way.empty()) {
                Step& step = way.back();
                if (step.next == caps.size()) {
                    states[step.cap] = State::kDone;
                    way.pop_back();
                    continue;
                }
                const std::size_t next = step.next++;
                // A cap that covers its own `then` is told elsewhere.
                if (next == step.cap || states[next] == State::kDone ||
                    !glob_match(caps[next]->cap->models, caps[step.cap]->served)) {
                    continue;
                }
                if (states[next] == State::kOpen) {
                    const auto first = std::ranges::find(way, next, &Step::cap);
                    std::vector<const Fallback*> circle;
                    for (auto one = first; one != way.end(); ++one) {
                        circle.push_back(caps[one->cap]);
                    }
                    return tell(std::move(circle));
                }
                states[next] = State::kOpen;
                way.push_back({next});
            }
        }
    }

    // At the cap that stands last in the file, so that a circle that several holders have is told
    // once.
    void tell(std::vector<const Fallback*> circle) {
        const auto place = [](const Fallback* one) {
            return std::tie(one->place->node->line, one->place->node->column);
        };
        std::ranges::rotate(circle, std::ranges::max_element(circle, {}, place));
        std::vector<std::string_view> way;
        way.reserve(circle.size() + 1);
        for (const Fallback* const one : circle) way.emplace_back(one->place->shown);
        way.push_back(way.front());
        reader_.fault(
            *circle.front()->place->node,
            "`then` leads in a circle",
            fmt::format("{}", fmt::join(way, " -> "))
        );
    }

    Reader& reader_;
    const Config& config_;
    const RightParts& right_;
};

void append(std::vector<Fallback>& to, const std::vector<Fallback>& from) {
    to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

void check_fallbacks(
    Reader& reader, const Config& config, const CapPlaces& places, const RightParts& right
) {
    if (!right.models) return;  // nobody knows what would be served
    Checker checker(reader, config, right);
    const std::vector<Fallback> global = fallbacks_of(config, config.caps, places.global);
    checker.check_each(global, nullptr);
    checker.check_circles(global);

    std::vector<std::vector<Fallback>> of_plans;
    for (std::size_t i = 0; i < config.plans.size(); ++i) {
        const Plan& plan = config.plans[i];
        std::vector<Fallback> together = fallbacks_of(config, plan.caps, places.plans[i]);
        checker.check_each(together, &plan);
        of_plans.push_back(together);
        append(together, global);
        checker.check_circles(together);
    }
    std::vector<std::vector<Fallback>> of_teams;
    for (std::size_t i = 0; i < config.teams.size(); ++i) {
        std::vector<Fallback> together =
            fallbacks_of(config, config.teams[i].caps, places.teams[i]);
        checker.check_each(together, nullptr);
        of_teams.push_back(together);
        append(together, global);
        checker.check_circles(together);
    }
    std::set<std::pair<const Plan*, const Team*>> checked;
    for (std::size_t i = 0; i < config.keys.size(); ++i) {
        const Key& key = config.keys[i];
        const Plan* const plan = config.find_plan(key.plan);
        const Team* const team = config.find_team(key.team);
        if (plan == nullptr) continue;
        std::vector<Fallback> together = fallbacks_of(config, key.caps, places.keys[i]);
        checker.check_each(together, plan);
        // Keys without fallbacks of their own have those of their plan and team.
        if (together.empty() && !checked.emplace(plan, team).second) continue;
        append(together, of_plans[static_cast<std::size_t>(plan - config.plans.data())]);
        if (team != nullptr) {
            append(together, of_teams[static_cast<std::size_t>(team - config.teams.data())]);
        }
        append(together, global);
        checker.check_circles(together);
    }
}

}  // namespace weir::config
