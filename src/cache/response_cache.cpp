#include "weir/cache/response_cache.hpp"

#include <atomic>
#include <utility>

#include <boost/asio/this_coro.hpp>

#include "weir/base/signal.hpp"
#include "weir/sqlite/writer.hpp"

#include "cache_file.hpp"
#include "disk_reader.hpp"
#include "disk_writer.hpp"
#include "entry_codec.hpp"
#include "memory_tier.hpp"

namespace weir::cache {

namespace {

// A disk that is slower than this is a miss.
constexpr std::chrono::seconds kPatience{1};

std::int64_t system_now_s() {
    return std::chrono::duration_cast<std::chrono::seconds>(
               std::chrono::system_clock::now().time_since_epoch()
    )
        .count();
}

std::uint64_t parts_bytes(const Entry& entry) noexcept {
    std::uint64_t bytes = 0;
    for (const std::string& part : entry.parts) bytes += part.size();
    return bytes;
}

}  // namespace

std::size_t Entry::bytes() const noexcept {
    std::size_t bytes = sizeof(Entry) + key_text.size() + content_type.size() + model.size() +
                        owner.size() + times_ms.size() * sizeof(times_ms[0]);
    for (const std::string& part : parts) bytes += sizeof(std::string) + part.size();
    return bytes;
}

bool Which::holds(const Digest& of, const Entry& entry) const noexcept {
    return (!model || entry.model == *model) && (!owner || entry.owner == *owner) &&
           (!hash || of == *hash);
}

struct ResponseCache::Impl {
    Impl(CacheOptions given, sqlite::Connection connection, std::uint64_t rows)
        : options(std::move(given)),
          max_entry_bytes(options.max_entry_bytes),
          memory(options.memory_bytes),
          disk(options.path, options.now_s, options.max_size_bytes, rows),
          writer(
              {.path = options.path,
               .open = writer_options(),
               .on_corrupt = [this] { return disk.replace_file(); },
               .name = "cache"},
              std::move(connection)
          ),
          reader(options.path, options.now_s, memory, disk, writer) {
        writer.add(disk);
        writer.start();
        reader.start();
    }
    ~Impl() {
        reader.stop();
        disk.begin_stop();
        writer.stop();
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    EntryPtr find_without_reading(const CacheKey& key);

    const CacheOptions options;
    std::atomic<std::uint64_t> max_entry_bytes;
    std::atomic<std::uint64_t> hits_memory = 0;
    std::atomic<std::uint64_t> hits_disk = 0;
    std::atomic<std::uint64_t> misses = 0;
    std::atomic<std::uint64_t> disk_reads = 0;
    MemoryTier memory;
    DiskWriter disk;
    sqlite::Writer writer;
    DiskReader reader;
};

EntryPtr ResponseCache::Impl::find_without_reading(const CacheKey& key) {
    const std::int64_t now_s = options.now_s();
    MemoryTier::Hit hit = memory.find(key, now_s);
    if (hit.touch && hit.entry) disk.touch(key.hash);
    if (!hit.entry) hit.entry = disk.pending(key, now_s);
    if (hit.entry) hits_memory.fetch_add(1, std::memory_order_relaxed);
    return std::move(hit.entry);
}

ResponseCache::ResponseCache(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
ResponseCache::~ResponseCache() = default;

Result<std::unique_ptr<ResponseCache>> ResponseCache::open(CacheOptions options) {
    if (!options.now_s) options.now_s = system_now_s;
    Result<sqlite::Connection> connection = open_cache_file(options.path, options.now_s());
    if (!connection) return std::unexpected(std::move(connection.error()));
    const std::uint64_t rows = count_rows(*connection);
    return std::unique_ptr<ResponseCache>(
        new ResponseCache(std::make_unique<Impl>(std::move(options), std::move(*connection), rows))
    );
}

EntryPtr ResponseCache::find_in_memory(const CacheKey& key) {
    return impl_->find_without_reading(key);
}

Awaitable<EntryPtr> ResponseCache::find(std::shared_ptr<const CacheKey> key) {
    if (EntryPtr hit = impl_->find_without_reading(*key)) co_return hit;
    if (!impl_->disk.may_hold(key->hash)) {
        impl_->misses.fetch_add(1, std::memory_order_relaxed);
        co_return nullptr;
    }
    const Executor home = co_await asio::this_coro::executor;
    const std::shared_ptr<Signal> signal = Signal::create(home);
    const auto lookup = std::make_shared<Lookup>(std::move(key), signal);
    std::optional<EntryPtr> answer;
    if (impl_->reader.ask(lookup)) {
        impl_->disk_reads.fetch_add(1, std::memory_order_relaxed);
        const Deadline deadline = Deadline::in(kPatience);
        for (;;) {
            const bool woken = co_await signal->wait(deadline);
            answer = lookup->answer();
            if (answer || !woken) break;
        }
    }
    EntryPtr entry = answer ? std::move(*answer) : nullptr;
    (entry ? impl_->hits_disk : impl_->misses).fetch_add(1, std::memory_order_relaxed);
    co_return entry;
}

void ResponseCache::store(const CacheKey& key, EntryPtr entry) {
    const std::int64_t now_s = impl_->options.now_s();
    if (!entry || parts_bytes(*entry) > impl_->max_entry_bytes || entry->expires_at_s <= now_s) {
        return;
    }
    if (entry->key_text != key.text) {
        Entry named = *entry;
        named.key_text = key.text;
        entry = std::make_shared<const Entry>(std::move(named));
    }
    if (entry->bytes() > kLargestEntry) return;
    impl_->memory.insert(key.hash, entry, now_s);
    switch (impl_->disk.store(key.hash, std::move(entry))) {
        case DiskWriter::Queued::kFirst:
            impl_->reader.flush_in(impl_->options.gather);
            break;
        case DiskWriter::Queued::kMany:
            impl_->writer.wake();
            break;
        case DiskWriter::Queued::kMore:
        case DiskWriter::Queued::kDropped:
            break;
    }
}

CacheStats ResponseCache::stats() const {
    CacheStats stats;
    impl_->disk.add_to(stats);
    const MemoryTier::Size memory = impl_->memory.size();
    stats.memory_entries = memory.entries;
    stats.memory_bytes = memory.bytes;
    stats.hits_memory = impl_->hits_memory;
    stats.hits_disk = impl_->hits_disk;
    stats.misses = impl_->misses;
    stats.disk_reads = impl_->disk_reads;
    return stats;
}

Result<std::uint64_t> ResponseCache::clear(const Which& which) {
    impl_->disk.drop_pending(which);
    impl_->memory.clear(which);
    DiskRows::Cursor cursor;
    while (!cursor.done) {
        Result<> removed = impl_->writer.run([&](sqlite::Connection&) {
            return impl_->disk.remove_some(which, cursor);
        });
        if (!removed) return std::unexpected(std::move(removed.error()));
    }
    // Again: what the reader took from disk meanwhile.
    impl_->memory.clear(which);
    return cursor.removed;
}

void ResponseCache::set_limits(
    std::uint64_t max_size, std::uint64_t max_entry, std::uint64_t memory
) {
    impl_->max_entry_bytes = max_entry;
    impl_->memory.set_limit(memory);
    impl_->disk.set_max_size(max_size);
    // The file shrinks now, not at the next store.
    impl_->disk.flush(true);
    impl_->writer.wake();
}

}  // namespace weir::cache
