// What the config says of retries and of silent streams.
#include <gtest/gtest.h>

#include "config/helpers.hpp"

namespace weir::config::testing {
namespace {

using namespace std::chrono_literals;

TEST(RetrySection, SaysHowOftenWhenAndHowLong) {
    const auto config = good_with_upstream(R"(
retry: {attempts: 5, statuses: [429, 503, 503], backoff: 20ms, longest_wait: 1s, budget: 35%,
        break_after: 2, rest: 3s}
stream: {keep_alive: 15s}
)");
    const Retry& retry = config->retry;
    EXPECT_EQ(retry.attempts, 5U);
    EXPECT_EQ(retry.statuses, (std::vector<int>{429, 503}));
    EXPECT_EQ(retry.backoff, 20ms);
    EXPECT_EQ(retry.longest_wait, 1s);
    EXPECT_EQ(retry.budget_percent, 35U);
    EXPECT_EQ(retry.break_after, 2U);
    EXPECT_EQ(retry.rest, 3s);
    EXPECT_EQ(config->stream_keep_alive, 15s);
}

TEST(RetrySection, NoneOfItIsNeeded) {
    EXPECT_EQ(good_with_upstream("retry: {attempts: 1}")->retry.budget_percent, 20U);
    EXPECT_TRUE(good_with_upstream("retry: {statuses: []}")->retry.statuses.empty());
    EXPECT_EQ(good_with_upstream("")->stream_keep_alive, 0ms);
}

}  // namespace
}  // namespace weir::config::testing
