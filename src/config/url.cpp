#include "url.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <charconv>

#include "weir/base/text.hpp"

namespace weir::config {

namespace {

std::unexpected<std::string> bad(std::string_view why) {
    return std::unexpected(std::string(why));
}

bool is_host_name(std::string_view host) {
    if (host.empty() || host.size() > 253 || host.front() == '.' || host.front() == '-')
        return false;
    if (host.find("..") != std::string_view::npos) return false;
    return std::ranges::all_of(host, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    });
}

bool is_path(std::string_view path) {
    return std::ranges::all_of(path, [](char c) {
        return c > ' ' && c < 0x7F &&
               std::string_view("\"<>\\^`{|}").find(c) == std::string_view::npos;
    });
}

bool has_dot_segment(std::string_view path) {
    while (!path.empty()) {
        path.remove_prefix(1);
        const std::string_view segment = path.substr(0, path.find('/'));
        if (segment == "." || segment == "..") return true;
        path.remove_prefix(segment.size());
    }
    return false;
}

}  // namespace

bool is_address(const std::string& text) noexcept {
    std::array<unsigned char, 16> bytes{};
    return inet_pton(AF_INET, text.c_str(), bytes.data()) == 1 ||
           inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1;
}

std::expected<Url, std::string> parse_url(std::string_view text) {
    const std::size_t colon = text.find("://");
    if (colon == std::string_view::npos) return bad("it has no `https://` in front");
    const std::string scheme = to_lower(text.substr(0, colon));
    if (scheme != "http" && scheme != "https") return bad("only http and https are supported");
    const std::string_view rest = text.substr(colon + 3);
    if (rest.find('?') != std::string_view::npos) return bad("it must not have a query (`?`)");
    if (rest.find('#') != std::string_view::npos) return bad("it must not have a fragment (`#`)");
    const std::string_view authority = rest.substr(0, rest.find('/'));
    std::string_view path = rest.substr(authority.size());
    if (authority.find('@') != std::string_view::npos) {
        return bad("it must not hold a user or password; give the key as `key`");
    }

    Url url;
    url.tls = scheme == "https";
    url.port = url.tls ? 443 : 80;
    std::string_view port;
    bool has_port = false;
    if (authority.starts_with('[')) {
        const std::size_t end = authority.find(']');
        if (end == std::string_view::npos) return bad("its `[` has no `]`");
        url.host = to_lower(authority.substr(1, end - 1));
        if (url.host.find(':') == std::string::npos || !is_address(url.host)) {
            return bad("there is no IPv6 address in its brackets");
        }
        const std::string_view behind = authority.substr(end + 1);
        has_port = behind.starts_with(':');
        if (!behind.empty() && !has_port) return bad("only a port may follow its `]`");
        if (has_port) port = behind.substr(1);
    } else {
        const std::size_t split = authority.find(':');
        url.host = to_lower(authority.substr(0, split));
        has_port = split != std::string_view::npos;
        if (has_port) port = authority.substr(split + 1);
        if (url.host.empty()) return bad("it has no host");
        if (!is_host_name(url.host)) return bad("its host is not a host name");
    }
    if (has_port) {
        unsigned number = 0;
        const auto [stop, error] = std::from_chars(port.data(), port.data() + port.size(), number);
        if (error != std::errc{} || stop != port.data() + port.size() || number < 1 ||
            number > 65535) {
            return bad("its port is not a number from 1 to 65535");
        }
        url.port = static_cast<std::uint16_t>(number);
    }

    while (path.ends_with('/')) path.remove_suffix(1);
    if (!is_path(path)) return bad("its path has characters that a URL cannot have");
    if (has_dot_segment(path)) return bad("its path must not have `.` or `..` in it");
    for (const std::string_view ending :
         {"/chat/completions", "/completions", "/embeddings", "/responses"}) {
        if (path.ends_with(ending)) {
            return bad("give the base address, such as https://api.openai.com/v1");
        }
    }
    url.path = std::string(path);
    url.text = std::string(text);
    while (url.text.ends_with('/')) url.text.pop_back();
    return url;
}

}  // namespace weir::config
