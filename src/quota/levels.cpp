#include "weir/quota/levels.hpp"

namespace weir::quota {

std::vector<Level> levels_of(Ledger& ledger, const config::Config& config, const Holder& holder) {
    std::vector<Level> levels;
    const auto add = [&levels](Whose whose, AccountId account, const config::CapSet& caps) {
        if (!caps.empty()) levels.push_back({whose, account, &caps});
    };
    const AccountId own = ledger.account(holder.name);
    if (const config::Plan* const plan = config.find_plan(holder.plan)) {
        add(Whose::kKey, own, plan->caps);
    }
    if (holder.declared) {
        const config::CapSet* const caps = config.find_key_caps(holder.name);
        if (caps != nullptr) add(Whose::kKey, own, *caps);
    }
    if (!holder.team.empty()) {
        const config::Team* const team = config.find_team(holder.team);
        if (team != nullptr) add(Whose::kTeam, ledger.team(holder.team), team->caps);
    }
    add(Whose::kAll, ledger.everybody(), config.caps);
    return levels;
}

}  // namespace weir::quota
