#include <string>
#include <string_view>

#include <fmt/format.h>

#include "weir/config/load.hpp"
#include "weir/config/presets.hpp"

namespace weir::config {

namespace {

bool is_set(const Sources& sources, std::string_view variable) {
    if (variable.empty()) return false;
    const auto value = sources.environment(std::string(variable));
    return value && !value->empty();
}

}  // namespace

std::string environment_config(const Sources& sources) {
    std::string text =
        "listen: \"${WEIR_LISTEN:-127.0.0.1:8080}\"\n"
        "data: \"${WEIR_DATA:-./data}\"\n";
    int priority = 0;
    for (const Preset& preset : presets()) {
        if (!is_set(sources, preset.key_variable)) continue;
        const bool moved = is_set(sources, preset.url_variable);
        if (preset.url.empty() && !moved) continue;
        if (priority == 0) text += "upstreams:\n";
        text += fmt::format("  - {{use: {}, key: \"${{{}}}\"", preset.name, preset.key_variable);
        if (moved) text += fmt::format(", url: \"${{{}}}\"", preset.url_variable);
        text += fmt::format(", priority: {}}}\n", ++priority);
    }
    if (priority == 0) text += "demo: when no upstream has a key\n";
    return text + "plans: {default: {}}\n";
}

}  // namespace weir::config
