#include "disk_writer.hpp"

#include <algorithm>

#include "cache_file.hpp"
#include "entry_codec.hpp"

namespace weir::cache {

namespace {

// What may wait for the disk. Beyond it entries are only in memory.
constexpr std::size_t kQueueItems = 16384;
constexpr std::uint64_t kQueueBytes = 32 << 20;
// That much is worth a transaction at once.
constexpr std::size_t kManyItems = 2048;
constexpr std::uint64_t kManyBytes = 4 << 20;
// One batch, so that other work and checkpoints get their turn.
constexpr std::size_t kBatchItems = 2048;
constexpr std::uint64_t kBatchBytes = 8 << 20;
// Hints that are lost do no harm.
constexpr std::size_t kHints = 2048;

}  // namespace

DiskWriter::DiskWriter(
    std::string path,
    std::function<std::int64_t()> now_s,
    std::uint64_t max_size_bytes,
    std::uint64_t rows
)
    : path_(std::move(path)), now_s_(std::move(now_s)), max_size_bytes_(max_size_bytes) {
    filter_.begin(rows);
}

DiskWriter::~DiskWriter() = default;

// ---------------------------------------------------------------- from any thread

DiskWriter::Queued DiskWriter::store(const Digest& hash, EntryPtr entry) {
    const std::uint64_t bytes = entry->bytes();
    EntryPtr replaced;
    const MutexLock lock(mutex_);
    if (queue_.size() >= kQueueItems ||
        (queued_bytes_ > 0 && queued_bytes_ + bytes > kQueueBytes)) {
        write_failures_.fetch_add(1, std::memory_order_relaxed);
        return Queued::kDropped;
    }
    // With the lock: whoever begins a reading finds it in the filter or in the queue.
    const bool may_be_there = filter_.add(hash);
    replaced = std::exchange(pending_[hash], entry);
    pending_count_ = pending_.size();
    queue_.push_back({hash, std::move(entry), bytes, may_be_there});
    queued_bytes_ += bytes;
    if (queue_.size() >= kManyItems || queued_bytes_ >= kManyBytes) {
        flush_ = true;
        return Queued::kMany;
    }
    return queue_.size() == 1 ? Queued::kFirst : Queued::kMore;
}

void DiskWriter::begin_reading_again() {
    filter_.begin(entries_);
    std::vector<Digest> waiting;
    {
        const MutexLock lock(mutex_);
        waiting.reserve(pending_.size());
        for (const auto& [hash, entry] : pending_) waiting.push_back(hash);
    }
    filter_.add_read(waiting);
}

void DiskWriter::touch(const Digest& hash) {
    const MutexLock lock(mutex_);
    if (touched_.size() < kHints) touched_.push_back(hash);
}

void DiskWriter::forget(const Digest& hash) {
    const MutexLock lock(mutex_);
    if (forgotten_.size() < kHints) forgotten_.push_back(hash);
}

EntryPtr DiskWriter::pending(const CacheKey& key, std::int64_t now_s) {
    if (pending_count_ == 0) return nullptr;
    EntryPtr entry;
    {
        const MutexLock lock(mutex_);
        const auto found = pending_.find(key.hash);
        if (found == pending_.end()) return nullptr;
        entry = found->second;
    }
    if (entry->key_text != key.text || entry->expires_at_s <= now_s) return nullptr;
    return entry;
}

void DiskWriter::flush(bool tidy) {
    if (tidy) tidy_ = true;
    const MutexLock lock(mutex_);
    flush_ = true;
}

void DiskWriter::report_damage(std::uint64_t epoch) {
    damaged_epoch_ = epoch;
}

void DiskWriter::begin_stop() {
    stopping_ = true;
}

void DiskWriter::drop_pending(const Which& which) {
    std::vector<EntryPtr> dropped;  // freed outside the lock
    const MutexLock lock(mutex_);
    std::deque<Item> kept;
    for (Item& item : queue_) {
        if (which.holds(item.hash, *item.entry)) {
            queued_bytes_ -= item.bytes;
            dropped.push_back(std::move(item.entry));
        } else {
            kept.push_back(std::move(item));
        }
    }
    queue_ = std::move(kept);
    for (auto at = pending_.begin(); at != pending_.end();) {
        if (which.holds(at->first, *at->second)) {
            dropped.push_back(std::move(at->second));
            at = pending_.erase(at);
        } else {
            ++at;
        }
    }
    pending_count_ = pending_.size();
}

void DiskWriter::add_to(CacheStats& stats) const {
    stats.entries = entries_;
    stats.bytes = bytes_;
    stats.stored = stored_;
    stats.evicted = evicted_;
    stats.write_failures = write_failures_;
}

// ---------------------------------------------------------------- the writer's thread

bool DiskWriter::replace_file() {
    damaged_epoch_ = 0;
    return set_aside(path_, now_s_(), "damaged, deleted or replaced while Weir runs");
}

Result<> DiskWriter::connected(sqlite::Connection& connection) {
    // The first connection is to the file that open() has just made sure of; if that turns out to
    // be damaged after all, the next one is to another file.
    const bool another = std::exchange(connected_before_, true);
    if (Result<> ready = ensure_schema(connection, path_); !ready) return ready;
    if (Result<> ready = rows_.connect(connection); !ready) return ready;
    publish_totals();
    if (another) epoch_.fetch_add(1);
    return {};
}

void DiskWriter::disconnected() noexcept {
    rows_.disconnect();
}

bool DiskWriter::has_more() noexcept {
    if (const std::uint64_t damaged = damaged_epoch_; damaged != 0) {
        damaged_epoch_ = 0;
        // The Writer sees before its next batch that the file is gone, and asks for a new one.
        if (damaged == epoch_ && set_aside(path_, now_s_(), "damaged")) return true;
    }
    if (!stopping_ && (more_work_ || tidy_)) return true;
    const MutexLock lock(mutex_);
    return !queue_.empty() && (flush_ || stopping_);
}

bool DiskWriter::wants_checkpoint() noexcept {
    return !more_work_ && std::exchange(gave_pages_, false);
}

Result<bool> DiskWriter::write(sqlite::Connection&) {
    std::vector<Digest> touched;
    std::vector<Digest> forgotten;
    {
        const MutexLock lock(mutex_);
        touched.swap(touched_);
        forgotten.swap(forgotten_);
    }
    const std::int64_t now_s = now_s_();
    bool wrote = !touched.empty() || tidy_.exchange(false);
    more_work_ = false;
    rows_.begin();
    for (const Digest& hash : touched) {
        if (Result<> done = rows_.touch(hash, now_s); !done) {
            return std::unexpected(std::move(done.error()));
        }
    }
    for (const Digest& hash : forgotten) {
        const Result<bool> removed = rows_.remove(hash);
        if (!removed) return removed;
    }
    if (!stopping_) {
        const Result<std::size_t> expired = rows_.remove_expired(now_s);
        if (!expired) return std::unexpected(expired.error());
        more_work_ = *expired == DiskRows::kBatchExpired;
    }
    const Result<bool> inserted = insert_queued(now_s);
    if (!inserted) return inserted;
    // Limits may have become smaller.
    const Result<std::int64_t> room = rows_.make_room(0, max_size_bytes_);
    if (!room) return std::unexpected(room.error());
    if (*room < 0 && rows_.totals().entries > 0) more_work_ = true;
    if (!stopping_) {
        const Result<bool> gave = rows_.give_back_pages();
        if (!gave) return gave;
        wrote = wrote || *gave;
        more_work_ = more_work_ || *gave;
        gave_pages_ = gave_pages_ || *gave;
    }
    const Result<bool> changed = rows_.finish();
    if (!changed) return changed;
    return wrote || *inserted || *changed;
}

void DiskWriter::committed() noexcept {
    stored_.fetch_add(writing_.size(), std::memory_order_relaxed);
    evicted_.fetch_add(rows_.evicted(), std::memory_order_relaxed);
    publish_totals();
    done_writing();
}

void DiskWriter::failed(const Error&) noexcept {
    write_failures_.fetch_add(writing_.size(), std::memory_order_relaxed);
    done_writing();
}

void DiskWriter::done_writing() noexcept {
    rows_.begin();
    {
        const MutexLock lock(mutex_);
        for (const Item& item : writing_) {
            queued_bytes_ -= item.bytes;
            // A newer one of the same key may be queued.
            const auto found = pending_.find(item.hash);
            if (found != pending_.end() && found->second == item.entry) pending_.erase(found);
        }
        pending_count_ = pending_.size();
    }
    writing_.clear();
}

void DiskWriter::publish_totals() noexcept {
    const DiskRows::Totals totals = rows_.totals();
    entries_ = static_cast<std::uint64_t>(std::max<std::int64_t>(totals.entries, 0));
    bytes_ = static_cast<std::uint64_t>(std::max<std::int64_t>(totals.bytes, 0));
}

Result<bool> DiskWriter::insert_queued(std::int64_t now_s) {
    std::uint64_t bytes = 0;
    bool any = false;
    while (writing_.size() < kBatchItems && bytes < kBatchBytes) {
        EntryPtr front;
        {
            const MutexLock lock(mutex_);
            if (queue_.empty()) break;
            front = queue_.front().entry;
        }
        if (packed_.of != front) packed_ = {front, packer_.pack(encode_entry(*front))};
        const std::int64_t needed = rows_.cost(packed_.bytes.size());
        const Result<std::int64_t> room = rows_.make_room(needed, max_size_bytes_);
        if (!room) return std::unexpected(room.error());
        {
            // The queue may be another one by now: clear() empties it.
            const MutexLock lock(mutex_);
            if (queue_.empty() || queue_.front().entry != front) continue;
            if (needed > *room) {
                if (rows_.evicted_enough() && rows_.totals().entries > 0) {
                    more_work_ = true;
                    break;
                }
                drop_front();
                continue;
            }
            writing_.push_back(std::move(queue_.front()));
            queue_.pop_front();
        }
        bytes += writing_.back().bytes;
        any = true;
        const Item& item = writing_.back();
        // Of another file than the first the filter was told nothing.
        const bool is_new = !item.may_be_there && epoch_ == 1;
        const Result<> done = rows_.insert(
            item.hash,
            *item.entry,
            packed_.bytes,
            now_s,
            is_new ? DiskRows::Place::kNew : DiskRows::Place::kMayBeThere
        );
        if (!done) return std::unexpected(done.error());
    }
    const MutexLock lock(mutex_);
    if (queue_.empty()) {
        flush_ = false;
        packed_ = {};
    }
    return any;
}

void DiskWriter::drop_front() {
    // It is larger than the whole file may be.
    const Item& item = queue_.front();
    queued_bytes_ -= item.bytes;
    const auto found = pending_.find(item.hash);
    if (found != pending_.end() && found->second == item.entry) pending_.erase(found);
    pending_count_ = pending_.size();
    queue_.pop_front();
    write_failures_.fetch_add(1, std::memory_order_relaxed);
}

Result<> DiskWriter::remove_some(const Which& which, DiskRows::Cursor& cursor) {
    if (Result<> done = rows_.remove_some(which, cursor); !done) return done;
    publish_totals();
    // The pages are free now: give them back without waiting for the next store.
    more_work_ = true;
    return {};
}

}  // namespace weir::cache
