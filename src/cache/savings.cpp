#include "weir/cache/savings.hpp"

#include <atomic>

#include <fmt/format.h>

namespace weir::cache {

namespace {

constexpr std::string_view kOthers = "(others)";
constexpr double kNanosPerDollar = 1e9;

metrics::Counter& requests(
    metrics::Registry& registry, std::string_view label, std::string_view name, const char* result
) {
    return registry.counter(
        fmt::format("weir_cache_{}_requests_total", label),
        fmt::format("Cacheable requests that were answered, by {} and result.", label),
        {{std::string(label), std::string(name)}, {"result", result}}
    );
}

}  // namespace

// Counters belong to the registry, which may count rows past its own bound together: what the API
// tells is counted here.
struct Savings::Row {
    Row(metrics::Registry& registry, std::string_view label, std::string_view name)
        : hits_metric(requests(registry, label, name, "hit")),
          joined_metric(requests(registry, label, name, "joined")),
          misses_metric(requests(registry, label, name, "miss")),
          bypasses_metric(requests(registry, label, name, "bypass")),
          bytes_metric(registry.counter(
              fmt::format("weir_cache_{}_bytes_total", label),
              "Bytes of answers that the cache or another request's call gave.",
              {{std::string(label), std::string(name)}}
          )),
          tokens_metric(registry.counter(
              fmt::format("weir_cache_{}_saved_tokens_total", label),
              "Tokens that no upstream was asked for.",
              {{std::string(label), std::string(name)}}
          )) {
        registry.gauge(
            fmt::format("weir_cache_{}_saved_usd", label),
            "Money that was not spent, by the prices of the time.",
            [this] { return static_cast<double>(money.load()) / kNanosPerDollar; },
            {{std::string(label), std::string(name)}}
        );
        saved.name = name;
    }

    void add(const Answered& answered) {
        switch (answered.outcome) {
            case Outcome::kHit:
                ++saved.hits;
                hits_metric.add();
                break;
            case Outcome::kJoined:
                ++saved.joined;
                joined_metric.add();
                break;
            case Outcome::kMiss:
                ++saved.misses;
                misses_metric.add();
                return;
            case Outcome::kBypass:
                ++saved.bypasses;
                bypasses_metric.add();
                return;
        }
        saved.bytes += answered.bytes;
        bytes_metric.add(answered.bytes);
        saved.tokens += answered.saved_tokens;
        tokens_metric.add(answered.saved_tokens);
        saved.money += answered.saved_money;
        money = saved.money;
    }

    Saved saved;
    std::atomic<std::uint64_t> money = 0;  // as in `saved`, for whoever reads the gauge
    metrics::Counter& hits_metric;
    metrics::Counter& joined_metric;
    metrics::Counter& misses_metric;
    metrics::Counter& bypasses_metric;
    metrics::Counter& bytes_metric;
    metrics::Counter& tokens_metric;
};

Savings::Savings(metrics::Registry& registry) noexcept : registry_(registry) {}
Savings::~Savings() = default;

double Saved::hit_rate() const noexcept {
    const std::uint64_t found = hits + joined;
    const std::uint64_t asked = found + misses;
    return asked == 0 ? 0 : static_cast<double>(found) / static_cast<double>(asked);
}

Savings::Row& Savings::row(Rows& rows, std::string_view name, std::string_view label) {
    auto found = rows.find(name);
    if (found != rows.end()) return *found->second;
    if (rows.size() >= kMostNames) {
        name = kOthers;
        found = rows.find(name);
        if (found != rows.end()) return *found->second;
    }
    auto made = std::make_unique<Row>(registry_, label, name);
    return *rows.emplace(std::string(name), std::move(made)).first->second;
}

void Savings::add(const Answered& answered) {
    const MutexLock lock(mutex_);
    row(keys_, answered.key, "key").add(answered);
    row(models_, answered.model, "model").add(answered);
}

std::vector<Saved> Savings::list(const Rows& rows) const {
    std::vector<Saved> list;
    list.reserve(rows.size());
    for (const auto& [name, row] : rows) list.push_back(row->saved);
    return list;
}

std::vector<Saved> Savings::keys() const {
    const MutexLock lock(mutex_);
    return list(keys_);
}

std::vector<Saved> Savings::models() const {
    const MutexLock lock(mutex_);
    return list(models_);
}

Saved Savings::key(std::string_view name) const {
    const MutexLock lock(mutex_);
    const auto found = keys_.find(name);
    return found == keys_.end() ? Saved() : found->second->saved;
}

Saved Savings::all() const {
    Saved sum;
    for (const Saved& one : models()) {
        sum.hits += one.hits;
        sum.joined += one.joined;
        sum.misses += one.misses;
        sum.bypasses += one.bypasses;
        sum.bytes += one.bytes;
        sum.tokens += one.tokens;
        sum.money += one.money;
    }
    return sum;
}

}  // namespace weir::cache
