// The reading side of cache.db: one thread with a read-only connection of its own, and the alarm
// clock of the writing side. Also tells the writing side's filter what the file holds. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>

#include "weir/base/deadline.hpp"
#include "weir/base/mutex.hpp"
#include "weir/base/signal.hpp"
#include "weir/cache/response_cache.hpp"
#include "weir/sqlite/connection.hpp"
#include "weir/sqlite/writer.hpp"

#include "disk_writer.hpp"
#include "memory_tier.hpp"
#include "packing.hpp"

namespace weir::cache {

// One question to the reader. Shared by it and the coroutine that asks, which may be gone before
// the answer.
class Lookup {
public:
    Lookup(std::shared_ptr<const CacheKey> key, std::shared_ptr<Signal> signal) noexcept
        : key_(std::move(key)), signal_(std::move(signal)) {}

    [[nodiscard]] const CacheKey& key() const noexcept { return *key_; }
    [[nodiscard]] Signal& signal() const noexcept { return *signal_; }
    void answer(EntryPtr entry);
    // nullopt: not answered yet.
    [[nodiscard]] std::optional<EntryPtr> answer() const;

private:
    const std::shared_ptr<const CacheKey> key_;
    const std::shared_ptr<Signal> signal_;
    mutable Mutex mutex_;
    bool answered_ GUARDED_BY(mutex_) = false;
    EntryPtr entry_ GUARDED_BY(mutex_);
};

class DiskReader {
public:
    // REQUIRES: all of them outlive it.
    DiskReader(
        std::string path,
        const std::function<std::int64_t()>& now_s,
        MemoryTier& memory,
        DiskWriter& disk,
        sqlite::Writer& writer
    );
    ~DiskReader();  // stop()
    DiskReader(const DiskReader&) = delete;
    DiskReader& operator=(const DiskReader&) = delete;

    void start();
    // Answers what is asked with misses. Idempotent.
    void stop();
    // False: too much is asked already.
    [[nodiscard]] bool ask(std::shared_ptr<Lookup> lookup);
    // Flushes the writing side then, or earlier if that was asked for.
    void flush_in(std::chrono::milliseconds span);

private:
    struct Open {
        sqlite::Connection connection;
        sqlite::Statement find;
        sqlite::Statement digests;
        std::uint64_t epoch = 0;
    };

    static constexpr std::size_t kFirstSweep = 256;
    // An entry that was read and that somebody may still send.
    struct Lent {
        std::int64_t written = 0;  // the checksum of its row
        std::weak_ptr<const Entry> entry;
    };

    void loop();
    [[nodiscard]] EntryPtr read(const CacheKey& key);
    [[nodiscard]] bool ready();
    [[nodiscard]] EntryPtr row(const CacheKey& key);
    [[nodiscard]] EntryPtr unpacked(
        const Digest& hash, std::string_view packed, std::int64_t written
    );
    // The next step of a reading of all digests.
    void read_digests();
    void failed();

    const std::string path_;
    const std::function<std::int64_t()>& now_s_;
    MemoryTier& memory_;
    DiskWriter& disk_;
    sqlite::Writer& writer_;

    Mutex mutex_;
    CondVar changed_;
    std::deque<std::shared_ptr<Lookup>> asked_ GUARDED_BY(mutex_);
    Deadline flush_at_ GUARDED_BY(mutex_);
    bool running_ GUARDED_BY(mutex_) = false;
    bool stopping_ GUARDED_BY(mutex_) = false;
    std::thread thread_;

    // Reader thread only.
    Unpacker unpacker_;
    std::optional<Open> open_;
    std::unordered_map<Digest, Lent, DigestHash> lent_;
    std::size_t sweep_at_ = kFirstSweep;
    Deadline digests_at_ = Deadline::in({});  // for the next step; never: the file was read
    Digest digests_behind_{};                 // they are read in their order
    std::uint64_t digests_epoch_ = 0;
    std::uint64_t tried_epoch_ = 0;  // none
    Deadline retry_at_;              // for the next try at the same epoch
};

}  // namespace weir::cache
