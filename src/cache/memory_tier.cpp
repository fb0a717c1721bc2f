#include "memory_tier.hpp"

#include <iterator>
#include <utility>

namespace weir::cache {

namespace {

// A node of the list and one of the index, about, with malloc's own.
constexpr std::uint64_t kNodeBytes = 192;

}  // namespace

MemoryTier::Hit MemoryTier::find(const CacheKey& key, std::int64_t now_s) {
    List dropped;
    Hit hit;
    {
        Shard& shard = shard_of(key.hash);
        const MutexLock lock(shard.mutex);
        const auto found = shard.index.find(key.hash);
        if (found == shard.index.end()) return {};
        const List::iterator node = found->second;
        if (node->entry->expires_at_s <= now_s) {
            take_out(shard, node, dropped);
            return {};
        }
        shard.list.splice(shard.list.begin(), shard.list, node);
        hit.entry = node->entry;
        if (now_s - node->touched_at_s >= kTouchEverySeconds) {
            node->touched_at_s = now_s;
            hit.touch = true;
        }
    }
    if (hit.entry->key_text != key.text) return {};
    return hit;
}

void MemoryTier::insert(const Digest& hash, EntryPtr entry, std::int64_t now_s) {
    put(hash, std::move(entry), now_s, std::nullopt);
}

void MemoryTier::insert_read(
    const Digest& hash, EntryPtr entry, std::int64_t now_s, std::uint64_t generation
) {
    put(hash, std::move(entry), now_s, generation);
}

void MemoryTier::put(
    const Digest& hash, EntryPtr entry, std::int64_t now_s, std::optional<std::uint64_t> generation
) {
    const std::uint64_t cost = entry->bytes() + kNodeBytes;
    const std::uint64_t limit = shard_limit();
    List dropped;
    Shard& shard = shard_of(hash);
    const MutexLock lock(shard.mutex);
    // clear() raises it before it takes any shard's lock.
    if (generation && *generation != generation_.load()) return;
    if (const auto found = shard.index.find(hash); found != shard.index.end()) {
        // A reader's copy is never newer than what is here.
        if (generation) return;
        take_out(shard, found->second, dropped);
    }
    if (cost > limit) return;
    shrink(shard, limit - cost, dropped);
    shard.list.push_front({hash, std::move(entry), cost, now_s});
    shard.index.emplace(hash, shard.list.begin());
    shard.bytes += cost;
}

void MemoryTier::take_out(Shard& shard, List::iterator at, List& dropped) {
    shard.index.erase(at->hash);
    shard.bytes -= at->cost;
    dropped.splice(dropped.begin(), shard.list, at);
}

void MemoryTier::shrink(Shard& shard, std::uint64_t limit_bytes, List& dropped) {
    while (shard.bytes > limit_bytes) take_out(shard, std::prev(shard.list.end()), dropped);
}

void MemoryTier::clear(const Which& which) {
    generation_.fetch_add(1);
    for (Shard& shard : shards_) {
        List dropped;
        const MutexLock lock(shard.mutex);
        for (auto at = shard.list.begin(); at != shard.list.end();) {
            const auto next = std::next(at);
            if (which.holds(at->hash, *at->entry)) take_out(shard, at, dropped);
            at = next;
        }
    }
}

void MemoryTier::set_limit(std::uint64_t limit_bytes) {
    limit_bytes_ = limit_bytes;
    for (Shard& shard : shards_) {
        List dropped;
        const MutexLock lock(shard.mutex);
        shrink(shard, shard_limit(), dropped);
    }
}

MemoryTier::Size MemoryTier::size() const {
    Size size;
    for (const Shard& shard : shards_) {
        const MutexLock lock(shard.mutex);
        size.entries += shard.index.size();
        size.bytes += shard.bytes;
    }
    return size;
}

}  // namespace weir::cache
