// `weir check`: is the config right, and what does it say?
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "commands_parts.hpp"

namespace weir::app {
namespace {

std::string in_words(const config::Plan& plan) {
    std::string text = fmt::format("plan {}: ", printable(plan.name));
    if (plan.caps.empty()) return text + "no caps\n";
    if (plan.caps.size() == 1) return text + printable(plan.caps.front().in_words()) + "\n";
    text += "\n";
    for (const auto& cap : plan.caps) text += "  " + printable(cap.in_words()) + "\n";
    return text;
}

Json as_json(const std::vector<config::Fault>& faults) {
    Json list = Json::array();
    for (const auto& fault : faults) {
        list.push_back(Json{
            {"file", fault.file},
            {"line", fault.line},
            {"column", fault.column},
            {"message", fault.message},
            {"hint", fault.hint}
        });
    }
    return list;
}

Json as_json(const config::Plan& plan) {
    Json caps = Json::array();
    for (const auto& cap : plan.caps) {
        caps.push_back(
            Json{{"models", cap.models}, {"allow", cap.allow}, {"in_words", cap.in_words()}}
        );
    }
    return Json{{"name", plan.name}, {"caps", std::move(caps)}};
}

void print(const Json& json) {
    const auto text = json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    std::fwrite(text.data(), 1, text.size(), stdout);
}

}  // namespace

std::string default_config() {
    static constexpr std::string_view kHere = "config/weir.yaml";
    static constexpr std::string_view kInstalled = "/etc/weir/weir.yaml";
    std::error_code ignored;
    const bool only_installed =
        !std::filesystem::exists(kHere, ignored) && std::filesystem::exists(kInstalled, ignored);
    return std::string(only_installed ? kInstalled : kHere);
}

void complain(std::string_view message) {
    while (!message.empty()) {
        const auto end = std::min(message.find('\n'), message.size());
        fmt::print(stderr, "weir: {}\n", printable(message.substr(0, end)));
        message.remove_prefix(std::min(end + 1, message.size()));
    }
}

void complain(const std::vector<config::Fault>& faults) {
    for (const auto& fault : faults) fmt::print(stderr, "{}\n", printable(fault.text()));
}

int check(const CheckOptions& options) {
    const auto config = config::load_file(options.config);
    if (!config) {
        if (options.json) print(Json{{"ok", false}, {"faults", as_json(config.error())}});
        complain(config.error());
        return kWrong;
    }
    if (options.json) {
        Json plans = Json::array();
        for (const auto& plan : (*config)->plans) plans.push_back(as_json(plan));
        print(Json{{"ok", true}, {"file", options.config}, {"plans", std::move(plans)}});
        return kDone;
    }
    fmt::print("config ok: {}\n", printable(options.config));
    for (const auto& plan : (*config)->plans) fmt::print("{}", in_words(plan));
    return kDone;
}

}  // namespace weir::app
