#include <algorithm>
#include <map>
#include <string>

#include <fmt/format.h>

#include "certificates.hpp"
#include "sections.hpp"
#include "url.hpp"

namespace weir::config {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostUpstreams = 1000;

void read_url(Reader& reader, const Node& node, Upstream& upstream) {
    const auto value = reader.value(node, "url", "an address such as https://api.openai.com/v1");
    if (!value) return;
    auto url = parse_url(value->text);
    if (!url) {
        // The address itself is not shown: it may hold a password.
        reader.fault(
            node,
            fmt::format("`url`: {}", url.error()),
            "expected an address such as https://api.openai.com/v1"
        );
        return;
    }
    upstream.url = std::move(url->text);
    upstream.tls = url->tls;
    upstream.host = std::move(url->host);
    upstream.port = url->port;
    upstream.base_path = std::move(url->path);
}

void read_key(Reader& reader, const Node& node, Upstream& upstream) {
    if (node.kind == Node::Kind::kList) {
        reader.fault(node, "a list of keys is not yet supported", "give one key");
        return;
    }
    auto key = reader.secret(node, "key");
    if (key && !key->empty()) upstream.keys = {std::move(*key)};
}

void read_ca(Reader& reader, const Node& node, Upstream& upstream) {
    const auto path = reader.value(node, "ca", "the path of a PEM file");
    if (!path) return;
    const auto pem = reader.sources().file(path->text);
    if (!pem) {
        reader.fault(node, fmt::format("`ca`: cannot be read as a file: {}", path->shown));
    } else if (const auto wrong = certificates_fault(*pem)) {
        reader.fault(
            node,
            fmt::format("`ca`: {} in {}", *wrong, path->shown),
            "expected PEM: lines between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----"
        );
    } else {
        upstream.ca_file = path->text;
    }
}

void read_timeouts(Reader& reader, const Node& node, Timeouts& timeouts) {
    Section section(reader, node, "`timeouts`", "timeouts.");
    section.duration<milliseconds>("connect", timeouts.connect, 10ms, 10min);
    section.duration<milliseconds>("first_byte", timeouts.first_byte, 10ms, 24h);
    section.duration<milliseconds>("idle", timeouts.idle, 10ms, 24h);
    section.duration<milliseconds>("total", timeouts.total, 10ms, 24h);
    section.finish();
}

Upstream read_upstream(
    Reader& reader, const Node& node, std::map<std::string, int, std::less<>>& names
) {
    Upstream upstream;
    Section section(reader, node, "an upstream", "");
    if (const Node* const name = section.find("name")) {
        if (auto given = reader.name(*name, "name")) {
            const auto [first, fresh] = names.emplace(given->text, name->line);
            if (!fresh) {
                reader.fault(
                    *name,
                    fmt::format(
                        "the upstream {} stands twice; first on line {}",
                        given->shown,
                        first->second
                    ),
                    "each needs a name of its own"
                );
            }
            upstream.name = std::move(given->text);
        }
    } else if (node.kind == Node::Kind::kMap) {
        reader.fault(node, "an upstream has no `name`", "write `name: openai`");
    }
    const Node* const url = section.find("url");
    const bool preset = section.later("use", "give its address as `url`");
    if (url != nullptr) {
        read_url(reader, *url, upstream);
    } else if (node.kind == Node::Kind::kMap && !preset) {
        reader.fault(node, "an upstream has no `url`", "write `url: https://api.openai.com/v1`");
    }
    if (const Node* const key = section.find("key")) read_key(reader, *key, upstream);
    if (const Node* const models = section.find("models")) {
        reader.patterns(*models, "models", upstream.models, false);
    }
    section.number("priority", upstream.priority, 0, 1000);
    if (const Node* const timeouts = section.find("timeouts")) {
        read_timeouts(reader, *timeouts, upstream.timeouts);
    }
    if (const Node* const ca = section.find("ca")) {
        read_ca(reader, *ca, upstream);
        if (!upstream.url.empty() && !upstream.tls) {
            reader.fault(*ca, "`ca` is for https, and this upstream's `url` is http");
        }
    }
    section.flag("stream_usage", upstream.stream_usage);
    section.later("weight");
    section.later("at_once");
    section.later("kind");
    section.finish();
    return upstream;
}

// Stands in for all upstreams while none has a key.
Upstream demo_upstream() {
    Upstream demo;
    demo.name = "demo";
    demo.url = "demo:";
    demo.demo = true;
    return demo;
}

}  // namespace

void read_upstreams(Section& root, Reader& reader, Config& config) {
    root.choice<Demo>(
        "demo",
        config.demo,
        {{"never", Demo::kNever}, {"when no upstream has a key", Demo::kWhenNoUpstreamHasAKey}}
    );
    const Node* const node = root.find("upstreams");
    if (node != nullptr && reader.is_list(*node, "upstreams", "a list of upstreams")) {
        if (node->items.size() > kMostUpstreams) {
            reader.fault(*node, fmt::format("more than {} upstreams", kMostUpstreams));
            return;
        }
        std::map<std::string, int, std::less<>> names;
        for (const NodePtr& item : node->items) {
            Upstream upstream = read_upstream(reader, *item, names);
            const auto place = std::ranges::upper_bound(
                config.upstreams, upstream.priority, {}, &Upstream::priority
            );
            config.upstreams.insert(place, std::move(upstream));
        }
    }
    const bool keyless = std::ranges::all_of(config.upstreams, [](const Upstream& upstream) {
        return upstream.keys.empty();
    });
    if (config.demo == Demo::kWhenNoUpstreamHasAKey && keyless) {
        config.upstreams = {demo_upstream()};
    } else if (node == nullptr || (node->kind == Node::Kind::kList && node->items.empty())) {
        reader.fault(
            node != nullptr ? *node : root.node(),
            "there is no upstream",
            "write `upstreams: [{name: openai, url: https://api.openai.com/v1, key: "
            "\"${OPENAI_API_KEY}\"}]`"
        );
    }
}

}  // namespace weir::config
