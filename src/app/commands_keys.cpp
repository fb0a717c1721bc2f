// `weir keys ...`
#include <string>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "weir/app/client.hpp"

#include "commands_arguments.hpp"

namespace weir::app {

void add_keys(CLI::App& app, Arguments& arguments, int& result) {
    auto* const keys = app.add_subcommand("keys", "Make, list, show, grant, reset and revoke keys");
    keys->require_subcommand(1);
    keys->footer(
        examples("  weir keys create bob --plan plus\n"
                 "  weir keys list\n"
                 "  weir keys grant bob 50 \"gpt-4*\" --until 18:00\n"
                 "  weir keys revoke bob")
    );

    auto* const create = keys->add_subcommand("create", "Make a key; its text is shown once");
    create->add_option("name", arguments.name, "Of its holder; history belongs to the name")
        ->required();
    create->add_option("--plan", arguments.plan, "A plan of the config")->required();
    create->add_option("--team", arguments.team, "Keys of a team share its caps and the cache");
    add_remote(*create, arguments.remote);
    create->footer(
        examples("  weir keys create bob --plan plus --team research\n"
                 "  weir keys create ci --plan plus --json | jq -r .key")
    );
    create->callback([&] {
        Json body{{"name", arguments.name}, {"plan", arguments.plan}};
        if (!arguments.team.empty()) body["team"] = arguments.team;
        result = remote(arguments.remote, {"POST", "keys", std::move(body)}, tell_new_key);
    });

    auto* const list = keys->add_subcommand("list", "List all keys, without their text");
    add_remote(*list, arguments.remote);
    list->footer(examples("  weir keys list\n  weir keys list --json | jq -r '.keys[].name'"));
    list->callback([&] { result = remote(arguments.remote, {"GET", "keys", nullptr}, tell_keys); });

    auto* const show = keys->add_subcommand("show", "Show a key and how its caps stand");
    show->add_option("name", arguments.name, "Its name or id")->required();
    add_remote(*show, arguments.remote);
    show->footer(examples("  weir keys show bob"));
    show->callback([&] {
        const auto path = "keys/" + percent_encode(arguments.name);
        result = remote(arguments.remote, {"GET", path, nullptr}, tell_key);
    });

    auto* const grant = keys->add_subcommand(
        "grant", "Give a key extra messages, for when its own caps of messages are used up"
    );
    grant->add_option("name", arguments.name, "Its name or id")->required();
    grant->add_option("messages", arguments.messages, "How many")->required();
    grant->add_option("models", arguments.models, "A model or a pattern, as in caps: \"gpt-4*\"")
        ->required();
    grant
        ->add_option(
            "--until",
            arguments.until,
            "When they end: a clock time in the config's `timezone` (18:00), a time from now (4h), "
            "or 2026-11-25T18:00:00Z; within 32 days"
        )
        ->required()
        ->type_name("WHEN");
    add_remote(*grant, arguments.remote);
    grant->footer(
        examples("  weir keys grant bob 50 \"gpt-4*\" --until 18:00\n"
                 "  weir keys grant bob 500 \"*\" --until 7d")
    );
    grant->callback([&] {
        Json body{
            {"messages", arguments.messages},
            {"models", arguments.models},
            {"until", arguments.until}
        };
        const auto path = fmt::format("keys/{}/grants", percent_encode(arguments.name));
        result = remote(arguments.remote, {"POST", path, std::move(body)}, tell_granted);
    });

    auto* const reset = keys->add_subcommand(
        "reset", "Let what a key has used count no longer under its plan's and its own caps"
    );
    reset->add_option("name", arguments.name, "Its name or id")->required();
    reset->add_option("--models", arguments.models, "Only of this model or pattern")
        ->capture_default_str();
    add_remote(*reset, arguments.remote);
    reset->footer(examples("  weir keys reset bob\n  weir keys reset bob --models \"gpt-4*\""));
    reset->callback([&] {
        Json body{{"models", arguments.models}};
        const auto path = fmt::format("keys/{}/reset", percent_encode(arguments.name));
        result = remote(arguments.remote, {"POST", path, std::move(body)}, tell_reset);
    });

    auto* const revoke =
        keys->add_subcommand("revoke", "Revoke a key; in force when the command returns");
    revoke->add_option("name", arguments.name, "Its name or id")->required();
    add_remote(*revoke, arguments.remote);
    revoke->footer(examples("  weir keys revoke bob"));
    revoke->callback([&] {
        const auto path = "keys/" + percent_encode(arguments.name);
        result = remote(arguments.remote, {"DELETE", path, nullptr}, tell_revoked);
    });
}

}  // namespace weir::app
