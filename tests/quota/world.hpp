// One history of a ledger and of its model, side by side.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "weir/quota/ledger.hpp"

#include "quota/model.hpp"
#include "quota/seed.hpp"

namespace weir::testing {

using quota::CapState;
using quota::Ledger;
using quota::Refusal;
using quota::Sequence;

constexpr std::size_t kKeys = 3;
constexpr std::size_t kTeams = 2;

// How often what happened, over all histories.
struct Told {
    std::uint64_t admitted = 0, granted = 0, spent = 0, busy = 0, never = 0, retried = 0;
    std::uint64_t failures = 0, restarts = 0, resets = 0;
};

struct World {
    World(std::uint64_t seed, sqlite::Connection& to, sqlite::Writer& jobs, Told& sums)
        : dice(seed), connection(to), writer(jobs), told(sums) {}

    Dice dice;
    sqlite::Connection& connection;
    sqlite::Writer& writer;  // of grants and resets; what the ledger queues the test writes
    Told& told;
    std::unique_ptr<TestClock> clock;
    std::unique_ptr<Ledger> ledger;
    Model model;
    // Caps that may come and go, by account. Few, so that none of their windows is ever dropped;
    // or new ones each time, and many, but then no fixed ones: where a fixed window is dropped
    // while messages come and go, it is made again from what is left of them.
    bool few = true;
    std::map<std::string, std::vector<config::Cap>> shapes;
    std::array<config::CapSet, kKeys> plan, own;
    std::array<config::CapSet, kTeams> team_caps;
    config::CapSet all_caps;
    std::array<std::size_t, kKeys> team{};  // kTeams: none
    std::map<Sequence, quota::Reservation> open;
    Sequence last = 0;
    Sequence written = 0;  // the highest that ever came to the disk
    bool down = false;
    std::vector<Sequence> good, bad;

    void wipe();
    void start();
    void crash();
    void commit(bool fails, bool came_through);
    void one_message();
    void ask_again(const ModelAsk& asked, std::chrono::microseconds wait);
    bool admit(const ModelAsk& asked, std::optional<Refusal>* refusal = nullptr);
    void settle_one();
    void grant_some();
    void reset_some();
    void peek_some();
    void check_gates();
    void check_usage();
    void check_rows();
    void step();
    void finish();

    ModelNow now() const { return {clock->now(), clock->wall()}; }
    config::Cap random_shape();
    config::CapSet random_caps(const std::string& account, std::size_t most, std::uint64_t scale);
    void change_caps(bool all);
    ModelAsk random_ask();
    std::vector<quota::Level> levels_of(const ModelAsk& asked);
    quota::AccountId id_of(const std::string& account);
    void check_refusal(const Refusal& refusal, const ModelAsk& asked, const ModelVerdict& verdict);
    void check_states(
        const std::vector<CapState>& states,
        const std::vector<ModelClaim>& claims,
        const std::string& model_name,
        bool judged
    ) const;
};

}  // namespace weir::testing
