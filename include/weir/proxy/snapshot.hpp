// Config and keys at one moment, immutable. A reload or a key change makes a new one; it is in
// force when the call that made it returns. What an exchange borrows from its snapshot lives as
// long as the exchange holds it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "weir/base/error.hpp"
#include "weir/config/config.hpp"
#include "weir/keys/key_table.hpp"
#include "weir/quota/ledger.hpp"

namespace weir::proxy {

// A key with what the config says about it.
struct Member {
    const keys::Key* key = nullptr;
    const config::Plan* plan = nullptr;
    quota::AccountId account = 0;
    quota::AccountId team = quota::kNobody;
    // All caps that a message of this key may have to pass: its plan's, its own, its team's, the
    // global ones. The snapshot's config owns them.
    std::vector<quota::Level> levels;
    std::string scope;  // for the cache: "key:alice", "team:research" or "all"
};

struct Snapshot {
    std::uint64_t generation = 0;
    std::shared_ptr<const config::Config> config;
    std::shared_ptr<const keys::KeyTable> keys;
    std::vector<Member> members;       // as keys->all()
    std::vector<std::string> secrets;  // of upstreams, in every form, for redaction; longest first

    [[nodiscard]] const Member* find(std::string_view presented) const;
    // The same key (id and hash) in this snapshot, or nullptr: it was revoked meanwhile.
    [[nodiscard]] const Member* find_same(const keys::Key& key) const;
};
using SnapshotPtr = std::shared_ptr<const Snapshot>;

// REQUIRES: `keys` is KeyStore::table() of `config`, which keeps out each key whose plan is
// missing; kInternal if not.
[[nodiscard]] Result<SnapshotPtr> make_snapshot(
    std::shared_ptr<const config::Config> config,
    std::shared_ptr<const keys::KeyTable> keys,
    quota::Ledger& ledger,
    std::uint64_t generation
);

}  // namespace weir::proxy
