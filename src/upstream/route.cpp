#include "weir/upstream/route.hpp"

#include <algorithm>

#include "weir/base/text.hpp"

namespace weir::upstream {
namespace {

// Length first, so that no choice of names and urls reads like another one.
void append_part(std::string& out, std::string_view part) {
    out += std::to_string(part.size());
    out += ':';
    out += part;
}

}  // namespace

bool has_api(config::Kind kind, http::Api api) noexcept {
    return (kind == config::Kind::kAnthropic) == (api == http::Api::kAnthropic);
}

Route find_route(
    const config::Config& config, std::string_view served, std::string_view serve_as, http::Api api
) {
    Route route;
    const auto take_those_that = [&](const auto& serve) {
        for (const config::Upstream& upstream : config.upstreams) {
            // The demo answers whatever is asked, and says what it does not have.
            if (!upstream.demo && !has_api(upstream.kind, api)) continue;
            if (!serve(upstream)) continue;
            // Behind those of the same priority, so that the order as written stays.
            const auto place = std::ranges::upper_bound(
                route.upstreams, upstream.priority, {}, &config::Upstream::priority
            );
            route.upstreams.insert(place, &upstream);
        }
    };
    take_those_that([&](const config::Upstream& upstream) {
        return std::ranges::any_of(upstream.models, [&](const std::string& glob) {
            return glob_match(glob, served);
        });
    });
    if (route.upstreams.empty()) {
        take_those_that([](const config::Upstream& upstream) { return upstream.last_resort; });
    }
    for (const config::Upstream* upstream : route.upstreams) {
        append_part(route.rule, upstream->name);
        append_part(route.rule, upstream->url);
        append_part(route.rule, serve_as);
    }
    return route;
}

}  // namespace weir::upstream
