#include "weir/server/descriptors.hpp"

#include <algorithm>
#include <limits>
#include <sys/resource.h>

namespace weir::server {

namespace {

constexpr std::uint64_t kReserved = 64;
constexpr std::uint64_t kForEach = 2;  // the client's and the upstream's

}  // namespace

std::uint64_t raise_descriptor_limit() noexcept {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::numeric_limits<std::uint64_t>::max();
    if (limit.rlim_cur < limit.rlim_max) {
        rlimit raised = limit;
        raised.rlim_cur = raised.rlim_max;
        if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    }
    return limit.rlim_cur;
}

std::uint32_t connections_that_fit(std::uint32_t wanted, std::uint64_t descriptors) noexcept {
    const std::uint64_t free = descriptors > kReserved ? descriptors - kReserved : 0;
    const std::uint64_t fit = std::max<std::uint64_t>(1, free / kForEach);
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(wanted, fit));
}

}  // namespace weir::server
