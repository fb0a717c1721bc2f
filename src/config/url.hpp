// Addresses of upstreams and proxies, and origins of browsers. Pure; private to the room.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "weir/config/config.hpp"

namespace weir::config {

struct Url {
    std::string text;  // without a final slash
    bool tls = false;
    std::string host;  // lower case; an IPv6 address without its brackets
    std::uint16_t port = 0;
    std::string path;  // "" or "/v1"
};

// On failure: what is wrong, without the address, which may hold a password.
[[nodiscard]] std::expected<Url, std::string> parse_url(std::string_view text);

// "http://user:password@proxy:3128", https too; user and password percent-encoded where they need
// it, the port the scheme's if left out. On failure as above.
[[nodiscard]] std::expected<HttpProxy, std::string> parse_proxy(std::string_view text);

// An origin of a browser as a glob: "*", "https://*.example.org", "http://localhost:*". On failure:
// what is wrong.
[[nodiscard]] std::expected<std::string, std::string> parse_origin(std::string_view text);

// Whether `text` is a numeric IPv4 or IPv6 address.
[[nodiscard]] bool is_address(const std::string& text) noexcept;

}  // namespace weir::config
