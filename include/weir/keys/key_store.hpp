// The keys on disk (ledger.db, tables of this room), and the secret that hashes them. Calls block
// on the disk: never from a worker. Thread-safe. A change that fails with kStorage may or may not
// have come through; the next call reads the disk again and tells.
//
// A made key is `sk-weir-<public id>-<secret>`; it is shown once, when it is made; only its hash is
// kept.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "weir/base/clock.hpp"
#include "weir/base/error.hpp"
#include "weir/config/config.hpp"
#include "weir/keys/key_table.hpp"
#include "weir/sqlite/writer.hpp"

namespace weir::keys {

// The tables of this room, for the migrations of ledger.db.
extern const std::string_view kSchema;

struct NewKey {
    Key key;
    std::string text;  // the whole key; a secret, shown once
};

class KeyStore {
public:
    // Reads or makes `<data>/secret` (32 random bytes, mode 0600). A missing secret beside a ledger
    // that has keys is an error: no key could ever match again. `connection` is read at once and
    // not kept; writes go through `writer`.
    [[nodiscard]] static Result<std::unique_ptr<KeyStore>> open(
        const std::string& data_dir, sqlite::Connection& connection, sqlite::Writer& writer
    );

    // Declared keys of the config and the stored ones, as one table. The config may have changed
    // while Weir was down, so a stored key that it leaves no place for is set aside, not an error:
    // its plan is missing, or a declared key has its name or secret. Where `in_force` is given, no
    // key that is in force there may be set aside; kConfig names all that would be, one a line.
    // kConflict: two declared keys have the same name or secret. After a success create() and
    // revoke() know this config's names and plans.
    [[nodiscard]] Result<std::shared_ptr<const KeyTable>> table(
        const config::Config& config, const KeyTable* in_force = nullptr
    ) const;

    // kBadRequest: a name or team that is not 1 to 64 of [A-Za-z0-9._@-] (a team may be empty), or
    // a plan that the config does not have. kConflict: the name is taken. On disk when it returns.
    [[nodiscard]] Result<NewKey> create(
        std::string_view name, std::string_view plan, std::string_view team, LedgerTime now
    );
    // By name or public id. kNotFound: no such stored key; kConflict: it is declared in the config.
    // The key is forgotten: its name is free again and keeps its history.
    [[nodiscard]] Result<Key> revoke(std::string_view name_or_id);

private:
    struct Impl;
    explicit KeyStore(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
    std::shared_ptr<Impl> impl_;
};

// `<data>/admin-token`: made at first start (mode 0600), read afterwards. Both this and the secret
// appear whole or not at all, whatever happens while they are made.
[[nodiscard]] Result<std::string> admin_token(const std::string& data_dir);

}  // namespace weir::keys
