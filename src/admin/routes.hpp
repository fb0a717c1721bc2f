// How a call of the admin API reaches the function that answers it. Private to src/admin.
#pragma once

#include <string>
#include <string_view>

#include "weir/admin/admin.hpp"

#include "request.hpp"

namespace weir::admin {

struct Admin::Call {
    std::string name;  // what stood for "*" in the route's path, decoded
    Query query;
    std::string_view body;
};

// `path` is `pattern`, or `pattern` ends in "/*" and `path` has one more segment, not empty.
[[nodiscard]] inline bool matches(
    std::string_view pattern, std::string_view path, std::string_view& segment
) noexcept {
    segment = {};
    if (!pattern.ends_with("/*")) return path == pattern;
    const auto stem = pattern.substr(0, pattern.size() - 1);
    if (!path.starts_with(stem)) return false;
    segment = path.substr(stem.size());
    return !segment.empty() && segment.find('/') == std::string_view::npos;
}

}  // namespace weir::admin
