// What the config says of the cache.
#include <gtest/gtest.h>

#include "config/helpers.hpp"

namespace weir::config::testing {
namespace {

using namespace std::chrono_literals;

TEST(CacheSection, RulesHoldForModelsAndPlansAndTheFirstThatSaysAThing) {
    const auto config = good_with_upstream(R"(
plans: {free: {}, plus: {}}
cache:
  when: always
  ttl: 24h
  ignore: [user, metadata]
  replay: paced
  finish_abandoned: 30s
  rules:
    - {plans: free, when: never}
    - {models: "gpt-4*", when: deterministic}
    - {models: ["gpt-4o", "o*"], when: always, ttl: 1h}
    - {ttl: 2h, plans: [plus]}
)");
    ASSERT_TRUE(config);
    const Cache& cache = config->cache;
    EXPECT_EQ(cache.when_of("gpt-4", "gpt-4", "free"), CacheWhen::kNever);
    EXPECT_EQ(cache.when_of("gpt-4", "gpt-4", "plus"), CacheWhen::kDeterministic);
    EXPECT_EQ(cache.when_of("fast", "GPT-4o", "plus"), CacheWhen::kDeterministic);
    EXPECT_EQ(cache.when_of("o3", "o3", "plus"), CacheWhen::kAlways);
    EXPECT_EQ(cache.when_of("llama", "llama", "plus"), CacheWhen::kAlways);
    EXPECT_EQ(cache.ttl_of("gpt-4", "gpt-4", "plus"), 2h);
    EXPECT_EQ(cache.ttl_of("gpt-4o", "gpt-4o", "plus"), 1h);
    EXPECT_EQ(cache.ttl_of("gpt-4", "gpt-4", "free"), 24h);
    EXPECT_EQ(cache.ignore, (std::vector<std::string>{"user", "metadata"}));
    EXPECT_EQ(cache.replay, Replay::kPaced);
    EXPECT_EQ(cache.finish_abandoned, 30s);
    EXPECT_EQ(
        good_with_upstream("cache: {when: deterministic, ignore: user}")->cache.when,
        CacheWhen::kDeterministic
    );
}

}  // namespace
}  // namespace weir::config::testing
