#include "disk_writer.hpp"

#include <algorithm>

#include "cache_file.hpp"
#include "entry_codec.hpp"

namespace weir::cache {

namespace {

// What may wait for the disk. Beyond it entries are only in memory.
constexpr std::size_t kQueueItems = 1024;
constexpr std::uint64_t kQueueBytes = 32 << 20;
// That much is worth a transaction at once.
constexpr std::size_t kManyItems = 64;
constexpr std::uint64_t kManyBytes = 4 << 20;
// One batch, so that other work and checkpoints get their turn.
constexpr std::size_t kBatchItems = 256;
constexpr std::uint64_t kBatchBytes = 8 << 20;
constexpr std::uint64_t kBatchEvictions = 512;
constexpr std::size_t kBatchExpired = 128;
constexpr std::size_t kBatchClear = 256;
constexpr std::int64_t kBatchClearBytes = 32 << 20;
// Hints that are lost do no harm.
constexpr std::size_t kHints = 2048;
// Free pages are given back in these steps, when there are more than 5 % of them.
constexpr std::int64_t kFreePagesKept = 64;

std::string_view view(const Digest& hash) noexcept {
    return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

}  // namespace

struct DiskWriter::Statements {
    sqlite::Statement page_count, freelist_count;
    sqlite::Statement find_row, oldest, expired, last_id, scan, scan_model;
    sqlite::Statement touch, insert_entry, insert_body, remove_entry, remove_body, totals;
};

DiskWriter::DiskWriter(
    std::string path, std::function<std::int64_t()> now_s, std::uint64_t max_size_bytes
)
    : path_(std::move(path)), now_s_(std::move(now_s)), max_size_bytes_(max_size_bytes) {}

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
    replaced = std::exchange(pending_[hash], entry);
    pending_count_ = pending_.size();
    queue_.push_back({hash, std::move(entry), bytes});
    queued_bytes_ += bytes;
    if (queue_.size() >= kManyItems || queued_bytes_ >= kManyBytes) {
        flush_ = true;
        return Queued::kMany;
    }
    return queue_.size() == 1 ? Queued::kFirst : Queued::kMore;
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

void DiskWriter::drop_pending(const std::optional<std::string>& model) {
    std::vector<EntryPtr> dropped;  // freed outside the lock
    const MutexLock lock(mutex_);
    const auto concerned = [&model](const EntryPtr& entry) {
        return !model || entry->model == *model;
    };
    std::deque<Item> kept;
    for (Item& item : queue_) {
        if (concerned(item.entry)) {
            queued_bytes_ -= item.bytes;
            dropped.push_back(std::move(item.entry));
        } else {
            kept.push_back(std::move(item));
        }
    }
    queue_ = std::move(kept);
    for (auto at = pending_.begin(); at != pending_.end();) {
        if (concerned(at->second)) {
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
    auto made = std::make_unique<Statements>();
    Result<> outcome;
    const auto prepare = [&](sqlite::Statement& statement, std::string_view literal) {
        if (!outcome) return;
        Result<sqlite::Statement> prepared = connection.prepare(literal);
        if (prepared) {
            statement = std::move(*prepared);
        } else {
            outcome = std::unexpected(std::move(prepared.error()));
        }
    };
    prepare(made->page_count, "PRAGMA page_count");
    prepare(made->freelist_count, "PRAGMA freelist_count");
    prepare(made->find_row, "SELECT id, size FROM entries WHERE hash = ?");
    prepare(made->oldest, "SELECT id, size FROM entries ORDER BY used_at, id LIMIT 1");
    prepare(made->expired, "SELECT id, size FROM entries WHERE expires_at <= ? LIMIT ?");
    prepare(made->last_id, "SELECT max(id) FROM entries");
    prepare(
        made->scan, "SELECT id, size FROM entries WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"
    );
    prepare(
        made->scan_model,
        "SELECT id, size FROM entries WHERE id > ? AND id <= ? AND model = ? ORDER BY id LIMIT ?"
    );
    prepare(made->touch, "UPDATE entries SET used_at = ? WHERE hash = ?");
    prepare(
        made->insert_entry,
        "INSERT INTO entries (hash, model, stored_at, expires_at, used_at, size) "
        "VALUES (?, ?, ?, ?, ?, ?)"
    );
    prepare(
        made->insert_body, "INSERT INTO bodies (id, key_text, parts, checksum) VALUES (?, ?, ?, ?)"
    );
    prepare(made->remove_entry, "DELETE FROM entries WHERE id = ?");
    prepare(made->remove_body, "DELETE FROM bodies WHERE id = ?");
    prepare(made->totals, "UPDATE totals SET entries = ?, bytes = ?");
    sqlite::Statement page_size;
    prepare(page_size, "PRAGMA page_size");
    sqlite::Statement totals;
    prepare(totals, "SELECT entries, bytes FROM totals");
    if (!outcome) return outcome;
    const Result<std::int64_t> size = ask(page_size);
    if (!size) return std::unexpected(size.error());
    page_size_ = *size;
    const Result<bool> row = totals.step();
    if (!row) return std::unexpected(row.error());
    totals_ = *row ? Totals{totals.integer(0), totals.integer(1)} : Totals{};
    totals.reset();
    publish_totals();
    statements_ = std::move(made);
    if (another) epoch_.fetch_add(1);
    return {};
}

void DiskWriter::disconnected() noexcept {
    statements_.reset();
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

Result<bool> DiskWriter::write(sqlite::Connection& connection) {
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
    evicting_ = 0;
    totals_changed_ = false;
    for (const Digest& hash : touched) {
        statements_->touch.bind(1, now_s).bind_blob(2, view(hash));
        if (Result<> done = statements_->touch.run(); !done) {
            return std::unexpected(std::move(done.error()));
        }
    }
    for (const Digest& hash : forgotten) {
        const Result<bool> removed = remove_hash(hash);
        if (!removed) return removed;
    }
    if (!stopping_) {
        const Result<std::size_t> expired = remove_expired(now_s);
        if (!expired) return std::unexpected(expired.error());
        more_work_ = *expired == kBatchExpired;
    }
    const Result<bool> inserted = insert_queued(connection, now_s);
    if (!inserted) return inserted;
    // Limits may have become smaller.
    const Result<std::int64_t> room = make_room(0);
    if (!room) return std::unexpected(room.error());
    if (*room < 0 && totals_.entries > 0) more_work_ = true;
    if (!stopping_) {
        const Result<bool> gave = give_back_pages(connection);
        if (!gave) return gave;
        wrote = wrote || *gave;
    }
    if (totals_changed_) {
        if (Result<> done = write_totals(); !done) return std::unexpected(std::move(done.error()));
    }
    return wrote || *inserted || totals_changed_;
}

void DiskWriter::committed() noexcept {
    stored_.fetch_add(writing_.size(), std::memory_order_relaxed);
    evicted_.fetch_add(evicting_, std::memory_order_relaxed);
    publish_totals();
    done_writing();
}

void DiskWriter::failed(const Error&) noexcept {
    write_failures_.fetch_add(writing_.size(), std::memory_order_relaxed);
    done_writing();
}

void DiskWriter::done_writing() noexcept {
    evicting_ = 0;
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
    entries_ = static_cast<std::uint64_t>(std::max<std::int64_t>(totals_.entries, 0));
    bytes_ = static_cast<std::uint64_t>(std::max<std::int64_t>(totals_.bytes, 0));
}

Result<> DiskWriter::write_totals() {
    statements_->totals.bind(1, totals_.entries).bind(2, totals_.bytes);
    return statements_->totals.run();
}

// ---------------------------------------------------------------- rows

Result<std::int64_t> DiskWriter::ask(sqlite::Statement& statement) {
    const Result<bool> row = statement.step();
    if (!row) return std::unexpected(row.error());
    const std::int64_t value = *row ? statement.integer(0) : 0;
    statement.reset();
    return value;
}

Result<std::int64_t> DiskWriter::used_bytes() {
    const Result<std::int64_t> pages = ask(statements_->page_count);
    if (!pages) return pages;
    const Result<std::int64_t> unused = ask(statements_->freelist_count);
    if (!unused) return unused;
    return (*pages - *unused) * page_size_;
}

Result<std::optional<DiskWriter::Row>> DiskWriter::find_row(const Digest& hash) {
    sqlite::Statement& find = statements_->find_row;
    find.bind_blob(1, view(hash));
    const Result<bool> row = find.step();
    if (!row) return std::unexpected(row.error());
    std::optional<Row> found;
    if (*row) found = Row{find.integer(0), find.integer(1)};
    find.reset();
    return found;
}

Result<> DiskWriter::remove_row(const Row& row) {
    statements_->remove_entry.bind(1, row.id);
    if (Result<> done = statements_->remove_entry.run(); !done) return done;
    statements_->remove_body.bind(1, row.id);
    if (Result<> done = statements_->remove_body.run(); !done) return done;
    --totals_.entries;
    totals_.bytes -= row.size;
    totals_changed_ = true;
    return {};
}

Result<bool> DiskWriter::remove_hash(const Digest& hash) {
    const Result<std::optional<Row>> row = find_row(hash);
    if (!row) return std::unexpected(row.error());
    if (!*row) return false;
    if (Result<> done = remove_row(**row); !done) return std::unexpected(std::move(done.error()));
    return true;
}

Result<std::size_t> DiskWriter::remove_expired(std::int64_t now_s) {
    std::vector<Row> rows;
    sqlite::Statement& expired = statements_->expired;
    expired.bind(1, now_s).bind(2, static_cast<std::int64_t>(kBatchExpired));
    for (;;) {
        const Result<bool> row = expired.step();
        if (!row) return std::unexpected(row.error());
        if (!*row) break;
        rows.push_back({expired.integer(0), expired.integer(1)});
    }
    expired.reset();
    for (const Row& row : rows) {
        if (Result<> done = remove_row(row); !done) return std::unexpected(std::move(done.error()));
    }
    return rows.size();
}

Result<std::int64_t> DiskWriter::make_room(std::int64_t wanted_bytes) {
    for (;;) {
        const Result<std::int64_t> used = used_bytes();
        if (!used) return used;
        const std::int64_t room = static_cast<std::int64_t>(max_size_bytes_.load()) - *used;
        if (room >= wanted_bytes || evicting_ >= kBatchEvictions) return room;
        sqlite::Statement& oldest = statements_->oldest;
        const Result<bool> found = oldest.step();
        if (!found) return std::unexpected(found.error());
        if (!*found) {
            oldest.reset();
            return room;
        }
        const Row row{oldest.integer(0), oldest.integer(1)};
        oldest.reset();
        if (Result<> done = remove_row(row); !done) return std::unexpected(std::move(done.error()));
        ++evicting_;
    }
}

Result<> DiskWriter::insert(sqlite::Connection& connection, const Item& item, std::int64_t now_s) {
    const Entry& entry = *item.entry;
    if (const Result<bool> removed = remove_hash(item.hash); !removed) {
        return std::unexpected(removed.error());
    }
    const std::string parts = encode_entry(entry);
    const auto size = static_cast<std::int64_t>(parts.size() + entry.key_text.size());
    sqlite::Statement& row = statements_->insert_entry;
    row.bind_blob(1, view(item.hash))
        .bind(2, std::string_view(entry.model))
        .bind(3, entry.stored_at_s)
        .bind(4, entry.expires_at_s)
        .bind(5, now_s)
        .bind(6, size);
    if (Result<> done = row.run(); !done) return done;
    sqlite::Statement& body = statements_->insert_body;
    body.bind(1, connection.last_rowid())
        .bind_blob(2, entry.key_text)
        .bind_blob(3, parts)
        .bind(4, checksum(parts));
    if (Result<> done = body.run(); !done) return done;
    ++totals_.entries;
    totals_.bytes += size;
    totals_changed_ = true;
    return {};
}

Result<bool> DiskWriter::insert_queued(sqlite::Connection& connection, std::int64_t now_s) {
    // More than what a row takes: a page of either table may be begun, and the indexes grow.
    const auto cost = [this](const Item& item) {
        return (static_cast<std::int64_t>(item.bytes) / page_size_ + 3) * page_size_;
    };
    std::uint64_t bytes = 0;
    bool any = false;
    while (writing_.size() < kBatchItems && bytes < kBatchBytes) {
        std::int64_t wanted = 0;
        {
            const MutexLock lock(mutex_);
            if (queue_.empty()) break;
            wanted = cost(queue_.front());
        }
        const Result<std::int64_t> room = make_room(wanted);
        if (!room) return std::unexpected(room.error());
        {
            // The queue may be another one by now: clear() empties it.
            const MutexLock lock(mutex_);
            if (queue_.empty()) break;
            const std::int64_t needed = cost(queue_.front());
            if (needed > *room) {
                if (needed > wanted) continue;
                if (evicting_ >= kBatchEvictions && totals_.entries > 0) {
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
        if (Result<> done = insert(connection, writing_.back(), now_s); !done) {
            return std::unexpected(std::move(done.error()));
        }
    }
    const MutexLock lock(mutex_);
    if (queue_.empty()) flush_ = false;
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

Result<bool> DiskWriter::give_back_pages(sqlite::Connection& connection) {
    const Result<std::int64_t> pages = ask(statements_->page_count);
    if (!pages) return std::unexpected(pages.error());
    const Result<std::int64_t> unused = ask(statements_->freelist_count);
    if (!unused) return std::unexpected(unused.error());
    if (*unused <= kFreePagesKept || *unused * 20 <= *pages) return false;
    if (Result<> done = connection.execute("PRAGMA incremental_vacuum(512)"); !done) {
        return std::unexpected(std::move(done.error()));
    }
    more_work_ = true;
    return true;
}

Result<> DiskWriter::remove_some(const std::optional<std::string>& model, Cursor& cursor) {
    const Totals before = totals_;
    Cursor next = cursor;
    const auto work = [&]() -> Result<> {
        if (!next.end_id) {
            const Result<std::int64_t> last = ask(statements_->last_id);
            if (!last) return std::unexpected(last.error());
            next.end_id = *last;
        }
        sqlite::Statement& scan = model ? statements_->scan_model : statements_->scan;
        scan.bind(1, next.last_id).bind(2, *next.end_id);
        if (model) scan.bind(3, std::string_view(*model));
        scan.bind(model ? 4 : 3, static_cast<std::int64_t>(kBatchClear));
        std::vector<Row> rows;
        std::int64_t bytes = 0;
        bool all = false;
        while (bytes < kBatchClearBytes) {
            const Result<bool> row = scan.step();
            if (!row) return std::unexpected(row.error());
            if (!*row) {
                all = rows.size() < kBatchClear;
                break;
            }
            rows.push_back({scan.integer(0), scan.integer(1)});
            bytes += rows.back().size;
        }
        scan.reset();
        for (const Row& row : rows) {
            if (Result<> done = remove_row(row); !done) return done;
            next.last_id = row.id;
            ++next.removed;
        }
        next.done = all;
        return write_totals();
    };
    if (Result<> done = work(); !done) {
        totals_ = before;
        return done;
    }
    cursor = next;
    publish_totals();
    // The pages are free now: give them back without waiting for the next store.
    more_work_ = true;
    return {};
}

}  // namespace weir::cache
