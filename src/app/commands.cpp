#include "weir/app/commands.hpp"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "weir/app/client.hpp"
#include "weir/base/text.hpp"

#include "commands_arguments.hpp"

namespace weir::app {
namespace {

constexpr std::string_view kExitCodes =
    "\nExit codes: 0 done, 1 failed, 2 the command line or the config is wrong.";

void add_config(
    CLI::App& command,
    std::string& path,
    const std::string& what =
        "The config file; the first of weir.yaml, config/weir.yaml and "
        "/etc/weir/weir.yaml if it is left out; without any, upstreams are "
        "those whose keys are in the environment"
) {
    path = default_config();
    command.add_option("-c,--config", path, what)
        ->envname("WEIR_CONFIG")
        ->type_name("FILE")
        // A script whose variable is empty means a file all the same.
        ->check([](const std::string& file) {
            return file.empty() ? std::string("it is empty") : std::string();
        })
        ->default_str(path.empty() ? "none: the environment" : path);
}

void add_json(CLI::App& command, bool& json) {
    command.add_flag("--json", json, "Print JSON, for programs");
}

void add_local_commands(CLI::App& app, Arguments& arguments, int& result) {
    auto* const serve_command = app.add_subcommand("serve", "Run the gateway in the foreground");
    add_config(*serve_command, arguments.serve.config);
    serve_command->add_flag(
        "-q,--quiet",
        arguments.serve.quiet,
        "Do not print the address and a key to try with; for places where the output is kept"
    );
    serve_command->footer(examples(
        "  weir serve --config config/weir.yaml\n"
        "  WEIR_LISTEN=0.0.0.0:8080 weir serve --quiet\n"
        "  DEEPSEEK_API_KEY=... weir serve\n"
        "SIGTERM or SIGINT drains and ends it, a second one hurries; SIGHUP reloads the config."
    ));
    serve_command->callback([&] { result = serve(arguments.serve); });

    auto* const check_command =
        app.add_subcommand("check", "Check a config file and say what its plans allow");
    add_config(*check_command, arguments.check.config);
    add_json(*check_command, arguments.check.json);
    check_command->footer(
        examples("  weir check --config my.yaml\n"
                 "  weir check --config my.yaml && weir reload\n")
    );
    check_command->callback([&] { result = check(arguments.check); });

    auto* const health_command =
        app.add_subcommand("health", "Ask a gateway on this machine whether it is alive");
    health_command
        ->add_option(
            "--url",
            arguments.health.url,
            "Where it is; otherwise WEIR_URL, `listen` of the config, WEIR_LISTEN, 127.0.0.1:8080"
        )
        ->type_name("URL");
    add_config(*health_command, arguments.health.config);
    add_json(*health_command, arguments.health.json);
    health_command->footer(examples(
        "  weir health\n"
        "  weir health --url http://127.0.0.1:9000\n"
        "  weir health --config my.yaml\n"
        "Answers within a second; no token is needed. Of the config only `listen` is used."
    ));
    health_command->callback([&, health_command] {
        arguments.health.config_named = health_command->count("--config") > 0;
        result = health(arguments.health);
    });

    auto* const version_command = app.add_subcommand("version", "Print the version");
    add_json(*version_command, arguments.json);
    version_command->footer(examples("  weir version\n  weir version --json"));
    version_command->callback([&] {
        fmt::print(
            fmt::runtime(arguments.json ? "{{\"version\":\"{}\"}}\n" : "weir {}\n"), WEIR_VERSION
        );
        result = kDone;
    });
}

void add_cache(CLI::App& app, Arguments& arguments, int& result) {
    auto* const cache = app.add_subcommand("cache", "Look at or clear the response cache");
    cache->require_subcommand(1);
    cache->footer(examples("  weir cache stats\n  weir cache clear --model gpt-4"));

    auto* const stats = cache->add_subcommand("stats", "Sizes, hits and misses");
    add_remote(*stats, arguments.remote);
    stats->footer(examples("  weir cache stats"));
    stats->callback([&] {
        result = remote(arguments.remote, {"GET", "cache", nullptr}, tell_cache);
    });

    auto* const clear = cache->add_subcommand("clear", "Remove stored answers");
    clear->add_option("--model", arguments.model, "Only those of this served model");
    clear->add_option("--key", arguments.name, "Only those that a message of this key paid for");
    clear->add_option(
        "--entry", arguments.entry, "Only this one: `x-weir-cache-entry` of an answer"
    );
    add_remote(*clear, arguments.remote);
    clear->footer(
        examples("  weir cache clear\n"
                 "  weir cache clear --model gpt-4-0613 --key bob\n")
    );
    clear->callback([&, clear] {
        std::string path = "cache";
        const auto narrow = [&](const char* option, std::string_view name, const auto& value) {
            // `--model ""` from a script whose variable is empty must not clear everything.
            if (clear->count(option) == 0) return;
            path +=
                fmt::format("{}{}={}", path == "cache" ? '?' : '&', name, percent_encode(value));
        };
        narrow("--model", "model", arguments.model);
        narrow("--key", "key", arguments.name);
        narrow("--entry", "entry", arguments.entry);
        result = remote(arguments.remote, {"DELETE", path, nullptr}, tell_cleared);
    });
}

void add_remote_commands(CLI::App& app, Arguments& arguments, int& result) {
    auto* const reload =
        app.add_subcommand("reload", "Let the running gateway read its config again");
    add_remote(*reload, arguments.remote);
    reload->footer(examples(
        "  weir reload\n"
        "A config with faults changes nothing: they are told, and the old one stays in force."
    ));
    reload->callback([&] {
        result = remote(arguments.remote, {"POST", "reload", nullptr}, tell_reloaded);
    });

    add_keys(app, arguments, result);

    auto* const usage = app.add_subcommand("usage", "Messages, tokens and money by key and model");
    usage->add_option("--span", arguments.span, "The last 4h, 1d, 30d, ...; at most 32d")
        ->capture_default_str();
    add_remote(*usage, arguments.remote);
    usage->footer(examples("  weir usage\n  weir usage --span 30d --json"));
    usage->callback([&] {
        const auto path = "usage?span=" + percent_encode(arguments.span);
        result = remote(arguments.remote, {"GET", path, nullptr}, tell_usage);
    });

    add_cache(app, arguments, result);

    auto* const explain = app.add_subcommand(
        "explain", "Which caps, route and rules apply to a message, and whether it would go now"
    );
    explain->add_option("key", arguments.name, "A key's name or id")->required();
    explain->add_option("model", arguments.model, "As a client would ask for it")->required();
    explain->add_option(
        "--endpoint", arguments.endpoint, "The path behind /v1/; otherwise chat/completions"
    );
    add_remote(*explain, arguments.remote);
    explain->footer(
        examples("  weir explain bob gpt-4\n"
                 "  weir explain bob text-embedding-3-small --endpoint embeddings")
    );
    explain->callback([&] {
        auto path = fmt::format(
            "explain?key={}&model={}",
            percent_encode(arguments.name),
            percent_encode(arguments.model)
        );
        if (!arguments.endpoint.empty()) {
            path += "&endpoint=" + percent_encode(arguments.endpoint);
        }
        result = remote(arguments.remote, {"GET", path, nullptr}, tell_explained);
    });

    auto* const audit = app.add_subcommand("audit", "Who changed what and when, the newest first");
    audit->add_option("--limit", arguments.limit, "At most so many lines; the last 10000 are kept")
        ->capture_default_str();
    add_remote(*audit, arguments.remote);
    audit->footer(examples("  weir audit\n  weir audit --limit 1000 --json"));
    audit->callback([&] {
        const auto path = fmt::format("audit?limit={}", arguments.limit);
        result = remote(arguments.remote, {"GET", path, nullptr}, tell_audit);
    });
}

// The first word that stands where a command should and is none. The parser would only say that a
// command is missing.
std::optional<std::string> unknown_command(const CLI::App& app, int argc, const char* const* argv) {
    const CLI::App* at = &app;
    std::string way = "weir";
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        const auto commands = at->get_subcommands([](const CLI::App*) { return true; });
        if (commands.empty() || word.starts_with('-')) return std::nullopt;
        const auto found = std::ranges::find(commands, word, &CLI::App::get_name);
        if (found == commands.end()) {
            std::vector<std::string_view> names;
            names.reserve(commands.size());
            for (const auto* command : commands) names.emplace_back(command->get_name());
            const auto near = nearest(word, names);
            return fmt::format(
                "there is no command `{} {}`; {}",
                way,
                word,
                near ? fmt::format("did you mean `{} {}`?", way, *near)
                     : fmt::format("`{} --help` lists them", way)
            );
        }
        at = *found;
        way += fmt::format(" {}", word);
    }
    return std::nullopt;
}

// What was printed may still be in a buffer; a command whose answer nobody got has failed.
int flushed(int result) {
    std::cout.flush();
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good()) return result;
    complain(
        result == kDone ? "the output cannot be written, so nobody saw the answer; the rest is done"
                        : "the output cannot be written"
    );
    return result == kDone ? kFailed : result;
}

}  // namespace

std::string examples(std::string_view lines) {
    return fmt::format("Examples:\n{}{}", lines, kExitCodes);
}

void add_remote(CLI::App& command, RemoteOptions& options) {
    command
        .add_option(
            "--url",
            options.url,
            "Where the gateway is; otherwise WEIR_URL, otherwise `listen` of the config"
        )
        ->type_name("URL");
    command
        .add_option(
            "--token-file",
            options.token_file,
            "A file with the admin token; otherwise WEIR_ADMIN_TOKEN, otherwise admin-token in "
            "`data` of the config"
        )
        ->type_name("FILE");
    add_config(
        command,
        options.config,
        "The gateway's config file; only `listen` and `data` are read. As for `serve`, a relative "
        "`data` starts at the current directory, so run this where the gateway was started"
    );
    add_json(command, options.json);
}

int run_command_line(int argc, const char* const* argv) {
    CLI::App app("Weir: one OpenAI-compatible endpoint for a team, with exact caps and a cache.");
    app.name("weir");
    app.require_subcommand(1);
    app.set_version_flag("--version", "weir " WEIR_VERSION);
    app.footer(
        examples("  weir serve --config config/weir.yaml\n"
                 "  weir keys create bob --plan plus\n"
                 "  weir keys create --help")
    );

    Arguments arguments;
    int result = kDone;
    add_local_commands(app, arguments, result);
    add_remote_commands(app, arguments, result);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        // Help and version come as exceptions with exit code 0.
        if (error.get_exit_code() != 0) {
            if (const auto unknown = unknown_command(app, argc, argv)) {
                complain(*unknown);
                return kWrong;
            }
        }
        return flushed(app.exit(error) == 0 ? kDone : kWrong);
    }
    return flushed(result);
}

}  // namespace weir::app
