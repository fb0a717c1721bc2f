#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "cache/response_cache_fixture.hpp"

namespace weir::cache {
namespace {

namespace fs = std::filesystem;

using ResponseCacheSize = ResponseCacheTest;

TEST_F(ResponseCacheSize, ABodyTakesLessOnDiskThanItIs) {
    options_.memory_bytes = 0;
    open();
    std::string stream;
    while (stream.size() < 100'000) stream += "data: {\"choices\":[{\"delta\":{}}]}\n\n";
    store("long", stream);
    store("noise", noise(10'000, 1));
    ASSERT_TRUE(on_disk(2));
    EXPECT_GT(cache_->stats().bytes, 10'000U);
    EXPECT_LT(cache_->stats().bytes, 12'000U);
    EXPECT_EQ(body_of("long"), stream);
    EXPECT_EQ(body_of("noise"), noise(10'000, 1));
    // What packs well also counts for less where room is made: each is larger than the whole file.
    options_.max_size_bytes = 1 << 20;
    open();
    store("large", std::string(4 << 20, 'x'));
    ASSERT_TRUE(on_disk(3));
    EXPECT_EQ(cache_->stats().evicted, 0U);
    EXPECT_EQ(body_of("large"), std::string(4 << 20, 'x'));
}

TEST_F(ResponseCacheSize, FileStaysBelowItsLimitUnderTenThousandInserts) {
    options_.max_size_bytes = 4 << 20;
    options_.memory_bytes = 0;
    open();
    std::mt19937_64 random(testing::seed());
    std::uint64_t accepted = 0;
    const std::uint64_t limit = options_.max_size_bytes + options_.max_size_bytes / 20;
    for (unsigned i = 0; i < 10'000; ++i) {
        const std::size_t size = random() % 100 == 0 ? 50'000 : 100 + random() % 3000;
        store(std::to_string(i), noise(size, i));
        if (i % 200 == 199) {
            accepted = i + 1;
            ASSERT_TRUE(comes_true([&] {
                const CacheStats stats = cache_->stats();
                return stats.stored + stats.write_failures >= accepted;
            }));
            ASSERT_LE(fs::file_size(options_.path), limit);
        }
    }
    const CacheStats stats = cache_->stats();
    EXPECT_EQ(stats.write_failures, 0U);
    EXPECT_EQ(stats.stored, 10'000U);
    EXPECT_EQ(stats.entries + stats.evicted, 10'000U);
    EXPECT_GT(stats.bytes, options_.max_size_bytes / 2);
    EXPECT_LE(stats.bytes, options_.max_size_bytes);
    EXPECT_NE(body_of("9999"), "(miss)");
    EXPECT_EQ(body_of("0"), "(miss)");
    close();
    EXPECT_LE(fs::file_size(options_.path), limit);
}

TEST_F(ResponseCacheSize, WhatWasUsedStaysWhenRoomIsMade) {
    options_.max_size_bytes = 2 << 20;
    options_.memory_bytes = 0;
    open();
    store("kept", "answer", 1'000'000);
    std::uint64_t stored = 1;
    for (unsigned round = 0; round < 10; ++round) {
        now_s_ += 100;
        ASSERT_TRUE(comes_true([&] { return cache_->stats().stored == stored; }));
        EXPECT_EQ(body_of("kept"), "answer");
        now_s_ += 100;
        for (unsigned i = 0; i < 100; ++i, ++stored) {
            store(std::to_string(round * 100 + i), noise(3000, i));
        }
    }
    ASSERT_TRUE(comes_true([&] { return cache_->stats().stored == stored; }));
    EXPECT_GT(cache_->stats().evicted, 0U);
    EXPECT_EQ(body_of("kept"), "answer");
    EXPECT_EQ(body_of("0"), "(miss)");
}

TEST_F(ResponseCacheSize, SmallerLimitShrinksTheFile) {
    options_.memory_bytes = 0;
    open();
    for (unsigned i = 0; i < 1000; ++i) store(std::to_string(i), noise(8000, i));
    ASSERT_TRUE(on_disk(1000));
    cache_->set_limits(1 << 20, 8 << 20, 0);
    ASSERT_TRUE(comes_true([&] { return cache_->stats().bytes <= 1 << 20; }));
    EXPECT_TRUE(comes_true([&] { return fs::file_size(options_.path) <= (1U << 20) / 20 * 21; }));
    EXPECT_NE(body_of("999"), "(miss)");
}

TEST_F(ResponseCacheSize, ClearingShrinksTheFile) {
    options_.memory_bytes = 0;
    open();
    for (unsigned i = 0; i < 150; ++i) store(std::to_string(i), noise(8000, i));
    ASSERT_TRUE(on_disk(150));
    close();
    open();
    // Little enough that the WAL alone would be reason for no checkpoint.
    ASSERT_GT(fs::file_size(options_.path), 1U << 20);
    ASSERT_TRUE(cache_->clear());
    EXPECT_TRUE(comes_true([&] { return fs::file_size(options_.path) <= 400U << 10; }))
        << fs::file_size(options_.path);
    store("new", "answer");
    ASSERT_TRUE(on_disk(1));
    EXPECT_EQ(body_of("new"), "answer");
}

TEST_F(ResponseCacheSize, WhatWasUsedLongestAgoLeavesFirst) {
    options_.memory_bytes = 0;
    open();
    for (unsigned i = 0; i < 100; ++i, ++now_s_) {
        store(std::to_string(i), noise(8000, i), 1'000'000);
        ASSERT_TRUE(on_disk(i + 1));
    }
    now_s_ += 100;
    // Half of the older ones are used again.
    for (unsigned i = 0; i < 50; i += 2) EXPECT_NE(body_of(std::to_string(i)), "(miss)") << i;
    cache_->set_limits(600 * 1024, 8 << 20, 0);
    ASSERT_TRUE(comes_true([&] { return cache_->stats().entries < 100; }));
    const std::uint64_t left = cache_->stats().entries;
    ASSERT_GT(left, 25U);
    ASSERT_LT(left, 75U);
    std::uint64_t found = 0;
    unsigned oldest = 100;
    for (unsigned i = 0; i < 100; ++i) {
        if (body_of(std::to_string(i)) == "(miss)") continue;
        ++found;
        // The used ones all stay; of the others the newest, without a gap.
        if (i >= 50 || i % 2 != 0) oldest = std::min(oldest, i);
    }
    EXPECT_EQ(found, left);
    EXPECT_GE(oldest, 50U);
    EXPECT_EQ(left, 25U + 100U - oldest);
}

TEST_F(ResponseCacheSize, EntryLargerThanTheWholeFileIsDropped) {
    options_.max_size_bytes = 1 << 20;
    options_.memory_bytes = 0;
    open();
    store("small", "x");
    ASSERT_TRUE(on_disk(1));
    store("huge", noise(2 << 20, 1));
    EXPECT_TRUE(comes_true([&] { return cache_->stats().write_failures == 1; }));
    EXPECT_EQ(body_of("huge"), "(miss)");
    store("small", "y");
    EXPECT_TRUE(comes_true([&] { return cache_->stats().stored == 2; }));
}

TEST_F(ResponseCacheSize, MemoryTierStaysBelowItsLimitAndKeepsWhatIsUsed) {
    options_.memory_bytes = 1 << 20;
    open();
    store("kept", "answer");
    for (int i = 0; i < 2000; ++i) {
        store(std::to_string(i), std::string(2000, 'x'));
        EXPECT_TRUE(cache_->find_in_memory(*key_of("kept")));
        if (i % 100 == 0) EXPECT_LE(cache_->stats().memory_bytes, options_.memory_bytes);
        if (i % 500 == 499) {
            ASSERT_TRUE(comes_true([&] { return cache_->stats().entries > 499U; }));
        }
    }
    const CacheStats stats = cache_->stats();
    EXPECT_LE(stats.memory_bytes, options_.memory_bytes);
    EXPECT_GT(stats.memory_bytes, options_.memory_bytes / 2);
    EXPECT_LT(stats.memory_entries, 600U);
    cache_->set_limits(1 << 30, 8 << 20, 10'000);
    EXPECT_LE(cache_->stats().memory_bytes, 10'000U);
}

}  // namespace
}  // namespace weir::cache
