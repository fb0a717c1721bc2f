// What the files that build the command line share. Private to src/app.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include "commands_parts.hpp"

namespace weir::app {

// Everything that may stand on the command line.
struct Arguments {
    ServeOptions serve;
    CheckOptions check;
    RemoteOptions remote;
    std::string name;
    std::string plan;
    std::string team;
    std::string span = "1d";
    std::string model;
    std::string entry;
    std::string models = "*";
    std::string endpoint;
    std::string until;
    std::uint64_t messages = 0;
    std::uint64_t limit = 100;
    HealthOptions health;
    bool json = false;
};

// Examples, and what the exit codes mean, for a command's footer.
[[nodiscard]] std::string examples(std::string_view lines);
// For the commands that speak to the running gateway.
void add_remote(CLI::App& command, RemoteOptions& options);

// The callbacks of the commands refer to both, and put the exit code into `result`.
void add_keys(CLI::App& app, Arguments& arguments, int& result);

}  // namespace weir::app
