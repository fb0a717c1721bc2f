#include <algorithm>
#include <map>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "weir/config/presets.hpp"

#include "sections.hpp"
#include "upstream_parts.hpp"
#include "url.hpp"

namespace weir::config {

namespace {

constexpr std::size_t kMostUpstreams = 1000;

void take_url(Url url, Upstream& upstream) {
    upstream.url = std::move(url.text);
    upstream.tls = url.tls;
    upstream.host = std::move(url.host);
    upstream.port = url.port;
    upstream.base_path = std::move(url.path);
}

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
    take_url(std::move(*url), upstream);
}

// `use`, and what it says for the other keys.
const Preset* read_preset(Reader& reader, const Node& node, Upstream& upstream) {
    const auto value = reader.value(node, "use", "a vendor such as deepseek");
    if (!value) return nullptr;
    const Preset* const preset = find_preset(value->text);
    if (preset == nullptr) {
        std::vector<std::string> names;
        names.reserve(presets().size());
        for (const Preset& one : presets()) names.emplace_back(one.name);
        std::string hint = did_you_mean(value->text, names);
        if (hint.empty()) hint = fmt::format("known are: {}", fmt::join(names, ", "));
        reader.fault(
            node, fmt::format("`use`: there is no vendor {}", value->shown), std::move(hint)
        );
        return nullptr;
    }
    upstream.name = preset->name;
    upstream.kind = preset->kind;
    upstream.models = preset->model_globs();
    upstream.stream_usage = preset->stream_usage;
    upstream.needs_key = !preset->key_variable.empty();
    return preset;
}

// What a preset's key is where the entry has none: what its variable says, if it is set.
void take_key_from_environment(
    Reader& reader, const Node& node, const Preset& preset, Upstream& upstream
) {
    if (preset.key_variable.empty()) return;
    Node variable = node;
    variable.text = fmt::format("${{{}:-}}", preset.key_variable);
    read_keys_of(reader, variable, upstream.keys);
}

// A key and a header in its place would be two answers to one question.
void check_credentials(Reader& reader, const Node& headers, const Upstream& upstream) {
    const std::string_view name = upstream.kind == Kind::kOpenAi  ? "authorization"
                                  : upstream.kind == Kind::kAzure ? "api-key"
                                                                  : "x-api-key";
    if (std::ranges::find(upstream.headers, name, &ExtraField::name) == upstream.headers.end()) {
        return;
    }
    reader.fault(
        headers,
        fmt::format("`headers`: `{}` is how the `key` is sent", name),
        "leave one of them out; `key: \"\"` sends none"
    );
}

// The address, with its ways of a kind that has some.
void read_place_of(
    Section& section, Reader& reader, const Node* use, const Preset* preset, Upstream& upstream
) {
    const Node& node = section.node();
    const Node* const url = section.find("url");
    if (url != nullptr) {
        read_url(reader, *url, upstream);
    } else if (preset != nullptr && !preset->url.empty()) {
        take_url(*parse_url(preset->url), upstream);
    } else if (preset != nullptr) {
        reader.fault(
            *use, fmt::format("`use: {}` needs a `url`: each customer has one", preset->name)
        );
    } else if (node.kind == Node::Kind::kMap && use == nullptr) {
        reader.fault(node, "an upstream has no `url`", "write `url: https://api.openai.com/v1`");
    }
    section.choice<Kind>(
        "kind",
        upstream.kind,
        {{"openai", Kind::kOpenAi}, {"azure", Kind::kAzure}, {"anthropic", Kind::kAnthropic}}
    );
    const std::string_view path = upstream.base_path;
    if (url != nullptr && upstream.kind == Kind::kAzure &&
        (path.ends_with("/openai") || path.ends_with("/v1"))) {
        reader.fault(
            *url,
            "`url`: of `kind: azure` only the resource's address is needed",
            "write `url: https://NAME.openai.azure.com`"
        );
    }
}

Upstream read_upstream(
    Reader& reader, const Node& node, std::map<std::string, int, std::less<>>& names
) {
    Upstream upstream;
    Section section(reader, node, "an upstream", "");
    const Node* const use = section.find("use");
    const Preset* const preset = use != nullptr ? read_preset(reader, *use, upstream) : nullptr;
    const Node* const name = section.find("name");
    if (name != nullptr) {
        if (auto given = reader.name(*name, "name")) upstream.name = std::move(given->text);
    } else if (node.kind == Node::Kind::kMap && use == nullptr) {
        reader.fault(node, "an upstream has no `name`", "write `name: openai`");
    }
    if (const Node* const at = name != nullptr ? name : use;
        at != nullptr && !upstream.name.empty()) {
        const auto [first, fresh] = names.emplace(upstream.name, at->line);
        if (!fresh) {
            reader.fault(
                *at,
                fmt::format(
                    "the upstream {} stands twice; first on line {}",
                    quoted(at->text),
                    first->second
                ),
                name != nullptr ? "each needs a name of its own" : "give it a `name` of its own"
            );
        }
    }
    read_place_of(section, reader, use, preset, upstream);
    if (const Node* const key = section.find("key")) {
        read_keys_of(reader, *key, upstream.keys);
    } else if (preset != nullptr) {
        take_key_from_environment(reader, *use, *preset, upstream);
    }
    if (const Node* const models = section.find("models")) {
        reader.patterns(*models, "models", upstream.models, false);
    }
    section.number("priority", upstream.priority, 0, 1000);
    section.number("weight", upstream.weight, 1, 1000);
    if (const Node* const at_once = section.find("at_once")) {
        read_at_once(reader, *at_once, upstream.at_once);
    }
    const Node* const headers = section.find("headers");
    if (headers != nullptr) read_headers(reader, *headers, upstream.headers);
    if (headers != nullptr && !upstream.keys.empty()) {
        check_credentials(reader, *headers, upstream);
    }
    if (const Node* const query = section.find("query")) {
        read_query(reader, *query, upstream.query);
    }
    read_azure(section, reader, upstream);
    if (const Node* const proxy = section.find("proxy")) {
        read_proxy(reader, *proxy, upstream.proxy);
    }
    if (const Node* const timeouts = section.find("timeouts")) {
        read_timeouts(reader, *timeouts, upstream.timeouts);
    }
    read_certificates(section, reader, upstream);
    section.flag("stream_usage", upstream.stream_usage);
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
        return upstream.keys.empty() && upstream.needs_key;
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
