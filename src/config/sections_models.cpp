#include <algorithm>
#include <map>
#include <set>
#include <string>

#include <fmt/format.h>

#include "weir/base/text.hpp"

#include "sections.hpp"

namespace weir::config {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kShortestSecret = 16;
constexpr std::size_t kLongestChain = 16;
constexpr std::size_t kMostCaps = 64;  // each is looked at for each message
constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t kGiB = 1024 * kMiB;

using Names = std::map<std::string, const Node*, std::less<>>;

// Whether `name` is a model's own name; a pattern would never be asked for.
bool is_model_name(
    Reader& reader, const Node& node, std::string_view name, std::string_view shown
) {
    if (name.find_first_of("*?") == std::string_view::npos) return true;
    reader.fault(node, fmt::format("{} is a pattern; an alias is for one model name", shown));
    return false;
}

// Puts the end of each chain of aliases into its start, and tells those that never end.
void follow_aliases(Reader& reader, Config& config, const Names& places) {
    std::map<std::string_view, const Model*> by_name;
    for (const Model& model : config.models) by_name.emplace(model.name, &model);
    std::vector<std::string> ends;
    for (const Model& model : config.models) {
        std::string end = model.serve_as;
        std::set<std::string, std::less<>> seen = {model.name};
        std::string way = model.name;
        while (!end.empty()) {
            way += " -> " + end;
            const Node& place = *places.find(model.name)->second;
            if (end == model.serve_as && end == model.name) {
                reader.fault(
                    place,
                    fmt::format("the model {} is served as itself", quoted(end)),
                    "remove `serve_as`"
                );
                break;
            }
            if (!seen.insert(end).second) {
                reader.fault(
                    place,
                    fmt::format("the model {} is served in a circle", quoted(model.name)),
                    quoted(way)
                );
                break;
            }
            if (seen.size() > kLongestChain) {
                reader.fault(
                    place, fmt::format("more than {} aliases in a row", kLongestChain - 1)
                );
                break;
            }
            const auto next = by_name.find(end);
            if (next == by_name.end() || next->second->serve_as.empty()) break;
            end = next->second->serve_as;
        }
        ends.push_back(std::move(end));
    }
    for (std::size_t i = 0; i < ends.size(); ++i) config.models[i].serve_as = std::move(ends[i]);
}

void read_aliases(Reader& reader, const Node& node, Config& config) {
    Names places;
    for (const Named& entry : named_entries(reader, node, "models", "a map of model names")) {
        if (!is_model_name(reader, *entry.key, entry.name, shown_name(entry.name, "this")))
            continue;
        Model model;
        model.name = entry.name;
        const Node* place = entry.key;
        if (entry.value->kind == Node::Kind::kScalar) {
            reader.fault(
                *entry.value,
                fmt::format(
                    "`models`: expected a map for {}, found a single value",
                    shown_name(model.name, "this name")
                ),
                "write {serve_as: NAME}"
            );
            continue;
        }
        Section section(reader, *entry.value, "a model", "");
        if (const Node* const serve_as = section.find("serve_as")) {
            const auto name = reader.name(*serve_as, "serve_as");
            if (name && is_model_name(reader, *serve_as, name->text, name->shown)) {
                model.serve_as = name->text;
                place = serve_as;
            }
        }
        section.later("max_output");
        section.later("inputs");
        section.finish();
        places.emplace(model.name, place);
        config.models.push_back(std::move(model));
    }
    follow_aliases(reader, config, places);
}

void read_cap(Reader& reader, const Node& node, CapSet& caps, Names& counters) {
    if (node.kind == Node::Kind::kScalar) {
        reader.fault(
            node,
            "`caps`: expected a map, found a single value",
            "write {models: \"*\", allow: 100/4h}"
        );
        return;
    }
    Section section(reader, node, "a cap", "");
    std::string models = "*";
    bool models_right = true;
    if (const Node* const pattern = section.find("models")) {
        if (pattern->kind == Node::Kind::kList) {
            reader.fault(
                *pattern,
                "the `models` of a cap is one pattern, found a list",
                "write a cap for each; each counts for itself"
            );
            models_right = false;
        } else {
            std::vector<std::string> found;
            models_right = reader.patterns(*pattern, "models", found, false);
            if (!found.empty()) models = found.front();
        }
    }
    std::optional<Cap> cap;
    const Node* const allow = section.find("allow");
    if (allow != nullptr) {
        if (const auto text = reader.value(*allow, "allow", "messages per time such as 100/4h")) {
            auto parsed = parse_allow(text->text);
            if (parsed) {
                cap = std::move(*parsed);
            } else {
                reader.fault(
                    *allow, fmt::format("`allow`: {}, found {}", parsed.error(), text->shown)
                );
            }
        }
    } else if (node.kind == Node::Kind::kMap) {
        reader.fault(node, "a cap has no `allow`", "write {models: \"*\", allow: 100/4h}");
    }
    section.later("then");
    section.later("queue");
    section.later("endpoints");
    section.finish();
    if (!cap || !models_right) return;
    cap->models = std::move(models);
    const auto [first, fresh] = counters.emplace(cap->counter(), &node);
    if (!fresh) {
        reader.fault(
            node,
            fmt::format(
                "this cap counts the same as the one on line {}: the same `models` in {}",
                first->second->line,
                human_duration(cap->span)
            ),
            "keep the smaller one"
        );
        return;
    }
    caps.push_back(std::move(*cap));
}

Plan read_plan(Reader& reader, const Named& entry) {
    Plan plan;
    plan.name = entry.name;
    const std::string shown = shown_name(plan.name, "");
    Section section(reader, *entry.value, shown.empty() ? "a plan" : "the plan " + shown, "");
    const Node* const caps = section.find("caps");
    if (caps != nullptr && reader.is_list(*caps, "caps", "a list of caps")) {
        if (caps->items.size() > kMostCaps) {
            reader.fault(*caps, fmt::format("a plan has at most {} caps", kMostCaps));
        } else {
            Names counters;
            for (const NodePtr& item : caps->items) read_cap(reader, *item, plan.caps, counters);
        }
    }
    if (const Node* const models = section.find("models")) {
        reader.patterns(*models, "models", plan.models, false);
    }
    if (const Node* const deny = section.find("deny")) {
        reader.patterns(*deny, "deny", plan.deny, true);
    }
    section.later("inputs");
    section.later("endpoints");
    section.later("max_input");
    section.later("max_output");
    section.finish();
    return plan;
}

// What is known of the keys before the one that is being read.
struct KeysSoFar {
    Names names;
    std::map<std::string, int, std::less<>> secrets;  // and the lines they stand on
};

void read_secret(
    Reader& reader, const Node& node, const Config& config, KeysSoFar& so_far, Key& key
) {
    auto secret = reader.secret(node, "secret");
    if (!secret) return;
    if (secret->size() < kShortestSecret) {
        reader.fault(
            node,
            fmt::format(
                "`secret` has {} characters, fewer than {}", secret->size(), kShortestSecret
            ),
            "make one with `openssl rand -hex 24`"
        );
        return;
    }
    const auto [first, fresh] = so_far.secrets.emplace(*secret, node.line);
    if (!fresh) {
        reader.fault(
            node,
            fmt::format("the same `secret` as the key on line {}", first->second),
            "give each key one of its own"
        );
        return;
    }
    for (const Upstream& upstream : config.upstreams) {
        if (upstream.key != *secret) continue;
        reader.fault(
            node,
            "the same `secret` as an upstream's `key`",
            "an upstream's key must not be in the hands of clients"
        );
        return;
    }
    key.secret = std::move(*secret);
}

void read_one_key(
    Reader& reader,
    const Node& node,
    const std::vector<std::string>& plans,
    KeysSoFar& so_far,
    Config& config
) {
    Key key;
    const bool map = node.kind == Node::Kind::kMap;
    Section section(reader, node, "a key", "");
    if (const Node* const name = section.find("name")) {
        if (auto given = reader.name(*name, "name")) {
            const auto [first, fresh] = so_far.names.emplace(given->text, name);
            if (!fresh) {
                reader.fault(
                    *name,
                    fmt::format(
                        "the key {} stands twice; first on line {}",
                        given->shown,
                        first->second->line
                    )
                );
            }
            key.name = std::move(given->text);
        }
    } else if (map) {
        reader.fault(node, "a key has no `name`", "write `name: alice`");
    }
    if (const Node* const plan = section.find("plan")) {
        if (auto given = reader.name(*plan, "plan")) {
            if (std::ranges::find(plans, given->text) == plans.end()) {
                std::string hint = did_you_mean(given->text, plans);
                if (hint.empty()) {
                    hint = plans.empty() ? "there are no plans; write them under `plans`"
                                         : fmt::format("plans are: {}", fmt::join(plans, ", "));
                }
                reader.fault(*plan, fmt::format("there is no plan {}", given->shown), hint);
            }
            key.plan = std::move(given->text);
        }
    } else if (map) {
        reader.fault(node, "a key has no `plan`", "write `plan: NAME`");
    }
    if (const Node* const team = section.find("team")) {
        if (auto given = reader.name(*team, "team")) key.team = std::move(given->text);
    }
    if (const Node* const secret = section.find("secret")) {
        read_secret(reader, *secret, config, so_far, key);
    } else if (map) {
        reader.fault(
            node, "a key has no `secret`", "16 or more characters, best as \"${ALICE_KEY}\""
        );
    }
    section.later("caps");
    section.later("expires");
    section.finish();
    config.keys.push_back(std::move(key));
}

}  // namespace

void read_models(Section& root, Reader& reader, Config& config) {
    if (const Node* const models = root.find("models")) read_aliases(reader, *models, config);
    std::vector<std::string> plans;  // also those with faults, so that their keys are not blamed
    if (const Node* const node = root.find("plans")) {
        for (const Named& entry : named_entries(reader, *node, "plans", "a map of plans")) {
            plans.push_back(entry.name);
            config.plans.push_back(read_plan(reader, entry));
        }
    }
    const Node* const keys = root.find("keys");
    if (keys == nullptr || !reader.is_list(*keys, "keys", "a list of keys")) return;
    KeysSoFar so_far;
    for (const NodePtr& item : keys->items) read_one_key(reader, *item, plans, so_far, config);
}

void read_cache(Section& root, Reader& reader, Config& config) {
    const Node* const node = root.find("cache");
    if (node == nullptr) return;
    Cache& cache = config.cache;
    Section section(reader, *node, "`cache`", "cache.");
    section.flag("enabled", cache.enabled);
    bool always = true;
    section.choice<bool>(
        "when",
        always,
        {{"always", true}},
        {"asked", "never", "deterministic", "on_request"},
        "write `always`; `cache: {enabled: false}` turns the cache off"
    );
    section.duration<std::chrono::seconds>("ttl", cache.ttl, 1s, std::chrono::days(366));
    const bool size_right = section.size("max_size", cache.max_size_bytes, kMiB, 1024 * kGiB);
    const bool entry_right = section.size("max_entry", cache.max_entry_bytes, kKiB, kGiB);
    section.size("max_request", cache.max_request_bytes, kKiB, kGiB);
    section.size("memory", cache.memory_bytes, 0, 256 * kGiB);
    section.choice<Scope>(
        "scope", cache.scope, {{"key", Scope::kKey}, {"team", Scope::kTeam}, {"all", Scope::kAll}}
    );
    section.later("hits", "a hit is free");
    section.later("ignore");
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
