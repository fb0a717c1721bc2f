// What well-known models cost. Private to the room.
#pragma once

#include <span>
#include <string_view>

#include "weir/config/config.hpp"

namespace weir::config {

struct ShippedPrice {
    std::string_view models;  // glob
    Price price;
};

// The first that fits a model is its price: the more specific ones come first.
[[nodiscard]] std::span<const ShippedPrice> shipped_prices() noexcept;

}  // namespace weir::config
