// YAML -> Config. Strict: an unknown or repeated key, a wrong type, a bad unit, a name that nothing
// defines is a fault; once the file parses as YAML, all faults are told at once.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/config/config.hpp"

namespace weir::config {

// One thing wrong with a configuration. Lines and columns are 1-based; 0: not tied to a place.
struct Fault {
    std::string file;
    int line = 0;
    int column = 0;
    std::string message;  // what is wrong and what was expected; never a secret's value
    std::string hint;     // nearest right name or what to write; may be empty

    // "weir.yaml:12:5: unknown key `modles` (did you mean `models`?)"
    [[nodiscard]] std::string text() const;
};

// Where ${NAME} and ${file:PATH} come from; tests give their own.
struct Sources {
    std::function<std::optional<std::string>(const std::string& name)> environment;
    std::function<std::optional<std::string>(const std::string& path)> file;
    // The process's environment and file system.
    [[nodiscard]] static Sources system();
};

using Loaded = std::expected<std::shared_ptr<const Config>, std::vector<Fault>>;

[[nodiscard]] Loaded load_file(const std::string& path, const Sources& sources = Sources::system());
// `name` stands for the file in faults.
[[nodiscard]] Loaded load_text(
    std::string_view yaml, const std::string& name, const Sources& sources = Sources::system()
);

// A config for a start without a file: an upstream for each vendor whose key is in the environment,
// the demo if there is none, one plan without caps. Never holds what a variable does.
[[nodiscard]] std::string environment_config(const Sources& sources = Sources::system());
// What it says; the first upstream of each API serves also what no other one does.
[[nodiscard]] Loaded load_environment(const Sources& sources = Sources::system());

// Where the gateway of a config is: all that the commands that speak to it need to know.
struct Place {
    std::vector<Listen> listen;
    std::string data;
};
// Reads `listen` and `data` as load_file() does, and no other key: who only asks the gateway need
// not have its secrets, nor the variables and files that they come from.
[[nodiscard]] std::expected<Place, std::vector<Fault>> load_place(
    const std::string& path, const Sources& sources = Sources::system()
);
// The same of a start without a file.
[[nodiscard]] std::expected<Place, std::vector<Fault>> load_environment_place(
    const Sources& sources = Sources::system()
);

}  // namespace weir::config
