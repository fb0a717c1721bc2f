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

// Where its messages are counted, and what they have to pass.
struct Standing {
    AccountId key = 0;
    AccountId team = kNobody;
    // The caps of its plan, its own, its team's, the global ones; those without any are left out.
    // The config owns them.
    std::vector<Level> levels;
};

[[nodiscard]] Standing standing_of(
    Ledger& ledger, const config::Config& config, const Holder& holder
);

}  // namespace weir::quota
