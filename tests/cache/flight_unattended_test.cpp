// Flights with may_finish: nobody has to listen as long as all is kept.
#include <memory>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "weir/cache/flight.hpp"

#include "cache/flight_tools.hpp"

namespace weir::cache {
namespace {

using testing::Bench;
using testing::chunks_of;
using testing::joined;
using Kind = Subscription::Next::Kind;

class Unattended : public ::testing::Test {
protected:
    static std::shared_ptr<Flight> make(
        std::uint64_t backlog = 1 << 20, BufferBudget* budget = nullptr, bool may_finish = true
    ) {
        return std::make_shared<Flight>(Flight::Options{
            .backlog_limit_bytes = backlog, .budget = budget, .may_finish = may_finish
        });
    }
    // One that took off, published its head and "one", and was left by everybody.
    std::shared_ptr<Flight> left_alone(std::uint64_t backlog = 1 << 20) {
        const auto flight = make(backlog);
        std::optional<Subscription> only = flight->subscribe(bench_.signal());
        flight->set_producer(producer_);
        flight->take_off();
        flight->publish_head({});
        EXPECT_TRUE(flight->publish(chunks_of({"one"})));
        EXPECT_FALSE(flight->unattended());
        EXPECT_FALSE(bench_.woken(producer_));
        only.reset();
        return flight;
    }
    static void expect_all(Subscription& sub, const std::string& text) {
        EXPECT_EQ(sub.next().kind, Kind::kHead);
        EXPECT_EQ(joined(sub.next().chunks), text);
        const Subscription::Next last = sub.next();
        EXPECT_EQ(last.kind, Kind::kEnd);
        EXPECT_TRUE(last.end.clean);
    }

    Bench bench_;
    std::shared_ptr<Signal> producer_ = bench_.signal();
};

TEST_F(Unattended, BeginsWhenTheLastOneLeavesAndTheProducerHearsOfIt) {
    const auto flight = left_alone();
    EXPECT_TRUE(flight->unattended());
    EXPECT_FALSE(flight->abandoned());
    EXPECT_TRUE(flight->takes_newcomers());
    EXPECT_TRUE(bench_.woken(producer_));
    EXPECT_EQ(flight->state(), FlightState::kFlying);
    EXPECT_TRUE(flight->publish(chunks_of({"two"})));
    EXPECT_FALSE(bench_.woken(producer_));
}

TEST_F(Unattended, AProducerThatComesLaterHearsOfItAsWell) {
    const auto flight = make();
    std::optional<Subscription> only = flight->subscribe(bench_.signal());
    flight->take_off();
    only.reset();
    flight->set_producer(producer_);
    EXPECT_TRUE(bench_.woken(producer_));
    EXPECT_TRUE(flight->unattended());
}

TEST_F(Unattended, DoesNotBeginWhileSomebodyStays) {
    const auto flight = make();
    std::optional<Subscription> first = flight->subscribe(bench_.signal());
    const std::optional<Subscription> second = flight->subscribe(bench_.signal());
    flight->set_producer(producer_);
    flight->take_off();
    first.reset();
    EXPECT_FALSE(flight->unattended());
    EXPECT_FALSE(bench_.woken(producer_));
    flight->abandon_if_unattended();
    EXPECT_FALSE(flight->abandoned());
    EXPECT_TRUE(flight->publish(chunks_of({"x"})));
}

TEST_F(Unattended, ANewcomerGetsAllFromTheStartAndTheProducerHearsOfIt) {
    const auto flight = left_alone();
    EXPECT_TRUE(bench_.woken(producer_));
    EXPECT_TRUE(flight->publish(chunks_of({"two"})));
    std::optional<Subscription> newcomer = flight->subscribe(bench_.signal());
    ASSERT_TRUE(newcomer);
    EXPECT_FALSE(flight->unattended());
    EXPECT_TRUE(bench_.woken(producer_));
    // Only the first one of them ends it.
    std::optional<Subscription> another = flight->subscribe(bench_.signal());
    EXPECT_FALSE(bench_.woken(producer_));
    flight->abandon_if_unattended();
    EXPECT_FALSE(flight->abandoned());
    EXPECT_TRUE(flight->publish(chunks_of({"three"})));
    flight->end({true, std::nullopt});
    expect_all(*newcomer, "onetwothree");
    expect_all(*another, "onetwothree");
}

TEST_F(Unattended, BeginsAgainEachTimeEverybodyLeft) {
    const auto flight = left_alone();
    EXPECT_TRUE(bench_.woken(producer_));
    for (int i = 0; i < 3; ++i) {
        {
            const std::optional<Subscription> passer_by = flight->subscribe(bench_.signal());
            ASSERT_TRUE(passer_by);
            EXPECT_TRUE(bench_.woken(producer_));
            EXPECT_FALSE(flight->unattended());
        }
        EXPECT_TRUE(bench_.woken(producer_));
        EXPECT_TRUE(flight->unattended());
    }
}

TEST_F(Unattended, IsNotToldToTheProducerThatItIsCongested) {
    const auto flight = make();
    std::optional<Subscription> only = flight->subscribe(bench_.signal());
    flight->set_producer(producer_);
    flight->take_off();
    EXPECT_TRUE(flight->publish(chunks_of({std::string(300 << 10, 'x')})));
    EXPECT_TRUE(flight->congested());
    only.reset();
    // It waited for room: now nobody makes any, and it need not wait.
    EXPECT_TRUE(bench_.woken(producer_));
    EXPECT_FALSE(flight->congested());
}

TEST_F(Unattended, EndsForGoodWhenTheProducerSaysSo) {
    BufferBudget budget(10'000);
    const auto flight = make(1 << 20, &budget);
    std::optional<Subscription> only = flight->subscribe(bench_.signal());
    flight->set_producer(producer_);
    flight->take_off();
    EXPECT_TRUE(flight->publish(chunks_of({"one"})));
    only.reset();
    EXPECT_TRUE(bench_.woken(producer_));
    EXPECT_GT(budget.used(), 0U);
    flight->abandon_if_unattended();
    EXPECT_TRUE(flight->abandoned());
    EXPECT_FALSE(flight->unattended());
    EXPECT_TRUE(bench_.woken(producer_));
    EXPECT_EQ(budget.used(), 0U);
    EXPECT_FALSE(flight->takes_newcomers());
    EXPECT_FALSE(flight->subscribe(bench_.signal()));
    EXPECT_FALSE(flight->publish(chunks_of({"two"})));
    EXPECT_FALSE(flight->backlog());
    flight->end({true, std::nullopt});
    EXPECT_FALSE(flight->backlog());
    EXPECT_FALSE(flight->subscribe(bench_.signal()));
}

TEST_F(Unattended, PastItsBacklogItIsAbandoned) {
    const auto flight = left_alone(10);
    EXPECT_TRUE(flight->publish(chunks_of({"1234567"})));  // exactly the limit
    EXPECT_TRUE(flight->unattended());
    EXPECT_TRUE(bench_.woken(producer_));
    EXPECT_FALSE(flight->publish(chunks_of({"8"})));
    EXPECT_TRUE(flight->abandoned());
    EXPECT_FALSE(flight->unattended());
    EXPECT_TRUE(bench_.woken(producer_));
    EXPECT_FALSE(flight->subscribe(bench_.signal()));
    EXPECT_FALSE(flight->backlog());
}

TEST_F(Unattended, PastTheBudgetOfAllItIsAbandoned) {
    BufferBudget budget(2 * (100 + Flight::kChunkOverhead));
    const auto flight = make(1 << 20, &budget);
    std::optional<Subscription> only = flight->subscribe(bench_.signal());
    flight->take_off();
    only.reset();
    EXPECT_TRUE(flight->publish(chunks_of({std::string(100, 'a'), std::string(100, 'b')})));
    EXPECT_TRUE(flight->unattended());
    EXPECT_FALSE(flight->publish(chunks_of({"c"})));
    EXPECT_TRUE(flight->abandoned());
    EXPECT_EQ(budget.used(), 0U);
}

TEST_F(Unattended, WhatIsPastItsBacklogWhenTheLastOneLeavesIsAbandonedAtOnce) {
    const auto flight = make(3);
    std::optional<Subscription> only = flight->subscribe(bench_.signal());
    flight->set_producer(producer_);
    flight->take_off();
    EXPECT_TRUE(flight->publish(chunks_of({"four"})));
    EXPECT_FALSE(flight->shareable());
    only.reset();
    EXPECT_TRUE(flight->abandoned());
    EXPECT_FALSE(flight->unattended());
    EXPECT_TRUE(bench_.woken(producer_));
}

TEST_F(Unattended, NeverBeginsWhileItIsAsking) {
    const auto flight = make();
    std::optional<Subscription> only = flight->subscribe(bench_.signal());
    EXPECT_FALSE(flight->unattended());
    flight->abandon_if_unattended();
    EXPECT_FALSE(flight->abandoned());
    only.reset();
    EXPECT_TRUE(flight->abandoned());
    EXPECT_FALSE(flight->unattended());
    EXPECT_EQ(flight->state(), FlightState::kEnded);
}

TEST_F(Unattended, IsNotForFlightsThatMayNotOrCannotBeShared) {
    for (const auto& flight : {make(1 << 20, nullptr, false), make(0)}) {
        std::optional<Subscription> only = flight->subscribe(bench_.signal());
        const auto producer = bench_.signal();
        flight->set_producer(producer);
        flight->take_off();
        EXPECT_TRUE(flight->publish(chunks_of({"x"})));
        only.reset();
        EXPECT_TRUE(flight->abandoned());
        EXPECT_FALSE(flight->unattended());
        EXPECT_TRUE(bench_.woken(producer));
        EXPECT_FALSE(flight->publish(chunks_of({"y"})));
    }
}

TEST_F(Unattended, EndsWellWithNobodyThereAndAllOfItIsKept) {
    const auto flight = left_alone();
    EXPECT_TRUE(flight->publish(chunks_of({"two"})));
    flight->end({true, std::nullopt});
    EXPECT_FALSE(flight->unattended());
    EXPECT_FALSE(flight->abandoned());
    flight->abandon_if_unattended();  // it is over: nothing
    EXPECT_FALSE(flight->abandoned());
    const auto kept = flight->backlog();
    ASSERT_TRUE(kept);
    EXPECT_EQ(joined(*kept), "onetwo");
    std::optional<Subscription> late = flight->subscribe(bench_.signal());
    ASSERT_TRUE(late);
    expect_all(*late, "onetwo");
    late.reset();
    EXPECT_FALSE(flight->abandoned());
}

TEST_F(Unattended, EndsInAnErrorWithNobodyThere) {
    const auto flight = left_alone();
    flight->end({false, http::ApiError{}});
    EXPECT_FALSE(flight->unattended());
    EXPECT_FALSE(flight->abandoned());
    EXPECT_FALSE(flight->backlog());
    EXPECT_FALSE(flight->subscribe(bench_.signal()));
}

}  // namespace
}  // namespace weir::cache
