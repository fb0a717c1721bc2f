#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "cache/response_cache_fixture.hpp"
#include "memory_tier.hpp"

namespace weir::cache {
namespace {

using ResponseCacheClear = ResponseCacheTest;

TEST_F(ResponseCacheClear, ClearRemovesAllAlsoWhatIsStillQueued) {
    open();
    for (int i = 0; i < 900; ++i) store(std::to_string(i), "x");
    ASSERT_TRUE(on_disk(900));
    store("queued", "x");
    const auto removed = cache_->clear();
    ASSERT_TRUE(removed);
    EXPECT_GE(*removed, 900U);
    EXPECT_EQ(body_of("queued"), "(miss)");
    EXPECT_EQ(body_of("0"), "(miss)");
    store("new", "y");
    ASSERT_TRUE(on_disk(1));
    EXPECT_EQ(cache_->stats().memory_entries, 1U);
    close();
    open();
    EXPECT_EQ(body_of("queued"), "(miss)");
    EXPECT_EQ(body_of("new"), "y");
    EXPECT_TRUE(on_disk(1));
}

TEST_F(ResponseCacheClear, ClearOfOneModelLeavesTheOthers) {
    open();
    for (int i = 0; i < 600; ++i) {
        auto made = std::make_shared<Entry>(*entry({"x"}));
        made->model = i % 2 == 0 ? "gpt-4" : "gpt-3.5-turbo";
        cache_->store(*key_of(std::to_string(i)), made);
    }
    ASSERT_TRUE(on_disk(600));
    EXPECT_EQ(cache_->clear({.model = "gpt-4"}).value_or(0), 300U);
    EXPECT_EQ(cache_->clear({.model = "gpt-4"}).value_or(7), 0U);
    EXPECT_EQ(cache_->stats().memory_entries, 300U);
    EXPECT_EQ(body_of("0"), "(miss)");
    EXPECT_EQ(body_of("1"), "x");
    EXPECT_TRUE(on_disk(300));
}

TEST_F(ResponseCacheClear, ClearTakesWhatAllThatIsGivenAppliesTo) {
    const auto named = [&](const std::string& model, const std::string& owner) {
        auto made = std::make_shared<Entry>(*entry({"x"}));
        made->model = model;
        made->owner = owner;
        return made;
    };
    // In memory and on disk, only on disk, only queued.
    for (const char* const where : {"both", "disk", "queue"}) {
        SCOPED_TRACE(where);
        const bool queued = std::string_view(where) == "queue";
        options_.memory_bytes = std::string_view(where) == "both" ? 1 << 20 : 0;
        open();
        ASSERT_TRUE(cache_->clear());
        cache_->store(*key_of("a"), named("gpt-4", "alice"));
        cache_->store(*key_of("b"), named("gpt-4", "bob"));
        cache_->store(*key_of("c"), named("gpt-3.5", "bob"));
        cache_->store(*key_of("d"), named("gpt-3.5", "carol"));
        if (!queued) ASSERT_TRUE(on_disk(4));
        ASSERT_TRUE(cache_->clear({.model = "gpt-4", .owner = "bob"}));
        EXPECT_EQ(body_of("b"), "(miss)");
        EXPECT_EQ(body_of("a"), "x");
        ASSERT_TRUE(cache_->clear({.owner = "bob", .hash = key_of("d")->hash}));
        EXPECT_EQ(body_of("d"), "x");
        ASSERT_TRUE(cache_->clear({.owner = "bob"}));
        EXPECT_EQ(body_of("c"), "(miss)");
        EXPECT_EQ(body_of("d"), "x");
        ASSERT_TRUE(cache_->clear({.hash = key_of("d")->hash}));
        EXPECT_EQ(body_of("d"), "(miss)");
        EXPECT_EQ(body_of("a"), "x");
        EXPECT_TRUE(on_disk(1));
        close();
        open();
        EXPECT_TRUE(on_disk(1));
    }
}

TEST_F(ResponseCacheClear, WhatWasReadBeforeItDoesNotComeBackBehindIt) {
    const auto key = key_of("a");
    auto read = std::make_shared<Entry>(*entry({"x"}));
    read->key_text = key->text;
    read->owner = "bob";
    MemoryTier memory(1 << 20);
    const std::uint64_t before = memory.generation();
    memory.clear({.owner = "bob"});
    memory.insert_read(key->hash, read, now_s_, before);
    EXPECT_FALSE(memory.find(*key, now_s_).entry);
    memory.insert_read(key->hash, read, now_s_, memory.generation());
    EXPECT_TRUE(memory.find(*key, now_s_).entry);
    memory.clear({.owner = "alice"});
    EXPECT_TRUE(memory.find(*key, now_s_).entry);
    memory.clear({.owner = "bob"});
    EXPECT_FALSE(memory.find(*key, now_s_).entry);
}

Awaitable<void> ask_all(ResponseCache& cache, const std::atomic<bool>& going, int& hits) {
    while (going) {
        for (int i = 0; i < 40; ++i) {
            const auto key = key_of(std::to_string(i));
            const EntryPtr found = co_await cache.find(key);
            if (!found) continue;
            ++hits;
            EXPECT_EQ(found->owner, i % 2 == 0 ? "alice" : "bob");
        }
    }
}

TEST_F(ResponseCacheClear, ClearOfAKeyDuringTrafficLeavesTheOthersAndNothingComesBack) {
    options_.memory_bytes = 64 << 10;
    open();
    const auto store_all = [this](int from) {
        for (int i = from; i < 40; i += 2) {
            auto made = std::make_shared<Entry>(*entry({std::string(1000, 'x')}));
            made->owner = i % 2 == 0 ? "alice" : "bob";
            cache_->store(*key_of(std::to_string(i)), made);
        }
    };
    store_all(0);
    store_all(1);
    ASSERT_TRUE(on_disk(40));
    std::atomic<bool> going = true;
    std::array<asio::io_context, 3> contexts;
    std::array<int, 3> hits{};
    std::vector<std::thread> threads;
    threads.reserve(contexts.size());
    for (std::size_t worker = 0; worker < contexts.size(); ++worker) {
        threads.emplace_back([&, worker] {
            asio::co_spawn(
                contexts[worker].get_executor(),
                ask_all(*cache_, going, hits[worker]),
                testing::rethrow
            );
            contexts[worker].run();
        });
    }
    for (int round = 0; round < 20; ++round) {
        EXPECT_TRUE(cache_->clear({.owner = "bob"}));
        for (int i = 1; i < 40; i += 2) {
            EXPECT_FALSE(cache_->find_in_memory(*key_of(std::to_string(i)))) << i;
            EXPECT_EQ(body_of(std::to_string(i)), "(miss)");
        }
        store_all(1);
    }
    going = false;
    for (std::thread& thread : threads) thread.join();
    for (const int each : hits) EXPECT_GT(each, 0);
    ASSERT_TRUE(cache_->clear({.owner = "bob"}));
    EXPECT_TRUE(on_disk(20));
    for (int i = 0; i < 40; i += 2) EXPECT_NE(body_of(std::to_string(i)), "(miss)") << i;
    close();  // before the workers' contexts go
}

}  // namespace
}  // namespace weir::cache
