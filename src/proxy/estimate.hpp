// What a message may take, and what it took, in tokens and money. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "weir/config/config.hpp"
#include "weir/http/answer.hpp"
#include "weir/http/error_body.hpp"
#include "weir/proxy/exchange.hpp"
#include "weir/quota/ledger.hpp"

namespace weir::proxy {

// Tokens of an answer whose limit nobody told: neither the client nor `max_output` of its model.
// docs/caps.md tells it.
inline constexpr std::uint64_t kUnknownOutput = 16'384;

// Nano-dollars, rounded up.
[[nodiscard]] std::uint64_t cost(const config::Price& price, const http::Usage& usage) noexcept;
[[nodiscard]] quota::Amounts amounts_of(
    const config::Price& price, const http::Usage& usage
) noexcept;

// Fills in `reserve`, `price`, `output_limit` and `limit_own` of an exchange whose model and body
// are known. An error: a money cap covers a model without a price.
[[nodiscard]] std::optional<http::ApiError> estimate(Exchange& x);

}  // namespace weir::proxy
