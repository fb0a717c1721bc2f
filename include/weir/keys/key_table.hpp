// Who may use Weir: an immutable table of keys, one per snapshot. Looking up is constant-time in
// the secret: the presented key is hashed (HMAC-SHA-256 with the secret in the data directory), the
// hash finds the entry, and the whole hash is compared with CRYPTO_memcmp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "weir/base/crypto.hpp"

namespace weir::keys {

// One key as a request sees it.
struct Key {
    std::string id;    // public, safe to log: "k3J9aQ" or, for declared keys, "cfg-alice"
    std::string name;  // of its holder; history belongs to the name
    std::string plan;
    std::string team;             // empty: none
    bool declared = false;        // in the config file
    std::int64_t created_us = 0;  // ledger time; 0 for declared keys
    Digest mac{};                 // of the whole key text
};

// A stored key that the config leaves no place for. It opens nothing until that is mended.
struct SetAside {
    Key key;
    std::string why;   // "its plan `plus` is not in the config"
    std::string cure;  // "define the plan and reload, or revoke the key"
};

class KeyTable {
public:
    // REQUIRES: names and macs of `keys` are unique. `pepper` is the secret of the data directory.
    KeyTable(std::vector<Key> keys, std::string pepper, std::vector<SetAside> set_aside = {});
    // The indexes look into the keys.
    KeyTable(const KeyTable&) = delete;
    KeyTable& operator=(const KeyTable&) = delete;
    // nullptr: nobody has it. The result lives as long as the table.
    [[nodiscard]] const Key* find(std::string_view presented) const;
    [[nodiscard]] const Key* find_name(std::string_view name) const noexcept;
    [[nodiscard]] const std::vector<Key>& all() const noexcept { return keys_; }
    // Keys that are not in force: find() and all() know nothing of them.
    [[nodiscard]] const std::vector<SetAside>& set_aside() const noexcept { return set_aside_; }
    [[nodiscard]] const SetAside* find_set_aside(std::string_view name) const noexcept;

private:
    struct MacHash {
        std::size_t operator()(const Digest& mac) const noexcept;
    };
    std::vector<Key> keys_;
    std::string pepper_;
    std::vector<SetAside> set_aside_;
    std::unordered_map<Digest, std::size_t, MacHash> by_mac_;
    std::unordered_map<std::string_view, std::size_t> by_name_;  // views into keys_
};

}  // namespace weir::keys
