// `weir serve`: the gateway in the foreground, until a signal ends it.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "weir/app/client.hpp"
#include "weir/app/gateway.hpp"
#include "weir/base/log.hpp"
#include "weir/base/text.hpp"
#include "weir/config/load.hpp"
#include "weir/config/presets.hpp"

#include "commands_parts.hpp"

namespace weir::app {
namespace {

sigset_t set_of(std::initializer_list<int> signals) noexcept {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : signals) sigaddset(&set, signal);
    return set;
}

// A second request to end ends the wait of the first.
class Hurry {
public:
    bool operator()() noexcept {
        const auto end = set_of({SIGTERM, SIGINT});
        const timespec now{};
        if (!hurried_ && sigtimedwait(&end, nullptr, &now) > 0) hurried_ = true;
        return hurried_;
    }

private:
    bool hurried_ = false;
};

// For a POSIX shell.
std::string shell_quoted(std::string_view text) {
    std::string out = "'";
    for (const char c : text) {
        if (c == '\'') {
            out += R"('\'')";
        } else {
            out += c;
        }
    }
    return out + "'";
}

// What to try with: a model, and whether it answers /v1/messages alone.
struct Trial {
    std::string model;
    bool messages = false;
};

bool serves(const config::Upstream& upstream, std::string_view model) {
    return !model.empty() && std::ranges::any_of(upstream.models, [model](const auto& pattern) {
        return glob_match(pattern, model);
    });
}

// A model that this config has an upstream for.
Trial trial_of(const config::Config& config) {
    constexpr std::string_view kFirst = "gpt-4";
    std::string_view other;
    std::string_view messages;
    for (const auto& upstream : config.upstreams) {
        const bool anthropic = upstream.kind == config::Kind::kAnthropic;
        if (!anthropic && serves(upstream, kFirst)) return {std::string(kFirst)};
        std::string_view& found = anthropic ? messages : other;
        const config::Preset* const preset = config::find_preset(upstream.name);
        if (found.empty() && preset != nullptr && serves(upstream, preset->trial_model)) {
            found = preset->trial_model;
        }
        for (const auto& pattern : upstream.models) {
            if (found.empty() && pattern.find_first_of("*?") == std::string::npos) found = pattern;
        }
    }
    if (other.empty() && !messages.empty()) return {std::string(messages), true};
    return {std::string(other.empty() ? kFirst : other)};
}

// A curl line for a shell, whose answer is a stream.
std::string trial_line(std::string_view url, std::string_view key, const Trial& trial) {
    const auto body = fmt::format(
        R"({{"model":{},{}"stream":true,"messages":[{{"role":"user","content":"Hello"}}]}})",
        json_quote(trial.model),
        trial.messages ? R"("max_tokens":100,)" : ""
    );
    return fmt::format(
        "curl -N {}/v1/{} -H {} {}-H 'Content-Type: application/json' -d {}\n",
        url,
        trial.messages ? "messages" : "chat/completions",
        shell_quoted(fmt::format("Authorization: Bearer {}", key)),
        trial.messages ? "-H 'anthropic-version: 2023-06-01' " : "",
        shell_quoted(body)
    );
}

// `config_file`: whether there is one; else the environment is all there is.
void print_welcome(const Gateway& gateway, const config::Config& config, bool config_file) {
    const auto addresses = gateway.addresses();
    std::string text;
    for (const auto& address : addresses) {
        text += fmt::format("Weir " WEIR_VERSION " listens on http://{}\n", address);
    }
    if (!config_file) {
        text +=
            "There is no config file; upstreams are those whose keys are in the environment. "
            "`weir check` says which models go where.\n";
    }
    if (gateway.uses_demo()) {
        text += fmt::format(
            "No upstream has a key: the built-in demo upstream answers. It is no model; set "
            "OPENAI_API_KEY (or {}) for a real one.\n",
            config_file ? "what the config names" : "ANTHROPIC_API_KEY, DEEPSEEK_API_KEY, ..."
        );
    } else {
        for (const auto& upstream : config.upstreams) {
            text += fmt::format("Upstream {}: {}\n", upstream.name, upstream.url);
        }
    }
    text += fmt::format("The admin token is in {}/admin-token\n", gateway.data());
    const auto& key = gateway.trial_key();
    if (key.empty()) {
        const auto keys = gateway.keys();
        if (keys.in_force > 0) {
            text += "There are keys, but their text is not kept: weir keys list names them. Make ";
            text += "another: ";
        } else if (keys.set_aside > 0) {
            text += "No key is in force: weir keys list says why. Make another: ";
        } else {
            text += "There is no key yet. Make one: ";
        }
        text += "weir keys create NAME --plan PLAN\n";
    } else {
        text += fmt::format("A key to try with: {}\n\nTry it:\n", key);
        text += trial_line(
            url_of_listener(addresses.empty() ? "127.0.0.1:8080" : addresses.front()),
            key,
            trial_of(config)
        );
    }
    const bool printed = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
    if (std::fflush(stdout) == 0 && printed) return;
    // The gateway runs all the same, so this is not how `serve` ends.
    log::warn("the welcome cannot be printed; `serve --quiet` leaves it out");
    std::clearerr(stdout);
}

void reload(Gateway& gateway) {
    const auto done = gateway.reload();
    if (done) {
        log::info("config reloaded");
        return;
    }
    log::error("reload refused, the old config stays in force");
    std::string_view faults = done.error().detail;
    while (!faults.empty()) {
        const auto end = std::min(faults.find('\n'), faults.size());
        log::error("config fault", {{"fault", faults.substr(0, end)}});
        faults.remove_prefix(std::min(end + 1, faults.size()));
    }
}

// Until a signal ends it.
void wait_for_the_end(Gateway& gateway) {
    const auto awaited = set_of({SIGTERM, SIGINT, SIGHUP});
    for (;;) {
        int signal = 0;
        if (sigwait(&awaited, &signal) != 0) continue;
        if (signal == SIGHUP) {
            reload(gateway);
            continue;
        }
        log::info(
            "draining", {{"signal", std::string_view(signal == SIGTERM ? "SIGTERM" : "SIGINT")}}
        );
        gateway.drain(Hurry());
        return;
    }
}

// Stops the log's thread on every way out.
struct Log {
    explicit Log(log::Settings settings) { log::start(settings); }
    ~Log() { log::stop(); }
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;
};

}  // namespace

int serve(const ServeOptions& options) {
    const auto config = load_config(options.config);
    if (!config) {
        complain(config.error());
        if (options.config.empty()) fmt::print(stderr, "{}", config::environment_config());
        return kWrong;
    }
    // Before any thread starts, so that all inherit it and only sigwait() sees these.
    const auto awaited = set_of({SIGTERM, SIGINT, SIGHUP});
    pthread_sigmask(SIG_BLOCK, &awaited, nullptr);

    const Log log((*config)->log);
    auto gateway = Gateway::start(*config, [path = options.config] { return load_config(path); });
    if (!gateway) {
        complain(gateway.error().detail);
        return gateway.error().code == ErrorCode::kConfig ? kWrong : kFailed;
    }
    if (!options.quiet) print_welcome(**gateway, **config, !options.config.empty());
    wait_for_the_end(**gateway);
    gateway->reset();
    return kDone;
}

}  // namespace weir::app
