// The ledger against a model that keeps every message in a list and counts all of them each time
// (model.hpp): caps of every kind, several at once on a key, its team and everybody; admissions,
// refusals, refunds, charges, grants, resets, time, the wall clock, changed caps and teams, failed
// commits that came through or did not, crashes and restarts. The writer's part is played by the
// test, in one thread, so that every history is the same for the same seed.
#include <iostream>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "quota/world.hpp"
#include "sqlite/scratch.hpp"

namespace weir::quota {
namespace {

using weir::testing::Dice;
using weir::testing::ScratchDir;
using weir::testing::test_seed;
using weir::testing::Told;
using weir::testing::World;

constexpr std::uint64_t kHistories = 10'000;
constexpr int kSteps = 80;

TEST(LedgerProperty, AgreesWithTheModelOverThousandsOfHistories) {
    const ScratchDir dir;
    const std::string path = dir / "ledger.db";
    auto connection = sqlite::Connection::open(path, {.sync = sqlite::Sync::kNormal});
    ASSERT_TRUE(connection);
    ASSERT_TRUE(sqlite::migrate(*connection, {kSchema, kSchemaOfCaps}, "ledger.db"));
    auto second = sqlite::Connection::open(path, {.sync = sqlite::Sync::kNormal});
    ASSERT_TRUE(second);
    sqlite::Writer writer(
        {.path = path, .open = {}, .on_corrupt = {}, .name = "jobs"}, std::move(*second)
    );
    writer.start();
    const std::uint64_t seed = test_seed();
    // Around days when Berlin changes its clocks, and around ends of months and of a year.
    constexpr std::int64_t kStarts[] = {
        1'805'932'800, 1'824'681'600, 1'798'761'600, 1'835'308'800, 1'800'000'000
    };
    Told told;
    for (std::uint64_t history = 0; history < kHistories; ++history) {
        SCOPED_TRACE("history " + std::to_string(history));
        World world(seed + history, *connection, writer, told);
        Dice& dice = world.dice;
        const std::int64_t start = kStarts[dice.below(std::size(kStarts))];
        world.clock = std::make_unique<TestClock>(
            ledger_time_us((start + std::int64_t(dice.below(400'000))) * 1'000'000)
        );
        world.few = !dice.one_in(3);
        world.wipe();
        world.change_caps(true);
        world.start();
        for (int step = 0; step < kSteps; ++step) {
            SCOPED_TRACE("step " + std::to_string(step));
            world.step();
            if (HasFailure()) return;
        }
        world.finish();
        if (HasFailure()) return;
    }
    writer.stop();
    std::cout << told.admitted << " admitted, " << told.granted
              << " of them by a grant; refused: " << told.spent << " spent, " << told.busy
              << " busy, " << told.never << " never; " << told.retried
              << " retried at the moment told; " << told.failures << " failed commits, "
              << told.restarts << " crashes, " << told.resets << " resets\n";
    EXPECT_GT(told.admitted, 5 * kHistories);
    EXPECT_GT(told.spent, 2 * kHistories);
    for (const std::uint64_t many :
         {told.busy,
          told.granted,
          told.never,
          told.retried,
          told.failures,
          told.restarts,
          told.resets}) {
        EXPECT_GT(many, kHistories / 20);
    }
}

}  // namespace
}  // namespace weir::quota
