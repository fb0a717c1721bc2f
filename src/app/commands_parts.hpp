// What the commands share. Private to src/app.
#pragma once

#include <expected>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "weir/app/commands.hpp"
#include "weir/base/error.hpp"
#include "weir/config/load.hpp"

namespace weir::app {

using Json = nlohmann::ordered_json;

// Text that comes from clients, config or network, for a terminal: without control characters.
[[nodiscard]] std::string printable(std::string_view text);
// Rows under headings, columns as wide as their widest cell; numbers to the right.
class Table {
public:
    explicit Table(std::vector<std::string> headings) : rows_{std::move(headings)} {}
    void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
    [[nodiscard]] std::string text() const;

private:
    std::vector<std::vector<std::string>> rows_;
};

// "weir: <message>" on stderr, one line a line.
void complain(std::string_view message);

// The config file to read if none is named: weir.yaml, config/weir.yaml, or the one that a package
// or container brings; empty: none is there, and the environment is all there is.
[[nodiscard]] std::string default_config();
// The config in that file, or the one made of the environment if `path` is empty.
[[nodiscard]] config::Loaded load_config(const std::string& path);
[[nodiscard]] std::expected<config::Place, std::vector<config::Fault>> load_place(
    const std::string& path
);
// Tells all faults on stderr, one a line.
void complain(const std::vector<config::Fault>& faults);

struct ServeOptions {
    std::string config;  // empty: the environment
    bool quiet = false;  // print nothing but faults; logs are not affected
};
[[nodiscard]] int serve(const ServeOptions& options);

struct CheckOptions {
    std::string config;  // empty: the environment
    bool json = false;
};
[[nodiscard]] int check(const CheckOptions& options);

// How a command finds the running gateway's admin API.
struct RemoteOptions {
    std::string url;         // empty: WEIR_URL, else the config's first `listen`
    std::string token_file;  // empty: WEIR_ADMIN_TOKEN, else admin-token in the config's `data`
    std::string config;
    bool json = false;  // print the answer as it came
};

struct RemoteCall {
    std::string method;
    std::string path;  // behind /api/admin/, encoded
    Json body;         // null: none
};
// Prints the answer: with `json` as it came, else as `tell` puts it. Returns the exit code.
[[nodiscard]] int remote(
    const RemoteOptions& options, const RemoteCall& asked, std::string (*tell)(const Json& answer)
);

struct HealthOptions {
    std::string url;  // empty: WEIR_URL, else the config's first `listen`, else WEIR_LISTEN
    std::string config;
    bool config_named = false;  // a config that someone named must be readable
    bool json = false;
};
// Is the gateway alive? At most a second.
[[nodiscard]] int health(const HealthOptions& options);

// Answers of the admin API in words and tables. They take any JSON without throwing.
[[nodiscard]] std::string tell_keys(const Json& answer);
[[nodiscard]] std::string tell_key(const Json& answer);
[[nodiscard]] std::string tell_new_key(const Json& answer);
[[nodiscard]] std::string tell_revoked(const Json& answer);
[[nodiscard]] std::string tell_granted(const Json& answer);
[[nodiscard]] std::string tell_reset(const Json& answer);
[[nodiscard]] std::string tell_explained(const Json& answer);
[[nodiscard]] std::string tell_audit(const Json& answer);
[[nodiscard]] std::string tell_usage(const Json& answer);
[[nodiscard]] std::string tell_cache(const Json& answer);
[[nodiscard]] std::string tell_cleared(const Json& answer);
[[nodiscard]] std::string tell_reloaded(const Json& answer);

}  // namespace weir::app
