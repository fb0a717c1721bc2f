#include "url.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <charconv>
#include <optional>

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

namespace {

// "host", "host:port", "[::1]:port" into `out`, which has the port that is meant if none stands
// there. What is wrong, or nullopt.
template <class Out>
std::optional<std::string_view> read_authority(std::string_view authority, Out& out) {
    std::string_view port;
    bool has_port = false;
    if (authority.starts_with('[')) {
        const std::size_t end = authority.find(']');
        if (end == std::string_view::npos) return "its `[` has no `]`";
        out.host = to_lower(authority.substr(1, end - 1));
        if (out.host.find(':') == std::string::npos || !is_address(out.host)) {
            return "there is no IPv6 address in its brackets";
        }
        const std::string_view behind = authority.substr(end + 1);
        has_port = behind.starts_with(':');
        if (!behind.empty() && !has_port) return "only a port may follow its `]`";
        if (has_port) port = behind.substr(1);
    } else {
        const std::size_t split = authority.find(':');
        out.host = to_lower(authority.substr(0, split));
        has_port = split != std::string_view::npos;
        if (has_port) port = authority.substr(split + 1);
        if (out.host.empty()) return "it has no host";
        if (!is_host_name(out.host)) return "its host is not a host name";
    }
    if (!has_port) return std::nullopt;
    unsigned number = 0;
    const auto [stop, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (error != std::errc{} || stop != port.data() + port.size() || number < 1 || number > 65535) {
        return "its port is not a number from 1 to 65535";
    }
    out.port = static_cast<std::uint16_t>(number);
    return std::nullopt;
}

// Percent codes replaced; nullopt: a wrong one, or a byte that no header can hold.
std::optional<std::string> decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == '%') {
            unsigned byte = 0;
            const std::string_view code = text.substr(i + 1, 2);
            const auto [stop, error] =
                std::from_chars(code.data(), code.data() + code.size(), byte, 16);
            if (code.size() != 2 || error != std::errc{} || stop != code.data() + 2) {
                return std::nullopt;
            }
            c = static_cast<char>(byte);
            i += 2;
        }
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return std::nullopt;
        out += c;
    }
    return out;
}

}  // namespace

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
    if (const auto wrong = read_authority(authority, url)) return bad(*wrong);

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

std::expected<HttpProxy, std::string> parse_proxy(std::string_view text) {
    const std::size_t colon = text.find("://");
    if (colon == std::string_view::npos) return bad("it has no `http://` in front");
    const std::string scheme = to_lower(text.substr(0, colon));
    if (scheme != "http" && scheme != "https") {
        return bad("only http and https proxies are supported");
    }
    std::string_view authority = text.substr(colon + 3);
    if (authority.ends_with('/')) authority.remove_suffix(1);
    HttpProxy proxy;
    proxy.tls = scheme == "https";
    proxy.port = proxy.tls ? 443 : 80;
    if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) {
        const std::string_view user = authority.substr(0, at);
        const std::size_t split = user.find(':');
        const auto name = decoded(user.substr(0, split));
        const auto password =
            decoded(split == std::string_view::npos ? std::string_view() : user.substr(split + 1));
        // The first colon ends the user in what is sent.
        if (!name || name->empty() || name->find(':') != std::string::npos || !password) {
            return bad("its user and password are not percent-encoded text");
        }
        proxy.credentials = *name + ":" + *password;
        authority.remove_prefix(at + 1);
    }
    if (authority.find_first_of("/?#") != std::string_view::npos) {
        return bad("it has more than a host and a port");
    }
    if (const auto wrong = read_authority(authority, proxy)) return bad(*wrong);
    return proxy;
}

std::expected<std::string, std::string> parse_origin(std::string_view text) {
    if (text == "*") return std::string(text);
    const std::size_t colon = text.find("://");
    if (colon == std::string_view::npos) return bad("it has no `https://` in front");
    std::string origin = to_lower(text);
    const std::string_view scheme = std::string_view(origin).substr(0, colon);
    const std::string_view host = std::string_view(origin).substr(colon + 3);
    const bool scheme_right = !scheme.empty() && std::ranges::all_of(scheme, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
               std::string_view("+-.").find(c) != std::string_view::npos;
    });
    if (!scheme_right) return bad("what stands before its `://` is no scheme");
    if (host.find('/') != std::string_view::npos) return bad("an origin has no path");
    const bool host_right = !host.empty() && std::ranges::all_of(host, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
               std::string_view("-._:[]*?").find(c) != std::string_view::npos;
    });
    if (!host_right) return bad("what stands behind its `://` is no host");
    return origin;
}

}  // namespace weir::config
