// Where messages go: by priority, weight and health; breakers, rests, lines.
#include "weir/upstream/fleet.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <thread>

#include <boost/asio/io_context.hpp>
#include <fmt/format.h>
#include <gtest/gtest.h>

namespace weir::upstream {
namespace {

using namespace std::chrono_literals;
using Kind = Choice::Kind;

Outcome answered(int status) {
    return {.status = status, .stage = Call::Stage::kBody, .written = true};
}
const Outcome kNoConnection = {
    .error = ErrorCode::kUpstreamConnect, .stage = Call::Stage::kConnect
};

class FleetTest : public testing::Test {
protected:
    config::Upstream& add(std::string name, int priority = 1, std::vector<std::string> keys = {}) {
        config::Upstream& upstream = config_.upstreams.emplace_back();
        upstream.name = std::move(name);
        upstream.url = "http://" + upstream.name;
        upstream.priority = priority;
        upstream.keys = std::move(keys);
        return upstream;
    }
    void follow() {
        fleet_.follow(config_);
        route_ = find_route(config_, "m", "");
    }
    [[nodiscard]] Errand errand(std::uint64_t who = 1, std::string_view model = "m") const {
        return {config_, route_, pin_, model, who};
    }
    // "a", "a#2 wait", "full a", ...; the choice is dropped.
    std::string where(Errand& errand) {
        const Choice choice = fleet_.choose(errand, signal_, now_);
        return name(choice);
    }
    std::string where() {
        Errand one = errand();
        return where(one);
    }
    [[nodiscard]] static std::string name(const Choice& choice) {
        std::string text = choice.target.upstream ? choice.target.upstream->name : "";
        if (choice.target.upstream && choice.target.upstream->keys.size() > 1) {
            text += "#" + std::to_string(choice.target.key + 1);
        }
        switch (choice.kind) {
            case Kind::kCall:
                return text;
            case Kind::kPause:
                return "pause " + text;
            case Kind::kWait:
                return "wait " + text;
            case Kind::kResting:
                return "resting " + text;
            case Kind::kFull:
                return "full " + text;
            case Kind::kNothing:
                break;
        }
        return "nothing";
    }
    // A whole call that ends so, of a message of its own; where it went.
    std::string call(const Outcome& outcome, const http::Fields& fields = {}) {
        Errand one = errand();
        Choice choice = fleet_.choose(one, signal_, now_);
        if (choice.kind == Kind::kCall) choice.permit.note(outcome, fields, now_);
        return name(choice);
    }
    // The same within a message.
    std::string call(Errand& one, const Outcome& outcome, const http::Fields& fields = {}) {
        Choice choice = fleet_.choose(one, signal_, now_);
        if (choice.kind == Kind::kCall) {
            choice.permit.note(outcome, fields, now_);
            static_cast<void>(one.tried(choice.target, outcome, judge(config_.retry, outcome)));
        }
        return name(choice);
    }

    asio::io_context io_;
    std::shared_ptr<Signal> signal_ = Signal::create(io_.get_executor());
    config::Config config_;
    Route route_;
    std::optional<Target> pin_;
    Fleet fleet_{7};
    Fleet::Time now_{1h};
};

http::Fields field(std::string_view name, std::string_view value) {
    http::Fields fields;
    fields.add(name, value);
    return fields;
}

TEST_F(FleetTest, GoesByPriorityAndWithinOneByWeight) {
    add("a").weight = 3;
    add("b").weight = 1;
    add("c").weight = 0;
    add("d", 2);
    follow();
    std::map<std::string, int> counts;
    for (int i = 0; i < 4000; ++i) ++counts[call(answered(200))];
    EXPECT_NEAR(counts["a"], 3000, 150);
    EXPECT_NEAR(counts["b"], 1000, 150);
    EXPECT_EQ(counts["c"] + counts["d"], 0);
    // One of weight 0 stands in before the next priority does.
    Errand one = errand();
    const std::string first = call(one, kNoConnection);
    const std::string second = call(one, kNoConnection);
    EXPECT_EQ(std::set({first, second}), std::set<std::string>({"a", "b"}));
    EXPECT_EQ(call(one, kNoConnection), "c");
}

TEST_F(FleetTest, TakesKeysInTurn) {
    add("a", 1, {"k1", "k2", "k3"});
    follow();
    std::string all;
    for (int i = 0; i < 6; ++i) all += call(answered(200)) + " ";
    EXPECT_EQ(all, "a#1 a#2 a#3 a#1 a#2 a#3 ");
}

TEST_F(FleetTest, AMessageGoesOnToWhereItHasNotBeen) {
    add("a", 1, {"k1", "k2"});
    add("b", 2);
    config_.retry.attempts = 9;
    follow();
    Errand refused = errand();
    EXPECT_EQ(call(refused, answered(401)), "a#1");
    EXPECT_EQ(call(refused, answered(403)), "a#2");
    EXPECT_EQ(call(refused, answered(503)), "b");
    // The keys are closed to it; b is not.
    EXPECT_EQ(where(refused), "pause b");
    refused.paused();
    EXPECT_EQ(where(refused), "b");
    // Of an upstream that cannot be reached the other key is no better.
    Errand down = errand();
    EXPECT_EQ(call(down, kNoConnection), "a#1");
    EXPECT_EQ(call(down, kNoConnection), "b");
    EXPECT_EQ(where(down), "pause a#2");
    now_ += 11s;  // another budget
    // What may have been worked on never goes to that upstream again.
    Errand closed = errand();
    const Outcome lost = {
        .error = ErrorCode::kUpstreamClosed, .stage = Call::Stage::kFirstByte, .written = true
    };
    EXPECT_EQ(call(closed, lost).substr(0, 1), "a");
    EXPECT_EQ(call(closed, answered(409)), "b");
    EXPECT_EQ(where(closed), "pause b");
}

TEST_F(FleetTest, WhatMayHaveBeenWorkedOnIsSentAgainOnce) {
    add("a");
    add("b", 2);
    add("c", 3);
    follow();
    const Outcome lost = {
        .error = ErrorCode::kUpstreamClosed, .stage = Call::Stage::kFirstByte, .written = true
    };
    Errand one = errand();
    EXPECT_TRUE(one.tried({&config_.upstreams[0], 0}, lost, Next::kOtherUpstream));
    EXPECT_FALSE(one.tried({&config_.upstreams[1], 0}, lost, Next::kOtherUpstream));
}

TEST_F(FleetTest, TriesAsOftenAsThePolicySays) {
    config_.retry.attempts = 2;
    add("a");
    follow();
    Errand one = errand();
    EXPECT_TRUE(one.tried({&config_.upstreams[0], 0}, answered(503), Next::kAnywhere));
    EXPECT_FALSE(one.tried({&config_.upstreams[0], 0}, answered(503), Next::kAnywhere));
}

TEST_F(FleetTest, ABrokenUpstreamIsLeftAloneAndThenTriedByOneCall) {
    add("a");
    add("b", 2);
    follow();
    for (std::uint32_t i = 0; i < config_.retry.break_after; ++i) {
        EXPECT_EQ(call(answered(500)), "a") << i;
    }
    EXPECT_EQ(where(), "b");
    EXPECT_TRUE(fleet_.show("a", now_).broken);
    now_ += config_.retry.rest;
    {
        Errand first = errand();
        Choice probe = fleet_.choose(first, signal_, now_);
        EXPECT_EQ(name(probe), "a");
        EXPECT_EQ(where(), "b") << "two probes at once";
        // One that ends and says nothing leaves the probe to the next.
        probe.permit = {};
        EXPECT_EQ(where(), "a");
    }
    EXPECT_EQ(call(kNoConnection), "a");
    EXPECT_EQ(where(), "b") << "it failed: it rests anew";
    now_ += config_.retry.rest;
    EXPECT_EQ(call(answered(404)), "a") << "it answers, whatever it says";
    EXPECT_FALSE(fleet_.show("a", now_).broken);
    EXPECT_EQ(where(), "a");
    EXPECT_EQ(fleet_.show("a", now_).opened, 1U);
}

TEST_F(FleetTest, ASuccessBetweenFailuresKeepsItInForce) {
    add("a");
    add("b", 2);
    follow();
    for (int i = 0; i < 20; ++i) EXPECT_EQ(call(answered(i % 4 == 3 ? 200 : 503)), "a");
}

TEST_F(FleetTest, ABrokenOneIsBetterThanNone) {
    add("a");
    follow();
    for (int i = 0; i < 20; ++i) EXPECT_EQ(call(kNoConnection), "a");
    // But not for a second call of a message.
    Errand one = errand();
    EXPECT_EQ(call(one, kNoConnection), "a");
    EXPECT_EQ(where(one), "nothing");
    EXPECT_EQ(call(answered(200)), "a");
    Errand two = errand();
    EXPECT_EQ(call(two, kNoConnection), "a");
    EXPECT_EQ(where(two), "pause a");
}

TEST_F(FleetTest, ABadKeyIsLeftAloneAndNotItsUpstream) {
    config_.retry.break_after = 2;
    add("a", 1, {"bad", "good"});
    follow();
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(call(answered(401)), "a#1");
        EXPECT_EQ(call(answered(200)), "a#2");
    }
    for (int i = 0; i < 4; ++i) EXPECT_EQ(call(answered(200)), "a#2");
    EXPECT_FALSE(fleet_.show("a", now_).broken);
    EXPECT_EQ(fleet_.show("a", now_).keys_broken, 1U);
}

TEST_F(FleetTest, AKeyThatIsTooBusyRestsAsLongAsItSaysForThatModel) {
    add("a", 1, {"k1", "k2"});
    follow();
    EXPECT_EQ(call(answered(429), field("retry-after", "20")), "a#1");
    EXPECT_EQ(call(answered(200)), "a#2");
    EXPECT_EQ(call(answered(200)), "a#2");
    EXPECT_EQ(call(answered(429), field("retry-after-ms", "5000")), "a#2");
    Errand one = errand();
    const Choice resting = fleet_.choose(one, signal_, now_);
    EXPECT_EQ(name(resting), "resting a#2");
    EXPECT_EQ(resting.until - now_, 5s);
    Errand other_model = errand(1, "another");
    EXPECT_EQ(where(other_model), "a#1");
    now_ += 5s;
    EXPECT_EQ(where(), "a#2");
    now_ += 15s;
    EXPECT_EQ(call(answered(200)), "a#1");
    EXPECT_EQ(fleet_.show("a", now_).opened, 0U);
}

TEST_F(FleetTest, RestsAreBoundedAndGrowWhereNoTimeIsTold) {
    add("a");
    follow();
    const auto rest = [&](const http::Fields& fields) {
        EXPECT_EQ(call(answered(429), fields), "a");
        Errand one = errand();
        const auto span = fleet_.choose(one, signal_, now_).until - now_;
        now_ += span;
        return std::chrono::duration_cast<std::chrono::seconds>(span);
    };
    EXPECT_EQ(rest(field("retry-after", "86400")), 5min);
    EXPECT_EQ(rest({}), 2s);
    EXPECT_EQ(rest({}), 4s);
    for (int i = 0; i < 10; ++i) static_cast<void>(rest({}));
    EXPECT_EQ(rest({}), 60s);
    EXPECT_EQ(call(answered(200)), "a");
    EXPECT_EQ(rest({}), 2s);
}

TEST_F(FleetTest, ALastRoomToldByAGoodAnswerLetsTheKeyRest) {
    add("a", 1, {"k1", "k2"});
    follow();
    http::Fields fields = field("x-ratelimit-remaining-requests", "0");
    fields.add("x-ratelimit-reset-requests", "1m0s");
    fields.add("x-ratelimit-limit-requests", "60");
    EXPECT_EQ(call(answered(200), fields), "a#1");
    EXPECT_EQ(call(answered(200)), "a#2");
    EXPECT_EQ(call(answered(200)), "a#2");
    now_ += 1s;
    EXPECT_EQ(call(answered(200)), "a#1");
}

TEST_F(FleetTest, ExtraCallsAreBounded) {
    config_.retry.break_after = 1000;
    add("a");
    add("b", 2);
    follow();
    int calls = 0;
    for (int i = 0; i < 100; ++i) {
        Errand one = errand();
        while (one.calls() < 3) {
            const std::string went = call(one, answered(503));
            if (went.starts_with("pause")) {
                one.paused();
            } else if (went == "nothing") {
                break;
            }
        }
        calls += static_cast<int>(one.calls());
    }
    // A first call to each; 20 % more there, and to b the few that a quiet one always has, and the
    // one that showed that it fails as well.
    EXPECT_LE(calls, 100 + 20 + 3 + 1);
    EXPECT_GT(calls, 110);
}

TEST_F(FleetTest, GoingOnToOneThatAnswersWellIsNoExtraCall) {
    config_.retry.break_after = 1000;
    config_.retry.budget_percent = 0;
    add("a");
    add("b", 2);
    follow();
    for (int i = 0; i < 100; ++i) {
        Errand one = errand();
        EXPECT_EQ(call(one, kNoConnection), "a");
        EXPECT_EQ(call(one, answered(200)), "b");
    }
}

TEST_F(FleetTest, ARestIsNotWaitedForWhereTheBudgetIsSpent) {
    for (const std::uint32_t percent : {0U, 100U}) {
        config_.retry.budget_percent = percent;
        add(fmt::format("a{}", percent));
        follow();
        Errand one = errand();
        const std::string name = call(one, answered(429), field("retry-after", "1"));
        EXPECT_EQ(where(one), percent > 0 ? "resting " + name : "nothing");
        config_.upstreams.clear();
    }
}

TEST_F(FleetTest, APinIsKept) {
    add("a", 1, {"k1", "k2"});
    add("b", 2);
    follow();
    pin_ = {&config_.upstreams[0], 1};
    for (int i = 0; i < 3; ++i) EXPECT_EQ(call(answered(200)), "a#2");
    Errand one = errand();
    EXPECT_EQ(call(one, kNoConnection), "a#2");
    EXPECT_EQ(where(one), "pause a#2");
    Errand refused = errand();
    EXPECT_EQ(call(refused, answered(401)), "a#2");
    EXPECT_EQ(where(refused), "nothing");
}

// ---- the line

class FleetLine : public FleetTest {
protected:
    // A call in flight, or a place in the line.
    Choice enter(std::uint64_t who) {
        Errand one = errand(who);
        return fleet_.choose(one, signal_, now_);
    }
};

TEST_F(FleetLine, AtMostSoManyCallsAndSoManyWhoWait) {
    add("a").at_once = {.calls = 2, .queue = 1};
    follow();
    std::vector<Choice> in;
    for (int i = 0; i < 2; ++i) in.push_back(enter(1));
    EXPECT_EQ(name(in.back()), "a");
    Choice waits = enter(1);
    EXPECT_EQ(name(waits), "wait a");
    EXPECT_EQ(name(enter(2)), "full a");
    EXPECT_FALSE(waits.place.called());
    in.pop_back();
    EXPECT_TRUE(waits.place.called());
    EXPECT_EQ(fleet_.show("a", now_).in_flight, 2U) << "the place is kept for it";
    EXPECT_EQ(name(enter(2)), "wait a");
    Errand one = errand(1);
    const Choice called = fleet_.choose(one, signal_, now_, std::move(waits.place));
    EXPECT_EQ(name(called), "a");
    EXPECT_EQ(fleet_.show("a", now_).in_flight, 2U);
}

TEST_F(FleetLine, AnotherOfTheSamePriorityIsTakenBeforeWaiting) {
    add("a").at_once = {.calls = 1};
    add("b").at_once = {.calls = 1};
    add("c", 2);
    follow();
    const Choice first = enter(1);
    const Choice second = enter(1);
    EXPECT_NE(name(first), name(second));
    EXPECT_TRUE(enter(1).kind == Kind::kWait) << "c is behind them in priority";
}

TEST_F(FleetLine, AFullLineGoesOnToTheNextPriority) {
    add("a").at_once = {.calls = 1, .queue = 0};
    add("b", 2);
    follow();
    const Choice first = enter(1);
    EXPECT_EQ(where(), "b");
}

// A batch user with a long line, and one who comes with one call at a time.
TEST_F(FleetLine, AlternatesBetweenKeysThatWait) {
    add("a").at_once = {.calls = 1};
    follow();
    Choice in_flight = enter(1);
    std::vector<std::pair<std::uint64_t, Place>> line;
    for (int i = 0; i < 6; ++i) line.emplace_back(1, enter(1).place);
    for (int i = 0; i < 3; ++i) line.emplace_back(2, enter(2).place);
    std::string order;
    while (!line.empty()) {
        in_flight = {};
        const auto called =
            std::ranges::find_if(line, [](auto& one) { return one.second.called(); });
        ASSERT_NE(called, line.end());
        order += std::to_string(called->first);
        Errand one = errand(called->first);
        in_flight = fleet_.choose(one, signal_, now_, std::move(called->second));
        ASSERT_EQ(name(in_flight), "a");
        line.erase(called);
    }
    EXPECT_EQ(order, "121212111");
}

TEST_F(FleetLine, WhoHasTheFewestInFlightIsNext) {
    add("a").at_once = {.calls = 4};
    follow();
    std::vector<Choice> in;
    for (int i = 0; i < 4; ++i) in.push_back(enter(1));
    std::vector<Choice> batch;
    for (int i = 0; i < 50; ++i) batch.push_back(enter(1));
    const Choice single = enter(2);
    in.pop_back();
    EXPECT_TRUE(single.place.called());
}

// By the time that it comes again, a batch would have taken all places.
TEST_F(FleetLine, TheLastPlaceIsLeftToAKeyThatIsBetweenTwoCalls) {
    add("a").at_once = {.calls = 4};
    follow();
    now_ = Deadline::Clock::now();
    std::vector<Choice> batch;
    for (int i = 0; i < 3; ++i) batch.push_back(enter(1));
    for (int i = 0; i < 3; ++i) {
        const Choice single = enter(2);
        EXPECT_EQ(name(single), "a");
        batch.push_back(enter(1));
        EXPECT_EQ(name(batch.back()), "wait a");
    }
    EXPECT_EQ(fleet_.show("a", now_).in_flight, 3U);
    // It does not come for a while: the place is the others' at the next change.
    batch[0] = {};
    EXPECT_EQ(fleet_.show("a", now_).in_flight, 3U);
    std::this_thread::sleep_for(1010ms);
    batch[1] = {};
    EXPECT_EQ(fleet_.show("a", now_).in_flight, 4U);
}

TEST_F(FleetLine, WhoLeavesMakesRoom) {
    add("a").at_once = {.calls = 1};
    follow();
    Choice in_flight = enter(1);
    Choice first = enter(1);
    const Choice second = enter(2);
    in_flight = {};
    EXPECT_TRUE(first.place.called());
    first = {};
    EXPECT_TRUE(second.place.called());
}

TEST_F(FleetLine, AReloadKeepsStatesAndTakesNewBounds) {
    add("a").at_once = {.calls = 1};
    add("b", 2);
    follow();
    const Choice in_flight = enter(1);
    const Choice waits = enter(2);
    for (int i = 0; i < 5; ++i) {
        pin_ = {&config_.upstreams[1], 0};
        call(kNoConnection);
    }
    pin_.reset();
    EXPECT_TRUE(fleet_.show("b", now_).broken);
    config::Config next = config_;
    next.upstreams[0].at_once.calls = 2;
    next.upstreams[1].keys = {"a new key"};
    fleet_.follow(next);
    EXPECT_TRUE(waits.place.called());
    EXPECT_TRUE(fleet_.show("b", now_).broken);
    next.upstreams[1].url = "http://elsewhere";
    fleet_.follow(next);
    EXPECT_FALSE(fleet_.show("b", now_).broken);
}

}  // namespace
}  // namespace weir::upstream
