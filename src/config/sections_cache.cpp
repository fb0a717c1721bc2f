#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "weir/base/text.hpp"

#include "sections.hpp"

namespace weir::config {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostRules = 1000;
constexpr auto kLongestKept = std::chrono::days(366);
constexpr std::string_view kRuleExample =
    "write `- {models: \"gpt-4*\", when: deterministic, ttl: 1h}`";

// What may be left out of account without a wrong answer: who asks and how it is billed.
const std::vector<std::string>& ignorable() {
    static const std::vector<std::string> kNames = {
        "user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"
    };
    return kNames;
}

// One word or a list of them, each of `known`.
void read_words(
    Reader& reader,
    const Node& node,
    std::string_view label,
    std::string_view thing,
    const std::vector<std::string>& known,
    std::vector<std::string>& out
) {
    std::vector<const Node*> nodes;
    if (node.kind == Node::Kind::kList) {
        nodes.reserve(node.items.size());
        for (const NodePtr& item : node.items) nodes.push_back(item.get());
    } else {
        nodes.push_back(&node);
    }
    for (const Node* const one : nodes) {
        auto name = reader.name(*one, label);
        if (!name) continue;
        if (std::ranges::find(known, name->text) == known.end()) {
            std::string hint = did_you_mean(name->text, known);
            if (hint.empty() && !known.empty()) {
                hint = fmt::format("known are: {}", fmt::join(known, ", "));
            }
            reader.fault(
                *one, fmt::format("`{}`: there is no {} {}", label, thing, name->shown), hint
            );
            continue;
        }
        out.push_back(std::move(name->text));
    }
}

void read_rule(
    Reader& reader, const Node& node, const std::vector<std::string>& plans, Cache& cache
) {
    if (node.kind != Node::Kind::kMap) {
        reader.fault(node, "a rule of the cache is a map", std::string(kRuleExample));
        return;
    }
    CacheRule rule;
    Section section(reader, node, "a rule of the cache", "");
    if (const Node* const models = section.find("models")) {
        reader.patterns(*models, "models", rule.models, false);
    }
    if (const Node* const named = section.find("plans")) {
        read_words(reader, *named, "plans", "plan", plans, rule.plans);
        if (named->kind == Node::Kind::kList && named->items.empty()) {
            reader.fault(*named, "`plans` is empty: nothing matches it", "leave it out for all");
        }
    }
    CacheWhen when = CacheWhen::kAlways;
    section.choice<CacheWhen>(
        "when",
        when,
        {{"always", CacheWhen::kAlways},
         {"deterministic", CacheWhen::kDeterministic},
         {"never", CacheWhen::kNever}}
    );
    if (section.find("when") != nullptr) rule.when = when;
    std::chrono::seconds ttl{0};
    section.duration<std::chrono::seconds>("ttl", ttl, 1s, kLongestKept);
    if (section.find("ttl") != nullptr) rule.ttl = ttl;
    section.finish();
    if (!rule.when && !rule.ttl) {
        reader.fault(node, "the rule says neither `when` nor `ttl`", std::string(kRuleExample));
    }
    cache.rules.push_back(std::move(rule));
}

void read_rules(Section& section, Reader& reader, const Config& config, Cache& cache) {
    const Node* const rules = section.find("rules");
    if (rules == nullptr || !reader.is_list(*rules, "cache.rules", "a list of rules")) return;
    if (rules->items.size() > kMostRules) {
        reader.fault(*rules, fmt::format("`cache.rules` has more than {} rules", kMostRules));
        return;
    }
    std::vector<std::string> plans;
    plans.reserve(config.plans.size());
    for (const Plan& plan : config.plans) plans.push_back(plan.name);
    for (const NodePtr& rule : rules->items) read_rule(reader, *rule, plans, cache);
}

}  // namespace

void read_cache(Section& root, Reader& reader, Config& config) {
    const Node* const node = root.find("cache");
    if (node == nullptr) return;
    Cache& cache = config.cache;
    Section section(reader, *node, "`cache`", "cache.");
    section.flag("enabled", cache.enabled);
    section.choice<CacheWhen>(
        "when",
        cache.when,
        {{"always", CacheWhen::kAlways}, {"deterministic", CacheWhen::kDeterministic}},
        {"asked", "never", "on_request"},
        "write `always` or `deterministic`; `cache: {enabled: false}` turns the cache off"
    );
    section.duration<std::chrono::seconds>("ttl", cache.ttl, 1s, kLongestKept);
    read_rules(section, reader, config, cache);
    if (const Node* const ignore = section.find("ignore")) {
        read_words(
            reader, *ignore, "cache.ignore", "member to leave out", ignorable(), cache.ignore
        );
    }
    section.choice<Replay>(
        "replay", cache.replay, {{"fast", Replay::kFast}, {"paced", Replay::kPaced}}
    );
    section.duration<milliseconds>("finish_abandoned", cache.finish_abandoned, 0ms, 1h);
    const bool size_right = section.size("max_size", cache.max_size_bytes, kMiB, 1024 * kGiB);
    const bool entry_right = section.size("max_entry", cache.max_entry_bytes, kKiB, kGiB);
    section.size("max_request", cache.max_request_bytes, kKiB, kGiB);
    section.size("memory", cache.memory_bytes, 0, 256 * kGiB);
    section.choice<Scope>(
        "scope", cache.scope, {{"key", Scope::kKey}, {"team", Scope::kTeam}, {"all", Scope::kAll}}
    );
    section.choice<bool>("hits", cache.hits_counted, {{"free", false}, {"counted", true}});
    section.finish();
    if (size_right && entry_right && cache.max_entry_bytes > cache.max_size_bytes) {
        const Node* const entry = section.find("max_entry");
        const Node* const size = section.find("max_size");
        reader.fault(
            entry != nullptr  ? *entry
            : size != nullptr ? *size
                              : *node,
            fmt::format(
                "`cache.max_entry` ({}) is larger than `cache.max_size` ({})",
                human_size(cache.max_entry_bytes),
                human_size(cache.max_size_bytes)
            )
        );
    }
}

}  // namespace weir::config
