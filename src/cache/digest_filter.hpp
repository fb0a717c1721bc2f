// Which digests cache.db cannot hold: a Bloom filter. Of what it was told it never says no; of the
// rest it says maybe for less than one in a hundred. Thread-safe.
//
// It is told what is stored, and what a reading of the file finds. Until the first reading is over
// it says maybe to all. What leaves the file stays in here until another reading is over.
#pragma once

#include <cstdint>
#include <vector>

#include "weir/base/mutex.hpp"
#include "weir/cache/cache_key.hpp"

namespace weir::cache {

class DigestFilter {
public:
    // A reading begins of a file of about so many rows: once before anything is stored, and again
    // when it is worn. Then what is stored but not in the file yet has to be told as read.
    void begin(std::uint64_t rows);
    void add_read(const std::vector<Digest>& digests);
    // All rows were read.
    void complete();

    // It is about to be stored. False: it surely was not there.
    bool add(const Digest& digest);
    [[nodiscard]] bool may_hold(const Digest& digest) const;
    // More than it was made for: it says maybe too often.
    [[nodiscard]] bool worn() const;

private:
    // All bits of a digest are in one line of the processor's cache.
    struct alignas(64) Block {
        std::uint64_t words[8] = {};
    };
    struct Bits {
        std::vector<Block> blocks;
        std::uint64_t added = 0;
        std::uint64_t capacity = 0;

        void add(const Digest& digest) noexcept;
        [[nodiscard]] bool may_hold(const Digest& digest) const noexcept;
    };

    mutable Mutex mutex_;
    Bits bits_ GUARDED_BY(mutex_);  // none before the first reading is over
    Bits next_ GUARDED_BY(mutex_);  // of the reading that goes on, or none
};

}  // namespace weir::cache
