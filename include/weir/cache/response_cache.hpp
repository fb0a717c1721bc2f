// Answers that were whole, by CacheKey: a bounded memory tier in front of cache.db. Thread-safe.
//
// find() asks the memory tier at once; a miss there is looked up in SQLite by a reader thread that
// calls back, unless a filter in memory knows that it is not there. Writes are queued for the
// writer's thread and never wait; until they are on disk they are found in the queue. Everything
// may fail without a client noticing more than a miss: a corrupt cache.db is set aside and made
// anew, also in the middle of a run. A row is only believed if its whole key text and its checksum
// are right.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/base/awaitable.hpp"
#include "weir/base/error.hpp"
#include "weir/cache/cache_key.hpp"
#include "weir/http/answer.hpp"

namespace weir::cache {

// One stored answer. Immutable.
struct Entry {
    std::string key_text;
    bool stream = false;             // blocks of a stream, else one JSON body
    std::vector<std::string> parts;  // the blocks, or the body alone
    // Of a stream: when each part came, in milliseconds behind the first. Empty: not known.
    std::vector<std::uint32_t> times_ms;
    std::string content_type;
    int status = 200;
    std::string model;  // served, for stats and clearing
    std::string owner;  // the key whose message paid for it, for clearing
    // What it took, as its upstream said. A chat or completion stream has a value exactly if one of
    // its parts tells it.
    std::optional<http::Usage> usage;
    std::int64_t stored_at_s = 0;  // wall time
    std::int64_t expires_at_s = 0;
    [[nodiscard]] std::size_t bytes() const noexcept;  // about what it takes in memory
};
using EntryPtr = std::shared_ptr<const Entry>;

struct CacheOptions {
    std::string path;  // cache.db
    std::uint64_t max_size_bytes = 2ULL << 30;
    std::uint64_t max_entry_bytes = 8 << 20;
    std::uint64_t memory_bytes = 64 << 20;
    // Wall time in seconds since 1970, from any thread; empty: the system's.
    std::function<std::int64_t()> now_s;
    // Stores of this span share a transaction; until then they are found in memory. A crash loses
    // them.
    std::chrono::milliseconds gather{250};
};

struct CacheStats {
    std::uint64_t entries = 0;
    std::uint64_t bytes = 0;  // that the entries take in cache.db, packed
    std::uint64_t memory_entries = 0;
    std::uint64_t memory_bytes = 0;
    std::uint64_t hits_memory = 0;
    std::uint64_t hits_disk = 0;
    std::uint64_t misses = 0;
    std::uint64_t disk_reads = 0;      // what was asked of cache.db; most misses need not
    std::uint64_t stored = 0;          // on disk
    std::uint64_t evicted = 0;         // from disk, to make room
    std::uint64_t write_failures = 0;  // not stored: the queue was full or the disk failed
};

// Which entries: those to which all that is given applies; nothing given: all.
struct Which {
    std::optional<std::string> model = {};  // served
    std::optional<std::string> owner = {};
    std::optional<Digest> hash = {};
    [[nodiscard]] bool holds(const Digest& of, const Entry& entry) const noexcept;
};

class ResponseCache {
public:
    // Never fails for what is in the file: a damaged or foreign one is renamed to
    // cache.db.corrupt-<time>. kStorage: the directory cannot be written.
    [[nodiscard]] static Result<std::unique_ptr<ResponseCache>> open(CacheOptions options);
    // Writes what is queued. REQUIRES: nobody is inside find(), and the io_contexts of all who were
    // still live.
    ~ResponseCache();

    // Memory tier only: no waiting, no I/O.
    [[nodiscard]] EntryPtr find_in_memory(const CacheKey& key);
    // Both tiers. Resumes on the caller's worker. nullptr: a miss (also when the disk fails, or is
    // slower than a second).
    [[nodiscard]] Awaitable<EntryPtr> find(std::shared_ptr<const CacheKey> key);
    // Takes it into both tiers; drops it when its parts are over max_entry; only into memory when
    // the writer's queue is full. A find() that starts afterwards, on any thread, sees it.
    void store(const CacheKey& key, EntryPtr entry);

    [[nodiscard]] CacheStats stats() const;
    // Blocks; never from a worker. Removes them from both tiers and from what waits for the disk;
    // returns how many were on disk. What is stored afterwards stays.
    [[nodiscard]] Result<std::uint64_t> clear(const Which& which = {});
    // Limits of a new config; the rest of the options stays.
    void set_limits(std::uint64_t max_size, std::uint64_t max_entry, std::uint64_t memory);

private:
    struct Impl;
    explicit ResponseCache(std::unique_ptr<Impl> impl) noexcept;
    std::unique_ptr<Impl> impl_;
};

}  // namespace weir::cache
