// What the calls on keys share. Private to src/admin.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "weir/admin/admin.hpp"
#include "weir/keys/key_table.hpp"
#include "weir/quota/ledger.hpp"

#include "request.hpp"

namespace weir::admin {

// Names go before ids, keys in force before others: where the config took over the name of a stored
// key, the name means the declared one, and the other is reached by its id.
struct Found {
    std::shared_ptr<const keys::KeyTable> table;  // owns the rest
    const keys::Key* key = nullptr;
    const keys::SetAside* aside = nullptr;  // not in force
};
// 404, with the nearest name: there is no such key.
[[nodiscard]] Checked<Found> find_key(
    const Services& services, const config::Config& config, std::string_view name_or_id
);
[[nodiscard]] http::ApiError no_such_key(std::string_view name, const keys::KeyTable& table);
[[nodiscard]] Json shown(const keys::Key& key, const keys::SetAside* aside = nullptr);
// The caps that hold for a key in force; `config` owns them.
[[nodiscard]] std::vector<quota::Level> levels_of(
    const Services& services, const config::Config& config, const keys::Key& key
);

}  // namespace weir::admin
