// What a ledger should say, by keeping every message in a list and counting all of them each time.
// Written from what is promised, not from the code: no cursor, no sum, no order of evaluation.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weir/quota/ledger.hpp"

namespace weir::testing {

struct ModelNow {
    LedgerTime now;
    WallTime wall;
    [[nodiscard]] ModelNow later(std::chrono::microseconds by) const {
        return {now + by, wall + by};
    }
};

struct ModelLevel {
    quota::Whose whose = quota::Whose::kKey;
    std::string account;  // "user0", "team:t1", "all"
    const config::CapSet* caps = nullptr;
};

struct ModelAsk {
    std::string key;
    std::string team;  // "": none
    std::vector<ModelLevel> levels;
    std::string model;
    std::string endpoint;
    quota::Amounts reserve;
    bool hit = false;
};

struct ModelMessage {
    quota::Sequence sequence = 0;
    LedgerTime at;
    std::string key;
    std::string team;
    std::string model;
    std::string endpoint;
    quota::Amounts amounts;
    std::uint32_t grant = 0;
    bool counted = true;
    bool open = false;
    bool forgiven = false;
    bool undecided = true;  // its commit neither worked nor failed
    bool on_disk = false;   // with:
    quota::Amounts disk_amounts;
};

struct ModelGrant {
    std::uint32_t id = 0;
    std::string key;
    std::string models;
    std::uint64_t messages = 0;
    LedgerTime until;
};

struct ModelClaim {
    const config::Cap* cap = nullptr;
    quota::Whose whose = quota::Whose::kKey;
    std::string account;
    bool refuses = false;
    bool busy = false;
};

struct ModelVerdict {
    bool admitted = false;
    std::uint32_t grant = 0;
    std::vector<ModelClaim> claims;
};

class Model {
public:
    std::vector<ModelMessage> messages;
    std::vector<ModelGrant> grants;

    // A fixed cap is seen from the first time on that somebody asks for it in a run.
    void see(const ModelAsk& ask, const ModelNow& at);
    // REQUIRES: see()
    [[nodiscard]] ModelVerdict judge(const ModelAsk& ask, const ModelNow& at) const;
    // When every cap that is not busy now would admit; nullopt: never.
    [[nodiscard]] std::optional<LedgerTime> frees(const ModelAsk& ask, const ModelNow& at) const;
    [[nodiscard]] bool cap_frees(const ModelClaim& claim, const ModelAsk& ask, const ModelNow& at)
        const;
    [[nodiscard]] quota::WindowState state(
        const ModelClaim& claim, std::string_view model, const ModelNow& at
    ) const;

    void add(const ModelAsk& ask, quota::Sequence sequence, std::uint32_t grant, LedgerTime now);
    void settle(
        quota::Sequence sequence, bool keep, std::optional<quota::Amounts> used, LedgerTime now
    );
    std::uint64_t reset(const std::string& key, std::string_view models, LedgerTime now);
    void commit(bool fails, bool came_through, LedgerTime now);
    void crash();

    // (account, cap) -> when its window opened last, for those on disk.
    [[nodiscard]] std::map<std::pair<std::string, std::string>, LedgerTime> openings() const;
    [[nodiscard]] static bool matches(std::string_view pattern, std::string_view text);

private:
    struct Fixed {
        config::Cap cap;
        std::string account;
        bool seen = false;
        std::optional<LedgerTime> opened;   // the window that runs, until it ends
        std::optional<LedgerTime> written;  // the last that is known to have opened
        std::optional<LedgerTime> on_disk;
    };

    [[nodiscard]] static bool covers(const config::Cap& cap, const ModelMessage& message);
    [[nodiscard]] static bool is_of(const std::string& account, const ModelMessage& message);
    [[nodiscard]] static std::uint64_t weight(
        const std::string& account, const config::Cap& cap, const ModelMessage& message
    );
    // First and last time of the window, both within; nullopt: a fixed one that is not open.
    [[nodiscard]] std::optional<std::pair<LedgerTime, LedgerTime>> window(
        const std::string& account, const config::Cap& cap, const ModelNow& at
    ) const;
    struct Sum {
        std::uint64_t used = 0;
        std::uint64_t reserved = 0;
        std::uint64_t in_flight = 0;
    };
    [[nodiscard]] Sum sum(const std::string& account, const config::Cap& cap, const ModelNow& at)
        const;
    [[nodiscard]] std::uint64_t since(const Fixed& fixed, LedgerTime opened) const;
    [[nodiscard]] bool runs(const Fixed& fixed, LedgerTime now) const;
    [[nodiscard]] std::uint64_t left(const ModelGrant& grant) const;
    [[nodiscard]] const ModelGrant* find_grant(
        const std::string& key, std::string_view model, LedgerTime now
    ) const;
    [[nodiscard]] std::vector<LedgerTime> moments(
        const std::string& account, const config::Cap& cap, const ModelNow& at
    ) const;
    void derive(Fixed& fixed, LedgerTime now);
    void close(LedgerTime now);

    std::map<std::pair<std::string, std::string>, Fixed> fixed_;  // by account and counter
};

}  // namespace weir::testing
