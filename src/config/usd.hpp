// Amounts of money as people write them. Private to the room.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "weir/config/cap.hpp"

namespace weir::config {

constexpr std::uint64_t kMostUsd = 1'000'000'000;

// "5", "0.50", "0.000000001" in nano-dollars, exactly: never through floating point. nullopt: not
// digits with at most 9 more behind a dot, or more than kMostUsd.
[[nodiscard]] constexpr std::optional<std::uint64_t> nano_dollars(std::string_view text) {
    const std::size_t dot = text.find('.');
    const std::string_view whole = text.substr(0, dot);
    const std::string_view part =
        dot == std::string_view::npos ? std::string_view("0") : text.substr(dot + 1);
    if (whole.empty() || part.empty() || part.size() > 9) return std::nullopt;
    std::uint64_t nano = 0;
    for (const char c : whole) {
        if (c < '0' || c > '9') return std::nullopt;
        nano = nano * 10 + static_cast<std::uint64_t>(c - '0');
        if (nano > kMostUsd) return std::nullopt;
    }
    for (std::size_t i = 0; i < 9; ++i) {
        const char c = i < part.size() ? part[i] : '0';
        if (c < '0' || c > '9') return std::nullopt;
        nano = nano * 10 + static_cast<std::uint64_t>(c - '0');
    }
    if (nano > kMostUsd * kNanoDollars) return std::nullopt;
    return nano;
}

}  // namespace weir::config
