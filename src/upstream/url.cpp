#include "weir/upstream/url.hpp"

#include <algorithm>
#include <charconv>

#include "weir/base/text.hpp"

namespace weir::upstream {

Result<config::Upstream> upstream_from_url(std::string_view url, std::string name) {
    config::Upstream out;
    out.name = std::move(name);
    while (url.ends_with('/')) url.remove_suffix(1);
    out.url = std::string(url);
    const bool odd_bytes = std::ranges::any_of(url, [](char c) { return c <= ' ' || c >= '\x7f'; });
    if (odd_bytes || url.find_first_of("?#@") != std::string_view::npos) {
        return fail(ErrorCode::kConfig, "not a plain URL of an upstream");
    }
    const std::string_view schemes[] = {"http://", "https://"};
    for (const std::string_view scheme : schemes) {
        if (!iequals(url.substr(0, scheme.size()), scheme)) continue;
        out.tls = scheme.size() == 8;
        url.remove_prefix(scheme.size());
        const std::size_t slash = std::min(url.find('/'), url.size());
        std::string_view authority = url.substr(0, slash);
        out.base_path = std::string(url.substr(slash));
        out.port = out.tls ? 443 : 80;
        // A colon inside the brackets of an IPv6 address is not the port's.
        const std::size_t bracket = authority.rfind(']');
        const std::size_t colon = authority.rfind(':');
        if (colon != std::string_view::npos &&
            (bracket == std::string_view::npos || colon > bracket)) {
            const std::string_view digits = authority.substr(colon + 1);
            const auto [end, error] =
                std::from_chars(digits.data(), digits.data() + digits.size(), out.port);
            if (error != std::errc{} || end != digits.data() + digits.size() || out.port == 0) {
                return fail(ErrorCode::kConfig, "the port is not a number of 1 to 65535");
            }
            authority = authority.substr(0, colon);
        }
        if (authority.starts_with('[') && authority.ends_with(']')) {
            authority = authority.substr(1, authority.size() - 2);
        } else if (authority.find_first_of("[]:") != std::string_view::npos) {
            return fail(ErrorCode::kConfig, "the host is not a name or an address");
        }
        if (authority.empty()) return fail(ErrorCode::kConfig, "the host is missing");
        out.host = to_lower(authority);
        return out;
    }
    return fail(ErrorCode::kConfig, "a URL of an upstream starts with http:// or https://");
}

}  // namespace weir::upstream
