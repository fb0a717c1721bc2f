// Counters, gauges and histograms, and their Prometheus text. A cell is a relaxed atomic that one
// worker writes without contention; a scrape sums the cells. Register at start, keep the reference.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::metrics {

using Labels = std::vector<std::pair<std::string, std::string>>;

// Only goes up. Thread-safe.
class Counter {
public:
    void add(std::uint64_t by = 1) noexcept;
    [[nodiscard]] std::uint64_t value() const noexcept;

private:
    struct alignas(64) Cell {
        std::atomic<std::uint64_t> value = 0;
    };
    std::array<Cell, 4> cells_;  // a thread adds to the cell of its number
};

// Durations in fixed buckets (0.5 ms to 600 s). Thread-safe.
class Histogram {
public:
    static std::span<const double> bounds_s() noexcept;
    void observe(std::chrono::nanoseconds value) noexcept;

    static constexpr std::size_t kBuckets = 16;  // the last is +Inf
    std::array<std::atomic<std::uint64_t>, kBuckets> counts{};
    std::atomic<std::uint64_t> sum_us = 0;
};

// Owns all families. Registering takes a lock and is for start-up and rare label sets; the
// references it returns live as long as the registry. Label values come from config or fixed sets,
// never from clients, and past 1,000 label sets of one family everything further goes to
// {other="true"}.
class Registry {
public:
    Registry();
    ~Registry();
    Registry(const Registry&) = delete;
    Registry& operator=(const Registry&) = delete;

    Counter& counter(std::string_view name, std::string_view help, const Labels& labels = {});
    Histogram& histogram(std::string_view name, std::string_view help, const Labels& labels = {});
    // Asked at each scrape.
    void gauge(
        std::string_view name,
        std::string_view help,
        std::function<double()> read,
        const Labels& labels = {}
    );

    // Prometheus text exposition format, version 0.0.4.
    [[nodiscard]] std::string expose() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace weir::metrics
