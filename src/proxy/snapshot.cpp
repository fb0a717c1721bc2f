#include "weir/proxy/snapshot.hpp"

#include <algorithm>
#include <functional>
#include <iterator>

#include "weir/cache/cache_key.hpp"
#include "weir/http/secrets.hpp"
#include "weir/quota/levels.hpp"

namespace weir::proxy {

namespace {

// Keys of clients never go to an upstream, so that none can say them.
std::vector<std::string> forms_of_upstream_secrets(const config::Config& config) {
    std::vector<std::string> all;
    for (const config::Upstream& upstream : config.upstreams) {
        for (const std::string_view secret : upstream.secrets()) {
            std::vector<std::string> forms = http::secret_forms(secret);
            std::ranges::move(forms, std::back_inserter(all));
        }
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
        quota::Standing standing = quota::standing_of(
            ledger,
            *config,
            {.name = key.name, .team = key.team, .plan = key.plan, .declared = key.declared}
        );
        member.account = standing.key;
        member.team = standing.team;
        member.levels = std::move(standing.levels);
        member.scope = cache::scope_of(config->cache.scope, key.name, key.team);
    }
    snapshot->secrets = forms_of_upstream_secrets(*config);
    snapshot->config = std::move(config);
    snapshot->keys = std::move(keys);
    return snapshot;
}

}  // namespace weir::proxy
