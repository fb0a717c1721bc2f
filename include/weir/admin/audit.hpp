// Who changed what and when: a table of ledger.db, of which the newest rows are kept. Thread-safe;
// calls wait for the disk: never from a worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "weir/base/error.hpp"
#include "weir/base/time_zone.hpp"
#include "weir/sqlite/writer.hpp"

namespace weir::admin {

// The table of this room, for the migrations of ledger.db.
extern const std::string_view kSchema;

// Never with a secret in it.
struct Act {
    std::string actor;    // "admin" (the bearer of the token), "signal", "start"
    std::string what;     // "key.create", "key.revoke", "grant", "reset", "reload", "cache.clear"
    std::string subject;  // "key alice", "config", "cache"
    std::string detail;   // for a person: "50 messages for gpt-4* until 2026-11-25T18:00:00Z"
};

struct AuditRow {
    std::int64_t id = 0;
    WallTime at;
    Act act;
};

class AuditTrail {
public:
    static constexpr std::size_t kMostRows = 10'000;

    // `path`: the file that `writer`, which outlives this, writes.
    AuditTrail(sqlite::Writer& writer, std::string path)
        : writer_(writer), path_(std::move(path)) {}

    // On disk when it returns.
    [[nodiscard]] Result<> add(const Act& act, WallTime at);
    // The newest first.
    [[nodiscard]] Result<std::vector<AuditRow>> newest(std::size_t limit) const;

private:
    sqlite::Writer& writer_;
    std::string path_;
};

}  // namespace weir::admin
