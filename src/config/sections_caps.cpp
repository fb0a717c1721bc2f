#include "sections_caps.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "weir/base/text.hpp"

namespace weir::config {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostCaps = 64;  // each is looked at for each message
constexpr std::size_t kMostEndpoints = 100;
constexpr std::string_view kExample = "write {models: \"*\", allow: 100/4h}";

using Counters = std::map<std::string, const Node*, std::less<>>;

// The endpoints whose messages count, by the API's own names. For hints alone: the table of them
// is the http room's, and may grow.
constexpr std::array<std::string_view, 12> kEndpoints = {
    "chat/completions",
    "responses",
    "embeddings",
    "completions",
    "responses/compact",
    "images/generations",
    "images/edits",
    "images/variations",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
    "messages",
};

// A cap on a name that is nearly an endpoint would count nothing, and nobody would notice.
std::string endpoint_hint(const std::string& path) {
    if (path.find_first_of("*?") != std::string::npos) return {};
    std::vector<std::string> names;
    for (const std::string_view name : kEndpoints) {
        if (iequals(name, path)) return {};
        if (name.starts_with(path + "/")) return fmt::format("write {}", quoted(path + "/*"));
        names.emplace_back(name);
    }
    return did_you_mean(path, names);
}

std::optional<std::string> read_endpoint(Reader& reader, const Node& node) {
    static constexpr std::string_view kExpected =
        "an endpoint such as chat/completions, a pattern such as \"images/*\", or a list of them";
    const auto value = reader.value(node, "endpoints", kExpected);
    if (!value) return std::nullopt;
    std::string_view path = value->text;
    if (path.starts_with("/v1/")) path.remove_prefix(3);
    if (path.starts_with('/')) path.remove_prefix(1);
    const auto plain = [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
               std::string_view("_-./*?").find(c) != std::string_view::npos;
    };
    if (path.empty() || path.size() > 256 || !std::ranges::all_of(path, plain)) {
        const bool several = path.find_first_of(" ,") != std::string_view::npos;
        reader.fault(
            node,
            fmt::format("`endpoints`: expected {}, found {}", kExpected, value->shown),
            several ? "write several as a list: [chat/completions, embeddings]" : ""
        );
        return std::nullopt;
    }
    std::string found(path);
    std::string hint = endpoint_hint(found);
    if (!hint.empty()) {
        reader.fault(
            node, fmt::format("`endpoints`: there is no endpoint {}", value->shown), std::move(hint)
        );
        return std::nullopt;
    }
    return found;
}

// Whether all are right.
bool read_endpoints(Reader& reader, const Node& node, std::vector<std::string>& out) {
    if (node.kind != Node::Kind::kList) {
        auto one = read_endpoint(reader, node);
        if (one) out.push_back(std::move(*one));
        return !out.empty();
    }
    if (node.items.empty()) {
        reader.fault(node, "`endpoints` is empty: nothing matches it", "leave it out for all");
    } else if (node.items.size() > kMostEndpoints) {
        reader.fault(node, fmt::format("`endpoints` has more than {} entries", kMostEndpoints));
        return false;
    }
    for (const NodePtr& item : node.items) {
        if (auto one = read_endpoint(reader, *item)) out.push_back(std::move(*one));
    }
    return !out.empty() && out.size() == node.items.size();
}

// Whether it is right or left out.
bool read_pattern(Section& section, Reader& reader, std::string& out) {
    const Node* const pattern = section.find("models");
    if (pattern == nullptr) return true;
    if (pattern->kind == Node::Kind::kList) {
        reader.fault(
            *pattern,
            "the `models` of a cap is one pattern, found a list",
            "write a cap for each; each counts for itself"
        );
        return false;
    }
    std::vector<std::string> found;
    const bool right = reader.patterns(*pattern, "models", found, false);
    if (!found.empty()) out = found.front();
    return right;
}

std::optional<Cap> read_allow(Section& section, Reader& reader, const Config& config) {
    const Node* const allow = section.find("allow");
    if (allow == nullptr) {
        if (section.node().kind == Node::Kind::kMap) {
            reader.fault(section.node(), "a cap has no `allow`", std::string(kExample));
        }
        return std::nullopt;
    }
    const auto text = reader.value(*allow, "allow", "an amount per time such as 100/4h");
    if (!text) return std::nullopt;
    auto parsed = parse_allow(text->text, config.timezone);
    if (parsed) return std::move(*parsed);
    reader.fault(*allow, fmt::format("`allow`: {}, found {}", parsed.error(), text->shown));
    return std::nullopt;
}

// Whether it is right or left out.
bool read_then(Section& section, Reader& reader, std::string& out, ThenPlace& place) {
    const Node* const then = section.find("then");
    if (then == nullptr) return true;
    auto name = reader.name(*then, "then");
    if (!name || !is_model_name(reader, *then, name->text, name->shown, "`then`")) return false;
    place = {then, std::move(name->shown)};
    out = std::move(name->text);
    return true;
}

// "messages in 4 h for the same `models`".
std::string counted(const Cap& cap) {
    const std::string_view which =
        cap.endpoints.empty() ? "the same `models`" : "the same `models` and `endpoints`";
    if (cap.period == Period::kUnlimited) return fmt::format("no limit for {}", which);
    const std::string_view unit = name_of(cap.unit);
    if (cap.period == Period::kAtOnce) return fmt::format("{} at once for {}", unit, which);
    return fmt::format(
        "{} in {}{} for {}",
        unit,
        cap.time_in_words(),
        cap.period == Period::kFixed ? " fixed" : "",
        which
    );
}

void read_cap(
    Reader& reader,
    const Node& node,
    const Config& config,
    Counters& counters,
    CapSet& caps,
    ThenPlaces& places
) {
    if (node.kind == Node::Kind::kScalar) {
        reader.fault(node, "`caps`: expected a map, found a single value", std::string(kExample));
        return;
    }
    Section section(reader, node, "a cap", "");
    Cap rest;
    ThenPlace place;
    bool right = read_pattern(section, reader, rest.models);
    std::optional<Cap> cap = read_allow(section, reader, config);
    if (const Node* const endpoints = section.find("endpoints")) {
        right = read_endpoints(reader, *endpoints, rest.endpoints) && right;
    }
    right = read_then(section, reader, rest.then, place) && right;
    section.duration<milliseconds>("queue", rest.queue, 1s, 1h);
    section.choice<bool>("mode", rest.warn, {{"enforce", false}, {"warn", true}});
    const Node* const queue = section.find("queue");
    if (cap && queue != nullptr && cap->period != Period::kAtOnce) {
        reader.fault(
            *queue,
            "`queue` is for caps such as `4 at once` alone",
            "nobody waits in a line for hours; remove it"
        );
        right = false;
    }
    if (cap && place.node != nullptr && cap->period == Period::kUnlimited) {
        reader.fault(*place.node, "`then` never comes to be: `unlimited` is not used up");
        right = false;
    }
    section.finish();
    if (!cap || !right) return;
    cap->models = std::move(rest.models);
    cap->endpoints = std::move(rest.endpoints);
    cap->then = std::move(rest.then);
    cap->queue = rest.queue;
    cap->warn = rest.warn;
    const auto [first, fresh] = counters.emplace(cap->counter(), &node);
    if (!fresh) {
        reader.fault(
            node,
            fmt::format(
                "this cap counts the same as the one on line {}: {}",
                first->second->line,
                counted(*cap)
            ),
            "keep the smaller one"
        );
        return;
    }
    caps.push_back(std::move(*cap));
    places.push_back(std::move(place));
}

}  // namespace

bool is_model_name(
    Reader& reader,
    const Node& node,
    std::string_view name,
    std::string_view shown,
    std::string_view what
) {
    if (name.find_first_of("*?") == std::string_view::npos) return true;
    reader.fault(node, fmt::format("{} is a pattern; {} is for one model name", shown, what));
    return false;
}

void read_caps(
    Section& section, Reader& reader, const Config& config, CapSet& caps, ThenPlaces& places
) {
    const Node* const node = section.find("caps");
    if (node == nullptr || !reader.is_list(*node, "caps", "a list of caps")) return;
    if (node->items.size() > kMostCaps) {
        reader.fault(*node, fmt::format("`caps` has at most {} of them", kMostCaps));
        return;
    }
    Counters counters;
    for (const NodePtr& item : node->items) {
        read_cap(reader, *item, config, counters, caps, places);
    }
}

}  // namespace weir::config
