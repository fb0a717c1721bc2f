#include "request_head.hpp"

#include <algorithm>
#include <array>

#include "weir/base/text.hpp"
#include "weir/http/write.hpp"

namespace weir::upstream {
namespace {

// A field of one of these names says who calls.
constexpr std::array<std::string_view, 3> kCredentials = {"authorization", "api-key", "x-api-key"};
// These are the connection's, not the request's: whoever sets them in a config or sends them here
// must not end or split what we send.
constexpr std::array<std::string_view, 12> kOurs = {
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "content-length",
};

template <std::size_t kSize>
bool is_one_of(const std::array<std::string_view, kSize>& names, std::string_view name) {
    return std::ranges::any_of(names, [&](std::string_view one) { return iequals(one, name); });
}

// With the brackets that an IPv6 address needs before a port.
std::string bracketed(const std::string& host) {
    const std::string bare = bare_host(host);
    return bare.find(':') == std::string::npos ? bare : "[" + bare + "]";
}

bool has_content(const CallRequest& request) {
    return request.source != nullptr || !request.body.empty() || request.method == "POST" ||
           request.method == "PUT" || request.method == "PATCH";
}

void add_framing(const CallRequest& request, http::Fields& fields) {
    if (request.source != nullptr && !request.source_bytes) {
        fields.add("Transfer-Encoding", "chunked");
        return;
    }
    if (!has_content(request)) return;
    const std::uint64_t bytes =
        request.source != nullptr ? *request.source_bytes : request.body.size();
    fields.add("Content-Length", std::to_string(bytes));
}

void add_credentials(const config::Upstream& upstream, std::size_t key, http::Fields& fields) {
    if (upstream.kind == config::Kind::kAnthropic && !fields.find("anthropic-version")) {
        fields.add("anthropic-version", "2023-06-01");
    }
    // Who says in `headers` who calls means it.
    const bool other = std::ranges::any_of(upstream.headers, [](const config::ExtraField& extra) {
        return is_one_of(kCredentials, extra.name);
    });
    const std::string_view value = upstream.key_at(key);
    if (value.empty() || other) return;
    switch (upstream.kind) {
        case config::Kind::kOpenAi:
            fields.add("Authorization", "Bearer " + std::string(value));
            break;
        case config::Kind::kAzure:
            fields.add("api-key", value);
            break;
        case config::Kind::kAnthropic:
            fields.add("x-api-key", value);
            break;
    }
}

std::string base64(std::string_view bytes) {
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t group = 0;
        for (std::size_t j = 0; j < 3; ++j) {
            const char c = i + j < bytes.size() ? bytes[i + j] : '\0';
            group = group << 8 | static_cast<unsigned char>(c);
        }
        for (std::size_t j = 0; j < 4; ++j) {
            const bool filled = i + j <= bytes.size();
            out += filled ? kDigits[group >> (18 - 6 * j) & 63U] : '=';
        }
    }
    return out;
}

}  // namespace

bool is_request_line(std::string_view method, std::string_view target) {
    const bool letters = std::ranges::all_of(method, [](char c) { return c >= 'A' && c <= 'Z'; });
    const bool visible = std::ranges::all_of(target, [](char c) { return c > ' ' && c != '\x7f'; });
    return !method.empty() && letters && target.starts_with('/') && visible;
}

std::string host_of(const config::Upstream& upstream) {
    std::string out = bracketed(upstream.host);
    if (upstream.port != (upstream.tls ? 443 : 80)) out += ":" + std::to_string(upstream.port);
    return out;
}

std::string bare_host(const std::string& host) {
    const bool has = host.size() > 2 && host.front() == '[' && host.back() == ']';
    return has ? host.substr(1, host.size() - 2) : host;
}

void add_own_fields(http::Fields& fields, const config::Upstream& upstream, std::size_t key) {
    for (const std::string_view name : kCredentials) fields.remove(name);
    add_credentials(upstream, key, fields);
    for (const config::ExtraField& extra : upstream.headers) {
        if (!is_one_of(kOurs, extra.name)) fields.set(extra.name, extra.value);
    }
}

std::string request_head(CallRequest& request, const config::Upstream& upstream, std::size_t key) {
    http::Fields& fields = request.fields;
    for (const std::string_view name : kOurs) fields.remove(name);
    fields.add("Host", host_of(upstream));
    add_own_fields(fields, upstream, key);
    add_framing(request, fields);
    const bool asks_encoding = fields.find("Accept-Encoding").has_value();
    if (!asks_encoding) fields.add("Accept-Encoding", "identity");
    return http::write_request_head(request.method, request.target, fields);
}

std::string tunnel_head(const config::Upstream& upstream) {
    const std::string authority = bracketed(upstream.host) + ":" + std::to_string(upstream.port);
    http::Fields fields;
    fields.add("Host", authority);
    const std::string& credentials = upstream.proxy->credentials;
    if (!credentials.empty()) fields.add("Proxy-Authorization", "Basic " + base64(credentials));
    return http::write_request_head("CONNECT", authority, fields);
}

}  // namespace weir::upstream
