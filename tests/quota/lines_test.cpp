// Lines before caps at once: who is called, when, and in which order.
#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "weir/quota/ledger.hpp"

#include "quota/run.hpp"
#include "quota/seed.hpp"

namespace weir::quota {
namespace {

using weir::testing::Asking;
using weir::testing::at_once;
using weir::testing::cap_of;
using weir::testing::caps;
using weir::testing::eventually;
using weir::testing::Process;
using weir::testing::ScratchDir;

class LinesTest : public ::testing::Test {
protected:
    // A cap at once on everybody, and one message at a time.
    struct Caller {
        Caller(LinesTest& test, std::string_view name)
            : key(test.run.ledger->account(name)), asking(key, test.own) {
            asking.with(Whose::kAll, test.run.ledger->everybody(), test.all);
        }
        AccountId key;
        Asking asking;
        std::optional<Turn> turn;
        Reservation reservation;
    };

    bool ask(Caller& caller) {
        caller.asking.ask.turn = caller.turn ? &*caller.turn : nullptr;
        Decision decision = run.ledger->admit(caller.asking.ask);
        if (decision.refusal) refusal = std::move(decision.refusal);
        if (!decision.admission) return false;
        caller.reservation = std::move(decision.admission->reservation);
        return true;
    }
    // Asks and waits. True if there is a place in the line.
    bool line_up(Caller& caller) {
        EXPECT_FALSE(ask(caller));
        EXPECT_EQ(refusal->why, Refusal::Why::kBusy);
        caller.turn = run.ledger->wait(caller.asking.ask, *refusal, run.signal);
        return caller.turn.has_value();
    }
    static bool called(const Caller& caller) { return caller.turn && caller.turn->called(); }
    // It asks when called and gets through; its place in the line is over then.
    bool gets_through(Caller& caller) {
        if (!called(caller) || !ask(caller)) return false;
        EXPECT_FALSE(caller.turn->in_line());
        caller.turn.reset();
        return true;
    }
    std::uint64_t in_flight() {
        const Level level{
            .whose = Whose::kAll, .account = run.ledger->everybody(), .caps = &counting
        };
        return run.ledger->peek({&level, 1}, "gpt-4", "chat/completions").at(0).window.used;
    }

    const ScratchDir dir;
    Process run{dir / "ledger.db"};
    const config::CapSet counting = {at_once(1000)};
    config::CapSet own;
    config::CapSet all = {at_once(1)};
    std::optional<Refusal> refusal;
    Caller a1{*this, "a"}, a2{*this, "a"}, a3{*this, "a"}, b1{*this, "b"}, b2{*this, "b"};
    Caller c1{*this, "c"}, first{*this, "z"};
};

TEST_F(LinesTest, FirstComeFirstServedWithinAKey) {
    ASSERT_TRUE(ask(first));
    for (Caller* const one : {&a1, &a2, &a3}) ASSERT_TRUE(line_up(*one));
    EXPECT_FALSE(called(a1));
    first.reservation.charge();
    for (Caller* const one : {&a1, &a2, &a3}) {
        for (Caller* const other : {&a1, &a2, &a3}) EXPECT_EQ(called(*other), other == one);
        ASSERT_TRUE(gets_through(*one));
        one->reservation.refund();
    }
    EXPECT_EQ(in_flight(), 0U);
    ASSERT_TRUE(ask(first)) << "nobody waits any more";
}

TEST_F(LinesTest, KeysTakeTurns) {
    ASSERT_TRUE(ask(first));
    for (Caller* const one : {&a1, &a2, &a3, &b1, &b2, &c1}) ASSERT_TRUE(line_up(*one));
    first.reservation.charge();
    for (Caller* const one : {&a1, &b1, &c1, &a2, &b2, &a3}) {
        ASSERT_TRUE(gets_through(*one));
        one->reservation.charge();
    }
    EXPECT_EQ(in_flight(), 0U);
}

TEST_F(LinesTest, ANewcomerNeverOvertakes) {
    ASSERT_TRUE(ask(first));
    ASSERT_TRUE(line_up(a1) && line_up(a2));
    EXPECT_FALSE(ask(b1));
    first.reservation.charge();
    // The place is promised to the one called, also before it asks.
    EXPECT_FALSE(ask(b1));
    EXPECT_FALSE(ask(a3)) << "not even of the same key";
    ASSERT_TRUE(gets_through(a1));
    EXPECT_FALSE(ask(b1));
    a1.reservation.charge();
    EXPECT_FALSE(ask(b1));
    ASSERT_TRUE(gets_through(a2));
    a2.reservation.charge();
    EXPECT_TRUE(ask(b1));
}

TEST_F(LinesTest, WhoLeavesLetsTheNextMoveUp) {
    ASSERT_TRUE(ask(first));
    ASSERT_TRUE(line_up(a1) && line_up(b1) && line_up(c1));
    b1.turn.reset();  // not called yet
    first.reservation.charge();
    ASSERT_TRUE(called(a1));
    EXPECT_FALSE(called(c1));
    a1.turn.reset();  // called
    ASSERT_TRUE(gets_through(c1));
    c1.reservation.charge();
    EXPECT_EQ(in_flight(), 0U);
    // By assignment and by a move as well.
    ASSERT_TRUE(ask(first));
    ASSERT_TRUE(line_up(a1) && line_up(b1) && line_up(c1));
    first.reservation.charge();
    Turn moved = std::move(*a1.turn);
    EXPECT_FALSE(a1.turn->called());
    EXPECT_FALSE(a1.turn->in_line());
    EXPECT_TRUE(moved.called());
    moved = std::move(*b1.turn);
    ASSERT_TRUE(moved.called());
    EXPECT_FALSE(called(c1));
    moved = Turn();
    EXPECT_TRUE(called(c1));
}

TEST_F(LinesTest, RefusedByAnotherCapAtItsTurnPassesTheCallOn) {
    own = {cap_of(1)};
    ASSERT_TRUE(ask(first));
    ASSERT_TRUE(line_up(a1) && line_up(a2) && line_up(b1));
    first.reservation.charge();
    ASSERT_TRUE(gets_through(a1));
    EXPECT_FALSE(called(a2));
    a1.reservation.charge();
    ASSERT_TRUE(gets_through(b1)) << "round robin";
    b1.reservation.charge();
    // The key's cap is used up now.
    ASSERT_TRUE(called(a2));
    ASSERT_TRUE(line_up(c1)) << "the place is promised";
    EXPECT_FALSE(ask(a2));
    EXPECT_EQ(refusal->why, Refusal::Why::kSpent);
    EXPECT_FALSE(a2.turn->in_line());
    ASSERT_TRUE(gets_through(c1));
}

TEST_F(LinesTest, WhoAsksWithoutBeingCalledStaysWhereItWas) {
    ASSERT_TRUE(ask(first));
    ASSERT_TRUE(line_up(a1) && line_up(a2));
    EXPECT_FALSE(ask(a2));
    EXPECT_FALSE(ask(a1));
    EXPECT_TRUE(a1.turn->in_line() && a2.turn->in_line());
    first.reservation.charge();
    ASSERT_TRUE(gets_through(a1));
    a1.reservation.charge();
    ASSERT_TRUE(gets_through(a2));
}

TEST_F(LinesTest, AnEmptyTurnIsNoTurn) {
    const Turn none;
    EXPECT_FALSE(none.called());
    EXPECT_FALSE(none.in_line());
    ASSERT_TRUE(ask(first));
    ASSERT_TRUE(line_up(a1));
    b1.turn.emplace();
    EXPECT_FALSE(ask(b1));
}

TEST_F(LinesTest, ARaisedLimitWakesThoseWhoFit) {
    ASSERT_TRUE(ask(first));
    for (Caller* const one : {&a1, &b1, &c1, &a2}) ASSERT_TRUE(line_up(*one));
    all[0].limit = 3;
    run.ledger->caps_changed();
    ASSERT_TRUE(called(a1));
    EXPECT_FALSE(called(b1)) << "one after the other: nobody knows yet what the caps are now";
    ASSERT_TRUE(gets_through(a1));
    ASSERT_TRUE(gets_through(b1));
    EXPECT_FALSE(called(c1));
    EXPECT_EQ(in_flight(), 3U);
    a1.reservation.charge();
    ASSERT_TRUE(gets_through(c1));
    b1.reservation.charge();
    ASSERT_TRUE(gets_through(a2));
}

TEST_F(LinesTest, ANewcomerThatBringsARaisedLimitLetsTheOthersThrough) {
    ASSERT_TRUE(ask(first));
    ASSERT_TRUE(line_up(a1) && line_up(b1) && line_up(c1));
    all[0].limit = 3;
    EXPECT_FALSE(ask(b2));
    EXPECT_TRUE(called(a1) && called(b1));
    EXPECT_FALSE(called(c1));
}

TEST_F(LinesTest, ALoweredLimitPutsThoseCalledBackInTheirOrder) {
    all[0].limit = 3;
    Caller second{*this, "z"}, third{*this, "z"};
    ASSERT_TRUE(ask(first) && ask(second) && ask(third));
    ASSERT_TRUE(line_up(a1) && line_up(a2) && line_up(b1) && line_up(b2));
    first.reservation.charge();
    second.reservation.charge();
    ASSERT_TRUE(called(a1) && called(b1));
    all[0].limit = 1;
    run.ledger->caps_changed();
    // In any order.
    EXPECT_FALSE(ask(b1));
    EXPECT_FALSE(ask(a1));
    if (called(a2)) EXPECT_FALSE(ask(a2));
    for (Caller* const one : {&a1, &b1, &a2, &b2}) {
        EXPECT_FALSE(called(*one));
        EXPECT_TRUE(one->turn->in_line());
    }
    third.reservation.charge();
    for (Caller* const one : {&a1, &b1, &a2, &b2}) {
        for (Caller* const other : {&a1, &b1, &a2, &b2}) EXPECT_EQ(called(*other), other == one);
        ASSERT_TRUE(gets_through(*one));
        one->reservation.charge();
    }
    // Who leaves from there leaves nothing behind.
    EXPECT_EQ(in_flight(), 0U);
    EXPECT_TRUE(ask(first));
}

TEST_F(LinesTest, WhoWasPutBackMayLeave) {
    all[0].limit = 2;
    Caller second{*this, "z"};
    ASSERT_TRUE(ask(first) && ask(second));
    ASSERT_TRUE(line_up(a1) && line_up(b1));
    first.reservation.charge();
    all[0].limit = 1;
    EXPECT_FALSE(ask(a1));
    ASSERT_FALSE(called(a1));
    a1.turn.reset();
    second.reservation.charge();
    ASSERT_TRUE(gets_through(b1));
    b1.reservation.charge();
    EXPECT_TRUE(ask(c1));
}

TEST_F(LinesTest, ARemovedCapLetsThemThroughOneAfterTheOther) {
    ASSERT_TRUE(ask(first));
    for (Caller* const one : {&a1, &a2, &b1}) ASSERT_TRUE(line_up(*one));
    all.clear();
    run.ledger->caps_changed();
    for (Caller* const one : {&a1, &b1, &a2}) {
        for (Caller* const other : {&a1, &b1, &a2}) EXPECT_EQ(called(*other), other == one);
        ASSERT_TRUE(gets_through(*one));
    }
    EXPECT_EQ(in_flight(), 4U);
}

TEST_F(LinesTest, OneOfThemThatLeavesInsteadOfAskingHoldsNobodyUp) {
    ASSERT_TRUE(ask(first));
    for (Caller* const one : {&a1, &a2, &b1}) ASSERT_TRUE(line_up(*one));
    all.clear();
    run.ledger->caps_changed();
    ASSERT_TRUE(called(a1));
    a1.turn.reset();
    ASSERT_TRUE(called(b1));
    own = {cap_of(0)};  // refused by another one
    EXPECT_FALSE(ask(b1));
    own.clear();
    ASSERT_TRUE(gets_through(a2));
}

TEST_F(LinesTest, ALineHasAnEnd) {
    ASSERT_TRUE(ask(first));
    std::vector<Turn> waiting;
    for (std::size_t i = 0; i < kLongestLine; ++i) {
        ASSERT_TRUE(line_up(a1));
        waiting.push_back(std::move(*a1.turn));
        a1.turn.reset();
    }
    EXPECT_FALSE(line_up(b1));
    waiting.erase(waiting.begin() + 5);
    EXPECT_TRUE(line_up(b1));
}

TEST_F(LinesTest, OnlyACapAtOnceHasALine) {
    all = {cap_of(1)};
    ASSERT_TRUE(ask(first));
    EXPECT_FALSE(ask(a1));
    EXPECT_FALSE(run.ledger->wait(a1.asking.ask, *refusal, run.signal));
    all[0] = at_once(1);
    all[0].warn = true;
    EXPECT_TRUE(ask(a1)) << "one that warns does not refuse";
}

TEST_F(LinesTest, TwoCapsAtOnceOfOneNameAreOneLineAndTheTighterCounts) {
    config::Cap warns = at_once(1);
    warns.warn = true;
    all = {at_once(2), at_once(3), warns};
    ASSERT_TRUE(ask(first) && ask(c1));
    ASSERT_TRUE(line_up(a1) && line_up(b1));
    first.reservation.charge();
    ASSERT_TRUE(called(a1)) << "the one that warns holds nobody up";
    EXPECT_FALSE(called(b1)) << "the wider one calls nobody too early";
    ASSERT_TRUE(gets_through(a1));
    EXPECT_FALSE(called(b1));
}

TEST_F(LinesTest, HitsTakeNoPlaceAndDoNotWait) {
    ASSERT_TRUE(ask(first));
    ASSERT_TRUE(line_up(a1));
    b1.asking.ask.hit = true;
    EXPECT_TRUE(ask(b1));
    EXPECT_EQ(in_flight(), 1U);
}

TEST_F(LinesTest, ManyThreadsNeverPassTheLimitAndAllGetThrough) {
    constexpr int kThreads = 8;
    constexpr int kRounds = 200;
    all = {at_once(3)};
    std::atomic<int> open = 0;
    std::atomic<int> most = 0;
    std::atomic<int> through = 0;
    std::atomic<int> left = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            weir::testing::Dice dice(weir::testing::test_seed() + std::uint64_t(t));
            const std::shared_ptr<Signal> signal = Signal::create(run.home.get_executor());
            for (int round = 0; round < kRounds; ++round) {
                Caller caller{*this, "key" + std::to_string(t % 4)};
                Ask& ask = caller.asking.ask;
                for (;;) {
                    ask.turn = caller.turn ? &*caller.turn : nullptr;
                    Decision decision = run.ledger->admit(ask);
                    if (decision.admission) {
                        caller.turn.reset();
                        const int now = ++open;
                        for (int seen = most;
                             now > seen && !most.compare_exchange_weak(seen, now););
                        if (dice.one_in(3)) std::this_thread::yield();
                        --open;
                        ++through;
                        if (dice.one_in(2)) decision.admission->reservation.charge();
                        break;
                    }
                    ASSERT_TRUE(decision.refusal);
                    ASSERT_EQ(decision.refusal->why, Refusal::Why::kBusy);
                    if (!caller.turn || !caller.turn->in_line()) {
                        caller.turn = run.ledger->wait(ask, *decision.refusal, signal);
                        ASSERT_TRUE(caller.turn);
                    }
                    if (dice.one_in(20)) {
                        ++left;
                        break;
                    }
                    ASSERT_TRUE(eventually([&] { return caller.turn->called(); }));
                }
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    std::cout << most << " at once, " << left << " left the line\n";
    EXPECT_LE(most, 3);
    EXPECT_EQ(through + left, kThreads * kRounds);
    EXPECT_EQ(in_flight(), 0U);
}

}  // namespace
}  // namespace weir::quota
