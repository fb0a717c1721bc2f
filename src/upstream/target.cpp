#include "weir/upstream/target.hpp"

namespace weir::upstream {

std::string target_on(
    const config::Upstream& upstream,
    std::string_view path,
    std::string_view query,
    std::string_view /*model*/
) {
    std::string target = upstream.base_path;
    target += path.substr(std::string_view("/v1").size());
    if (!query.empty()) target.append("?").append(query);
    return target;
}

}  // namespace weir::upstream
