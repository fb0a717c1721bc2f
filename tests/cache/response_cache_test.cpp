#include "weir/cache/response_cache.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "weir/sqlite/connection.hpp"

#include "cache/flight_tools.hpp"
#include "entry_codec.hpp"

namespace weir::cache {
namespace {

namespace fs = std::filesystem;

std::shared_ptr<const CacheKey> key_of(const std::string& text) {
    return std::make_shared<const CacheKey>(CacheKey{sha256(text), text});
}

Awaitable<void> find_into(
    ResponseCache& cache, std::shared_ptr<const CacheKey> key, EntryPtr& out
) {
    out = co_await cache.find(std::move(key));
}

// Does not shrink when it is packed. The same for the same number.
std::string noise(std::size_t size, std::uint64_t number) {
    std::mt19937_64 random(number);
    std::string bytes(size, 0);
    for (char& each : bytes) each = static_cast<char>(random());
    return bytes;
}

// Something that another thread is about to do.
bool comes_true(const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
}

class ResponseCacheTest : public ::testing::Test {
protected:
    ResponseCacheTest() {
        static std::atomic<int> number = 0;
        folder_ = fs::temp_directory_path() / ("weir_cache_test." + std::to_string(::getpid()) +
                                               "." + std::to_string(number++));
        fs::create_directories(folder_);
        options_.path = (folder_ / "cache.db").string();
        options_.now_s = [this] { return now_s_.load(); };
    }
    ~ResponseCacheTest() override {
        cache_.reset();
        fs::remove_all(folder_);
    }

    ResponseCache& open() {
        cache_.reset();
        Result<std::unique_ptr<ResponseCache>> opened = ResponseCache::open(options_);
        EXPECT_TRUE(opened) << (opened ? "" : opened.error().detail);
        cache_ = std::move(*opened);
        return *cache_;
    }
    void close() { cache_.reset(); }

    EntryPtr entry(std::vector<std::string> parts, std::int64_t ttl_s = 1000) const {
        Entry made;
        made.stream = parts.size() > 1;
        made.parts = std::move(parts);
        made.content_type = "application/json";
        made.status = 200;
        made.model = "gpt-4";
        made.stored_at_s = now_s_;
        made.expires_at_s = now_s_ + ttl_s;
        return std::make_shared<const Entry>(std::move(made));
    }
    void store(const std::string& key, const std::string& body, std::int64_t ttl_s = 1000) {
        cache_->store(*key_of(key), entry({body}, ttl_s));
    }
    // One thread at a time.
    EntryPtr find(ResponseCache& cache, const std::shared_ptr<const CacheKey>& key) {
        EntryPtr found;
        asio::co_spawn(context_.get_executor(), find_into(cache, key, found), testing::rethrow);
        context_.restart();
        context_.run();
        return found;
    }
    std::string body_of(const std::string& key) {
        const EntryPtr found = find(*cache_, key_of(key));
        return found ? found->parts.at(0) : "(miss)";
    }
    bool on_disk(std::uint64_t entries) {
        return comes_true([&] { return cache_->stats().entries == entries; });
    }
    std::vector<fs::path> set_aside() const {
        std::vector<fs::path> found;
        for (const auto& file : fs::directory_iterator(folder_)) {
            const std::string name = file.path().filename().string();
            if (name.find(".corrupt-") != std::string::npos && !name.ends_with("-wal")) {
                found.push_back(file.path());
            }
        }
        return found;
    }
    void write_file(const std::string& bytes) const {
        std::ofstream(options_.path, std::ios::binary | std::ios::trunc) << bytes;
    }
    void with_file(const std::function<void(sqlite::Connection&)>& work) const {
        Result<sqlite::Connection> connection =
            sqlite::Connection::open(options_.path, {.sync = sqlite::Sync::kNormal});
        ASSERT_TRUE(connection) << connection.error().detail;
        work(*connection);
    }
    // Every page but the first becomes rubbish.
    void damage() const {
        const auto size = fs::file_size(options_.path);
        ASSERT_GT(size, 8192U);
        std::fstream file(options_.path, std::ios::binary | std::ios::in | std::ios::out);
        file.seekp(4096);
        file << std::string(size - 4096, '\xfe');
    }

    fs::path folder_;
    CacheOptions options_;
    std::atomic<std::int64_t> now_s_ = 1'800'000'000;
    asio::io_context context_{1};  // outlives the cache, as every worker does
    std::unique_ptr<ResponseCache> cache_;
};

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

TEST_F(ResponseCacheTest, ABodyTakesLessOnDiskThanItIs) {
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

TEST_F(ResponseCacheTest, ARowThatUnpacksToTooMuchOrToNothingIsAMiss) {
    options_.memory_bytes = 0;
    open();
    store("bomb", std::string(1000, 'x'));
    store("cut", std::string(1000, 'y'));
    store("good", std::string(1000, 'z'));
    close();
    // Their checksums are right: only the frames are not. 1 TiB, says the first one.
    const std::string bomb("\x01\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\1\0\0\x03\0\0", 17);
    const std::string cut("\x01\x28\xb5\x2f\xfd\x60", 6);
    with_file([&](sqlite::Connection& connection) {
        auto update = connection.prepare("UPDATE bodies SET packed = ?, checksum = ? WHERE id = ?");
        ASSERT_TRUE(update) << update.error().detail;
        update->bind_blob(1, bomb).bind(2, checksum(bomb)).bind(3, std::int64_t{1});
        ASSERT_TRUE(update->run());
        update->bind_blob(1, cut).bind(2, checksum(cut)).bind(3, std::int64_t{2});
        ASSERT_TRUE(update->run());
    });
    open();
    EXPECT_EQ(body_of("bomb"), "(miss)");
    EXPECT_EQ(body_of("cut"), "(miss)");
    EXPECT_EQ(body_of("good"), std::string(1000, 'z'));
    EXPECT_TRUE(on_disk(1));  // their rows are gone
}

TEST_F(ResponseCacheTest, AFileOfTheOldSchemaIsEmptiedAndUsed) {
    open();
    store("a", "answer");
    close();
    with_file([](sqlite::Connection& connection) {
        ASSERT_TRUE(connection.execute(
            "DROP TABLE bodies; CREATE TABLE bodies (id INTEGER PRIMARY KEY, key_text BLOB NOT "
            "NULL, parts BLOB NOT NULL, checksum INTEGER NOT NULL); PRAGMA user_version = 1"
        ));
    });
    open();
    EXPECT_EQ(set_aside().size(), 0U);
    EXPECT_EQ(cache_->stats().entries, 0U);
    EXPECT_EQ(body_of("a"), "(miss)");
    store("a", "newer");
    close();
    open();
    EXPECT_EQ(body_of("a"), "newer");
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

TEST_F(ResponseCacheTest, GarbageFileIsSetAsideAtOpen) {
    write_file(std::string(100'000, 'g'));
    open();
    ASSERT_EQ(set_aside().size(), 1U);
    EXPECT_EQ(fs::file_size(set_aside()[0]), 100'000U);
    EXPECT_TRUE(set_aside()[0].string().ends_with("cache.db.corrupt-1800000000"));
    store("a", "answer");
    close();
    open();
    EXPECT_EQ(body_of("a"), "answer");
    // Only the newest one is kept.
    close();
    now_s_ += 5;
    write_file("again");
    open();
    ASSERT_EQ(set_aside().size(), 1U);
    EXPECT_EQ(fs::file_size(set_aside()[0]), 5U);
}

TEST_F(ResponseCacheTest, ForeignDatabaseIsSetAsideWhole) {
    with_file([](sqlite::Connection& connection) {
        ASSERT_TRUE(connection.execute("CREATE TABLE other (x); INSERT INTO other VALUES (7);"));
    });
    open();
    store("a", "answer");
    EXPECT_EQ(body_of("a"), "answer");
    close();
    ASSERT_EQ(set_aside().size(), 1U);
    Result<sqlite::Connection> foreign = sqlite::Connection::open(set_aside()[0].string(), {});
    ASSERT_TRUE(foreign);
    Result<sqlite::Statement> rows = foreign->prepare("SELECT x FROM other");
    ASSERT_TRUE(rows);
    ASSERT_TRUE(rows->step().value_or(false));
    EXPECT_EQ(rows->integer(0), 7);
}

TEST_F(ResponseCacheTest, NewerSchemaOrMissingTableIsSetAside) {
    open();
    store("a", "answer");
    close();
    with_file([](sqlite::Connection& connection) {
        ASSERT_TRUE(connection.execute("PRAGMA user_version = 99"));
    });
    open();
    EXPECT_EQ(set_aside().size(), 1U);
    EXPECT_EQ(body_of("a"), "(miss)");
    close();
    fs::remove(set_aside()[0]);
    with_file([](sqlite::Connection& connection) {
        ASSERT_TRUE(connection.execute("DROP TABLE bodies"));
    });
    open();
    EXPECT_EQ(set_aside().size(), 1U);
}

TEST_F(ResponseCacheTest, DirectoryThatCannotBeWrittenIsAnError) {
    options_.path = (folder_ / "missing" / "cache.db").string();
    const auto opened = ResponseCache::open(options_);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::kStorage);
}

TEST_F(ResponseCacheTest, DamageInTheMiddleOfARunIsAMissAndANewFile) {
    options_.memory_bytes = 0;
    open();
    for (unsigned i = 0; i < 100; ++i) store(std::to_string(i), noise(3000, i));
    close();
    damage();
    open();
    EXPECT_TRUE(comes_true([&] {
        EXPECT_EQ(body_of("7"), "(miss)");
        return set_aside().size() == 1;
    }));
    // `entries` is the old file's until the new one is open; what is stored is in the new one. It
    // is found there at once, not only when the reader would have tried the old file again.
    EXPECT_TRUE(comes_true([&] {
        store("new", "answer");
        EXPECT_EQ(body_of("7"), "(miss)");  // keeps the reader trying
        return cache_->stats().stored > 0;
    }));
    EXPECT_EQ(body_of("new"), "answer");
    close();
    open();
    EXPECT_EQ(body_of("new"), "answer");
    EXPECT_EQ(set_aside().size(), 1U);
}

TEST_F(ResponseCacheTest, DamagedRowIsAMissNotAWrongAnswer) {
    options_.memory_bytes = 0;
    open();
    store("a", "the right answer");
    store("b", "another");
    close();
    with_file([](sqlite::Connection& connection) {
        ASSERT_TRUE(connection.execute(
            "UPDATE bodies SET packed = CAST(replace(packed, x'7269676874', x'77726f6e67') AS "
            "BLOB) WHERE instr(packed, x'7269676874') > 0"
        ));
        ASSERT_EQ(connection.changes(), 1);
    });
    open();
    EXPECT_EQ(body_of("a"), "(miss)");
    EXPECT_TRUE(on_disk(1));  // its row is gone
    EXPECT_EQ(body_of("b"), "another");
}

TEST_F(ResponseCacheTest, FileDeletedInTheMiddleOfARunIsMadeAnew) {
    open();
    store("a", "answer");
    ASSERT_TRUE(on_disk(1));
    for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(options_.path + suffix);
    store("b", "second");
    EXPECT_EQ(body_of("a"), "answer");
    EXPECT_TRUE(comes_true([&] {
        store("c", "third");
        return fs::exists(options_.path) && cache_->stats().stored >= 2;
    }));
    close();
    open();
    EXPECT_EQ(body_of("c"), "third");
}

TEST_F(ResponseCacheTest, FileStaysBelowItsLimitUnderTenThousandInserts) {
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

TEST_F(ResponseCacheTest, WhatWasUsedStaysWhenRoomIsMade) {
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

TEST_F(ResponseCacheTest, SmallerLimitShrinksTheFile) {
    options_.memory_bytes = 0;
    open();
    for (unsigned i = 0; i < 1000; ++i) store(std::to_string(i), noise(8000, i));
    ASSERT_TRUE(on_disk(1000));
    cache_->set_limits(1 << 20, 8 << 20, 0);
    ASSERT_TRUE(comes_true([&] { return cache_->stats().bytes <= 1 << 20; }));
    EXPECT_TRUE(comes_true([&] {
        store("more", "x");
        return fs::file_size(options_.path) <= (1U << 20) / 20 * 21;
    }));
    EXPECT_NE(body_of("999"), "(miss)");
}

TEST_F(ResponseCacheTest, EntryLargerThanTheWholeFileIsDropped) {
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

TEST_F(ResponseCacheTest, MemoryTierStaysBelowItsLimitAndKeepsWhatIsUsed) {
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

TEST_F(ResponseCacheTest, ClearRemovesAllAlsoWhatIsStillQueued) {
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

TEST_F(ResponseCacheTest, ClearOfOneModelLeavesTheOthers) {
    open();
    for (int i = 0; i < 600; ++i) {
        auto made = std::make_shared<Entry>(*entry({"x"}));
        made->model = i % 2 == 0 ? "gpt-4" : "gpt-3.5-turbo";
        cache_->store(*key_of(std::to_string(i)), made);
    }
    ASSERT_TRUE(on_disk(600));
    EXPECT_EQ(cache_->clear("gpt-4").value_or(0), 300U);
    EXPECT_EQ(cache_->clear("gpt-4").value_or(7), 0U);
    EXPECT_EQ(cache_->stats().memory_entries, 300U);
    EXPECT_EQ(body_of("0"), "(miss)");
    EXPECT_EQ(body_of("1"), "x");
    EXPECT_TRUE(on_disk(300));
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

}  // namespace
}  // namespace weir::cache
