// A cache in a folder of its own, with a clock that the test sets.
#pragma once

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

#include "weir/cache/response_cache.hpp"
#include "weir/sqlite/connection.hpp"

#include "cache/flight_tools.hpp"

namespace weir::cache {

inline std::shared_ptr<const CacheKey> key_of(const std::string& text) {
    return std::make_shared<const CacheKey>(CacheKey{sha256(text), text});
}

inline Awaitable<void> find_into(
    ResponseCache& cache, std::shared_ptr<const CacheKey> key, EntryPtr& out
) {
    out = co_await cache.find(std::move(key));
}

// Does not shrink when it is packed. The same for the same number.
inline std::string noise(std::size_t size, std::uint64_t number) {
    std::mt19937_64 random(number);
    std::string bytes(size, 0);
    for (char& each : bytes) each = static_cast<char>(random());
    return bytes;
}

// Something that another thread is about to do.
[[nodiscard]] inline bool comes_true(const std::function<bool()>& condition) {
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
        folder_ =
            std::filesystem::temp_directory_path() /
            ("weir_cache_test." + std::to_string(::getpid()) + "." + std::to_string(number++));
        std::filesystem::create_directories(folder_);
        options_.path = (folder_ / "cache.db").string();
        options_.now_s = [this] { return now_s_.load(); };
        options_.gather = std::chrono::milliseconds(20);  // most tests wait for it
    }
    ~ResponseCacheTest() override {
        cache_.reset();
        std::filesystem::remove_all(folder_);
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
    std::vector<std::filesystem::path> set_aside() const {
        std::vector<std::filesystem::path> found;
        for (const auto& file : std::filesystem::directory_iterator(folder_)) {
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
        const auto size = std::filesystem::file_size(options_.path);
        ASSERT_GT(size, 8192U);
        std::fstream file(options_.path, std::ios::binary | std::ios::in | std::ios::out);
        file.seekp(4096);
        file << std::string(size - 4096, '\xfe');
    }

    std::filesystem::path folder_;
    CacheOptions options_;
    std::atomic<std::int64_t> now_s_ = 1'800'000'000;
    asio::io_context context_{1};  // outlives the cache, as every worker does
    std::unique_ptr<ResponseCache> cache_;
};

}  // namespace weir::cache
