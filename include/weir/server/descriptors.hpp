// How many connections the process may have open: one descriptor for each, one more for the
// upstream call that it may need, and some for databases, listeners and the log.
#pragma once

#include <cstdint>

namespace weir::server {

// Raises the soft limit of descriptors to the hard one and returns what is in force.
[[nodiscard]] std::uint64_t raise_descriptor_limit() noexcept;

// `wanted` connections, or as many as fit into that many descriptors; at least one.
[[nodiscard]] std::uint32_t connections_that_fit(
    std::uint32_t wanted, std::uint64_t descriptors
) noexcept;

}  // namespace weir::server
