#include "weir/config/load.hpp"

#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "document.hpp"
#include "reader.hpp"
#include "sections.hpp"
#include "sections_caps.hpp"
#include "syntax_hint.hpp"

namespace weir::config {

namespace {

// Stands for the name of a file in faults.
const std::string kOfEnvironment = "the config made of the environment";

std::optional<std::string> read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return std::nullopt;
    // One byte more than allowed tells a file that is too large, /dev/zero included.
    std::string content(kMostBytes + 1, '\0');
    file.read(content.data(), static_cast<std::streamsize>(content.size()));
    if (file.bad()) return std::nullopt;  // a directory opens, but does not read
    const auto size = static_cast<std::size_t>(file.gcount());
    if (size > kMostBytes) return std::nullopt;
    content.resize(size);
    return content;
}

void read_all(Section& root, Reader& reader, Config& config) {
    RightParts right;
    std::size_t faults = 0;
    // Whether the part that was just read has no fault.
    const auto clean = [&] { return std::exchange(faults, reader.faults()) == reader.faults(); };
    read_place(root, reader, config);
    read_process(root, reader, config);
    read_calendar(root, reader, config);
    read_prices(root, reader, config);
    static_cast<void>(clean());
    read_upstreams(root, reader, config);
    right.upstreams = clean();
    read_models(root, reader, config);
    right.models = clean();
    CapPlaces places;
    read_holders(root, reader, config, places);
    right.plans = clean();
    read_keys(root, reader, config, places);
    check_fallbacks(reader, config, places, right);
    read_cache(root, reader, config);
    read_retry(root, reader, config);
    read_stream(root, reader, config);
    read_web(root, reader, config);
    root.later("waitlist");
    root.later("usage");
    root.finish();
}

// A byte order mark is no character of the first line.
std::string_view without_mark(std::string_view yaml) {
    constexpr std::string_view kMark = "\xEF\xBB\xBF";
    if (yaml.starts_with(kMark)) yaml.remove_prefix(kMark.size());
    return yaml;
}

// yaml-cpp counts columns in bytes, editors in characters.
void count_characters(std::vector<Fault>& faults, std::string_view yaml) {
    const Lines lines(yaml);
    for (Fault& fault : faults) {
        if (fault.column < 1) continue;
        const std::string_view before =
            lines[fault.line].substr(0, static_cast<std::size_t>(fault.column - 1));
        for (const char c : before) {
            if ((static_cast<unsigned char>(c) & 0xC0) == 0x80) --fault.column;
        }
    }
}

std::vector<Fault> unreadable(const std::string& path) {
    return {Fault{
        path,
        0,
        0,
        "the config cannot be read",
        "it is missing, not permitted, not a file or larger than 1 MiB"
    }};
}

// The config in `yaml`, as far as `sections` reads it.
Loaded read(
    std::string_view yaml,
    const std::string& name,
    const Sources& sources,
    void (*sections)(Section& root, Reader& reader, Config& config)
) {
    yaml = without_mark(yaml);
    std::vector<Fault> faults;
    const auto document = read_document(yaml, name);
    auto config = std::make_shared<Config>();
    if (document) {
        Reader reader(name, sources);
        Section root(reader, **document, "the config", "");
        if ((*document)->kind == Node::Kind::kMap) sections(root, reader, *config);
        if (reader.clean()) return config;
        faults = reader.take_faults();
    } else {
        faults.push_back(document.error());
    }
    count_characters(faults, yaml);
    return std::unexpected(std::move(faults));
}

std::expected<Place, std::vector<Fault>> place_in(
    std::string_view yaml, const std::string& name, const Sources& sources
) {
    const Loaded config = read(yaml, name, sources, read_place);
    if (!config) return std::unexpected(config.error());
    return Place{(*config)->listen, (*config)->data};
}

}  // namespace

std::string Fault::text() const {
    std::string text = file;
    if (line > 0) text += fmt::format(":{}", line);
    if (line > 0 && column > 0) text += fmt::format(":{}", column);
    text += ": " + message;
    if (!hint.empty()) text += fmt::format(" ({})", hint);
    return text;
}

Sources Sources::system() {
    Sources sources;
    sources.environment = [](const std::string& name) -> std::optional<std::string> {
        const char* const value = std::getenv(name.c_str());
        if (value == nullptr) return std::nullopt;
        return std::string(value);
    };
    sources.file = read_file;
    return sources;
}

Loaded load_text(std::string_view yaml, const std::string& name, const Sources& sources) {
    return read(yaml, name, sources, read_all);
}

Loaded load_file(const std::string& path, const Sources& sources) {
    const auto content = sources.file(path);
    if (!content) return std::unexpected(unreadable(path));
    return load_text(*content, path, sources);
}

Loaded load_environment(const Sources& sources) {
    const Loaded read = load_text(environment_config(sources), kOfEnvironment, sources);
    if (!read) return read;
    auto config = std::make_shared<Config>(**read);
    bool open = false;
    bool messages = false;
    for (Upstream& upstream : config->upstreams) {
        bool& found = upstream.kind == Kind::kAnthropic ? messages : open;
        upstream.last_resort = !std::exchange(found, true);
    }
    return config;
}

std::expected<Place, std::vector<Fault>> load_place(
    const std::string& path, const Sources& sources
) {
    const auto content = sources.file(path);
    if (!content) return std::unexpected(unreadable(path));
    return place_in(*content, path, sources);
}

std::expected<Place, std::vector<Fault>> load_environment_place(const Sources& sources) {
    return place_in(environment_config(sources), kOfEnvironment, sources);
}

}  // namespace weir::config
