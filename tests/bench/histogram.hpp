// Delays of a benchmark, counted in buckets.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace weir::bench {

// 1 us a bucket up to 1 ms, 1 % beyond.
class Histogram {
public:
    void add(std::int64_t span_ns) {
        const double us = static_cast<double>(std::max(std::int64_t{0}, span_ns)) / 1000;
        most_ = std::max(most_, us);
        ++total_;
        const double bucket = us < 1000 ? us : 1000 + std::log(us / 1000) / std::log(1.01);
        ++counts_[std::min(static_cast<std::size_t>(bucket), counts_.size() - 1)];
    }
    // The upper end of the bucket of that share.
    [[nodiscard]] double at(double share) const {
        const double wanted = share * static_cast<double>(total_);
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < counts_.size() && total_ > 0; ++i) {
            sum += counts_[i];
            const double end = static_cast<double>(i + 1);
            if (static_cast<double>(sum) < wanted) continue;
            return std::min(most_, end <= 1000 ? end : 1000 * std::pow(1.01, end - 1000));
        }
        return most_;
    }
    [[nodiscard]] double most() const { return most_; }

private:
    std::array<std::uint64_t, 3000> counts_{};  // up to 1000 * 1.01^2000 us, days
    std::uint64_t total_ = 0;
    double most_ = 0;
};

}  // namespace weir::bench
