// What the cache and the flights saved, by key and by model, since the process started.
// Thread-safe. Every row is in /metrics as well.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "weir/base/mutex.hpp"
#include "weir/metrics/metrics.hpp"

namespace weir::cache {

// How a cacheable request that was answered well came to its answer.
enum class Outcome : std::uint8_t {
    kHit,     // from the cache
    kJoined,  // from an equal request's call
    kMiss,    // by a call of its own, which was shared
    kBypass   // by a call of its own alone
};

struct Answered {
    std::string_view key;    // the name of its holder
    std::string_view model;  // served
    Outcome outcome = Outcome::kMiss;
    std::uint64_t bytes = 0;         // of the answer
    std::uint64_t saved_tokens = 0;  // of a hit or a joined one, if its upstream told
    std::uint64_t saved_money = 0;   // nano-dollars, by today's price
};

struct Saved {
    std::string name;  // of the key or the model
    std::uint64_t hits = 0;
    std::uint64_t joined = 0;
    std::uint64_t misses = 0;
    std::uint64_t bypasses = 0;
    std::uint64_t bytes = 0;  // of hits and joined ones
    std::uint64_t tokens = 0;
    std::uint64_t money = 0;

    // Of those that were looked up; 0 to 1.
    [[nodiscard]] double hit_rate() const noexcept;
};

class Savings {
public:
    // Names beyond are counted together, as "(others)": models are named by clients.
    static constexpr std::size_t kMostNames = 1000;

    // REQUIRES: `registry` outlives it, and is not read any more when it is gone.
    explicit Savings(metrics::Registry& registry) noexcept;
    ~Savings();
    Savings(const Savings&) = delete;
    Savings& operator=(const Savings&) = delete;

    void add(const Answered& answered);
    // By name.
    [[nodiscard]] std::vector<Saved> keys() const;
    [[nodiscard]] std::vector<Saved> models() const;
    [[nodiscard]] Saved key(std::string_view name) const;
    [[nodiscard]] Saved all() const;

private:
    struct Row;
    using Rows = std::map<std::string, std::unique_ptr<Row>, std::less<>>;

    Row& row(Rows& rows, std::string_view name, std::string_view label) REQUIRES_LOCK(mutex_);
    [[nodiscard]] std::vector<Saved> list(const Rows& rows) const REQUIRES_LOCK(mutex_);

    metrics::Registry& registry_;
    mutable Mutex mutex_;
    Rows keys_ GUARDED_BY(mutex_);
    Rows models_ GUARDED_BY(mutex_);
};

}  // namespace weir::cache
