#include <array>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "cache/response_cache_fixture.hpp"

namespace weir::cache {
namespace {

TEST_F(ResponseCacheTest, HitsInMemoryRightAfterStoreOnAnyThread) {
    open();
    EXPECT_EQ(body_of("a"), "(miss)");
    store("a", "answer");
    EXPECT_TRUE(cache_->find_in_memory(*key_of("a")));
    std::thread([this] { EXPECT_EQ(body_of("a"), "answer"); }).join();
    const CacheStats stats = cache_->stats();
    EXPECT_EQ(stats.hits_memory, 2U);
    EXPECT_EQ(stats.misses, 1U);
    EXPECT_EQ(stats.memory_entries, 1U);
}

TEST_F(ResponseCacheTest, HitsFromTheQueueAndThenFromDiskWithoutMemory) {
    options_.memory_bytes = 0;
    open();
    store("a", "answer");
    EXPECT_EQ(body_of("a"), "answer");
    ASSERT_TRUE(on_disk(1));
    EXPECT_EQ(body_of("a"), "answer");
    EXPECT_EQ(cache_->stats().hits_disk, 1U);
    EXPECT_EQ(cache_->stats().stored, 1U);
    EXPECT_EQ(cache_->stats().memory_entries, 0U);
}

TEST_F(ResponseCacheTest, MissesAskNoFileAndWhatItHoldsIsFound) {
    // More than one step of the reading.
    static constexpr std::uint64_t kRows = 3000;
    options_.memory_bytes = 0;
    open();
    for (std::uint64_t i = 0; i < kRows; ++i) {
        store("old" + std::to_string(i), "answer");
        if (i % 500 == 499) ASSERT_TRUE(on_disk(i + 1));
    }
    open();
    for (std::uint64_t i = 0; i < kRows; i += 7) {
        ASSERT_EQ(body_of("old" + std::to_string(i)), "answer") << "while the file is being read";
    }
    const auto asked_for = [&](const std::string& key) {
        const std::uint64_t before = cache_->stats().disk_reads;
        EXPECT_EQ(body_of(key), "(miss)");
        return cache_->stats().disk_reads - before;
    };
    ASSERT_TRUE(comes_true([&] { return asked_for("new") == 0; }));
    std::uint64_t asked = 0;
    for (int i = 0; i < 1000; ++i) asked += asked_for("new" + std::to_string(i));
    EXPECT_LT(asked, 10U);
    for (std::uint64_t i = 0; i < kRows; ++i) {
        ASSERT_EQ(body_of("old" + std::to_string(i)), "answer") << i;
    }
    store("late", "answer");
    ASSERT_TRUE(on_disk(kRows + 1));
    EXPECT_EQ(body_of("late"), "answer");
}

TEST_F(ResponseCacheTest, RestartKeepsEveryFieldOfAnEntry) {
    open();
    std::string odd("data: {\"x\":\"\0\xff\"}\n\n", 18);
    auto stored = std::make_shared<Entry>(*entry({odd, "", "data: [DONE]\n\n"}));
    stored->status = 201;
    stored->content_type = "text/event-stream";
    cache_->store(*key_of("a"), stored);
    close();
    open();
    const EntryPtr found = find(*cache_, key_of("a"));
    ASSERT_TRUE(found);
    EXPECT_EQ(found->parts, stored->parts);
    EXPECT_EQ(found->status, 201);
    EXPECT_TRUE(found->stream);
    EXPECT_EQ(found->content_type, "text/event-stream");
    EXPECT_EQ(found->model, "gpt-4");
    EXPECT_EQ(found->key_text, "a");
    EXPECT_EQ(found->stored_at_s, stored->stored_at_s);
    EXPECT_EQ(found->expires_at_s, stored->expires_at_s);
    EXPECT_TRUE(on_disk(1));
    // From disk into memory.
    EXPECT_TRUE(cache_->find_in_memory(*key_of("a")));
}

TEST_F(ResponseCacheTest, EqualHashWithOtherTextIsAMissInEachTier) {
    options_.memory_bytes = 0;
    open();
    auto twin = std::make_shared<CacheKey>(*key_of("a"));
    twin->text = "b";
    store("a", "answer");
    EXPECT_FALSE(find(*cache_, twin));  // queue
    ASSERT_TRUE(on_disk(1));
    EXPECT_FALSE(find(*cache_, twin));  // disk
    EXPECT_EQ(body_of("a"), "answer");
    options_.memory_bytes = 1 << 20;
    open();
    EXPECT_EQ(body_of("a"), "answer");
    EXPECT_FALSE(find(*cache_, twin));  // memory
}

TEST_F(ResponseCacheTest, NewerStoreReplacesTheOlder) {
    options_.memory_bytes = 0;
    open();
    store("a", "one");
    store("a", "two");
    EXPECT_EQ(body_of("a"), "two");
    close();
    open();
    EXPECT_EQ(body_of("a"), "two");
    EXPECT_TRUE(on_disk(1));
}

TEST_F(ResponseCacheTest, ExpiredIsAMissInEachTierAndLeavesTheDisk) {
    open();
    store("short", "a", 10);
    store("long", "b", 1000);
    store("over", "c", 0);
    EXPECT_EQ(body_of("over"), "(miss)");
    ASSERT_TRUE(on_disk(2));
    now_s_ += 9;
    EXPECT_EQ(body_of("short"), "a");
    now_s_ += 1;
    EXPECT_EQ(body_of("short"), "(miss)");
    EXPECT_EQ(cache_->stats().memory_entries, 1U);
    cache_->set_limits(1 << 30, 8 << 20, 0);  // also tidies
    EXPECT_TRUE(on_disk(1));
    EXPECT_EQ(body_of("long"), "b");
    EXPECT_EQ(cache_->stats().hits_disk, 1U);
}

TEST_F(ResponseCacheTest, ExpiredRowOnDiskIsAMiss) {
    options_.memory_bytes = 0;
    open();
    store("a", "x", 10);
    ASSERT_TRUE(on_disk(1));
    now_s_ += 10;
    EXPECT_EQ(body_of("a"), "(miss)");
}

TEST_F(ResponseCacheTest, EntryOverMaxEntryIsNotTaken) {
    options_.max_entry_bytes = 100;
    open();
    store("a", std::string(100, 'x'));
    store("b", std::string(101, 'x'));
    EXPECT_NE(body_of("a"), "(miss)");
    EXPECT_EQ(body_of("b"), "(miss)");
}

Awaitable<void> mixed_work(ResponseCache& cache, EntryPtr sample, std::uint64_t seed, int& hits) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < 400; ++i) {
        const auto key = key_of(std::to_string(random() % 50));
        if (random() % 3 == 0) {
            cache.store(*key, sample);
            EXPECT_TRUE(cache.find_in_memory(*key) || cache.stats().write_failures > 0);
        } else {
            const EntryPtr found = co_await cache.find(key);
            if (found) {
                ++hits;
                EXPECT_EQ(found->key_text, key->text);
                EXPECT_EQ(found->parts, sample->parts);
            }
        }
    }
}

TEST_F(ResponseCacheTest, ManyWorkersShareIt) {
    options_.memory_bytes = 16 << 10;
    open();
    const EntryPtr sample = entry({std::string(500, 'x'), "y"});
    std::array<asio::io_context, 4> contexts;
    std::vector<std::thread> threads;
    std::vector<int> hits(contexts.size());
    for (std::size_t worker = 0; worker < hits.size(); ++worker) {
        threads.emplace_back([&, worker] {
            asio::io_context& context = contexts[worker];
            for (std::uint64_t task = 0; task < 4; ++task) {
                asio::co_spawn(
                    context.get_executor(),
                    mixed_work(*cache_, sample, worker * 10 + task, hits[worker]),
                    testing::rethrow
                );
            }
            context.run();
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (const int each : hits) EXPECT_GT(each, 0);
    EXPECT_GT(cache_->stats().hits_disk + cache_->stats().hits_memory, 0U);
    close();  // before the workers' contexts go
}

// However many send it at the same time, what is too large for the memory tier is there once.
TEST_F(ResponseCacheTest, AnEntryThatIsStillSentIsNotReadTwice) {
    options_.memory_bytes = 0;
    open();
    store("a", "answer");
    ASSERT_TRUE(on_disk(1));
    EntryPtr first = find(*cache_, key_of("a"));
    ASSERT_TRUE(first);
    EXPECT_EQ(find(*cache_, key_of("a")), first);
    // Another answer of that key is another entry, and nobody's is read anew.
    store("a", "newer answer");
    EXPECT_TRUE(comes_true([&] { return body_of("a") == "newer answer"; }));
    ASSERT_TRUE(comes_true([&] { return cache_->stats().stored == 2; }));
    EXPECT_EQ(body_of("a"), "newer answer");
    EXPECT_EQ(first->parts.at(0), "answer");
    first.reset();
    ASSERT_TRUE(cache_->clear());
    EXPECT_EQ(body_of("a"), "(miss)");
}

}  // namespace
}  // namespace weir::cache
