// The ledger against a model that keeps every message in a list and counts all of them each time:
// admissions, refusals, refunds, time, changed caps, failed commits that came through or did not,
// crashes and restarts. The writer's part is played by the test, in one thread, so that every
// history is the same for the same seed.
#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "weir/base/text.hpp"
#include "weir/quota/ledger.hpp"

#include "quota/seed.hpp"
#include "sqlite/scratch.hpp"

namespace weir::quota {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::seconds;
using weir::testing::Dice;
using weir::testing::ScratchDir;
using weir::testing::test_seed;

constexpr const char* kModels[] = {"gpt-4", "gpt-4-32k", "GPT-4-vision", "o1-mini", "gpt-3.5"};
constexpr const char* kPatterns[] = {"*", "gpt-4*", "gpt-4", "*mini", "gpt-?.5", "o1*"};

// Its own matcher, by trying every way.
bool matches(std::string_view pattern, std::string_view text) {
    if (pattern.empty()) return text.empty();
    if (pattern[0] == '*') {
        return matches(pattern.substr(1), text) ||
               (!text.empty() && matches(pattern, text.substr(1)));
    }
    if (text.empty()) return false;
    const bool same = pattern[0] == '?' || std::tolower(pattern[0]) == std::tolower(text[0]);
    return same && matches(pattern.substr(1), text.substr(1));
}

struct Entry {
    Sequence sequence = 0;
    LedgerTime at;
    std::size_t account = 0;
    std::string model;
    bool counted = true;      // in memory
    bool on_disk = false;     // its row is
    bool refund_due = false;  // its row is to go with the next commit
};

struct World {
    explicit World(std::uint64_t seed, sqlite::Connection& to, sqlite::Writer& idle)
        : dice(seed), connection(to), writer(idle) {}

    Dice dice;
    sqlite::Connection& connection;
    sqlite::Writer& writer;  // never started: the test writes
    std::unique_ptr<TestClock> clock;
    std::unique_ptr<Ledger> ledger;
    std::vector<AccountId> ids;
    std::vector<config::CapSet> caps;
    std::vector<Entry> entries;
    std::map<Sequence, Reservation> open;
    Sequence last = 0;
    Sequence written = 0;  // the highest that ever came to the disk
    bool down = false;
    std::vector<Sequence> undecided;
    std::vector<Sequence> good;
    std::vector<Sequence> bad;
    std::uint64_t admitted = 0;
    std::uint64_t refused = 0;
    std::uint64_t failures = 0;
    std::uint64_t restarts = 0;

    void wipe();
    void start();
    void crash();
    void commit(bool fails, bool came_through);
    void one_message();
    void settle_one();
    void check_gates();
    void check_usage();
    config::CapSet random_caps();
    std::size_t used(std::size_t account, const config::Cap& cap, LedgerTime now) const;
    bool all_admit(
        std::size_t account, const config::CapSet& set, std::string_view model, LedgerTime now
    ) const;
    void check_states(
        const std::vector<CapState>& states, std::size_t account, std::string_view model
    ) const;
};

void World::wipe() {
    ASSERT_TRUE(
        connection.execute("DELETE FROM messages; DELETE FROM accounts; DELETE FROM models; "
                           "UPDATE ledger_end SET seq = 0, at_us = 0")
    );
}

void World::start() {
    auto opened = Ledger::open(connection, writer, *clock);
    ASSERT_TRUE(opened) << opened.error().detail;
    ledger = std::move(*opened);
    ASSERT_TRUE(ledger->connected(connection));
    // In another order each time: ids are of the run only.
    ids.assign(caps.size(), 0);
    const std::size_t first = dice.below(caps.size());
    for (std::size_t i = 0; i < caps.size(); ++i) {
        const std::size_t account = (first + i) % caps.size();
        ids[account] = ledger->account("user" + std::to_string(account));
    }
    down = false;
}

void World::crash() {
    // What was admitted and not written is forgotten, what was refunded and not written is back.
    ++restarts;
    for (auto& [sequence, reservation] : open) reservation.charge();
    open.clear();
    ledger->disconnected();
    ledger.reset();
    for (Entry& entry : entries) entry.counted = entry.on_disk;
    std::erase_if(entries, [](const Entry& entry) { return !entry.on_disk; });
    for (Entry& entry : entries) entry.refund_due = false;
    undecided.clear();
    good.clear();
    bad.clear();
    // Nobody ever got an answer for those that never came to the disk: they may be given again.
    last = written;
    // The wall clock of the next boot may be anything; the ledger's time does not go back.
    const LedgerTime now = clock->now();
    clock = std::make_unique<TestClock>(
        dice.one_in(2) ? now + seconds(dice.below(4000)) : now - seconds(dice.below(1'000'000))
    );
    start();
    for (const Entry& entry : entries) ASSERT_LE(entry.at, clock->now());
}

void World::commit(bool fails, bool came_through) {
    if (!ledger->has_more() && !down) return;
    ASSERT_TRUE(connection.execute("BEGIN IMMEDIATE"));
    const Result<bool> wrote = ledger->write(connection);
    ASSERT_TRUE(wrote) << wrote.error().detail;
    ASSERT_TRUE(connection.execute(fails && !came_through ? "ROLLBACK" : "COMMIT"));
    if ((!fails || came_through) && !undecided.empty()) written = undecided.back();
    if (fails) {
        ++failures;
        down = true;
        for (Entry& entry : entries) {
            if (came_through && entry.refund_due) entry.on_disk = false;
            if (std::ranges::find(undecided, entry.sequence) != undecided.end()) {
                // In doubt: on disk until the repair if it came through. Given back in any case.
                entry.on_disk = came_through && entry.counted;
                entry.counted = false;
                entry.refund_due = true;
            }
        }
        bad.insert(bad.end(), undecided.begin(), undecided.end());
        undecided.clear();
        ledger->failed({ErrorCode::kStorage, "test"});
        if (dice.one_in(3)) ledger->failed({ErrorCode::kStorage, "test, again"});
        ledger->disconnected();
        ASSERT_TRUE(ledger->connected(connection));
    } else {
        down = false;
        for (Entry& entry : entries) {
            if (std::ranges::find(undecided, entry.sequence) != undecided.end()) {
                entry.on_disk = entry.counted;
            }
            if (entry.refund_due) entry.on_disk = false;
        }
        good.insert(good.end(), undecided.begin(), undecided.end());
        undecided.clear();
        ledger->committed();
    }
}

std::size_t World::used(std::size_t account, const config::Cap& cap, LedgerTime now) const {
    return std::size_t(std::ranges::count_if(entries, [&](const Entry& entry) {
        return entry.counted && entry.account == account && matches(cap.models, entry.model) &&
               entry.at > now - cap.span && entry.at <= now;
    }));
}

bool World::all_admit(
    std::size_t account, const config::CapSet& set, std::string_view model, LedgerTime now
) const {
    return std::ranges::all_of(set, [&](const config::Cap& cap) {
        return !matches(cap.models, model) || used(account, cap, now) < cap.limit;
    });
}

void World::check_states(
    const std::vector<CapState>& states, std::size_t account, std::string_view model
) const {
    std::size_t i = 0;
    for (const config::Cap& cap : caps[account]) {
        if (!model.empty() && !matches(cap.models, model)) continue;
        ASSERT_LT(i, states.size());
        ASSERT_EQ(states[i].cap, cap);
        const WindowState& window = states[i++].window;
        const LedgerTime now = clock->now();
        const std::size_t count = used(account, cap, now);
        ASSERT_EQ(window.used, count);
        ASSERT_EQ(window.limit, cap.limit);
        if (count == 0) {
            ASSERT_EQ(window.full_reset, microseconds(0));
            continue;
        }
        ASSERT_EQ(used(account, cap, now + window.full_reset), 0U);
        ASSERT_NE(used(account, cap, now + window.full_reset - microseconds(1)), 0U);
        if (cap.limit == 0) continue;
        const std::size_t fewer = std::min<std::size_t>(count, cap.limit) - 1;
        ASSERT_LE(used(account, cap, now + window.next_free), fewer);
        ASSERT_GT(used(account, cap, now + window.next_free - microseconds(1)), fewer);
    }
    ASSERT_EQ(i, states.size());
}

void World::one_message() {
    const std::size_t account = dice.below(caps.size());
    const std::string model = kModels[dice.below(std::size(kModels))];
    const config::CapSet& set = caps[account];
    Decision decision = ledger->admit(ids[account], set, model);
    ASSERT_EQ(
        int(decision.admission.has_value()) + int(decision.refusal.has_value()) +
            int(decision.error.has_value()),
        1
    );
    if (down) {
        ASSERT_TRUE(decision.error);
        ASSERT_EQ(decision.error->code, ErrorCode::kStorage);
        return;
    }
    const LedgerTime now = clock->now();
    ASSERT_EQ(decision.admission.has_value(), all_admit(account, set, model, now));
    if (decision.admission) {
        ++admitted;
        Reservation& reservation = decision.admission->reservation;
        ASSERT_GT(reservation.sequence(), last) << "a sequence was given twice";
        last = reservation.sequence();
        entries.push_back({last, now, account, model});
        undecided.push_back(last);
        check_states(decision.admission->caps, account, model);
        open.emplace(last, std::move(reservation));
        return;
    }
    ++refused;
    const Refusal& refusal = *decision.refusal;
    check_states(refusal.all, account, model);
    const bool never = std::ranges::any_of(set, [&](const config::Cap& cap) {
        return cap.limit == 0 && matches(cap.models, model);
    });
    ASSERT_EQ(refusal.never, never);
    if (never) {
        ASSERT_EQ(refusal.cap.cap.limit, 0U);
        return;
    }
    // Exactly then, not one microsecond before: the named cap is the one that still refuses.
    const LedgerTime then = now + refusal.retry_after;
    ASSERT_GT(refusal.retry_after, microseconds(0));
    ASSERT_TRUE(all_admit(account, set, model, then));
    ASSERT_FALSE(all_admit(account, set, model, then - microseconds(1)));
    ASSERT_GE(used(account, refusal.cap.cap, then - microseconds(1)), refusal.cap.cap.limit);
    if (!dice.one_in(4)) return;
    clock->advance(refusal.retry_after - microseconds(1));
    ASSERT_TRUE(ledger->admit(ids[account], set, model).refusal);
    clock->advance(microseconds(1));
    Decision retry = ledger->admit(ids[account], set, model);
    ASSERT_TRUE(retry.admission);
    last = retry.admission->reservation.sequence();
    entries.push_back({last, clock->now(), account, model});
    undecided.push_back(last);
    open.emplace(last, std::move(retry.admission->reservation));
}

void World::settle_one() {
    if (open.empty()) return;
    auto which = std::next(open.begin(), std::ptrdiff_t(dice.below(open.size())));
    if (dice.one_in(2)) {
        which->second.charge();
    } else {
        for (Entry& entry : entries) {
            if (entry.sequence != which->first || !entry.counted) continue;
            // Older than any cap may ask for: the ledger has forgotten it.
            if (entry.at + hours(32 * 24) <= clock->now()) continue;
            entry.counted = false;
            entry.refund_due = true;
        }
        if (dice.one_in(2)) which->second.refund();  // or it is dropped, which is the same
    }
    open.erase(which);
}

void World::check_gates() {
    const std::shared_ptr<Signal> nobody;
    for (const Sequence sequence : good) ASSERT_EQ(ledger->gate(sequence, nobody), true);
    for (const Sequence sequence : bad) ASSERT_EQ(ledger->gate(sequence, nobody), false);
    if (!good.empty()) ASSERT_GE(ledger->durable_sequence(), good.back());
}

void World::check_usage() {
    const microseconds span = hours(1 + dice.below(40));
    std::map<std::pair<std::string, std::string>, std::uint64_t> expected;
    const LedgerTime now = clock->now();
    for (const Entry& entry : entries) {
        if (!entry.counted || entry.at <= now - span) continue;
        ++expected[{"user" + std::to_string(entry.account), entry.model}];
    }
    std::map<std::pair<std::string, std::string>, std::uint64_t> told;
    for (const AccountUsage& line : ledger->usage(span)) {
        told[{line.account, line.model}] = line.messages;
    }
    ASSERT_EQ(told, expected);
}

config::CapSet World::random_caps() {
    config::CapSet set;
    const std::size_t count = dice.below(4);
    for (std::size_t i = 0; i < count; ++i) {
        config::Cap cap;
        cap.models = kPatterns[dice.below(std::size(kPatterns))];
        cap.limit = dice.one_in(20) ? 0 : 1 + dice.below(4);
        constexpr seconds kSpans[] = {
            seconds(1), seconds(60), seconds(3600), seconds(14400), hours(24), hours(32 * 24)
        };
        cap.span = kSpans[dice.below(std::size(kSpans))];
        set.push_back(std::move(cap));
    }
    return set;
}

TEST(LedgerProperty, AgreesWithTheModelOverThousandsOfHistories) {
    const ScratchDir dir;
    auto connection = sqlite::Connection::open(dir / "ledger.db", {.sync = sqlite::Sync::kNormal});
    ASSERT_TRUE(connection);
    ASSERT_TRUE(sqlite::migrate(*connection, {kSchema}, "ledger.db"));
    auto unused = sqlite::Connection::open(dir / "unused.db", {});
    ASSERT_TRUE(unused);
    sqlite::Writer writer(
        {.path = "unused", .open = {}, .on_corrupt = {}, .name = "unused"}, std::move(*unused)
    );
    const std::uint64_t seed = test_seed();
    std::uint64_t admitted = 0, refused = 0, failures = 0, restarts = 0;
    for (std::uint64_t history = 0; history < 2000; ++history) {
        SCOPED_TRACE("history " + std::to_string(history));
        World world(seed + history, *connection, writer);
        Dice& dice = world.dice;
        world.clock = std::make_unique<TestClock>();
        world.wipe();
        world.caps.resize(1 + dice.below(3));
        for (config::CapSet& set : world.caps) set = world.random_caps();
        world.start();
        for (int step = 0; step < 60; ++step) {
            switch (dice.below(16)) {
                case 0:
                    world.clock->advance(seconds(dice.below(100)));
                    break;
                case 1:
                    world.clock->advance(seconds(dice.below(20'000)));
                    break;
                case 2:
                    world.clock->advance(
                        dice.one_in(8) ? microseconds(hours(dice.below(40 * 24)))
                                       : microseconds(dice.below(1'500'000))
                    );
                    break;
                case 3:
                    world.caps[dice.below(world.caps.size())] = world.random_caps();
                    break;
                case 4:
                case 5:
                    world.settle_one();
                    break;
                case 6:
                case 7:
                    world.commit(false, false);
                    break;
                case 8:
                    if (dice.one_in(3)) world.commit(true, dice.one_in(2));
                    break;
                case 9:
                    if (dice.one_in(3)) world.crash();
                    break;
                case 10: {
                    const std::size_t account = dice.below(world.caps.size());
                    world.check_states(
                        world.ledger->peek(world.ids[account], world.caps[account], ""), account, ""
                    );
                    break;
                }
                case 11:
                    world.check_usage();
                    break;
                default:
                    world.one_message();
            }
            if (HasFatalFailure()) return;
            world.check_gates();
            if (HasFatalFailure()) return;
        }
        // What a clean stop leaves behind is exactly what counts.
        for (auto& [sequence, reservation] : world.open) reservation.charge();
        world.open.clear();
        while (world.ledger->has_more() || world.down) world.commit(false, false);
        auto rows = connection->prepare("SELECT seq FROM messages WHERE at_us > ?1 ORDER BY seq");
        ASSERT_TRUE(rows);
        rows->bind(1, to_us(world.clock->now() - hours(32 * 24)));
        for (const Entry& entry : world.entries) {
            if (!entry.counted || entry.at <= world.clock->now() - hours(32 * 24)) continue;
            ASSERT_TRUE(rows->step().value());
            ASSERT_EQ(static_cast<Sequence>(rows->integer(0)), entry.sequence);
        }
        ASSERT_FALSE(rows->step().value());
        rows->reset();
        // No row of a model outlives the messages that named it (those that are not pruned yet
        // aside).
        auto models = connection->prepare(
            "SELECT count(*) FROM models WHERE id NOT IN (SELECT model FROM messages)"
        );
        ASSERT_TRUE(models->step().value());
        ASSERT_EQ(models->integer(0), 0);
        models->reset();
        admitted += world.admitted;
        refused += world.refused;
        failures += world.failures;
        restarts += world.restarts;
    }
    std::cout << admitted << " admitted, " << refused << " refused, " << failures
              << " failed commits, " << restarts << " crashes\n";
    EXPECT_GT(admitted, 10'000U);
    EXPECT_GT(refused, 2000U);
    EXPECT_GT(failures, 1'000U);
    EXPECT_GT(restarts, 1'000U);
}

}  // namespace
}  // namespace weir::quota
