// `weir check`: is the config right, and what does it say?
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "weir/base/text.hpp"

#include "commands_parts.hpp"

namespace weir::app {
namespace {

// What holds for somebody, as "plan plus: ...": one thing on the same line, more below.
std::string in_words(const std::string& who, const std::vector<std::string>& lines) {
    std::string text = printable(who) + ":";
    if (lines.size() == 1) return text + " " + printable(lines.front()) + "\n";
    text += "\n";
    for (const auto& line : lines) text += "  " + printable(line) + "\n";
    return text;
}

std::vector<std::string> in_words(const config::CapSet& caps) {
    std::vector<std::string> lines;
    for (const auto& cap : caps) lines.push_back(cap.in_words());
    if (lines.empty()) lines.emplace_back("no caps");
    return lines;
}

std::vector<std::string> names_of(const config::Inputs& inputs) {
    std::vector<std::string> names = {"text"};
    if (inputs.image) names.emplace_back("image");
    if (inputs.audio) names.emplace_back("audio");
    if (inputs.file) names.emplace_back("file");
    return names;
}

std::vector<std::string> in_words(const config::Plan& plan) {
    std::vector<std::string> lines = in_words(plan.caps);
    const auto inputs = names_of(plan.inputs);
    if (inputs.size() < 4) lines.push_back(fmt::format("only {} in", fmt::join(inputs, ", ")));
    if (plan.max_input_bytes > 0) {
        lines.push_back(fmt::format("at most {} in", human_size(plan.max_input_bytes)));
    }
    if (plan.max_output > 0) lines.push_back(fmt::format("at most {} tokens out", plan.max_output));
    if (!plan.endpoints.empty()) {
        lines.push_back(fmt::format("closed endpoints too: {}", fmt::join(plan.endpoints, ", ")));
    }
    return lines;
}

bool has_calendar(const config::CapSet& caps) {
    return std::ranges::any_of(caps, [](const config::Cap& cap) { return cap.zone != nullptr; });
}

bool has_calendar(const config::Config& config) {
    const auto any = [](const auto& holders) {
        return std::ranges::any_of(holders, [](const auto& one) { return has_calendar(one.caps); });
    };
    return has_calendar(config.caps) || any(config.plans) || any(config.teams) || any(config.keys);
}

std::string_view name_of(config::Kind kind) {
    switch (kind) {
        case config::Kind::kAzure:
            return "azure";
        case config::Kind::kAnthropic:
            return "anthropic";
        case config::Kind::kOpenAi:
            break;
    }
    return "openai";
}

// Where messages go: "upstream openai (https://api.openai.com/v1): gpt-*, o?".
std::string in_words(const config::Upstream& upstream) {
    std::string who = fmt::format("upstream {}", upstream.name);
    std::vector<std::string> lines;
    if (upstream.demo) {
        lines.emplace_back("the built-in demo answers, since no upstream has a key");
        return in_words(who, lines);
    }
    who += fmt::format(" ({})", upstream.url);
    lines.push_back(fmt::format("{}", fmt::join(upstream.models, ", ")));
    if (upstream.kind == config::Kind::kAnthropic) lines.back() += ", of /v1/messages";
    if (upstream.last_resort) lines.emplace_back("and what no other one serves");
    if (upstream.kind == config::Kind::kAzure) {
        lines.push_back(fmt::format(
            "azure, {}",
            upstream.api_version.empty() ? "the v1 API"
                                         : fmt::format("api-version {}", upstream.api_version)
        ));
    }
    if (upstream.keys.size() != 1) {
        lines.push_back(
            upstream.keys.empty() ? "no key" : fmt::format("{} keys, in turn", upstream.keys.size())
        );
    }
    if (upstream.priority != 1 || upstream.weight != 1) {
        lines.push_back(fmt::format("priority {}, weight {}", upstream.priority, upstream.weight));
    }
    if (upstream.at_once.calls > 0) {
        lines.push_back(fmt::format("at most {} calls at once", upstream.at_once.calls));
    }
    if (upstream.proxy) {
        lines.push_back(
            fmt::format("through the proxy {}:{}", upstream.proxy->host, upstream.proxy->port)
        );
    }
    return in_words(who, lines);
}

// All that is limited, and for whom; plans always, others if they have caps.
std::string in_words(const config::Config& config) {
    std::string text;
    for (const auto& upstream : config.upstreams) text += in_words(upstream);
    if (has_calendar(config)) {
        text += fmt::format(
            "days, weeks and months are those of {}\n", printable(config.timezone->name())
        );
    }
    for (const auto& model : config.models) {
        if (model.max_output == 0) continue;
        text += in_words(
            "model " + model.name, {fmt::format("at most {} tokens out", model.max_output)}
        );
    }
    for (const auto& plan : config.plans) text += in_words("plan " + plan.name, in_words(plan));
    for (const auto& team : config.teams) {
        text += in_words("team " + team.name + ", all its keys together", in_words(team.caps));
    }
    for (const auto& key : config.keys) {
        if (!key.caps.empty()) text += in_words("key " + key.name, in_words(key.caps));
    }
    if (!config.caps.empty()) text += in_words("everybody together", in_words(config.caps));
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

Json as_json(const config::Cap& cap) {
    const bool money = cap.unit == config::Unit::kMoney;
    const double usd = static_cast<double>(cap.limit) / static_cast<double>(config::kNanoDollars);
    const bool unlimited = cap.period == config::Period::kUnlimited;
    return Json{
        {"models", cap.models},
        {"endpoints", cap.endpoints},
        {"allow", cap.allow},
        {"unit", config::name_of(cap.unit)},
        {"period", config::name_of(cap.period)},
        {"span_s", cap.span.count() > 0 ? Json(cap.span.count()) : Json()},
        {"limit",
         unlimited ? Json()
         : money   ? Json(usd)
                   : Json(cap.limit)},
        {"in_words", cap.in_words()},
        {"then", cap.then.empty() ? Json() : Json(cap.then)},
        {"queue_s", static_cast<double>(cap.queue.count()) / 1000},
        {"mode", cap.warn ? "warn" : "enforce"}
    };
}

Json as_json(const config::CapSet& caps) {
    Json list = Json::array();
    for (const auto& cap : caps) list.push_back(as_json(cap));
    return list;
}

Json number_or_null(std::uint64_t number) {
    return number > 0 ? Json(number) : Json();
}

Json as_json(const config::Upstream& upstream) {
    return Json{
        {"name", upstream.name},
        {"url", upstream.url},
        {"kind", name_of(upstream.kind)},
        {"models", upstream.models},
        {"last_resort", upstream.last_resort},
        {"keys", upstream.keys.size()},
        {"priority", upstream.priority},
        {"weight", upstream.weight},
        {"at_once", number_or_null(upstream.at_once.calls)},
        {"demo", upstream.demo}
    };
}

Json as_json(const config::Config& config) {
    Json upstreams = Json::array();
    for (const auto& upstream : config.upstreams) upstreams.push_back(as_json(upstream));
    Json models = Json::array();
    for (const auto& model : config.models) {
        models.push_back(Json{
            {"name", model.name},
            {"serve_as", model.serve_as.empty() ? model.name : model.serve_as},
            {"max_output", number_or_null(model.max_output)}
        });
    }
    Json plans = Json::array();
    for (const auto& plan : config.plans) {
        plans.push_back(Json{
            {"name", plan.name},
            {"caps", as_json(plan.caps)},
            {"inputs", names_of(plan.inputs)},
            {"max_input", number_or_null(plan.max_input_bytes)},
            {"max_output", number_or_null(plan.max_output)},
            {"endpoints", plan.endpoints}
        });
    }
    Json teams = Json::array();
    for (const auto& team : config.teams) {
        teams.push_back(Json{{"name", team.name}, {"caps", as_json(team.caps)}});
    }
    Json keys = Json::array();
    for (const auto& key : config.keys) {
        keys.push_back(Json{
            {"name", key.name},
            {"plan", key.plan},
            {"team", key.team.empty() ? Json() : Json(key.team)},
            {"caps", as_json(key.caps)}
        });
    }
    return Json{
        {"timezone", config.timezone->name()},
        {"upstreams", std::move(upstreams)},
        {"models", std::move(models)},
        {"plans", std::move(plans)},
        {"teams", std::move(teams)},
        {"keys", std::move(keys)},
        {"caps", as_json(config.caps)}
    };
}

void print(const Json& json) {
    const auto text = json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    std::fwrite(text.data(), 1, text.size(), stdout);
}

}  // namespace

std::string default_config() {
    std::error_code ignored;
    for (const char* const path : {"weir.yaml", "config/weir.yaml", "/etc/weir/weir.yaml"}) {
        if (std::filesystem::exists(path, ignored)) return path;
    }
    return {};
}

config::Loaded load_config(const std::string& path) {
    return path.empty() ? config::load_environment() : config::load_file(path);
}

std::expected<config::Place, std::vector<config::Fault>> load_place(const std::string& path) {
    return path.empty() ? config::load_environment_place() : config::load_place(path);
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
    const bool file = !options.config.empty();
    const auto config = load_config(options.config);
    if (!config) {
        if (options.json) print(Json{{"ok", false}, {"faults", as_json(config.error())}});
        complain(config.error());
        if (!file) fmt::print(stderr, "{}", config::environment_config());
        return kWrong;
    }
    if (options.json) {
        Json told{{"ok", true}, {"file", file ? Json(options.config) : Json()}};
        told.update(as_json(**config));
        print(told);
        return kDone;
    }
    if (file) {
        fmt::print("config ok: {}\n", printable(options.config));
    } else {
        fmt::print(
            "There is no config file (weir.yaml, config/weir.yaml, /etc/weir/weir.yaml). Of the "
            "environment this one is made, which may be the start of a file:\n\n{}\n",
            config::environment_config()
        );
    }
    fmt::print("{}", in_words(**config));
    return kDone;
}

}  // namespace weir::app
