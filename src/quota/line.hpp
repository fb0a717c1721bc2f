// Who waits before a cap at once: first come, first served within a key, round robin between keys.
// No I/O. Not thread-safe (the ledger locks).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>

#include "weir/base/signal.hpp"
#include "weir/config/cap.hpp"
#include "weir/quota/ledger.hpp"

namespace weir::quota {

// Before this cap messages may wait; those of `mode: warn` let everybody through.
[[nodiscard]] inline bool has_line(const config::Cap& cap) noexcept {
    return cap.period == config::Period::kAtOnce && !cap.warn;
}
// Of one account they have one line, whatever their limits.
[[nodiscard]] inline bool same_messages(const config::Cap& a, const config::Cap& b) noexcept {
    return a.models == b.models && a.endpoints == b.endpoints;
}

struct Line;

struct Ticket {
    AccountId key = 0;
    std::shared_ptr<Signal> signal;
    std::uint64_t call = 0;  // counted in the line; 0: never called
    bool called = false;     // and not put back since
    Line* line = nullptr;    // nullptr: it left
};

struct Line {
    AccountId account = 0;
    config::Cap cap;                            // whose limit is the newest that anybody asked by
    std::uint64_t called = 0;                   // places that are promised to those called
    std::uint64_t calls = 0;                    // ever
    std::size_t waiting = 0;                    // and not called
    bool recheck = false;                       // the caps changed since somebody asked
    std::deque<std::shared_ptr<Ticket>> early;  // called too early, before all others; by call
    std::deque<AccountId> order;                // keys that wait, the next one first
    std::unordered_map<AccountId, std::deque<std::shared_ptr<Ticket>>> by_key;

    void join(const std::shared_ptr<Ticket>& ticket);
    void call_next();
    // Called too early: back to the front, behind those who had been called before it.
    void put_back(const std::shared_ptr<Ticket>& ticket);
    // Out of the line, called or not.
    void leave(Ticket& ticket);
    [[nodiscard]] bool is_before(AccountId whose, const config::Cap& one) const noexcept {
        return account == whose && same_messages(cap, one);
    }
    [[nodiscard]] bool empty() const noexcept { return waiting == 0 && called == 0; }
};

}  // namespace weir::quota
