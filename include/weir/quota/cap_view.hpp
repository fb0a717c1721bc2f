// Caps and grants as JSON, for whoever asks how they stand: one shape in GET /api/me and in the
// admin API. Times are the wall clock's, spans whole seconds, rounded up, so that waiting them is
// enough; money is in dollars. Pure.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "weir/base/clock.hpp"
#include "weir/quota/ledger.hpp"

namespace weir::quota {

using Json = nlohmann::ordered_json;

// Two clocks at one moment: brings the ledger's times to what people read.
struct Now {
    LedgerTime ledger;
    WallTime wall;
};

[[nodiscard]] Json cap_view(const CapState& state, WallTime now);
[[nodiscard]] Json grant_view(const Grant& grant, const Now& now);
// Dollars of nano-dollars: 0.0125.
[[nodiscard]] Json usd(std::uint64_t nano_dollars);

// The text of `json`, in which each fraction has no more digits than it needs to be read back,
// and no exponent: nlohmann's own dump() promises the former only nearly always.
[[nodiscard]] std::string json_text(const Json& json);

}  // namespace weir::quota
