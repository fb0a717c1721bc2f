// Configs with one thing wrong, and what is told about each.
#pragma once

#include <span>
#include <string_view>

namespace weir::config::testing {

struct Bad {
    std::string_view yaml;
    int line;
    int column;
    std::string_view message;
    std::string_view hint = "";
};

// An upstream is added behind where there is none.
[[nodiscard]] std::span<const Bad> bad_configs() noexcept;
// What upstreams may be, the way to them, who may come.
[[nodiscard]] std::span<const Bad> bad_upstreams() noexcept;

}  // namespace weir::config::testing
