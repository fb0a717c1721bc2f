// How a call of the admin API reaches the function that answers it. Private to src/admin.
#pragma once

#include <string>
#include <string_view>

#include "weir/admin/admin.hpp"

#include "request.hpp"

namespace weir::admin {

// Who acts, in the audit trail.
constexpr std::string_view kByToken = "admin";

struct Admin::Call {
    std::string name;  // what stood for "*" in the route's path, decoded
    Query query;
    std::string_view body;
};

// The same segments, where a "*" of the pattern takes any one that is not empty.
[[nodiscard]] inline bool matches(
    std::string_view pattern, std::string_view path, std::string_view& segment
) noexcept {
    segment = {};
    while (true) {
        const auto wanted = pattern.substr(0, pattern.find('/'));
        const auto given = path.substr(0, path.find('/'));
        if (wanted == "*") {
            if (given.empty()) return false;
            segment = given;
        } else if (wanted != given) {
            return false;
        }
        const bool more = wanted.size() < pattern.size();
        if (more != (given.size() < path.size())) return false;
        if (!more) return true;
        pattern.remove_prefix(wanted.size() + 1);
        path.remove_prefix(given.size() + 1);
    }
}

}  // namespace weir::admin
