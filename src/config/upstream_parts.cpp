#include "upstream_parts.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "weir/base/text.hpp"

#include "url.hpp"

namespace weir::config {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostKeys = 100;
constexpr std::size_t kMostFields = 64;
constexpr std::size_t kLongestValue = 8192;
constexpr std::size_t kLongestParameter = 256;

// Set by Weir for each request, hop by hop, or part of the request's own body.
constexpr auto kNotOurs = std::to_array<std::string_view>(
    {"accept-encoding",
     "connection",
     "content-encoding",
     "content-length",
     "content-type",
     "expect",
     "host",
     "keep-alive",
     "proxy-authenticate",
     "proxy-connection",
     "proxy-authorization",
     "te",
     "trailer",
     "transfer-encoding",
     "upgrade"}
);

bool is_token(std::string_view name) {
    return !name.empty() && std::ranges::all_of(name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
    });
}

bool is_field_value(std::string_view value) {
    return trim(value) == value &&
           std::ranges::all_of(value, [](char c) { return c >= ' ' && c < 0x7F; });
}

// The value of a header or parameter, which is never shown.
std::optional<std::string> read_hidden(Reader& reader, const Node& node, std::string_view label) {
    auto value = reader.value(node, label, "a text");
    if (!value) return std::nullopt;
    reader.remember_secret(value->text);
    if (value->text.size() > kLongestValue) {
        reader.fault(node, fmt::format("`{}` is longer than {} characters", label, kLongestValue));
        return std::nullopt;
    }
    return std::move(value->text);
}

bool has_name(const std::vector<ExtraField>& fields, std::string_view name) {
    return std::ranges::any_of(fields, [name](const ExtraField& field) {
        return iequals(field.name, name);
    });
}

bool are_few(Reader& reader, const Node& node, std::string_view label) {
    if (node.entries.size() <= kMostFields) return true;
    reader.fault(node, fmt::format("`{}` has more than {} entries", label, kMostFields));
    return false;
}

// As Azure lets people name them.
std::optional<std::string> read_deployment(Reader& reader, const Node& node) {
    auto name = reader.name(node, "deployments");
    if (!name) return std::nullopt;
    const auto plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == '.';
    };
    if (std::ranges::all_of(name->text, plain) &&
        name->text.find_first_not_of('.') != std::string::npos) {
        return std::move(name->text);
    }
    reader.fault(
        node,
        fmt::format(
            "`deployments`: expected a name of letters, digits, `-`, `_` and `.`, found {}",
            name->shown
        )
    );
    return std::nullopt;
}

}  // namespace

void read_keys_of(Reader& reader, const Node& node, std::vector<std::string>& out) {
    out.clear();
    const auto read_one = [&](const Node& one) {
        auto key = reader.secret(one, "key");
        if (!key || key->empty()) return;
        if (std::ranges::find(out, *key) != out.end()) {
            reader.fault(one, "`key`: the same key stands twice", "each is used in turn anyway");
            return;
        }
        out.push_back(std::move(*key));
    };
    if (node.kind != Node::Kind::kList) return read_one(node);
    if (node.items.empty()) reader.fault(node, "`key` is an empty list", "leave it out for none");
    if (node.items.size() > kMostKeys) {
        reader.fault(node, fmt::format("`key` has more than {} keys", kMostKeys));
        return;
    }
    for (const NodePtr& item : node.items) read_one(*item);
}

void read_headers(Reader& reader, const Node& node, std::vector<ExtraField>& out) {
    if (!are_few(reader, node, "headers")) return;
    for (const Named& entry : named_entries(reader, node, "headers", "a map of header names")) {
        const std::string shown = shown_key(entry.name).value_or(std::string(kHiddenKey));
        const std::string name = to_lower(entry.name);
        if (!is_token(name)) {
            reader.fault(*entry.key, fmt::format("`headers`: not the name of a header: {}", shown));
        } else if (std::ranges::find(kNotOurs, name) != kNotOurs.end() ||
                   name.starts_with("sec-websocket-")) {
            reader.fault(
                *entry.key,
                fmt::format("`headers`: {} belongs to each request and cannot be set", shown),
                name == "proxy-authorization" ? "write the user and password in `proxy`" : ""
            );
        } else if (has_name(out, name)) {
            reader.fault(
                *entry.key,
                fmt::format("`headers`: {} stands twice", shown),
                "capital letters make no difference"
            );
        } else if (auto value = read_hidden(reader, *entry.value, "headers")) {
            if (is_field_value(*value)) {
                out.push_back({name, std::move(*value)});
            } else {
                reader.fault(
                    *entry.value,
                    fmt::format(
                        "`headers`: the value of {} may only have visible ASCII characters, and "
                        "blanks between them",
                        shown
                    )
                );
            }
        }
    }
}

void read_query(Reader& reader, const Node& node, std::vector<ExtraField>& out) {
    if (!are_few(reader, node, "query")) return;
    for (Named& entry : named_entries(reader, node, "query", "a map of parameters")) {
        if (entry.name.size() > kLongestParameter) {
            reader.fault(*entry.key, "`query`: a parameter's name is too long");
        } else if (auto value = read_hidden(reader, *entry.value, "query")) {
            out.push_back({std::move(entry.name), std::move(*value)});
        }
    }
}

void read_at_once(Reader& reader, const Node& node, UpstreamLine& out) {
    constexpr std::int64_t kMostCalls = 1'000'000;
    if (node.kind != Node::Kind::kMap) {
        const auto calls = reader.number(node, "at_once", 1, kMostCalls);
        if (calls) out.calls = static_cast<std::uint32_t>(*calls);
        return;
    }
    Section section(reader, node, "`at_once`", "at_once.");
    section.number("calls", out.calls, 1, kMostCalls);
    section.number("queue", out.queue, 0, kMostCalls);
    section.duration<milliseconds>("wait", out.wait, 0ms, 1h);
    section.finish();
    if (section.find("calls") == nullptr) {
        reader.fault(
            node, "`at_once` has no `calls`", "write {calls: 100, queue: 1000, wait: 60s}"
        );
    }
}

void read_proxy(Reader& reader, const Node& node, std::optional<HttpProxy>& out) {
    const auto value = reader.value(node, "proxy", "an address such as http://proxy:3128");
    if (!value || value->text.empty()) return;
    // Also if the address is wrong.
    const std::string_view before = std::string_view(value->text).substr(0, value->text.rfind('@'));
    if (before.size() < value->text.size()) {
        reader.remember_secret(std::string(before.substr(before.rfind('/') + 1)));
    }
    auto proxy = parse_proxy(value->text);
    if (!proxy) {
        // The address itself is not shown: it may hold a password.
        reader.fault(
            node,
            fmt::format("`proxy`: {}", proxy.error()),
            "expected an address such as http://proxy:3128 or http://user:password@proxy:3128"
        );
        return;
    }
    if (const std::size_t colon = proxy->credentials.find(':'); colon != std::string::npos) {
        reader.remember_secret(proxy->credentials.substr(colon + 1));
    }
    out = std::move(*proxy);
}

void read_timeouts(Reader& reader, const Node& node, Timeouts& out) {
    Section section(reader, node, "`timeouts`", "timeouts.");
    section.duration<milliseconds>("connect", out.connect, 10ms, 10min);
    section.duration<milliseconds>("tls", out.tls, 10ms, 10min);
    section.duration<milliseconds>("write", out.write, 10ms, 24h);
    section.duration<milliseconds>("first_byte", out.first_byte, 10ms, 24h);
    section.duration<milliseconds>("idle", out.idle, 10ms, 24h);
    section.duration<milliseconds>("total", out.total, 10ms, 24h);
    section.finish();
}

void read_azure(Section& section, Reader& reader, Upstream& upstream) {
    const Node* const version = section.find("api_version");
    const Node* const deployments = section.find("deployments");
    if (upstream.kind != Kind::kAzure) {
        for (const auto& [node, key] :
             {std::pair(version, "api_version"), std::pair(deployments, "deployments")}) {
            if (node == nullptr) continue;
            reader.fault(*node, fmt::format("`{}` is for `kind: azure`", key));
        }
        return;
    }
    if (version != nullptr) {
        const auto value = reader.value(*version, "api_version", "a version such as 2024-10-21");
        const auto plain = [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
        };
        if (value && (value->text.size() > 64 || !std::ranges::all_of(value->text, plain))) {
            reader.fault(
                *version,
                fmt::format(
                    "`api_version`: expected a version such as 2024-10-21, found {}", value->shown
                ),
                "leave it out for the v1 API, which has none"
            );
        } else if (value) {
            upstream.api_version = value->text;
        }
    }
    if (deployments == nullptr) return;
    for (const Named& entry :
         named_entries(reader, *deployments, "deployments", "a map of models to deployments")) {
        const auto same = [&](const auto& other) { return iequals(other.first, entry.name); };
        if (std::ranges::any_of(upstream.deployments, same)) {
            reader.fault(*entry.key, "`deployments`: a model stands twice", "in other letters");
        } else if (auto name = read_deployment(reader, *entry.value)) {
            upstream.deployments.emplace_back(entry.name, std::move(*name));
        }
    }
}

}  // namespace weir::config
