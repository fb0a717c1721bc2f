#include "weir/cache/savings.hpp"

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace weir::cache {
namespace {

struct SavingsTest : ::testing::Test {
    void add(
        std::string_view key, std::string_view model, Outcome outcome, std::uint64_t each = 0
    ) {
        savings.add(
            {.key = key,
             .model = model,
             .outcome = outcome,
             .bytes = each,
             .saved_tokens = 10 * each,
             .saved_money = 100 * each}
        );
    }
    // Whether /metrics has that line.
    [[nodiscard]] bool exposes(const std::string& line) const {
        return ("\n" + registry.expose()).find("\n" + line + "\n") != std::string::npos;
    }

    metrics::Registry registry;
    Savings savings{registry};
};

TEST_F(SavingsTest, CountsByOutcome) {
    add("alice", "m", Outcome::kHit, 1);
    add("alice", "m", Outcome::kHit, 2);
    add("alice", "m", Outcome::kJoined, 4);
    add("alice", "m", Outcome::kMiss, 8);
    add("alice", "m", Outcome::kMiss, 8);
    add("alice", "m", Outcome::kMiss, 8);
    add("alice", "m", Outcome::kBypass, 16);
    const Saved saved = savings.key("alice");
    EXPECT_EQ(saved.name, "alice");
    EXPECT_EQ(saved.hits, 2U);
    EXPECT_EQ(saved.joined, 1U);
    EXPECT_EQ(saved.misses, 3U);
    EXPECT_EQ(saved.bypasses, 1U);
    // What an upstream gave saved nothing.
    EXPECT_EQ(saved.bytes, 7U);
    EXPECT_EQ(saved.tokens, 70U);
    EXPECT_EQ(saved.money, 700U);
}

TEST_F(SavingsTest, CountsByKeyAndByModelAndAll) {
    add("bob", "n", Outcome::kHit, 1);
    add("alice", "m", Outcome::kMiss);
    add("alice", "n", Outcome::kJoined, 2);
    const std::vector<Saved> keys = savings.keys();
    ASSERT_EQ(keys.size(), 2U);
    EXPECT_EQ(keys[0].name, "alice");  // by name
    EXPECT_EQ(keys[0].misses, 1U);
    EXPECT_EQ(keys[0].joined, 1U);
    EXPECT_EQ(keys[0].bytes, 2U);
    EXPECT_EQ(keys[1].name, "bob");
    EXPECT_EQ(keys[1].hits, 1U);
    const std::vector<Saved> models = savings.models();
    ASSERT_EQ(models.size(), 2U);
    EXPECT_EQ(models[0].name, "m");
    EXPECT_EQ(models[0].misses, 1U);
    EXPECT_EQ(models[1].name, "n");
    EXPECT_EQ(models[1].hits, 1U);
    EXPECT_EQ(models[1].joined, 1U);
    EXPECT_EQ(models[1].tokens, 30U);
    const Saved all = savings.all();
    EXPECT_EQ(all.hits + all.joined + all.misses + all.bypasses, 3U);
    EXPECT_EQ(all.bytes, 3U);
    EXPECT_EQ(all.money, 300U);
}

TEST_F(SavingsTest, WhoNeverAskedSavedNothing) {
    EXPECT_EQ(savings.key("nobody").hits, 0U);
    EXPECT_TRUE(savings.keys().empty());
    EXPECT_EQ(savings.all().misses, 0U);
    EXPECT_EQ(savings.all().hit_rate(), 0.0);
}

TEST(Saved, HitRateIsOfThoseThatWereLookedUp) {
    const auto rate = [](std::uint64_t hits, std::uint64_t joined, std::uint64_t misses) {
        Saved saved;
        saved.hits = hits;
        saved.joined = joined;
        saved.misses = misses;
        saved.bypasses = 9;
        return saved.hit_rate();
    };
    EXPECT_EQ(rate(1, 1, 2), 0.5);
    EXPECT_EQ(rate(0, 3, 1), 0.75);
    EXPECT_EQ(rate(3, 0, 0), 1.0);
    EXPECT_EQ(rate(0, 0, 3), 0.0);
    EXPECT_EQ(rate(0, 0, 0), 0.0);
}

TEST_F(SavingsTest, MetricsTellTheSame) {
    add("alice", "m\"1", Outcome::kHit, 5'000'000);
    add("alice", "m\"1", Outcome::kJoined, 5'000'000);
    add("alice", "m\"1", Outcome::kMiss);
    add("alice", "n", Outcome::kBypass);
    EXPECT_TRUE(exposes(R"(weir_cache_key_requests_total{key="alice",result="hit"} 1)"));
    EXPECT_TRUE(exposes(R"(weir_cache_key_requests_total{key="alice",result="joined"} 1)"));
    EXPECT_TRUE(exposes(R"(weir_cache_key_requests_total{key="alice",result="miss"} 1)"));
    EXPECT_TRUE(exposes(R"(weir_cache_key_requests_total{key="alice",result="bypass"} 1)"));
    EXPECT_TRUE(exposes(R"(weir_cache_key_bytes_total{key="alice"} 10000000)"));
    EXPECT_TRUE(exposes(R"(weir_cache_key_saved_tokens_total{key="alice"} 100000000)"));
    EXPECT_TRUE(exposes(R"(weir_cache_key_saved_usd{key="alice"} 1)"));
    EXPECT_TRUE(exposes(R"(weir_cache_model_requests_total{model="m\"1",result="hit"} 1)"));
    EXPECT_TRUE(exposes(R"(weir_cache_model_requests_total{model="n",result="hit"} 0)"));
    EXPECT_TRUE(exposes(R"(weir_cache_model_requests_total{model="n",result="bypass"} 1)"));
    EXPECT_TRUE(exposes(R"(weir_cache_model_saved_usd{model="m\"1"} 1)"));
    EXPECT_TRUE(exposes(R"(weir_cache_model_saved_usd{model="n"} 0)"));
}

TEST_F(SavingsTest, NamesPastTheMostAreCountedTogether) {
    const std::size_t most = Savings::kMostNames;
    for (std::size_t i = 0; i < most + 50; ++i) {
        add("alice", "model-" + std::to_string(i), Outcome::kHit, 1);
    }
    // Those that came first keep their rows; so does the key, of which there is one.
    add("alice", "model-0", Outcome::kMiss);
    add("alice", "model-" + std::to_string(most), Outcome::kMiss);
    const std::vector<Saved> models = savings.models();
    ASSERT_EQ(models.size(), most + 1);
    std::uint64_t others = 0;
    for (const Saved& model : models) {
        if (model.name == "(others)") {
            ++others;
            EXPECT_EQ(model.hits, 50U);
            EXPECT_EQ(model.misses, 1U);
            EXPECT_EQ(model.tokens, 500U);
        } else {
            EXPECT_EQ(model.hits, 1U) << model.name;
            EXPECT_EQ(model.misses, model.name == "model-0" ? 1U : 0U) << model.name;
        }
    }
    EXPECT_EQ(others, 1U);
    EXPECT_EQ(savings.keys().size(), 1U);
    EXPECT_EQ(savings.all().hits, most + 50);
    EXPECT_EQ(savings.key("alice").hits, most + 50);
    // /metrics has its own bound for rows, and loses nothing by it.
    EXPECT_TRUE(exposes(
        R"(weir_cache_key_requests_total{key="alice",result="hit"} )" + std::to_string(most + 50)
    ));
}

TEST_F(SavingsTest, ThreadsLoseNothing) {
    constexpr std::uint64_t kThreads = 4;
    constexpr std::uint64_t kEach = 10'000;
    std::atomic<bool> done = false;
    // Reads go on meanwhile, of numbers and of the text.
    std::thread reader([&] {
        while (!done) {
            const Saved all = savings.all();
            EXPECT_LE(all.hits, kThreads * kEach);
            EXPECT_FALSE(savings.keys().size() > kThreads);
            static_cast<void>(registry.expose());
        }
    });
    std::vector<std::thread> threads;
    threads.reserve(kThreads);
    for (std::uint64_t thread = 0; thread < kThreads; ++thread) {
        threads.emplace_back([this, thread] {
            const std::string own = "key-" + std::to_string(thread);
            for (std::uint64_t i = 0; i < kEach; ++i) {
                const std::string model = "model-" + std::to_string(i % 10);
                add(own, model, static_cast<Outcome>(i % 4), i);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    done = true;
    reader.join();
    std::uint64_t saved = 0;  // by the hits and the joined ones of one thread
    for (std::uint64_t i = 0; i < kEach; ++i) saved += i % 4 < 2 ? i : 0;
    const auto expect = [](const Saved& one, std::uint64_t each, std::uint64_t bytes) {
        EXPECT_EQ(one.hits, each) << one.name;
        EXPECT_EQ(one.joined, each) << one.name;
        EXPECT_EQ(one.misses, each) << one.name;
        EXPECT_EQ(one.bypasses, each) << one.name;
        EXPECT_EQ(one.bytes, bytes) << one.name;
        EXPECT_EQ(one.tokens, 10 * bytes) << one.name;
        EXPECT_EQ(one.money, 100 * bytes) << one.name;
    };
    const std::vector<Saved> keys = savings.keys();
    ASSERT_EQ(keys.size(), kThreads);
    for (const Saved& key : keys) expect(key, kEach / 4, saved);
    EXPECT_EQ(savings.models().size(), 10U);
    expect(savings.all(), kThreads * kEach / 4, kThreads * saved);
    for (const Saved& key : keys) {
        EXPECT_TRUE(exposes(
            R"(weir_cache_key_requests_total{key=")" + key.name + R"(",result="joined"} )" +
            std::to_string(key.joined)
        ));
        EXPECT_TRUE(exposes(
            R"(weir_cache_key_bytes_total{key=")" + key.name + "\"} " + std::to_string(saved)
        ));
    }
}

}  // namespace
}  // namespace weir::cache
