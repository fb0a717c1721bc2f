// The flights in the air, by CacheKey, so that equal requests find each other. Thread-safe;
// sharded.
//
// Ownership: a slot keeps its flight alive until remove(). Flights that nobody removed (everybody
// left while they were asking) take no newcomers; they are swept out as their shard grows.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "weir/base/mutex.hpp"
#include "weir/cache/cache_key.hpp"
#include "weir/cache/flight.hpp"

namespace weir::cache {

class FlightBoard {
public:
    struct Joined {
        Subscription subscription;
        bool started = false;  // a new flight: the caller asks the caps, then produces or gives up
    };
    // Joins the flight of that key, or inserts a new one in state asking: one step. A flight that
    // takes no newcomers is replaced. Not on the board: one that is not shareable, and one whose
    // key only has the same hash as that of a flight in the air.
    [[nodiscard]] Joined join(
        const std::shared_ptr<const CacheKey>& key,
        Flight::Options options,
        std::shared_ptr<Signal> signal
    );
    // It ended, or takes no newcomers: later requests make their own. Only if it is still this one.
    void remove(const CacheKey& key, const std::shared_ptr<Flight>& flight);
    [[nodiscard]] std::size_t size() const;

private:
    static constexpr std::size_t kFirstSweep = 64;  // slots of a shard

    struct Slot {
        std::shared_ptr<const CacheKey> key;
        std::shared_ptr<Flight> flight;
    };
    struct Shard {
        mutable Mutex mutex;
        std::unordered_map<Digest, Slot, DigestHash> slots GUARDED_BY(mutex);
        std::size_t sweep_at GUARDED_BY(mutex) = kFirstSweep;
    };
    [[nodiscard]] Shard& shard_of(const Digest& hash) noexcept {
        return shards_[hash[0] % shards_.size()];
    }
    std::array<Shard, 16> shards_;
};

}  // namespace weir::cache
