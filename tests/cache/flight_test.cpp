#include "weir/cache/flight.hpp"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "cache/flight_tools.hpp"

namespace weir::cache {
namespace {

using testing::Bench;
using testing::chunks_of;
using testing::joined;
using Kind = Subscription::Next::Kind;

struct FlightTest : ::testing::Test {
    static std::shared_ptr<Flight> make(
        std::uint64_t backlog = 1 << 20,
        std::uint64_t lag = 256 << 10,
        BufferBudget* budget = nullptr
    ) {
        return std::make_shared<Flight>(Flight::Options{backlog, lag, budget});
    }
    Subscription join(const std::shared_ptr<Flight>& flight) {
        return *flight->subscribe(bench.signal());
    }
    Bench bench;
};

TEST_F(FlightTest, TellsHeadThenChunksThenEnd) {
    const auto flight = make();
    Subscription sub = join(flight);
    EXPECT_EQ(flight->state(), FlightState::kAsking);
    EXPECT_EQ(sub.next().kind, Kind::kNothingYet);
    flight->take_off();
    EXPECT_EQ(flight->state(), FlightState::kFlying);
    FlightHead head;
    head.status = 201;
    flight->publish_head(head);
    EXPECT_TRUE(flight->publish(chunks_of({"a", "", "bc"})));
    flight->end({true, std::nullopt});
    Subscription::Next next = sub.next();
    ASSERT_EQ(next.kind, Kind::kHead);
    EXPECT_EQ(next.head->status, 201);
    next = sub.next();
    ASSERT_EQ(next.kind, Kind::kChunks);
    EXPECT_EQ(next.chunks.size(), 2U);  // the empty one is left out
    EXPECT_EQ(joined(next.chunks), "abc");
    next = sub.next();
    ASSERT_EQ(next.kind, Kind::kEnd);
    EXPECT_TRUE(next.end.clean);
    EXPECT_EQ(sub.next().kind, Kind::kEnd);
}

TEST_F(FlightTest, ErrorBeforeTheHeadIsTheFirstThingTold) {
    const auto flight = make();
    Subscription sub = join(flight);
    flight->take_off();
    http::ApiError error;
    error.status = 502;
    flight->end({false, error});
    flight->end({true, std::nullopt});  // the first one counts
    const Subscription::Next next = sub.next();
    ASSERT_EQ(next.kind, Kind::kEnd);
    EXPECT_FALSE(next.end.clean);
    ASSERT_TRUE(next.end.error);
    EXPECT_EQ(next.end.error->status, 502);
    EXPECT_FALSE(flight->backlog());
    EXPECT_FALSE(flight->subscribe(bench.signal()));
    EXPECT_FALSE(flight->abandoned());
}

TEST_F(FlightTest, ChunksComeBeforeTheErrorThatFollowsThem) {
    const auto flight = make();
    Subscription sub = join(flight);
    flight->take_off();
    flight->publish_head({});
    flight->publish(chunks_of({"half"}));
    flight->end({false, http::ApiError{}});
    EXPECT_EQ(sub.next().kind, Kind::kHead);
    EXPECT_EQ(joined(sub.next().chunks), "half");
    EXPECT_EQ(sub.next().kind, Kind::kEnd);
}

TEST_F(FlightTest, LateSubscriberGetsEverythingAlsoAfterACleanEnd) {
    const auto flight = make();
    Subscription first = join(flight);
    flight->take_off();
    flight->publish_head({});
    flight->publish(chunks_of({"one", "two"}));
    Subscription late = join(flight);
    flight->publish(chunks_of({"three"}));
    flight->end({true, std::nullopt});
    Subscription latest = join(flight);
    for (Subscription* sub : {&late, &latest}) {
        EXPECT_EQ(sub->next().kind, Kind::kHead);
        EXPECT_EQ(joined(sub->next().chunks), "onetwothree");
        EXPECT_EQ(sub->next().kind, Kind::kEnd);
    }
    EXPECT_EQ(joined(*flight->backlog()), "onetwothree");
}

TEST_F(FlightTest, HandsOverAtMost64KiBOrOneChunk) {
    const auto flight = make();
    Subscription sub = join(flight);
    flight->take_off();
    flight->publish(chunks_of(
        {std::string(40 << 10, 'a'),
         std::string(24 << 10, 'b'),
         std::string(1, 'c'),
         std::string(100 << 10, 'd')}
    ));
    EXPECT_EQ(joined(sub.next().chunks).size(), 64U << 10);
    EXPECT_EQ(joined(sub.next().chunks), "c");
    EXPECT_EQ(joined(sub.next().chunks).size(), 100U << 10);
    EXPECT_EQ(sub.next().kind, Kind::kNothingYet);
}

TEST_F(FlightTest, WakesOnlyWhoWasToldNothingYet) {
    const auto flight = make();
    const auto signal = bench.signal();
    Subscription sub = *flight->subscribe(signal);
    flight->take_off();
    flight->publish_head({});
    EXPECT_FALSE(bench.woken(signal));
    EXPECT_EQ(sub.next().kind, Kind::kHead);
    EXPECT_EQ(sub.next().kind, Kind::kNothingYet);
    flight->publish(chunks_of({"x"}));
    EXPECT_TRUE(bench.woken(signal));
    flight->publish(chunks_of({"y"}));
    EXPECT_FALSE(bench.woken(signal));
    EXPECT_EQ(joined(sub.next().chunks), "xy");
    EXPECT_EQ(sub.next().kind, Kind::kNothingYet);
    flight->end({true, std::nullopt});
    EXPECT_TRUE(bench.woken(signal));
}

TEST_F(FlightTest, RefusedStarterHandsTheQuestionToExactlyOne) {
    const auto flight = make();
    Subscription starter = join(flight);
    const auto signal = bench.signal();
    Subscription second = *flight->subscribe(signal);
    Subscription third = join(flight);
    EXPECT_EQ(second.next().kind, Kind::kNothingYet);
    EXPECT_EQ(third.next().kind, Kind::kNothingYet);
    flight->give_up_asking(third.id());  // not the starter: nothing
    EXPECT_FALSE(bench.woken(signal));
    flight->give_up_asking(starter.id());
    flight->give_up_asking(starter.id());  // it is no longer the starter: nothing
    EXPECT_TRUE(bench.woken(signal));
    EXPECT_EQ(third.next().kind, Kind::kNothingYet);
    EXPECT_EQ(second.next().kind, Kind::kRefused);
    EXPECT_EQ(second.next().kind, Kind::kNothingYet);
    flight->give_up_asking(second.id());
    EXPECT_EQ(third.next().kind, Kind::kRefused);
    flight->take_off();
    flight->publish(chunks_of({"x"}));
    EXPECT_EQ(joined(third.next().chunks), "x");
    // Whoever stays after a refusal still listens.
    EXPECT_EQ(joined(starter.next().chunks), "x");
}

TEST_F(FlightTest, NobodyIsAskedTwiceAndThenTheFlightEnds) {
    const auto flight = make();
    Subscription a = join(flight);
    const auto signal = bench.signal();
    Subscription b = *flight->subscribe(signal);
    flight->give_up_asking(a.id());
    EXPECT_EQ(b.next().kind, Kind::kRefused);
    EXPECT_EQ(b.next().kind, Kind::kNothingYet);
    flight->give_up_asking(b.id());
    EXPECT_EQ(flight->state(), FlightState::kEnded);
    EXPECT_TRUE(flight->abandoned());
    EXPECT_TRUE(bench.woken(signal));
    EXPECT_EQ(a.next().kind, Kind::kEnd);
    EXPECT_EQ(b.next().kind, Kind::kEnd);
    EXPECT_FALSE(flight->subscribe(bench.signal()));
    flight->take_off();  // too late
    EXPECT_EQ(flight->state(), FlightState::kEnded);
}

TEST_F(FlightTest, LeavingWhileAskingCountsAsGivingUp) {
    const auto flight = make();
    std::optional<Subscription> starter = flight->subscribe(bench.signal());
    std::optional<Subscription> second = flight->subscribe(bench.signal());
    Subscription third = join(flight);
    starter.reset();
    // It was chosen, but leaves before it heard of it.
    second.reset();
    EXPECT_EQ(third.next().kind, Kind::kRefused);
    EXPECT_FALSE(flight->abandoned());
}

TEST_F(FlightTest, TakeOffBeforeTheNewStarterHeardOfItIsNoRefusal) {
    const auto flight = make();
    Subscription starter = join(flight);
    Subscription second = join(flight);
    flight->give_up_asking(starter.id());
    flight->take_off();
    EXPECT_EQ(second.next().kind, Kind::kNothingYet);
}

TEST_F(FlightTest, LastOneLeavingAbandonsItAndWakesTheProducer) {
    const auto flight = make();
    std::optional<Subscription> a = flight->subscribe(bench.signal());
    std::optional<Subscription> b = flight->subscribe(bench.signal());
    const auto producer = bench.signal();
    flight->take_off();
    flight->set_producer(producer);
    EXPECT_EQ(flight->subscribers(), 2U);
    a.reset();
    EXPECT_FALSE(bench.woken(producer));
    EXPECT_TRUE(flight->publish(chunks_of({"x"})));
    b.reset();
    EXPECT_TRUE(bench.woken(producer));
    EXPECT_TRUE(flight->abandoned());
    EXPECT_FALSE(flight->publish(chunks_of({"y"})));
    EXPECT_FALSE(flight->subscribe(bench.signal()));
    EXPECT_FALSE(flight->backlog());
    EXPECT_FALSE(flight->congested());
}

TEST_F(FlightTest, ProducerThatComesAfterEverybodyLeftIsWoken) {
    const auto flight = make();
    std::optional<Subscription> sub = flight->subscribe(bench.signal());
    flight->take_off();
    sub.reset();
    const auto producer = bench.signal();
    flight->set_producer(producer);
    EXPECT_TRUE(bench.woken(producer));
}

TEST_F(FlightTest, FullyProducedFlightIsNotAbandonedWhenTheLastOneLeaves) {
    const auto flight = make();
    std::optional<Subscription> sub = flight->subscribe(bench.signal());
    flight->take_off();
    flight->publish(chunks_of({"all"}));
    flight->end({true, std::nullopt});
    sub.reset();
    EXPECT_FALSE(flight->abandoned());
    EXPECT_EQ(joined(*flight->backlog()), "all");
    EXPECT_TRUE(flight->subscribe(bench.signal()));
}

TEST_F(FlightTest, ShareableFlightIsHeldBackByTheFastest) {
    const auto flight = make(1 << 20, 1000);
    Subscription fast = join(flight);
    Subscription slow = join(flight);
    const auto producer = bench.signal();
    flight->set_producer(producer);
    flight->take_off();
    flight->publish(chunks_of({std::string(400, 'a')}));
    EXPECT_FALSE(flight->congested());
    flight->publish(chunks_of({std::string(600, 'a')}));
    EXPECT_TRUE(flight->congested());
    EXPECT_EQ(fast.next().kind, Kind::kChunks);
    EXPECT_TRUE(bench.woken(producer));
    EXPECT_FALSE(flight->congested());
    // Only who was told to wait is woken.
    EXPECT_EQ(slow.next().kind, Kind::kChunks);
    EXPECT_FALSE(bench.woken(producer));
}

TEST_F(FlightTest, UnshareableFlightIsHeldBackByTheSlowest) {
    const auto flight = make(500, 1000);
    Subscription fast = join(flight);
    std::optional<Subscription> slow = flight->subscribe(bench.signal());
    const auto producer = bench.signal();
    flight->set_producer(producer);
    flight->take_off();
    flight->publish(chunks_of({std::string(1000, 'a')}));
    EXPECT_FALSE(flight->shareable());
    EXPECT_FALSE(flight->takes_newcomers());
    EXPECT_FALSE(flight->backlog());
    EXPECT_TRUE(flight->congested());
    EXPECT_EQ(fast.next().kind, Kind::kChunks);
    EXPECT_FALSE(bench.woken(producer));
    EXPECT_TRUE(flight->congested());
    slow.reset();  // it set the pace
    EXPECT_TRUE(bench.woken(producer));
    EXPECT_FALSE(flight->congested());
}

TEST_F(FlightTest, ProducerIsWokenBelowHalfOfTheLagOnly) {
    const std::uint64_t weight = 100 + Flight::kChunkOverhead;
    const auto flight = make(0, 4 * weight);
    Subscription sub = join(flight);
    const auto producer = bench.signal();
    flight->set_producer(producer);
    flight->take_off();
    // Each of the last three goes alone: more than 64 KiB do not fit into one next().
    const std::string big(64 << 10, 'b');
    flight->publish(chunks_of({big, big, std::string(100, 'a'), std::string(100, 'a')}));
    EXPECT_TRUE(flight->congested());
    EXPECT_EQ(sub.next().kind, Kind::kChunks);
    EXPECT_FALSE(bench.woken(producer));  // 64 KiB and more are left
    EXPECT_EQ(sub.next().kind, Kind::kChunks);
    EXPECT_FALSE(bench.woken(producer));  // 2 * weight are left: half
    EXPECT_EQ(sub.next().kind, Kind::kChunks);
    EXPECT_TRUE(bench.woken(producer));
}

TEST_F(FlightTest, UnshareableFlightTakesOneSubscriberAndKeepsNothingTaken) {
    const auto flight = make(0);
    Subscription sub = join(flight);
    EXPECT_FALSE(flight->subscribe(bench.signal()));
    flight->take_off();
    flight->publish(chunks_of({"x"}));
    Subscription::Next next = sub.next();
    const std::weak_ptr<const Chunk> chunk = next.chunks.front();
    next.chunks.clear();
    EXPECT_TRUE(chunk.expired());
}

TEST_F(FlightTest, PastTheBacklogTakenChunksAreDropped) {
    const auto flight = make(10);
    Subscription a = join(flight);
    std::optional<Subscription> b = flight->subscribe(bench.signal());
    flight->take_off();
    flight->publish(chunks_of({"12345"}));
    Subscription::Next taken = a.next();
    const std::weak_ptr<const Chunk> first = taken.chunks.front();
    taken.chunks.clear();
    EXPECT_FALSE(first.expired());
    flight->publish(chunks_of({"67890"}));
    EXPECT_TRUE(flight->shareable());  // exactly the limit
    flight->publish(chunks_of({"!"}));
    EXPECT_FALSE(flight->shareable());
    EXPECT_FALSE(first.expired());  // the slow one has not taken it
    EXPECT_EQ(joined(a.next().chunks), "67890!");
    b.reset();
    EXPECT_TRUE(first.expired());
}

TEST_F(FlightTest, BudgetBoundsAllBacklogsTogether) {
    const std::uint64_t weight = 100 + Flight::kChunkOverhead;
    BufferBudget budget(3 * weight);
    {
        const auto one = make(1 << 20, 256 << 10, &budget);
        const auto two = make(1 << 20, 256 << 10, &budget);
        Subscription a = join(one);
        Subscription b = join(two);
        one->take_off();
        two->take_off();
        one->publish(chunks_of({std::string(100, 'a'), std::string(100, 'a')}));
        EXPECT_EQ(budget.used(), 2 * weight);
        two->publish(chunks_of({std::string(100, 'b')}));
        two->publish(chunks_of({std::string(100, 'b')}));
        EXPECT_FALSE(two->shareable());
        EXPECT_TRUE(one->shareable());
        EXPECT_EQ(budget.used(), 3 * weight);
        EXPECT_EQ(joined(b.next().chunks), std::string(200, 'b'));
        EXPECT_EQ(budget.used(), 2 * weight);
    }
    EXPECT_EQ(budget.used(), 0U);
}

TEST_F(FlightTest, FloodOfTinyChunksEndsTheBacklogEarly) {
    const auto flight = make(100'000, 1 << 30);
    Subscription sub = join(flight);
    flight->take_off();
    std::size_t chunks = 0;
    while (flight->shareable() && chunks < 100'000) {
        flight->publish(chunks_of({"x"}));
        ++chunks;
    }
    EXPECT_LT(chunks * (1 + Flight::kChunkOverhead), 300'000U);
}

TEST_F(FlightTest, MovedSubscriptionLeavesOnce) {
    const auto flight = make();
    Subscription a = join(flight);
    {
        Subscription b = std::move(a);
        EXPECT_EQ(flight->subscribers(), 1U);
        Subscription c = join(make());
        c = std::move(b);
        EXPECT_EQ(flight->subscribers(), 1U);
    }
    EXPECT_EQ(flight->subscribers(), 0U);
}

}  // namespace
}  // namespace weir::cache
