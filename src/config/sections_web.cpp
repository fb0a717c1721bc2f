// The sections `cors` and `realtime`.
#include <string>
#include <utility>

#include <fmt/format.h>

#include "sections.hpp"
#include "url.hpp"

namespace weir::config {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostOrigins = 1000;

void read_origins(Reader& reader, const Node& node, std::vector<std::string>& out) {
    static constexpr std::string_view kExpected = "an origin such as https://app.example.org";
    const auto read_one = [&](const Node& one) {
        const auto value = reader.value(one, "cors.origins", kExpected);
        if (!value) return;
        auto origin = parse_origin(value->text);
        if (origin) {
            out.push_back(std::move(*origin));
            return;
        }
        reader.fault(
            one,
            fmt::format("`cors.origins`: {}, in {}", origin.error(), value->shown),
            "write \"*\", or a scheme, a host and a port as in \"https://*.example.org\""
        );
    };
    if (node.kind != Node::Kind::kList) return read_one(node);
    if (node.items.size() > kMostOrigins) {
        reader.fault(node, fmt::format("`cors.origins` has more than {} origins", kMostOrigins));
        return;
    }
    for (const NodePtr& item : node.items) read_one(*item);
}

}  // namespace

void read_web(Section& root, Reader& reader, Config& config) {
    if (const Node* const node = root.find("cors")) {
        Section section(reader, *node, "`cors`", "cors.");
        if (const Node* const origins = section.find("origins")) {
            read_origins(reader, *origins, config.cors.origins);
        }
        section.duration<std::chrono::seconds>("max_age", config.cors.max_age, 0s, 24h);
        section.finish();
    }
    if (const Node* const node = root.find("realtime")) {
        Section section(reader, *node, "`realtime`", "realtime.");
        section.choice<RealtimeCount>(
            "count",
            config.realtime_count,
            {{"session", RealtimeCount::kSession}, {"response", RealtimeCount::kResponse}}
        );
        section.finish();
    }
}

}  // namespace weir::config
