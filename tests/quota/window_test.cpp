#include "weir/quota/window.hpp"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "quota/seed.hpp"

namespace weir::quota {
namespace {

using std::chrono::microseconds;
using weir::testing::Dice;
using weir::testing::test_seed;

constexpr LedgerTime kStart = ledger_time_us(1'000'000);

TEST(Window, APlaceIsFreeExactlyOneSpanAfterItWasTaken) {
    Window window(microseconds(100));
    window.add(kStart, 1);
    window.expire(kStart + microseconds(99));
    EXPECT_FALSE(window.admits(1));
    EXPECT_EQ(window.state(1, kStart + microseconds(99)).next_free, microseconds(1));
    window.expire(kStart + microseconds(100));
    EXPECT_TRUE(window.admits(1));
    EXPECT_EQ(window.state(1, kStart + microseconds(100)).used, 0U);
}

TEST(Window, StateOfALoweredLimitSaysWhenOneIsFreeAgain) {
    Window window(microseconds(100));
    for (std::uint64_t i = 0; i < 5; ++i) window.add(kStart + microseconds(10 * i), i + 1);
    const LedgerTime now = kStart + microseconds(50);
    // With 2 allowed, four of the five have to go first.
    EXPECT_EQ(window.state(2, now).next_free, microseconds(80));
    EXPECT_EQ(window.state(2, now).remaining(), 0U);
    EXPECT_EQ(window.state(9, now).next_free, microseconds(50));
    EXPECT_EQ(window.state(9, now).full_reset, microseconds(90));
    EXPECT_EQ(window.state(0, now).next_free, microseconds(0));
}

struct Taken {
    LedgerTime at;
    Sequence sequence;
};

// Counts by looking at everything, each time.
std::vector<Taken> live(const std::vector<Taken>& all, LedgerTime now, microseconds span) {
    std::vector<Taken> in;
    std::ranges::copy_if(all, std::back_inserter(in), [&](const Taken& one) {
        return one.at > now - span && one.at <= now;
    });
    return in;
}

TEST(WindowProperty, AgreesWithCountingEverythingOverRandomHistories) {
    Dice dice(test_seed());
    std::uint64_t refused = 0;
    for (int history = 0; history < 3000; ++history) {
        const microseconds span(1 + dice.below(60));
        Window window(span);
        std::vector<Taken> model;
        LedgerTime now = kStart;
        std::uint64_t limit = dice.below(8);
        Sequence sequence = 0;
        for (int step = 0; step < 120; ++step) {
            if (dice.one_in(3)) now += microseconds(dice.below(dice.one_in(10) ? 200 : 12));
            if (dice.one_in(40)) limit = dice.below(8);
            if (dice.one_in(6) && !model.empty()) {
                const std::size_t which = dice.below(model.size());
                const Taken gone = model[which];
                window.expire(now);
                EXPECT_EQ(window.remove(gone.sequence), gone.at + span > now);
                EXPECT_FALSE(window.remove(gone.sequence));
                model.erase(model.begin() + std::ptrdiff_t(which));
            }
            // Sometimes before it was told what time it is.
            const bool state_first = dice.one_in(2);
            if (!state_first) window.expire(now);
            const std::vector<Taken> in = live(model, now, span);
            const WindowState state = window.state(limit, now);
            ASSERT_EQ(state.used, in.size());
            ASSERT_EQ(state.limit, limit);
            if (in.empty()) {
                ASSERT_EQ(state.full_reset, microseconds(0));
                ASSERT_EQ(state.next_free, microseconds(0));
            } else {
                ASSERT_EQ(state.full_reset, in.back().at + span - now);
                if (limit > 0) {
                    const std::size_t over = in.size() > limit ? in.size() - limit : 0;
                    ASSERT_EQ(state.next_free, in[over].at + span - now);
                    ASSERT_LT(
                        live(model, now + state.next_free, span).size(),
                        std::min<std::size_t>(limit, in.size())
                    );
                }
            }
            window.expire(now);
            ASSERT_EQ(window.size(), in.size());
            ASSERT_EQ(window.admits(limit), in.size() < limit);
            if (!window.admits(limit)) {
                ++refused;
                continue;
            }
            window.add(now, ++sequence);
            model.push_back({now, sequence});
        }
    }
    EXPECT_GT(refused, 10'000U) << "the histories never reach the limit";
}

}  // namespace
}  // namespace weir::quota
