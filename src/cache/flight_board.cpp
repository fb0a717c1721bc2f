#include "weir/cache/flight_board.hpp"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace weir::cache {

namespace {

FlightBoard::Joined start(Flight::Options options, std::shared_ptr<Signal> signal) {
    // A new flight always takes its first subscriber.
    return {*std::make_shared<Flight>(options)->subscribe(std::move(signal)), true};
}

}  // namespace

FlightBoard::Joined FlightBoard::join(
    const std::shared_ptr<const CacheKey>& key,
    Flight::Options options,
    std::shared_ptr<Signal> signal
) {
    if (options.backlog_limit_bytes == 0) return start(options, std::move(signal));
    // Flights may hold megabytes: let go of them outside the lock.
    std::vector<std::shared_ptr<Flight>> dropped;
    Shard& shard = shard_of(key->hash);
    const MutexLock lock(shard.mutex);
    Slot& slot = shard.slots[key->hash];
    if (slot.flight) {
        if (slot.key->text != key->text) {
            options.backlog_limit_bytes = 0;
            return start(options, std::move(signal));
        }
        if (std::optional<Subscription> subscription = slot.flight->subscribe(signal)) {
            return {std::move(*subscription), false};
        }
        dropped.push_back(std::move(slot.flight));
    }
    Joined joined = start(options, std::move(signal));
    slot = {key, joined.subscription.flight()};
    if (shard.slots.size() >= shard.sweep_at) {
        for (auto at = shard.slots.begin(); at != shard.slots.end();) {
            if (at->second.flight->takes_newcomers()) {
                ++at;
            } else {
                dropped.push_back(std::move(at->second.flight));
                at = shard.slots.erase(at);
            }
        }
        shard.sweep_at = std::max(kFirstSweep, 2 * shard.slots.size());
    }
    return joined;
}

void FlightBoard::remove(const CacheKey& key, const std::shared_ptr<Flight>& flight) {
    std::shared_ptr<Flight> dropped;  // let go outside the lock
    Shard& shard = shard_of(key.hash);
    const MutexLock lock(shard.mutex);
    const auto at = shard.slots.find(key.hash);
    if (at == shard.slots.end() || at->second.flight != flight) return;
    dropped = std::move(at->second.flight);
    shard.slots.erase(at);
}

std::size_t FlightBoard::size() const {
    std::size_t flights = 0;
    for (const Shard& shard : shards_) {
        const MutexLock lock(shard.mutex);
        flights += shard.slots.size();
    }
    return flights;
}

}  // namespace weir::cache
