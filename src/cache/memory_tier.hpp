// The entries that were used last, bounded by bytes. Thread-safe: shards with a lock each, held for
// a look-up and never for comparing, copying or freeing an entry.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

#include "weir/base/mutex.hpp"
#include "weir/cache/response_cache.hpp"

namespace weir::cache {

class MemoryTier {
public:
    // The use of an entry reaches the disk at most this often.
    static constexpr std::int64_t kTouchEverySeconds = 60;

    explicit MemoryTier(std::uint64_t limit_bytes) noexcept : limit_bytes_(limit_bytes) {}

    struct Hit {
        EntryPtr entry;      // nullptr: a miss
        bool touch = false;  // its use should be told to the disk
    };
    [[nodiscard]] Hit find(const CacheKey& key, std::int64_t now_s);

    void insert(const Digest& hash, EntryPtr entry, std::int64_t now_s);
    // Not if clear() was called since `generation` was asked: what was read from disk before must
    // not come back after.
    void insert_read(
        const Digest& hash, EntryPtr entry, std::int64_t now_s, std::uint64_t generation
    );
    [[nodiscard]] std::uint64_t generation() const noexcept { return generation_.load(); }

    void clear(const Which& which);
    void set_limit(std::uint64_t limit_bytes);

    struct Size {
        std::uint64_t entries = 0;
        std::uint64_t bytes = 0;
    };
    [[nodiscard]] Size size() const;

private:
    struct Node {
        Digest hash{};
        EntryPtr entry;
        std::uint64_t cost = 0;
        std::int64_t touched_at_s = 0;
    };
    using List = std::list<Node>;
    struct Shard {
        mutable Mutex mutex;
        List list GUARDED_BY(mutex);  // the last used one first
        std::unordered_map<Digest, List::iterator, DigestHash> index GUARDED_BY(mutex);
        std::uint64_t bytes GUARDED_BY(mutex) = 0;
    };
    static constexpr std::size_t kShards = 8;

    [[nodiscard]] Shard& shard_of(const Digest& hash) noexcept {
        return shards_[hash[1] % kShards];
    }
    [[nodiscard]] std::uint64_t shard_limit() const noexcept {
        return limit_bytes_.load(std::memory_order_relaxed) / kShards;
    }
    void put(
        const Digest& hash,
        EntryPtr entry,
        std::int64_t now_s,
        std::optional<std::uint64_t> generation
    );
    // Takes one out; its node goes to `dropped`, to be freed outside the lock.
    static void take_out(Shard& shard, List::iterator at, List& dropped) REQUIRES_LOCK(shard.mutex);
    static void shrink(Shard& shard, std::uint64_t limit_bytes, List& dropped)
        REQUIRES_LOCK(shard.mutex);

    std::atomic<std::uint64_t> limit_bytes_;
    std::atomic<std::uint64_t> generation_ = 0;
    std::array<Shard, kShards> shards_;
};

}  // namespace weir::cache
