#include <algorithm>
#include <charconv>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "weir/base/text.hpp"

#include "sections.hpp"
#include "url.hpp"

namespace weir::config {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostListeners = 64;

// "127.0.0.1:8080" or "[::1]:8080".
std::optional<Listen> parse_listen(std::string_view text, std::string& hint) {
    const std::size_t colon = text.rfind(':');
    const auto number = [](std::string_view digits) -> std::optional<std::uint16_t> {
        std::uint16_t port = 0;
        const auto [stop, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), port);
        if (error != std::errc{} || stop != digits.data() + digits.size()) return std::nullopt;
        return port;
    };
    if (colon == std::string_view::npos) {
        if (number(text))
            hint = fmt::format("write \"127.0.0.1:{}\"", text);
        else if (is_address(std::string(text)))
            hint = fmt::format("write \"{}:8080\"", text);
        return std::nullopt;
    }
    std::string_view host = text.substr(0, colon);
    const auto port = number(text.substr(colon + 1));
    const bool brackets = host.size() > 2 && host.starts_with('[') && host.ends_with(']');
    if (brackets) host = host.substr(1, host.size() - 2);
    const bool v6 = host.find(':') != std::string_view::npos;
    if (host.empty() && port) {
        hint = fmt::format("for all addresses write \"0.0.0.0:{}\" or \"[::]:{}\"", *port, *port);
    } else if (iequals(host, "localhost") && port) {
        hint = fmt::format("write \"127.0.0.1:{}\"", *port);
    } else if (v6 && !brackets) {
        hint = "an IPv6 address stands in brackets: \"[::1]:8080\"";
    } else if (!port) {
        hint = "a port is a number from 0 to 65535";
    }
    if (!port || v6 != brackets || !is_address(std::string(host))) return std::nullopt;
    return Listen{std::string(host), *port};
}

void read_address(Reader& reader, const Node& node, std::vector<Listen>& out) {
    static constexpr std::string_view kExpected =
        "an address and a port such as \"127.0.0.1:8080\"";
    const auto value = reader.value(node, "listen", kExpected);
    if (!value) return;
    if (value->text.starts_with('/') || value->text.starts_with("unix:")) {
        reader.fault(node, "listening on a socket path is not yet supported");
        return;
    }
    std::string hint;
    const auto listen = parse_listen(value->text, hint);
    if (!listen) {
        if (value->replaced) hint.clear();
        reader.fault(
            node, fmt::format("`listen`: expected {}, found {}", kExpected, value->shown), hint
        );
        return;
    }
    const bool twice = listen->port != 0 && std::ranges::any_of(out, [&](const Listen& other) {
                           return other.host == listen->host && other.port == listen->port;
                       });
    if (twice) {
        reader.fault(node, fmt::format("`listen`: {} stands twice", value->shown));
        return;
    }
    out.push_back(*listen);
}

void read_listen(Reader& reader, const Node& node, Config& config) {
    std::vector<Listen> found;
    const auto read_one = [&](const Node& one) {
        if (one.kind != Node::Kind::kMap) return read_address(reader, one, found);
        Section section(reader, one, "`listen`", "listen.");
        if (const Node* const address = section.find("address")) {
            read_address(reader, *address, found);
        } else if (one.entries.empty()) {
            reader.fault(one, "an entry of `listen` has no `address`");
        }
        section.later("tls");
        section.later("socket");
        section.finish();
    };
    if (node.kind == Node::Kind::kList) {
        if (node.items.empty()) reader.fault(node, "`listen` is empty: nobody could connect");
        if (node.items.size() > kMostListeners) {
            reader.fault(node, fmt::format("`listen` has more than {} entries", kMostListeners));
            return;
        }
        for (const NodePtr& item : node.items) read_one(*item);
    } else {
        read_one(node);
    }
    if (!found.empty()) config.listen = std::move(found);
}

void read_limits(Reader& reader, const Node& node, Limits& limits) {
    Section section(reader, node, "`limits`", "limits.");
    section.size("head", limits.head_bytes, kKiB, kMiB);
    const bool body_right = section.size("body", limits.body_bytes, kKiB, 4 * kGiB);
    const bool bodies_right = section.size("bodies", limits.bodies_bytes, kKiB, 1024 * kGiB);
    section.size("upload", limits.upload_bytes, kKiB, 1024 * kGiB);
    section.duration<milliseconds>("head_time", limits.head_time, 100ms, 10min);
    section.duration<milliseconds>("body_idle", limits.body_idle, 100ms, 10min);
    section.duration<milliseconds>("keep_alive", limits.keep_alive, 100ms, 1h);
    section.duration<milliseconds>("write_stall", limits.write_stall, 100ms, 1h);
    section.number("connections", limits.connections, 1, 1'000'000);
    section.finish();
    if (!body_right || !bodies_right || limits.body_bytes <= limits.bodies_bytes) return;
    const Node* const body = section.find("body");
    const Node* const bodies = section.find("bodies");
    reader.fault(
        bodies != nullptr ? *bodies
        : body != nullptr ? *body
                          : node,
        fmt::format(
            "`limits.body` ({}) is larger than `limits.bodies` ({}), the room for all of them",
            human_size(limits.body_bytes),
            human_size(limits.bodies_bytes)
        ),
        bodies == nullptr ? "set `limits.bodies` too" : ""
    );
}

void read_log(Reader& reader, const Node& node, Config& config) {
    Section section(reader, node, "`log`", "log.");
    section.choice<log::Format>(
        "format",
        config.log.format,
        {{"auto", log::Format::kAuto}, {"json", log::Format::kJson}, {"text", log::Format::kText}}
    );
    section.choice<bool>("requests", config.log_requests, {{"all", true}, {"none", false}});
    section.choice<log::Level>(
        "level",
        config.log.level,
        {{"debug", log::Level::kDebug},
         {"info", log::Level::kInfo},
         {"warn", log::Level::kWarn},
         {"error", log::Level::kError},
         {"off", log::Level::kOff}}
    );
    section.finish();
}

void read_admin(Reader& reader, const Node& node) {
    Section section(reader, node, "`admin`", "admin.");
    if (const Node* const listen = section.find("listen")) {
        const auto value = reader.value(*listen, "admin.listen", "`same`");
        if (value && value->text != "same") {
            reader.fault(
                *listen,
                "`admin.listen` with an address of its own is not yet supported",
                "write `same`, or leave `admin` out"
            );
        }
    }
    section.finish();
}

void read_store(Reader& reader, const Node& node) {
    const auto value = reader.value(node, "store", "`sqlite`");
    if (!value || value->text == "sqlite") return;
    if (value->text.starts_with("redis") || value->text.starts_with("valkey")) {
        reader.fault(node, "`store: redis` is not yet supported", "write `sqlite`");
        return;
    }
    reader.fault(
        node,
        fmt::format("`store`: expected `sqlite`, found {}", value->shown),
        did_you_mean(value->text, std::vector<std::string>{"sqlite"})
    );
}

}  // namespace

void read_place(Section& root, Reader& reader, Config& config) {
    if (const Node* const listen = root.find("listen")) read_listen(reader, *listen, config);
    if (const Node* const data = root.find("data")) {
        const auto value = reader.value(*data, "data", "the path of a directory");
        if (value && (value->text.empty() || value->text.find('\0') != std::string::npos)) {
            reader.fault(*data, "`data`: expected the path of a directory, found an empty text");
        } else if (value) {
            config.data = value->text;
        }
    }
}

void read_process(Section& root, Reader& reader, Config& config) {
    config.workers = std::max(1U, std::thread::hardware_concurrency());
    root.number("workers", config.workers, 1, 1024);
    root.duration<milliseconds>("drain", config.drain, 0ms, 1h);
    if (const Node* const limits = root.find("limits")) read_limits(reader, *limits, config.limits);
    if (const Node* const admin = root.find("admin")) read_admin(reader, *admin);
    if (const Node* const log = root.find("log")) read_log(reader, *log, config);
    if (const Node* const store = root.find("store")) read_store(reader, *store);
}

}  // namespace weir::config
