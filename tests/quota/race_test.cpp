// Many threads, many keys, one ledger with its real writer: what every cap promises holds exactly.
// And the two calls that wait for the disk.
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "weir/quota/ledger.hpp"

#include "quota/run.hpp"
#include "quota/seed.hpp"

namespace weir::quota {
namespace {

using config::Cap;
using config::Period;
using config::Unit;
using std::chrono::hours;
using weir::testing::Asking;
using weir::testing::at_once;
using weir::testing::cap_of;
using weir::testing::caps;
using weir::testing::Dice;
using weir::testing::Process;
using weir::testing::ScratchDir;

constexpr int kThreads = 8;
constexpr int kKeys = 20;

Cap cap_of_unit(Unit unit, std::uint64_t limit, Period period = Period::kRolling) {
    Cap cap = cap_of(limit);
    cap.unit = unit;
    cap.period = period;
    return cap;
}

class RaceTest : public ::testing::Test {
protected:
    // Every thread asks for keys in turn; `use` gets what was admitted.
    void race(
        int rounds, const std::function<void(Dice&, Reservation&)>& use, Amounts most_reserved = {}
    ) {
        std::vector<std::thread> threads;
        for (int t = 0; t < kThreads; ++t) {
            threads.emplace_back([&, t] {
                Dice dice(weir::testing::test_seed() + std::uint64_t(t));
                for (int i = 0; i < rounds; ++i) {
                    const auto key = dice.below(kKeys);
                    Asking asking(run.ledger->account("key" + std::to_string(key)), own);
                    const AccountId team = run.ledger->team("t" + std::to_string(key % 2));
                    asking.with(Whose::kTeam, team, of_team);
                    asking.with(Whose::kAll, run.ledger->everybody(), all);
                    asking.ask.reserve = {
                        most_reserved.tokens == 0 ? 0 : 1 + dice.below(most_reserved.tokens),
                        most_reserved.money == 0 ? 0 : 1 + dice.below(most_reserved.money)
                    };
                    Decision decision = run.ledger->admit(asking.ask);
                    ASSERT_FALSE(decision.error);
                    if (decision.admission) use(dice, decision.admission->reservation);
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
    }
    std::uint64_t used(AccountId account, const Cap& cap) {
        const config::CapSet set = {cap};
        const Level level{.whose = Whose::kAll, .account = account, .caps = &set};
        return run.ledger->peek({&level, 1}, "", "").at(0).window.used;
    }
    AccountId key(int i) { return run.ledger->account("key" + std::to_string(i)); }

    const ScratchDir dir;
    Process run{dir / "ledger.db"};
    config::CapSet own, of_team, all;
};

TEST_F(RaceTest, MessagesOfKeysTeamsAndEverybody) {
    own = {cap_of(9)};
    of_team = {cap_of_unit(Unit::kMessages, 70, Period::kFixed)};
    all = {cap_of_unit(Unit::kMessages, 1'000'000, Period::kMonth)};
    std::atomic<int> kept = 0;
    const auto use = [&kept](Dice& dice, Reservation& one) {
        if (dice.one_in(3)) return one.refund();
        one.charge();
        ++kept;
    };
    race(200, use);
    EXPECT_EQ(kept, 140) << "both teams are full, to the message";
    for (const char* const team : {"t0", "t1"}) {
        EXPECT_EQ(used(run.ledger->team(team), of_team[0]), 70U);
    }
    for (int i = 0; i < kKeys; ++i) EXPECT_LE(used(key(i), own[0]), 9U);
    EXPECT_EQ(used(run.ledger->everybody(), all[0]), 140U);
    of_team.clear();
    race(300, use);
    EXPECT_EQ(kept, kKeys * 9);
    for (int i = 0; i < kKeys; ++i) EXPECT_EQ(used(key(i), own[0]), 9U);
    all = {cap_of(200)};
    own.clear();
    race(300, use);
    EXPECT_EQ(kept, 200);
}

TEST_F(RaceTest, TokensAndMoneyNeverPassTheirLimitByMoreThanOneMessage) {
    constexpr std::uint64_t kMost = 50;
    own = {cap_of_unit(Unit::kTokens, 400)};
    all = {cap_of_unit(Unit::kMoney, 6000)};
    const auto check = [&] {
        // What uses as much as it reserved passes the limit only if it went alone.
        for (int i = 0; i < kKeys; ++i) EXPECT_LT(used(key(i), own[0]), 400 + kMost);
        EXPECT_LT(used(run.ledger->everybody(), all[0]), 6000 + kMost);
    };
    race(
        400,
        [&](Dice& dice, Reservation& one) {
            const Amounts reserved = one.reserved();
            switch (dice.below(4)) {
                case 0:
                    return;  // refunded
                case 1:
                    return one.charge();
                default:
                    one.charge(Amounts{
                        .tokens = dice.below(reserved.tokens + 1),
                        .money = dice.below(reserved.money + 1)
                    });
            }
        },
        {.tokens = kMost, .money = kMost}
    );
    check();
    const std::uint64_t money = used(run.ledger->everybody(), all[0]);
    EXPECT_GE(money, 6000U) << "it was all used";
    run.writer->stop();
    std::uint64_t sum = 0;
    for (const AccountUsage& line : run.ledger->usage(hours(1))) sum += line.money;
    EXPECT_EQ(sum, money);
}

TEST_F(RaceTest, NeverMoreAtOnceThanTheCapOfAKeyATeamAndEverybody) {
    own = {at_once(1)};
    of_team = {at_once(2)};
    all = {at_once(3)};
    std::atomic<int> open = 0;
    std::atomic<int> most = 0;
    std::atomic<int> passed = 0;
    race(2000, [&](Dice& dice, Reservation& one) {
        const int now = ++open;
        ++passed;
        for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now););
        if (dice.one_in(2)) std::this_thread::yield();
        --open;
        if (dice.one_in(2)) one.charge();
        one.refund();
    });
    EXPECT_LE(most, 3);
    EXPECT_GT(passed, 100);
    for (const Cap& cap : all) EXPECT_EQ(used(run.ledger->everybody(), cap), 0U);
    for (int i = 0; i < kKeys; ++i) EXPECT_EQ(used(key(i), own[0]), 0U);
}

TEST_F(RaceTest, AGrantIsUsedUpExactlyAndIsThereAfterARestart) {
    own = {cap_of(2)};
    all = {cap_of(1000)};
    const LedgerTime until = run.clock.now() + hours(1);
    ASSERT_TRUE(run.ledger->grant(key(0), "gpt-4*", 7, until));
    ASSERT_TRUE(run.ledger->grant(key(1), "o1*", 7, until));
    EXPECT_FALSE(run.ledger->grant(key(1), "*", 0, until));
    EXPECT_FALSE(run.ledger->grant(key(1), "*", 1, run.clock.now()));
    EXPECT_FALSE(run.ledger->grant(key(1), "*", 1, run.clock.now() + hours(32 * 24 + 1)));
    std::atomic<int> kept = 0;
    race(300, [&kept](Dice& dice, Reservation& one) {
        if (dice.one_in(2)) return one.refund();
        one.charge();
        ++kept;
    });
    EXPECT_EQ(kept, kKeys * 2 + 7) << "the other grant is for other models";
    EXPECT_EQ(used(run.ledger->everybody(), all[0]), kKeys * 2U + 7U);
    EXPECT_EQ(used(key(0), own[0]), 2U);
    ASSERT_EQ(run.ledger->grants(key(0)).size(), 1U);
    EXPECT_EQ(run.ledger->grants(key(0))[0].used, 7U);
    run.writer->stop();
    Process again(dir / "ledger.db");
    const AccountId same = again.ledger->account("key0");
    ASSERT_EQ(again.ledger->grants(same).size(), 1U);
    EXPECT_EQ(again.ledger->grants(same)[0].used, 7U);
    EXPECT_FALSE(again.ledger->admit(Asking(same, own).ask).admission);
    const Asking mini(again.ledger->account("key1"), own);
    EXPECT_EQ(again.ledger->peek(mini.levels, "o1-mini", "").at(0).window.extra, 7U);
    EXPECT_EQ(again.ledger->peek(mini.levels, "gpt-4", "").at(0).window.extra, 0U);
    again.clock.advance(hours(1));
    EXPECT_TRUE(again.ledger->grants(same).empty());
}

// What has to wait for a place may be let through by a grant: it is told to wait, not to go.
TEST_F(RaceTest, AGrantGetsPastTheKeysCapsInWhatARefusalTellsToo) {
    own = {cap_of(1)};
    all = {at_once(1)};
    ASSERT_TRUE(run.ledger->grant(key(0), "*", 1, run.clock.now() + hours(1)));
    Asking asking(key(0), own);
    asking.with(Whose::kAll, run.ledger->everybody(), all);
    Decision first = run.ledger->admit(asking.ask);
    ASSERT_TRUE(first.admission);
    EXPECT_FALSE(first.admission->granted);
    Decision second = run.ledger->admit(asking.ask);
    ASSERT_TRUE(second.refusal);
    EXPECT_EQ(second.refusal->why, Refusal::Why::kBusy);
    EXPECT_EQ(second.refusal->cap.cap, all.data());
    first.admission->reservation.charge();
    second = run.ledger->admit(asking.ask);
    ASSERT_TRUE(second.admission);
    EXPECT_TRUE(second.admission->granted);
    second.admission->reservation.charge();
    EXPECT_EQ(run.ledger->admit(asking.ask).refusal->why, Refusal::Why::kSpent);
}

TEST_F(RaceTest, AResetWhileOthersAskForgivesWhatItSaysAndNoMore) {
    own = {cap_of(5)};
    of_team = {cap_of(1'000'000)};
    std::atomic<int> kept = 0;
    std::atomic<bool> done = false;
    std::uint64_t forgiven = 0;
    std::thread admin([&] {
        while (!done) {
            const auto count = run.ledger->reset(key(0), "gpt*");
            ASSERT_TRUE(count);
            forgiven += *count;
        }
    });
    race(300, [&](Dice& /*dice*/, Reservation& one) {
        ++kept;
        one.charge();
    });
    done = true;
    admin.join();
    const std::uint64_t left = used(key(0), own[0]);
    EXPECT_LE(left, 5U);
    EXPECT_EQ(std::uint64_t(kept), forgiven + left + (kKeys - 1) * 5);
    EXPECT_EQ(used(run.ledger->everybody(), of_team[0]), std::uint64_t(kept));
    run.writer->stop();
    Process again(dir / "ledger.db");
    EXPECT_EQ(again.used(own), 0U);
    EXPECT_EQ(again.peek(own, "key0").at(0).window.used, left);
    EXPECT_EQ(again.peek(own, "key1").at(0).window.used, 5U);
}

}  // namespace
}  // namespace weir::quota
