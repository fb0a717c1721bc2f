#include "weir/keys/key_table.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace weir::keys {
namespace {

std::string_view bytes(const Digest& digest) noexcept {
    return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace

std::size_t KeyTable::MacHash::operator()(const Digest& mac) const noexcept {
    // Any part of a mac is as good as random, and nobody outside can choose it.
    std::size_t hash = 0;
    std::memcpy(&hash, mac.data(), sizeof hash);
    return hash;
}

KeyTable::KeyTable(std::vector<Key> keys, std::string pepper, std::vector<SetAside> set_aside)
    : keys_(std::move(keys)), pepper_(std::move(pepper)), set_aside_(std::move(set_aside)) {
    by_mac_.reserve(keys_.size());
    by_name_.reserve(keys_.size());
    for (std::size_t i = 0; i < keys_.size(); ++i) {
        by_mac_.emplace(keys_[i].mac, i);
        by_name_.emplace(keys_[i].name, i);
    }
}

const Key* KeyTable::find(std::string_view presented) const {
    const Digest mac = hmac_sha256(pepper_, presented);
    const auto found = by_mac_.find(mac);
    if (found == by_mac_.end()) return nullptr;
    const Key& key = keys_[found->second];
    return equal_constant_time(bytes(key.mac), bytes(mac)) ? &key : nullptr;
}

const Key* KeyTable::find_name(std::string_view name) const noexcept {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : &keys_[found->second];
}

const SetAside* KeyTable::find_set_aside(std::string_view name) const noexcept {
    const auto found = std::ranges::find(set_aside_, name, [](const SetAside& one) {
        return std::string_view(one.key.name);
    });
    return found == set_aside_.end() ? nullptr : &*found;
}

}  // namespace weir::keys
