#include "weir/cache/flight_board.hpp"

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "cache/flight_tools.hpp"

namespace weir::cache {
namespace {

std::shared_ptr<const CacheKey> key_of(const std::string& text) {
    return std::make_shared<const CacheKey>(CacheKey{sha256(text), text});
}

struct FlightBoardTest : ::testing::Test {
    FlightBoard::Joined join(const std::shared_ptr<const CacheKey>& key) {
        return board.join(key, options, bench.signal());
    }
    testing::Bench bench;
    FlightBoard board;
    Flight::Options options{1 << 20, 256 << 10, nullptr};
};

TEST_F(FlightBoardTest, EqualKeysShareOneFlight) {
    const FlightBoard::Joined first = join(key_of("a"));
    const FlightBoard::Joined second = join(key_of("a"));
    const FlightBoard::Joined other = join(key_of("b"));
    EXPECT_TRUE(first.started);
    EXPECT_FALSE(second.started);
    EXPECT_TRUE(other.started);
    EXPECT_EQ(first.subscription.flight(), second.subscription.flight());
    EXPECT_NE(first.subscription.flight(), other.subscription.flight());
    EXPECT_EQ(board.size(), 2U);
}

TEST_F(FlightBoardTest, EqualHashWithOtherTextIsAFlightOfItsOwn) {
    const auto mine = key_of("a");
    auto twin = std::make_shared<CacheKey>(*mine);
    twin->text = "b";
    const FlightBoard::Joined first = join(mine);
    const FlightBoard::Joined second = join(twin);
    EXPECT_TRUE(second.started);
    EXPECT_NE(first.subscription.flight(), second.subscription.flight());
    EXPECT_FALSE(second.subscription.flight()->shareable());
    EXPECT_FALSE(join(mine).started);
    EXPECT_EQ(board.size(), 1U);
}

TEST_F(FlightBoardTest, UnshareableFlightIsNotOnTheBoard) {
    options.backlog_limit_bytes = 0;
    EXPECT_TRUE(join(key_of("a")).started);
    const FlightBoard::Joined one = join(key_of("a"));
    const FlightBoard::Joined two = join(key_of("a"));
    EXPECT_TRUE(one.started && two.started);
    EXPECT_EQ(board.size(), 0U);
}

TEST_F(FlightBoardTest, FlightThatTakesNoNewcomersIsReplaced) {
    const auto key = key_of("a");
    std::optional<FlightBoard::Joined> first = join(key);
    const auto abandoned = first->subscription.flight();
    first.reset();
    const FlightBoard::Joined second = join(key);
    EXPECT_TRUE(second.started);
    EXPECT_NE(second.subscription.flight(), abandoned);
    EXPECT_EQ(board.size(), 1U);
    board.remove(*key, abandoned);  // not this one any more
    EXPECT_FALSE(join(key).started);
    board.remove(*key, second.subscription.flight());
    EXPECT_EQ(board.size(), 0U);
    EXPECT_TRUE(join(key).started);
}

TEST_F(FlightBoardTest, FlightsThatNobodyRemovedAreSweptOut) {
    const FlightBoard::Joined living = join(key_of("living"));
    for (int i = 0; i < 20'000; ++i) EXPECT_TRUE(join(key_of(std::to_string(i))).started);
    EXPECT_LT(board.size(), 16U * 65U);
    EXPECT_FALSE(join(key_of("living")).started);
}

TEST_F(FlightBoardTest, OneOfManyThreadsStarts) {
    for (int round = 0; round < 50; ++round) {
        const auto key = key_of("round " + std::to_string(round));
        std::atomic<int> started = 0;
        std::atomic<int> ready = 0;
        std::vector<std::optional<FlightBoard::Joined>> joined(4);
        std::vector<std::shared_ptr<Signal>> signals;
        for (std::size_t i = 0; i < joined.size(); ++i) signals.push_back(bench.signal());
        std::vector<std::thread> threads;
        for (std::size_t i = 0; i < joined.size(); ++i) {
            threads.emplace_back([&, i] {
                ready.fetch_add(1);
                while (ready != 4) std::this_thread::yield();
                joined[i].emplace(board.join(key, options, signals[i]));
                if (joined[i]->started) started.fetch_add(1);
            });
        }
        for (std::thread& thread : threads) thread.join();
        EXPECT_EQ(started, 1);
        EXPECT_EQ(joined[0]->subscription.flight()->subscribers(), 4U);
    }
}

}  // namespace
}  // namespace weir::cache
