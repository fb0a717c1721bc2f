#include "digest_filter.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace weir::cache {

namespace {

constexpr std::uint64_t kBitsEach = 16;
constexpr std::uint64_t kBlockBits = 512;
constexpr int kBitsSet = 6;
// 128 KiB.
constexpr std::uint64_t kFewest = 64 << 10;

// Digests are SHA-256: any part of one is as good as a hash of it.
std::uint64_t part(const Digest& digest, std::size_t at) noexcept {
    std::uint64_t value = 0;
    std::memcpy(&value, digest.data() + at * sizeof value, sizeof value);
    return value;
}

// Calls see(word, bit) for each of its bits in a block, until that says false.
template <class See>
bool each_bit(const Digest& digest, const See& see) {
    std::uint64_t bits = part(digest, 1);
    for (int i = 0; i < kBitsSet; ++i, bits >>= 9) {
        if (!see(bits >> 6 & 7, std::uint64_t{1} << (bits & 63))) return false;
    }
    return true;
}

}  // namespace

void DigestFilter::Bits::add(const Digest& digest) noexcept {
    if (blocks.empty()) return;
    Block& block = blocks[part(digest, 0) & (blocks.size() - 1)];
    each_bit(digest, [&](std::size_t word, std::uint64_t bit) {
        block.words[word] |= bit;
        return true;
    });
    ++added;
}

bool DigestFilter::Bits::may_hold(const Digest& digest) const noexcept {
    if (blocks.empty()) return true;
    const Block& block = blocks[part(digest, 0) & (blocks.size() - 1)];
    return each_bit(digest, [&](std::size_t word, std::uint64_t bit) {
        return (block.words[word] & bit) != 0;
    });
}

void DigestFilter::begin(std::uint64_t rows) {
    Bits fresh;
    fresh.capacity = std::max(kFewest, 2 * rows);
    fresh.blocks.resize(std::bit_ceil(fresh.capacity * kBitsEach / kBlockBits));
    const MutexLock lock(mutex_);
    std::swap(next_, fresh);
}

void DigestFilter::add_read(const std::vector<Digest>& digests) {
    const MutexLock lock(mutex_);
    for (const Digest& digest : digests) next_.add(digest);
}

void DigestFilter::complete() {
    Bits old;
    const MutexLock lock(mutex_);
    old = std::exchange(bits_, std::exchange(next_, {}));
}

bool DigestFilter::add(const Digest& digest) {
    const MutexLock lock(mutex_);
    const bool held = bits_.may_hold(digest);
    bits_.add(digest);
    next_.add(digest);
    return held;
}

bool DigestFilter::may_hold(const Digest& digest) const {
    const MutexLock lock(mutex_);
    return bits_.may_hold(digest);
}

bool DigestFilter::worn() const {
    const MutexLock lock(mutex_);
    return next_.blocks.empty() && bits_.added > bits_.capacity;
}

}  // namespace weir::cache
