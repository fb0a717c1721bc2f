// The ledger with its real writer on a real file: threads, the output gate, failing disks, files
// that a crash left behind.
#include "weir/quota/ledger.hpp"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <gtest/gtest.h>

#include "quota/run.hpp"
#include "quota/seed.hpp"
#include "sqlite/faulty_vfs.hpp"
#include "sqlite/scratch.hpp"

namespace weir::quota {
namespace {

using namespace std::chrono_literals;
using std::chrono::hours;
using std::chrono::microseconds;
using weir::testing::Asking;
using weir::testing::cap_of;
using weir::testing::caps;
using weir::testing::eventually;
using weir::testing::FaultyVfs;
using weir::testing::Process;
using weir::testing::ScratchDir;

class LedgerTest : public ::testing::Test {
protected:
    void SetUp() override { FaultyVfs::instance().heal(); }
    void TearDown() override { FaultyVfs::instance().heal(); }
    const ScratchDir dir;
    const std::string path = dir / "ledger.db";
};

TEST_F(LedgerTest, ExactlyTheCapOfManyThreadsPassesAndIsThereAfterARestart) {
    std::atomic<int> admitted = 0;
    std::atomic<int> refused = 0;
    {
        Process run(path);
        std::vector<std::thread> threads;
        for (int t = 0; t < 8; ++t) {
            threads.emplace_back([&] {
                for (int i = 0; i < 50; ++i) {
                    Decision decision = run.admit(caps(100));
                    if (decision.refusal) {
                        ++refused;
                        EXPECT_EQ(decision.refusal->cap.window.used, 100U);
                        continue;
                    }
                    ASSERT_TRUE(decision.admission);
                    Reservation reservation = std::move(decision.admission->reservation);
                    EXPECT_TRUE(run.wait(reservation.sequence()));
                    reservation.charge();
                    ++admitted;
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
    }
    EXPECT_EQ(admitted, 100);
    EXPECT_EQ(refused, 300);
    Process again(path);
    EXPECT_EQ(again.used(), 100U);
    EXPECT_FALSE(again.pass(caps(100)).has_value());
    again.clock.advance(hours(4));
    EXPECT_EQ(again.pass(caps(100)), true);
}

TEST_F(LedgerTest, RefundsRaceWithTheirCommitAndNothingIsLeftCounted) {
    {
        Process run(path);
        std::vector<std::thread> threads;
        for (int t = 0; t < 8; ++t) {
            threads.emplace_back([&, t] {
                for (int i = 0; i < 100; ++i) {
                    Decision decision = run.admit(caps(1000));
                    ASSERT_TRUE(decision.admission);
                    Reservation reservation = std::move(decision.admission->reservation);
                    if (i % 3 == 0) EXPECT_TRUE(run.wait(reservation.sequence()));
                    if (i % 10 == t) reservation.charge();
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
        EXPECT_EQ(run.used(), 80U);
    }
    Process again(path);
    EXPECT_EQ(again.used(), 80U);
}

TEST_F(LedgerTest, WhatAMessageUsedIsThereAfterARestartWheneverItWasTold) {
    config::CapSet tokens = caps(1000);
    tokens.front().unit = config::Unit::kTokens;
    {
        Process run(path);
        const auto reserved = [&] {
            Asking asking(run.ledger->account("alice"), tokens);
            Decision decision = run.ledger->admit(asking.reserve(100).ask);
            EXPECT_TRUE(decision.admission);
            return std::move(decision.admission->reservation);
        };
        // The writer does something else until the first one has said what it used.
        std::atomic<bool> busy = false;
        std::atomic<bool> told = false;
        std::thread other([&] {
            const Result<> done = run.writer->run([&](sqlite::Connection&) -> Result<> {
                busy = true;
                EXPECT_TRUE(eventually([&] { return told.load(); }));
                return {};
            });
            EXPECT_TRUE(done);
        });
        ASSERT_TRUE(eventually([&] { return busy.load(); }));
        Reservation before = reserved();
        before.charge(Amounts{40, 0});
        told = true;
        other.join();
        Reservation behind = reserved();
        EXPECT_TRUE(run.wait(behind.sequence()));
        behind.charge(Amounts{7, 0});
        EXPECT_EQ(run.used(tokens), 47U);
    }
    Process again(path);
    EXPECT_EQ(again.used(tokens), 47U);
}

Awaitable<void> stand_at_the_gate(
    Ledger& ledger, Sequence sequence, std::shared_ptr<Signal> signal, std::optional<bool>& out
) {
    std::optional<bool> gate;
    while (!(gate = ledger.gate(sequence, signal))) {
        const bool woken = co_await signal->wait();
        EXPECT_TRUE(woken);
    }
    out = gate;
}

TEST_F(LedgerTest, HoldsNoMoreMessagesThanItMayAndGoesOnWhenTheyLeave) {
    Process run(path, TestClock().now(), 3);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(run.pass(caps(1000)), true);
    const Decision full = run.admit(caps(1000), "bob");
    ASSERT_TRUE(full.error);
    EXPECT_EQ(full.error->code, ErrorCode::kOverloaded);
    EXPECT_FALSE(full.admission || full.refusal);
    // A refund makes room, and so does time.
    run.clock.advance(hours(24 * 32) + microseconds(1));
    static_cast<void>(run.peek(caps(1000)));
    {
        Decision first = run.admit(caps(1000), "bob");
        Decision second = run.admit(caps(1000), "bob");
        Decision third = run.admit(caps(1000), "bob");
        ASSERT_TRUE(first.admission && second.admission && third.admission);
        EXPECT_TRUE(run.admit(caps(1000), "bob").error);
        second.admission->reservation.refund();
        EXPECT_TRUE(run.admit(caps(1000), "bob").admission);
    }
}

Awaitable<void> wait_once(std::shared_ptr<Signal> signal, Deadline deadline, bool& notified) {
    notified = co_await signal->wait(deadline);
}

// Who waits for something else hears of a failed commit, and of nothing else.
TEST_F(LedgerTest, AFailedCommitIsToldToWhoAskedForItAlone) {
    Process run(path);
    const auto hears = [&](Sequence sequence, std::chrono::milliseconds patience) {
        const std::shared_ptr<Signal> signal = Signal::create(run.home.get_executor());
        run.ledger->notify_of_failure(sequence, signal);
        static_cast<void>(run.wait(sequence));
        bool notified = false;
        asio::co_spawn(
            run.home,
            wait_once(signal, Deadline::in(patience), notified),
            [](const std::exception_ptr& error) { EXPECT_EQ(error, nullptr); }
        );
        run.home.restart();
        run.home.run();
        return notified;
    };
    Decision good = run.admit(caps(9));
    ASSERT_TRUE(good.admission);
    EXPECT_FALSE(hears(good.admission->reservation.sequence(), 20ms));
    EXPECT_FALSE(run.ledger->has_failed(good.admission->reservation.sequence()));
    FaultyVfs::instance().fail_syncs = 1;
    Decision bad = run.admit(caps(9));
    ASSERT_TRUE(bad.admission);
    EXPECT_TRUE(hears(bad.admission->reservation.sequence(), 20s));
    EXPECT_TRUE(run.ledger->has_failed(bad.admission->reservation.sequence()));
    EXPECT_TRUE(hears(bad.admission->reservation.sequence(), 20s)) << "also when it asks late";
}

TEST_F(LedgerTest, TheGateWakesACoroutineWhenTheChargeIsOnDiskAndWhenItFailed) {
    Process run(path);
    for (const bool works : {true, false}) {
        if (!works) FaultyVfs::instance().fail_syncs = 1;
        Decision decision = run.admit(caps(9));
        ASSERT_TRUE(decision.admission);
        std::optional<bool> gate;
        asio::co_spawn(
            run.home,
            stand_at_the_gate(
                *run.ledger, decision.admission->reservation.sequence(), run.signal, gate
            ),
            [](const std::exception_ptr& error) { EXPECT_EQ(error, nullptr); }
        );
        run.home.run();
        run.home.restart();
        EXPECT_EQ(gate, works);
        if (works) {
            EXPECT_GE(run.ledger->durable_sequence(), decision.admission->reservation.sequence());
            decision.admission->reservation.charge();
        }
    }
    EXPECT_EQ(run.used(), 1U);
}

TEST_F(LedgerTest, AFailedSyncGivesTheMessageBackAndAdmitsAgainOnlyAfterAProbe) {
    Process run(path);
    ASSERT_EQ(run.pass(caps(3)), true);
    FaultyVfs::instance().fail_syncs = -1;
    Decision decision = run.admit(caps(3));
    ASSERT_TRUE(decision.admission);
    Reservation lost = std::move(decision.admission->reservation);
    EXPECT_FALSE(run.wait(lost.sequence()));
    EXPECT_FALSE(run.ledger->healthy());
    EXPECT_EQ(run.used(), 1U) << "it is refunded";
    lost.charge();  // too late to mean anything
    const Decision closed = run.admit(caps(3));
    ASSERT_TRUE(closed.error);
    EXPECT_EQ(closed.error->code, ErrorCode::kStorage);
    FaultyVfs::instance().heal();
    ASSERT_TRUE(eventually([&] { return run.ledger->healthy(); }));
    EXPECT_EQ(run.pass(caps(3)), true);
    EXPECT_EQ(run.pass(caps(3)), true);
    EXPECT_FALSE(run.pass(caps(3)).has_value());
    run.writer->stop();
    Process again(path);
    EXPECT_EQ(again.used(), 3U);
}

TEST_F(LedgerTest, WhateverTheDiskDoesTheFileEndsWithWhatWasAnswered) {
    weir::testing::Dice dice(weir::testing::test_seed());
    FaultyVfs& vfs = FaultyVfs::instance();
    std::uint64_t answered = 0;
    std::uint64_t lost = 0;
    {
        Process run(path);
        for (int round = 0; round < 8; ++round) {
            std::vector<Reservation> held;
            for (std::uint64_t i = 0; i < 20; ++i) {
                if (i == 10) {
                    vfs.write_code = dice.one_in(2) ? SQLITE_FULL : SQLITE_IOERR_WRITE;
                    if (dice.one_in(2)) {
                        vfs.fail_syncs = 1 + int(dice.below(3));
                    } else {
                        vfs.fail_writes = 1 + int(dice.below(3));
                    }
                }
                Decision one = run.admit(caps(9999));
                if (one.error) break;
                ASSERT_TRUE(one.admission);
                held.push_back(std::move(one.admission->reservation));
                // So that some are on disk before the fault, some in its batch, some behind it.
                if (i == 5) EXPECT_TRUE(run.wait(held.back().sequence()));
            }
            for (Reservation& one : held) {
                if (run.wait(one.sequence())) {
                    ++answered;
                    one.charge();
                } else {
                    ++lost;
                }
            }
            EXPECT_EQ(run.used(caps(9999)), answered);
            vfs.heal();
            ASSERT_TRUE(eventually([&] { return run.ledger->healthy(); }));
        }
    }
    std::cout << answered << " answered, " << lost << " lost to the disk\n";
    EXPECT_GE(answered, 8U * 6U);
    EXPECT_GT(lost, 0U);
    Process again(path);
    EXPECT_EQ(again.used(caps(9999)), answered);
}

TEST_F(LedgerTest, ASecondProcessCannotShareIt) {
    Process run(path);
    EXPECT_THROW(Process{path}, std::runtime_error);
    EXPECT_EQ(run.pass(caps(3)), true);
}

TEST_F(LedgerTest, RefusesAFileOfANewerWeirAndADamagedOne) {
    {
        auto connection = sqlite::Connection::open(path, {});
        ASSERT_TRUE(connection && connection->execute("PRAGMA user_version = 7"));
    }
    EXPECT_THROW(Process{path}, std::runtime_error);
    std::ofstream(dir / "bad.db") << std::string(5000, '!');
    EXPECT_THROW(Process{dir / "bad.db"}, std::runtime_error);
}

// As the first version of Weir left it: rows without a team, an endpoint or amounts.
TEST_F(LedgerTest, AFileOfTheFirstVersionIsTakenOverAndStillCounts) {
    const LedgerTime now = TestClock().now();
    {
        auto connection = sqlite::Connection::open(path, {});
        ASSERT_TRUE(connection && sqlite::migrate(*connection, {kSchema}, path));
        ASSERT_TRUE(
            connection->execute("INSERT INTO accounts VALUES (3, 'alice'), (4, 'bob');"
                                "INSERT INTO models VALUES (2, 'gpt-4'), (5, 'o1-mini');"
                                "UPDATE ledger_end SET seq = 9")
        );
        auto add = connection->prepare("INSERT INTO messages VALUES (?1, ?2, ?3, ?4)");
        ASSERT_TRUE(add);
        const std::int64_t rows[][3] = {{1, 3, 2}, {2, 3, 5}, {5, 3, 2}, {6, 4, 2}, {7, 3, 2}};
        for (const auto& [sequence, account, model] : rows) {
            add->bind(1, sequence).bind(2, account).bind(3, model);
            ASSERT_TRUE(add->bind(4, to_us(now - std::chrono::minutes(10 - sequence))).run());
        }
    }
    for (int start = 0; start < 2; ++start) {
        Process run(path, now);
        config::Cap chat = cap_of(4, "gpt-4*");
        chat.endpoints = {"chat/*"};
        config::Cap fixed = cap_of(9);
        fixed.period = config::Period::kFixed;
        const config::CapSet set = {chat, fixed};
        const std::uint64_t more = start == 0 ? 0 : 1;
        EXPECT_EQ(run.peek(set).at(0).window.used, 3 + more) << "they count at every endpoint";
        EXPECT_EQ(run.peek(set).at(1).window.used, 4 + more);
        EXPECT_EQ(run.peek(set).at(1).window.full_reset, hours(4) - std::chrono::minutes(9));
        const AccountId everybody = run.ledger->everybody();
        const Level all{.whose = Whose::kAll, .account = everybody, .caps = &set};
        EXPECT_EQ(run.ledger->peek({&all, 1}, "gpt-4", "x").at(0).window.used, 5 + more);
        EXPECT_EQ(run.pass(set), start == 0 ? std::optional(true) : std::nullopt);
    }
}

TEST_F(LedgerTest, RefusesARowThatBelongsToNobody) {
    {
        Process run(path);
        ASSERT_EQ(run.pass(caps(3)), true);
    }
    {
        auto connection = sqlite::Connection::open(path, {});
        ASSERT_TRUE(connection && connection->execute("DELETE FROM accounts"));
    }
    EXPECT_THROW(Process{path}, std::runtime_error);
}

TEST_F(LedgerTest, TimeStartsAtTheLastInTheLedgerWhenTheWallClockIsBehind) {
    const LedgerTime noon = TestClock().now();
    {
        Process run(path, noon);
        for (int i = 0; i < 3; ++i) ASSERT_EQ(run.pass(caps(3)), true);
    }
    Process again(path, noon - hours(24));
    EXPECT_GE(again.ledger->now(), noon);
    const Decision refused = again.admit(caps(3));
    ASSERT_TRUE(refused.refusal);
    EXPECT_LE(refused.refusal->retry_after, hours(4));
    again.clock.advance(refused.refusal->retry_after);
    EXPECT_EQ(again.pass(caps(3)), true);
}

TEST_F(LedgerTest, OldRowsAreRemovedFromTheFileInSteps) {
    {
        Process run(path);
        // More than one step.
        for (int i = 0; i < 2500; ++i) {
            Decision one = run.admit({});
            ASSERT_TRUE(one.admission);
            one.admission->reservation.charge();
        }
    }
    {
        Process run(path);
        run.clock.advance(hours(32 * 24));
        ASSERT_EQ(run.pass({}), true);
    }
    auto connection = sqlite::Connection::open(path, {});
    auto count = connection->prepare("SELECT count(*), max(seq) FROM messages");
    ASSERT_TRUE(count->step().value());
    EXPECT_EQ(count->integer(0), 1);
    EXPECT_EQ(count->integer(1), 2501);
}

// Its last messages outlive it: they must not be taken for the first of another window.
TEST_F(LedgerTest, AFixedWindowOfTheLongestSpanDoesNotOpenAgainAfterARestart) {
    config::CapSet set = caps(2);
    set[0].period = config::Period::kFixed;
    set[0].span = hours(32 * 24);
    LedgerTime end;
    {
        Process run(path);
        ASSERT_EQ(run.pass(set), true);
        run.clock.advance(hours(32 * 24 - 1));
        ASSERT_EQ(run.pass(set), true);
        ASSERT_FALSE(run.pass(set));
        run.clock.advance(hours(2));
        end = run.clock.now();
        EXPECT_EQ(run.used(set), 0U);
        // Somebody else's, so that something is written and what is old looked for.
        Decision other = run.admit({}, "bob");
        ASSERT_TRUE(other.admission);
        EXPECT_TRUE(run.wait(other.admission->reservation.sequence()));
    }
    Process again(path, end);
    EXPECT_EQ(again.used(set), 0U);
}

// A crash leaves the file and its WAL as they are; power loss cuts the WAL anywhere and may turn
// bits over in what was not synced.
TEST_F(LedgerTest, ATornOrCutWalOpensCleanAndTheCountOnlyLags) {
    constexpr std::uint64_t kMessages = 12;
    const std::string crashed = dir / "crashed.db";
    {
        Process run(path);
        for (std::uint64_t i = 0; i < kMessages; ++i) ASSERT_EQ(run.pass(caps(99)), true);
        std::filesystem::copy_file(path, crashed);
        std::filesystem::copy_file(path + "-wal", crashed + "-wal");
    }
    std::ifstream in(crashed + "-wal", std::ios::binary);
    const std::string wal{std::istreambuf_iterator<char>(in), {}};
    ASSERT_GT(wal.size(), kMessages * 4096);
    weir::testing::Dice dice(weir::testing::test_seed());
    const std::string victim = dir / "victim.db";
    std::uint64_t shorter = 0;
    const auto open_with = [&](const std::string& log) {
        std::filesystem::remove(victim + "-shm");
        std::filesystem::copy_file(
            crashed, victim, std::filesystem::copy_options::overwrite_existing
        );
        std::ofstream(victim + "-wal", std::ios::binary)
            .write(log.data(), std::streamsize(log.size()));
        auto connection = sqlite::Connection::open(victim, {.check = true});
        EXPECT_TRUE(connection) << connection.error().detail;
        if (!connection) return std::uint64_t{0};
        if (!sqlite::migrate(*connection, {kSchema, kSchemaOfCaps}, victim)) ADD_FAILURE();
        auto rows = connection->prepare("SELECT count(*) FROM messages");
        EXPECT_TRUE(rows && rows->step().value_or(false));
        return std::uint64_t(rows->integer(0));
    };
    EXPECT_EQ(open_with(wal), kMessages);
    constexpr std::size_t kFrame = 4096 + 24;
    std::uint64_t before = 0;
    for (std::size_t size = 32; size <= wal.size(); size += kFrame) {
        const std::uint64_t count = open_with(wal.substr(0, size));
        EXPECT_LE(count, kMessages);
        EXPECT_GE(count, before) << "a longer log knows less";
        before = count;
        shorter += count < kMessages ? 1 : 0;
    }
    for (int i = 0; i < 200; ++i) {
        EXPECT_LE(open_with(wal.substr(0, dice.below(wal.size()))), kMessages);
    }
    for (int i = 0; i < 100; ++i) {
        std::string torn = wal;
        const std::size_t at = dice.below(torn.size());
        torn[at] = char(torn[at] ^ char(1U << dice.below(8)));
        EXPECT_LE(open_with(torn), kMessages);
    }
    EXPECT_GT(shorter, 10U);
}

}  // namespace
}  // namespace weir::quota
