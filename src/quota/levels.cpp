#include "weir/quota/levels.hpp"

namespace weir::quota {

Standing standing_of(Ledger& ledger, const config::Config& config, const Holder& holder) {
    Standing standing;
    standing.key = ledger.account(holder.name);
    if (!holder.team.empty()) standing.team = ledger.team(holder.team);
    const auto add = [&standing](Whose whose, AccountId account, const config::CapSet& caps) {
        if (!caps.empty()) standing.levels.push_back({whose, account, &caps});
    };
    if (const config::Plan* const plan = config.find_plan(holder.plan)) {
        add(Whose::kKey, standing.key, plan->caps);
    }
    if (holder.declared) {
        const config::CapSet* const caps = config.find_key_caps(holder.name);
        if (caps != nullptr) add(Whose::kKey, standing.key, *caps);
    }
    if (!holder.team.empty()) {
        const config::Team* const team = config.find_team(holder.team);
        if (team != nullptr) add(Whose::kTeam, standing.team, team->caps);
    }
    add(Whose::kAll, ledger.everybody(), config.caps);
    return standing;
}

}  // namespace weir::quota
