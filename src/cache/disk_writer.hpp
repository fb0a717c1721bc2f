// The writing side of cache.db: a Source of its sqlite::Writer. Gathers stores for a moment, so
// that a transaction is shared; keeps the file below its limit by dropping what was used longest
// ago, what has expired, and by giving free pages back. Everything in bounded steps.
//
// Thread-safe where nothing else is said; the Source functions are the writer thread's.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "weir/base/mutex.hpp"
#include "weir/cache/response_cache.hpp"
#include "weir/sqlite/connection.hpp"
#include "weir/sqlite/writer.hpp"

#include "digest_filter.hpp"
#include "disk_rows.hpp"
#include "packing.hpp"

namespace weir::cache {

class DiskWriter final : public sqlite::Source {
public:
    // `rows`: that the file has.
    DiskWriter(
        std::string path,
        std::function<std::int64_t()> now_s,
        std::uint64_t max_size_bytes,
        std::uint64_t rows
    );
    ~DiskWriter() override;

    enum class Queued : std::uint8_t {
        kDropped,  // the queue is full
        kFirst,    // the queue was empty: call flush() in a moment
        kMore,     // somebody is about to call flush()
        kMany      // wake the writer now
    };
    Queued store(const Digest& hash, EntryPtr entry);
    // It was used.
    void touch(const Digest& hash);
    // Its row is damaged. Then flush() and wake the Writer.
    void forget(const Digest& hash);
    // False: neither stored nor about to be, so that nobody need ask the file. Before the file was
    // read (see filter()) it is always true.
    [[nodiscard]] bool may_hold(const Digest& hash) const { return filter_.may_hold(hash); }
    // Whoever reads the file tells it what is there.
    [[nodiscard]] DigestFilter& filter() noexcept { return filter_; }
    // Another reading begins, since the filter is worn.
    void begin_reading_again();
    // Not on disk yet.
    [[nodiscard]] EntryPtr pending(const CacheKey& key, std::int64_t now_s);
    // What is queued may be written now; `tidy`: also look for expired rows. Then wake the Writer.
    void flush(bool tidy);
    // A reader of that epoch found damage. Then wake the Writer.
    void report_damage(std::uint64_t epoch);
    // From 1; grows with each file that is opened after the first.
    [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_.load(); }
    void set_max_size(std::uint64_t bytes) noexcept { max_size_bytes_ = bytes; }
    // The end is near: write what is queued, tidy nothing.
    void begin_stop();
    // For Writer::Options::on_corrupt; writer thread, no connection is open.
    [[nodiscard]] bool replace_file();

    // What clear() needs. drop_pending() first; then remove_some() in Writer::run() until it says
    // that nothing is left.
    void drop_pending(const Which& which);
    Result<> remove_some(const Which& which, DiskRows::Cursor& cursor);

    void add_to(CacheStats& stats) const;

    Result<> connected(sqlite::Connection& connection) override;
    void disconnected() noexcept override;
    Result<bool> write(sqlite::Connection& connection) override;
    void committed() noexcept override;
    void failed(const Error& error) noexcept override;
    [[nodiscard]] bool has_more() noexcept override;
    [[nodiscard]] bool wants_checkpoint() noexcept override;

private:
    struct Item {
        Digest hash{};
        EntryPtr entry;
        std::uint64_t bytes = 0;   // of the entry, for the queue's bound
        bool may_be_there = true;  // in the file, or before it in the queue
    };
    struct Packed {
        EntryPtr of;
        std::string bytes;
    };

    Result<bool> insert_queued(std::int64_t now_s);
    void drop_front() REQUIRES_LOCK(mutex_);
    void publish_totals() noexcept;
    void done_writing() noexcept;

    const std::string path_;
    const std::function<std::int64_t()> now_s_;
    DigestFilter filter_;
    std::atomic<std::uint64_t> max_size_bytes_;
    std::atomic<std::uint64_t> epoch_ = 1;
    std::atomic<std::uint64_t> damaged_epoch_ = 0;  // 0: none
    std::atomic<bool> stopping_ = false;
    std::atomic<bool> tidy_ = true;  // once after the start
    std::atomic<std::uint64_t> entries_ = 0;
    std::atomic<std::uint64_t> bytes_ = 0;
    std::atomic<std::uint64_t> stored_ = 0;
    std::atomic<std::uint64_t> evicted_ = 0;
    std::atomic<std::uint64_t> write_failures_ = 0;
    std::atomic<std::uint64_t> pending_count_ = 0;

    mutable Mutex mutex_;
    std::deque<Item> queue_ GUARDED_BY(mutex_);
    std::uint64_t queued_bytes_ GUARDED_BY(mutex_) = 0;  // with what is being written
    bool flush_ GUARDED_BY(mutex_) = false;
    std::unordered_map<Digest, EntryPtr, DigestHash> pending_ GUARDED_BY(mutex_);
    std::vector<Digest> touched_ GUARDED_BY(mutex_);
    std::vector<Digest> forgotten_ GUARDED_BY(mutex_);

    // Writer thread only.
    DiskRows rows_;
    std::vector<Item> writing_;
    Packer packer_;
    Packed packed_;  // the front of the queue, perhaps: it may have to wait for more room
    bool more_work_ = false;
    bool gave_pages_ = false;  // since the last checkpoint that was asked for
    bool connected_before_ = false;
};

}  // namespace weir::cache
