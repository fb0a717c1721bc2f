// Which caps a key's messages have to pass, by the config.
#pragma once

#include <string_view>
#include <vector>

#include "weir/config/config.hpp"
#include "weir/quota/ledger.hpp"

namespace weir::quota {

struct Holder {
    std::string_view name;  // of the key
    std::string_view team;  // empty: none
    std::string_view plan;
    bool declared = false;  // the key is in the config, and may have caps of its own there
};

// Its plan's, its own, its team's, the global ones; those without any caps are left out. `config`
// owns them.
[[nodiscard]] std::vector<Level> levels_of(
    Ledger& ledger, const config::Config& config, const Holder& holder
);

}  // namespace weir::quota
