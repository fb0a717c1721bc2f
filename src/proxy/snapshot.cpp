#include "weir/proxy/snapshot.hpp"

#include <algorithm>
#include <functional>
#include <iterator>

#include "weir/http/secrets.hpp"

namespace weir::proxy {

namespace {

std::string scope_of(const keys::Key& key, config::Scope scope) {
    switch (scope) {
        case config::Scope::kAll:
            return "all";
        case config::Scope::kTeam:
            // A key without a team is a scope of its own.
            if (!key.team.empty()) return "team:" + key.team;
            break;
        case config::Scope::kKey:
            break;
    }
    return "key:" + key.name;
}

std::vector<quota::Level> levels_of(
    const Member& member, const config::Config& config, const quota::Ledger& ledger
) {
    using quota::Whose;
    std::vector<quota::Level> levels;
    const auto add = [&levels](Whose whose, quota::AccountId account, const config::CapSet* caps) {
        if (caps != nullptr && !caps->empty()) levels.push_back({whose, account, caps});
    };
    add(Whose::kKey, member.account, &member.plan->caps);
    // Caps of its own stand beside a declared key only.
    if (member.key->declared) {
        add(Whose::kKey, member.account, config.find_key_caps(member.key->name));
    }
    const config::Team* const team = config.find_team(member.key->team);
    if (team != nullptr) add(Whose::kTeam, member.team, &team->caps);
    add(Whose::kAll, ledger.everybody(), &config.caps);
    return levels;
}

// Keys of clients never go to an upstream, so that none can say them.
std::vector<std::string> forms_of_upstream_keys(const config::Config& config) {
    std::vector<std::string> all;
    for (const config::Upstream& upstream : config.upstreams) {
        std::vector<std::string> forms = http::secret_forms(upstream.key);
        std::ranges::move(forms, std::back_inserter(all));
    }
    std::ranges::sort(all, std::ranges::greater(), &std::string::size);
    return all;
}

}  // namespace

const Member* Snapshot::find(std::string_view presented) const {
    const keys::Key* const key = keys->find(presented);
    if (key == nullptr) return nullptr;
    return &members[static_cast<std::size_t>(key - keys->all().data())];
}

const Member* Snapshot::find_same(const keys::Key& key) const {
    const keys::Key* const same = keys->find_name(key.name);
    if (same == nullptr || same->id != key.id || same->mac != key.mac) return nullptr;
    return &members[static_cast<std::size_t>(same - keys->all().data())];
}

Result<SnapshotPtr> make_snapshot(
    std::shared_ptr<const config::Config> config,
    std::shared_ptr<const keys::KeyTable> keys,
    quota::Ledger& ledger,
    std::uint64_t generation
) {
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->generation = generation;
    snapshot->members.reserve(keys->all().size());
    for (const keys::Key& key : keys->all()) {
        const config::Plan* const plan = config->find_plan(key.plan);
        if (plan == nullptr) {
            return fail(
                ErrorCode::kInternal,
                "the key `" + key.name + "` is in force without its plan `" + key.plan + "`"
            );
        }
        Member& member = snapshot->members.emplace_back();
        member.key = &key;
        member.plan = plan;
        member.account = ledger.account(key.name);
        if (!key.team.empty()) member.team = ledger.team(key.team);
        member.levels = levels_of(member, *config, ledger);
        member.scope = scope_of(key, config->cache.scope);
    }
    snapshot->secrets = forms_of_upstream_keys(*config);
    snapshot->config = std::move(config);
    snapshot->keys = std::move(keys);
    return snapshot;
}

}  // namespace weir::proxy
