// What one account (a key, a team, everybody) used in the last 32 days, and the windows that caps
// look at it through. In memory, without I/O. Not thread-safe (the ledger locks).
//
// A window is no list of its own: it is a place in the account's entries and the sum of what lies
// behind it, so that it costs a few words however much lies in it. It is made from the entries when
// a cap first asks, so that a changed cap sees the same history, and is kept up with every entry
// from then on, whichever caps that was admitted by.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "weir/base/clock.hpp"
#include "weir/config/cap.hpp"
#include "weir/quota/ledger.hpp"
#include "weir/quota/window.hpp"

namespace weir::quota {

// The longest span of a cap, and how long entries are kept. The longest month is shorter.
constexpr std::chrono::hours kHistory{32 * 24};

// A served model at an endpoint. Lives as long as an entry refers to it, since anybody may make
// names up.
struct Subject {
    std::string model;
    std::string endpoint;
    std::int64_t row = 0;
    std::uint64_t entries = 0;       // and holds
    bool stored = false;             // its row is on disk or in a batch
    std::vector<std::uint8_t> fits;  // by pattern: 0 not yet asked, 1 no, 2 yes
};

// What a cap covers, and an answer for each subject that was asked about. Lives as long as the
// book.
struct Pattern {
    std::size_t number = 0;
    std::string models;
    std::vector<std::string> endpoints;

    [[nodiscard]] bool fits(Subject& subject) const;
};
// Without a memory of its own.
[[nodiscard]] bool covers(
    std::string_view models,
    const std::vector<std::string>& endpoints,
    std::string_view model,
    std::string_view endpoint
) noexcept;

struct Entry {
    LedgerTime at;
    Sequence sequence = 0;
    Subject* subject = nullptr;  // until it is gone
    std::uint64_t money = 0;     // nano-dollars
    std::uint32_t tokens = 0;
    bool open = false;      // in flight
    bool gone = false;      // refunded
    bool granted = false;   // no message under the key's caps
    bool forgiven = false;  // reset: nothing under the key's caps

    void set(const Amounts& amounts) noexcept {
        constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
        tokens = static_cast<std::uint32_t>(std::min(amounts.tokens, kMost));
        money = amounts.money;
    }
};

// The two clocks at one moment.
struct Moment {
    LedgerTime now;
    WallTime wall;
};

struct Counter {
    const Pattern* pattern = nullptr;
    config::Unit unit = config::Unit::kMessages;
    config::Period period = config::Period::kRolling;
    std::chrono::seconds span{0};
    std::shared_ptr<const TimeZone> zone;
    std::uint64_t last_use = 0;

    // Entries after `bound` are in the window. `first` is the earliest that counts, `last` the
    // latest; without any, both are meaningless and `sum` is 0.
    LedgerTime bound = LedgerTime::min();
    std::size_t first = 0;
    Sequence last = 0;
    LedgerTime last_at;
    std::uint64_t sum = 0;
    std::uint64_t reserved = 0;  // of the sum, by entries in flight
    std::uint64_t open = 0;      // entries in flight, in the window or not
    LedgerTime ends;             // kFixed, kDay...: when the window does (as of the last look)
    TimeZone::Bounds bounds{};   // kDay...: of the window, as of the last look; looked up once each
    bool running = false;        // kFixed: a window is open

    [[nodiscard]] bool covers(const Entry& entry) const { return pattern->fits(*entry.subject); }
    // What an entry counts here.
    [[nodiscard]] std::uint64_t weight(const Entry& entry) const;
    [[nodiscard]] bool is(const config::Cap& cap) const noexcept;
};

class Account {
public:
    std::string name;
    Whose kind = Whose::kKey;
    std::int64_t row = 0;
    bool stored = false;  // its row is on disk or in a batch

    // The window of `cap`, up to date; made if `find` gives what it covers. The index holds until
    // trim().
    template <class Find>
    [[nodiscard]] std::size_t counter(
        const config::Cap& cap, const Moment& moment, std::uint64_t use, Find find
    ) {
        std::size_t index = 0;
        while (index < counters_.size() && !counters_[index].is(cap)) ++index;
        if (index == counters_.size()) make(cap, find(cap), moment);
        counters_[index].last_use = use;
        advance(counters_[index], cap, moment);
        return index;
    }
    [[nodiscard]] const Counter& at(std::size_t index) const { return counters_[index]; }
    [[nodiscard]] WindowState state(std::size_t index, std::uint64_t limit, const Moment& moment)
        const;
    // Until `need` fits under `limit` if nothing else happens. REQUIRES: it does not now.
    [[nodiscard]] std::chrono::microseconds wait_for(
        std::size_t index, std::uint64_t limit, std::uint64_t need, const Moment& moment
    ) const;

    // REQUIRES: neither time nor sequence goes back.
    void add(const Entry& entry);
    // Takes one back; its subject, which the entry holds no longer. nullptr: it is not there (any
    // more).
    Subject* remove(Sequence sequence);
    // Sets right what one used, and what is open; false: it is not there (any more).
    bool settle(Sequence sequence, const std::optional<Amounts>& used, LedgerTime now);
    // Sets what one has used so far; it stays open. False: as above.
    bool restate(Sequence sequence, const Amounts& amounts, LedgerTime now);
    // Entries up to `until` whose subject fits: they count no longer. How many did that a cap might
    // still ask for.
    std::uint64_t forgive(Sequence until, const Pattern& pattern, LedgerTime now);
    // Drops the windows that were not asked for lately; `in_use` is how many caps ask.
    void trim(std::size_t in_use);
    // Forgets what no cap can ask for at `now`; each subject is handed to `release`.
    template <class Release>
    void expire(LedgerTime now, Release release) {
        while (front_ < entries_.size() && entries_[front_].at + kHistory <= now &&
               !entries_[front_].open) {
            leave(front_);
            const Entry& entry = entries_[front_++];
            if (!entry.gone) release(entry);
        }
        if (front_ > 0 &&
            (front_ == entries_.size() || (front_ >= 64 && 2 * front_ >= entries_.size()))) {
            drop_front();
        }
    }
    // Removes those gone for good, when they are many.
    void compact() {
        if (gone_ >= 64 && 2 * gone_ >= entries_.size()) drop_gone();
    }

    // Live ones are [front, end), some of them gone; sorted by time and sequence.
    [[nodiscard]] std::size_t front() const noexcept { return front_; }
    [[nodiscard]] const std::vector<Entry>& entries() const noexcept { return entries_; }

    // Opening times of fixed windows, by the name of the cap's counter: as read from the disk, and
    // as changed since the last take_opened(). note_opened() tells once that something is to be
    // taken.
    void load_opened(std::string counter, LedgerTime at);
    [[nodiscard]] std::vector<std::pair<std::string, LedgerTime>> take_opened();
    [[nodiscard]] bool note_opened() noexcept { return std::exchange(opened_changed_, false); }
    void keep_opened() noexcept;  // all of them are to be taken once more

private:
    struct Opened {
        std::string counter;
        LedgerTime at;
        bool changed = false;
    };

    void make(const config::Cap& cap, const Pattern& pattern, const Moment& moment);
    void advance(Counter& counter, const config::Cap& cap, const Moment& moment);
    void seek(Counter& counter, LedgerTime bound);
    void skip(Counter& counter);
    void leave(std::size_t index);
    void put(Counter& counter, std::size_t index);
    void open_window(Counter& counter, LedgerTime at);
    void find_window(Counter& counter, LedgerTime now);
    void write_down(const Counter& counter, LedgerTime opened);
    void change(std::size_t index, const Entry& changed);
    void amend(std::size_t index, const Entry& changed, LedgerTime now);
    void find_last(Counter& counter, std::size_t before);
    [[nodiscard]] std::size_t find(Sequence sequence) const;
    void drop_front();
    void drop_gone();

    std::vector<Entry> entries_;
    std::size_t front_ = 0;
    std::size_t gone_ = 0;
    std::vector<Counter> counters_;
    std::vector<Opened> opened_;
    bool opened_changed_ = false;
};

}  // namespace weir::quota
