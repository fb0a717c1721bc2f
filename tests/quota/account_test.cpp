// The windows of one account, without a ledger around them.
#include "account.hpp"

#include <algorithm>
#include <deque>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "quota/run.hpp"
#include "quota/seed.hpp"

namespace weir::quota {
namespace {

using namespace std::chrono_literals;
using config::Cap;
using config::Period;
using config::Unit;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::seconds;
using weir::testing::at_once;
using weir::testing::cap_of;
using weir::testing::Dice;
using weir::testing::test_seed;

constexpr microseconds kTick{1};

class AccountTest : public ::testing::Test {
protected:
    AccountTest() {
        chat.model = "gpt-4";
        chat.endpoint = "chat/completions";
        mini.model = "o1-mini";
        mini.endpoint = "embeddings";
    }

    Sequence add(Subject& subject, std::uint32_t tokens = 0, bool open = false) {
        Entry entry;
        entry.at = at.now;
        entry.sequence = ++last;
        entry.subject = &subject;
        entry.tokens = tokens;
        entry.money = tokens * 10;
        entry.open = open;
        account.add(entry);
        return last;
    }
    void advance(microseconds by) { at = {at.now + by, at.wall + by}; }
    std::size_t index(const Cap& cap) {
        return account.counter(cap, at, ++uses, [this](const Cap& one) -> const Pattern& {
            for (const Pattern& known : patterns) {
                if (known.models == one.models && known.endpoints == one.endpoints) return known;
            }
            return patterns.emplace_back(Pattern{patterns.size(), one.models, one.endpoints});
        });
    }
    WindowState state(const Cap& cap) { return account.state(index(cap), cap.limit, at); }
    std::uint64_t used(const Cap& cap) { return state(cap).used; }
    static Cap of(Period period, seconds span = 0s, Unit unit = Unit::kMessages) {
        Cap cap = cap_of(100);
        cap.period = period;
        cap.span = span;
        cap.unit = unit;
        return cap;
    }

    Account account;
    Subject chat, mini;
    std::deque<Pattern> patterns;
    Moment at{ledger_time_us(5'000'000'000'000), WallTime(microseconds(1'800'000'000'000'000))};
    Sequence last = 0;
    std::uint64_t uses = 0;
};

TEST_F(AccountTest, ARollingPlaceIsFreeExactlyOneSpanAfterItWasTaken) {
    const Cap cap = of(Period::kRolling, 100s);
    add(chat);
    advance(100s - kTick);
    EXPECT_EQ(used(cap), 1U);
    EXPECT_EQ(state(cap).next_free, kTick);
    EXPECT_EQ(state(cap).full_reset, kTick);
    advance(kTick);
    EXPECT_EQ(used(cap), 0U);
    EXPECT_EQ(state(cap).full_reset, 0s);
}

TEST_F(AccountTest, ALoweredLimitSaysWhenOneIsFreeAgain) {
    Cap cap = of(Period::kRolling, 100s);
    for (int i = 0; i < 5; ++i) {
        add(chat);
        advance(10s);
    }
    cap.limit = 2;  // four of the five have to go first
    EXPECT_EQ(state(cap).next_free, 80s);
    EXPECT_EQ(state(cap).remaining(), 0U);
    cap.limit = 9;
    EXPECT_EQ(state(cap).next_free, 50s);
    EXPECT_EQ(state(cap).full_reset, 90s);
    EXPECT_EQ(state(cap).remaining(), 4U);
    cap.limit = 0;
    EXPECT_EQ(state(cap).next_free, 0s);
}

TEST_F(AccountTest, TokensLeaveWithTheirMessage) {
    Cap cap = of(Period::kRolling, 100s, Unit::kTokens);
    add(chat, 30);
    advance(10s);
    add(mini, 0);
    advance(10s);
    add(chat, 50);
    EXPECT_EQ(used(cap), 80U);
    EXPECT_EQ(account.wait_for(index(cap), 100, 50, at), 80s);
    EXPECT_EQ(account.wait_for(index(cap), 100, 60, at), 100s);
    EXPECT_EQ(account.wait_for(index(cap), 100, 99, at), 100s);
    cap.unit = Unit::kMoney;
    EXPECT_EQ(used(cap), 800U);
    cap.models = "o1*";
    EXPECT_EQ(used(cap), 0U);
}

TEST_F(AccountTest, AFixedWindowOpensWithItsFirstMessageAndOnlyThen) {
    const Cap cap = of(Period::kFixed, 100s);
    EXPECT_EQ(used(cap), 0U);
    advance(50s);
    add(chat);
    advance(99s);
    add(chat);
    EXPECT_EQ(used(cap), 2U);
    EXPECT_EQ(state(cap).next_free, 1s);
    EXPECT_EQ(state(cap).full_reset, 1s);
    advance(1s);
    EXPECT_EQ(used(cap), 0U);
    advance(30s);
    EXPECT_EQ(state(cap).full_reset, 0s) << "none is open";
    add(chat);
    EXPECT_EQ(state(cap).full_reset, 100s);
}

TEST_F(AccountTest, AFixedWindowThatNothingIsLeftInWasNeverOpened) {
    const Cap cap = of(Period::kFixed, 100s);
    EXPECT_EQ(used(cap), 0U);
    const Sequence first = add(chat);
    advance(10s);
    const Sequence second = add(chat);
    EXPECT_EQ(account.remove(first), &chat);
    EXPECT_EQ(state(cap).full_reset, 90s) << "the other one is still in it";
    account.remove(second);
    EXPECT_EQ(used(cap), 0U);
    advance(10s);
    add(chat);
    EXPECT_EQ(state(cap).full_reset, 100s);
}

TEST_F(AccountTest, AFixedCapThatComesLaterFollowsTheHistory) {
    const LedgerTime start = at.now;
    for (const seconds when : {0s, 60s, 100s, 130s, 210s}) {
        advance(start + when - at.now);
        add(chat);
    }
    // [0, 100), [100, 200), [210, 310)
    const Cap cap = of(Period::kFixed, 100s);
    EXPECT_EQ(used(cap), 1U);
    EXPECT_EQ(state(cap).full_reset, 100s);
    ASSERT_TRUE(account.note_opened());
    EXPECT_FALSE(account.note_opened()) << "once";
    const auto taken = account.take_opened();
    ASSERT_EQ(taken.size(), 1U);
    EXPECT_EQ(taken[0].first, cap.counter());
    EXPECT_EQ(taken[0].second, start + 210s);
    EXPECT_TRUE(account.take_opened().empty());
    account.keep_opened();
    EXPECT_EQ(account.take_opened().size(), 1U);
}

TEST_F(AccountTest, AnOpeningThatWasWrittenDownHolds) {
    const Cap cap = of(Period::kFixed, 100s);
    account.load_opened(cap.counter(), at.now - 60s);
    EXPECT_EQ(used(cap), 0U) << "nothing is left in it";
    add(chat);
    EXPECT_EQ(state(cap).full_reset, 100s);
    Account other;
    std::swap(account, other);
    account.load_opened(cap.counter(), at.now - 60s);
    add(chat);
    EXPECT_EQ(state(cap).full_reset, 40s);
}

// Its amount was unknown when it was admitted.
TEST_F(AccountTest, AMessageThatCountsOnlyLaterOpensTheWindowThatItWouldHaveOpened) {
    const Cap cap = of(Period::kFixed, 100s, Unit::kTokens);
    EXPECT_EQ(used(cap), 0U);
    const Sequence first = add(chat, 0, true);
    advance(30s);
    EXPECT_EQ(used(cap), 0U);
    EXPECT_TRUE(account.settle(first, Amounts{.tokens = 7, .money = 0}, at.now));
    EXPECT_EQ(used(cap), 7U);
    EXPECT_EQ(state(cap).full_reset, 70s);
    const Sequence late = add(chat, 0, true);
    advance(200s);
    EXPECT_EQ(used(cap), 0U);
    EXPECT_TRUE(account.settle(late, Amounts{.tokens = 9, .money = 0}, at.now));
    EXPECT_EQ(used(cap), 0U) << "that window is over";
    add(chat, 5);
    EXPECT_EQ(used(cap), 5U);
}

TEST_F(AccountTest, ACalendarDayEndsByTheWallClock) {
    Cap cap = of(Period::kDay);
    cap.zone = TimeZone::find("Asia/Shanghai");
    const TimeZone::Bounds day = cap.zone->day(at.wall);
    advance(day.end - at.wall - 10s);
    add(chat);
    EXPECT_EQ(state(cap).full_reset, 10s);
    advance(10s - kTick);
    EXPECT_EQ(used(cap), 1U);
    advance(kTick);
    EXPECT_EQ(used(cap), 0U);
    // Put back, it is yesterday again; put forward, today is over.
    at.wall -= 1h;
    EXPECT_EQ(used(cap), 1U);
    EXPECT_EQ(state(cap).full_reset, 1h);
    add(chat);
    EXPECT_EQ(used(cap), 2U);
    at.wall += 1h;  // a new day: what came in the same moment is in it
    EXPECT_EQ(used(cap), 1U);
    at.wall -= 1h;
    EXPECT_EQ(used(cap), 2U);
}

TEST_F(AccountTest, DaysOfTwoPlacesAreTwoWindows) {
    Cap cap = of(Period::kDay);
    Cap other = cap;
    cap.zone = TimeZone::find("UTC");
    other.zone = TimeZone::find("Asia/Shanghai");
    advance(cap.zone->day(at.wall).end - at.wall - 9h);
    add(chat);  // 15:00 UTC, 23:00 in Shanghai
    advance(2h);
    const std::size_t utc = index(cap);
    const std::size_t shanghai = index(other);
    EXPECT_EQ(account.state(utc, 9, at).used, 1U);
    EXPECT_EQ(account.state(shanghai, 9, at).used, 0U);
}

TEST_F(AccountTest, AtOnceCountsWhatIsInFlightHoweverOld) {
    const Cap cap = at_once(9);
    const Sequence first = add(chat, 0, true);
    EXPECT_EQ(used(cap), 1U);
    const Sequence second = add(mini, 0, true);
    add(chat);
    EXPECT_EQ(used(cap), 2U);
    advance(kHistory + 1h);
    account.expire(at.now, [](const Entry& /*entry*/) {});
    EXPECT_EQ(used(cap), 2U);
    EXPECT_EQ(used(at_once(9, "o1*")), 1U);
    EXPECT_TRUE(account.settle(first, std::nullopt, at.now));
    EXPECT_EQ(account.remove(second), &mini);
    EXPECT_EQ(used(cap), 0U);
    EXPECT_EQ(used(at_once(9, "o1*")), 0U);
}

TEST_F(AccountTest, SettlingSetsRightWhatWasReserved) {
    const Cap cap = of(Period::kRolling, 100s, Unit::kTokens);
    const Sequence first = add(chat, 50, true);
    const Sequence second = add(chat, 40, true);
    EXPECT_EQ(account.at(index(cap)).reserved, 90U);
    EXPECT_TRUE(account.settle(first, Amounts{.tokens = 10, .money = 1}, at.now));
    EXPECT_EQ(used(cap), 50U);
    EXPECT_EQ(account.at(index(cap)).reserved, 40U);
    EXPECT_TRUE(account.settle(second, Amounts{.tokens = 400, .money = 1}, at.now));
    EXPECT_EQ(used(cap), 410U);
    EXPECT_EQ(account.at(index(cap)).reserved, 0U);
    EXPECT_FALSE(account.settle(99, std::nullopt, at.now));
    EXPECT_NE(account.remove(second), nullptr);
    EXPECT_EQ(account.remove(second), nullptr);
    EXPECT_EQ(used(cap), 10U);
}

TEST_F(AccountTest, WhatIsForgivenCountsNoLongerButIsStillInFlight) {
    const Cap cap = of(Period::kRolling, 100s);
    const Cap places = at_once(9);
    const Sequence first = add(chat, 0, true);
    add(mini);
    EXPECT_EQ(used(cap) + used(places), 3U);
    const Pattern pattern{.number = 7, .models = "GPT*", .endpoints = {}};
    add(chat);
    EXPECT_EQ(account.forgive(first, pattern, at.now), 1U) << "the third came later";
    EXPECT_EQ(account.forgive(first, pattern, at.now), 0U);
    EXPECT_EQ(used(cap), 2U);
    EXPECT_EQ(used(places), 1U);
}

TEST_F(AccountTest, WindowsThatNobodyAsksForAreDroppedAndMadeAgain) {
    add(chat);
    for (int i = 1; i <= 100; ++i) {
        const Cap cap = of(Period::kRolling, seconds(i));
        EXPECT_EQ(used(cap), 1U);
        account.trim(1);
    }
    add(chat);
    for (int i = 1; i <= 100; ++i) EXPECT_EQ(used(of(Period::kRolling, seconds(i))), 2U);
}

// Refunds by the hundred, in all orders, between what stays: windows keep their places when the
// entries are moved together.
TEST_F(AccountTest, CompactionAndExpiryChangeNoWindow) {
    Dice dice(test_seed());
    const std::vector<Cap> caps = {
        of(Period::kRolling, 3600s),
        of(Period::kRolling, kHistory),
        of(Period::kFixed, 7200s),
        of(Period::kDay),
        of(Period::kRolling, 86400s, Unit::kTokens),
        at_once(9)
    };
    std::vector<Sequence> open;
    std::size_t most = 0;
    for (int step = 0; step < 20'000; ++step) {
        advance(seconds(dice.below(dice.one_in(50) ? 40'000 : 300)));
        account.expire(at.now, [](const Entry& entry) { EXPECT_FALSE(entry.gone); });
        open.push_back(add(dice.one_in(2) ? chat : mini, std::uint32_t(dice.below(9)), true));
        for (const Cap& cap : caps) EXPECT_GE(used(cap), cap.unit == Unit::kMessages ? 1U : 0U);
        if (dice.one_in(3)) account.settle(open.back(), std::nullopt, at.now);
        while (open.size() > 20 || (dice.one_in(2) && !open.empty())) {
            const std::size_t which = dice.below(open.size());
            account.remove(open[which]);
            account.compact();
            open.erase(open.begin() + std::ptrdiff_t(which));
        }
        most = std::max(most, account.entries().size());
        if (step % 10 != 0) continue;
        for (const Cap& cap : caps) {
            const Counter& counter = account.at(index(cap));
            std::uint64_t sum = 0, places = 0;
            for (std::size_t i = account.front(); i < account.entries().size(); ++i) {
                const Entry& entry = account.entries()[i];
                if (entry.gone) continue;
                places += entry.open ? 1 : 0;
                if (entry.at > counter.bound) sum += cap.unit == Unit::kTokens ? entry.tokens : 1;
            }
            ASSERT_EQ(counter.sum, sum) << cap.counter();
            ASSERT_EQ(counter.open, places) << cap.counter();
        }
    }
    EXPECT_LT(most, 2000U) << "what is gone does not pile up";
}

TEST_F(AccountTest, ExpiryHandsOutEachSubjectOnceAndNoneOfThoseRemoved) {
    std::size_t released = 0;
    const auto release = [&released](const Entry& entry) {
        EXPECT_NE(entry.subject, nullptr);
        ++released;
    };
    for (int i = 0; i < 300; ++i) {
        const Sequence sequence = add(chat);
        if (i % 3 == 0) EXPECT_EQ(account.remove(sequence), &chat);
        account.compact();
    }
    advance(kHistory - kTick);
    account.expire(at.now, release);
    EXPECT_EQ(released, 0U);
    advance(kTick);
    account.expire(at.now, release);
    EXPECT_EQ(released, 200U);
    EXPECT_EQ(account.entries().size(), account.front());
}

}  // namespace
}  // namespace weir::quota
