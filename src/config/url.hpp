// The address of an upstream. Pure; private to the room.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

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

// Whether `text` is a numeric IPv4 or IPv6 address.
[[nodiscard]] bool is_address(const std::string& text) noexcept;

}  // namespace weir::config
