// A plain URL as an upstream, for callers that have no config (tests, `weir doctor`). Pure.
#pragma once

#include <string>
#include <string_view>

#include "weir/base/error.hpp"
#include "weir/config/config.hpp"

namespace weir::upstream {

// "http[s]://host[:port][/base]" -> an Upstream with default timeouts and no key. IPv6 hosts are
// written in brackets. kConfig: not such a URL (user names, queries and fragments are refused).
[[nodiscard]] Result<config::Upstream> upstream_from_url(std::string_view url, std::string name);

}  // namespace weir::upstream
