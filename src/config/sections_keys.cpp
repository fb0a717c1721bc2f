#include <algorithm>
#include <map>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sections.hpp"
#include "sections_caps.hpp"

namespace weir::config {

namespace {

constexpr std::size_t kShortestSecret = 16;

using Names = std::map<std::string, const Node*, std::less<>>;

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
        if (std::ranges::find(upstream.keys, *secret) == upstream.keys.end()) continue;
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
    Config& config,
    ThenPlaces& places
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
    read_caps(section, reader, config, key.caps, places);
    section.later("expires");
    section.finish();
    config.keys.push_back(std::move(key));
}

}  // namespace

void read_keys(Section& root, Reader& reader, Config& config, CapPlaces& places) {
    const Node* const keys = root.find("keys");
    if (keys == nullptr || !reader.is_list(*keys, "keys", "a list of keys")) return;
    std::vector<std::string> plans;
    plans.reserve(config.plans.size());
    for (const Plan& plan : config.plans) plans.push_back(plan.name);
    KeysSoFar so_far;
    for (const NodePtr& item : keys->items) {
        read_one_key(reader, *item, plans, so_far, config, places.keys.emplace_back());
    }
}

}  // namespace weir::config
