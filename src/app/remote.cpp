// Commands that speak to the running gateway.
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <expected>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "weir/app/client.hpp"
#include "weir/base/text.hpp"

#include "commands_parts.hpp"

namespace weir::app {
namespace {

std::string environment(const char* name) {
    const char* const value = std::getenv(name);
    return value == nullptr ? "" : value;
}

// A URL as people write it: with or without a scheme, with or without a final slash.
std::string base_url(std::string url) {
    if (!url.contains("://")) url = url_of_listener(url);
    while (url.ends_with('/')) url.pop_back();
    return url;
}

Result<std::string> read_token(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        return fail(
            ErrorCode::kConfig,
            fmt::format(
                "cannot read the admin token in {}: {} (run this as the user that runs Weir, or "
                "give WEIR_ADMIN_TOKEN or --token-file)",
                path,
                std::strerror(errno)
            )
        );
    }
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    std::string token(trim(text));
    // A line break would become a header of its own.
    if (token.empty() || token.find_first_of("\r\n") != std::string::npos) {
        return fail(ErrorCode::kConfig, fmt::format("{} does not hold one token", path));
    }
    return token;
}

struct Remote {
    std::string url;
    std::string token;  // secret
};

// "127.0.0.1:8080" or "[::1]:8080"
std::string address_of(const config::Listen& listen) {
    const bool v6 = listen.host.contains(':');
    return fmt::format("{}{}{}:{}", v6 ? "[" : "", listen.host, v6 ? "]" : "", listen.port);
}

// The config is only read for what nothing else tells.
Result<Remote> find_remote(const RemoteOptions& options) {
    Remote remote;
    remote.url = !options.url.empty() ? options.url : environment("WEIR_URL");
    std::string token_file = options.token_file;
    if (token_file.empty()) remote.token = trim(environment("WEIR_ADMIN_TOKEN"));

    if (remote.url.empty() || (token_file.empty() && remote.token.empty())) {
        const auto place = load_place(options.config);
        if (!place) {
            std::string faults;
            for (const auto& fault : place.error()) faults += fault.text() + "\n";
            return fail(
                ErrorCode::kConfig,
                faults +
                    "the gateway's address and admin token are looked up in its config; give "
                    "--config, or --url and --token-file"
            );
        }
        if (remote.url.empty()) remote.url = address_of(place->listen.front());
        if (token_file.empty() && remote.token.empty()) token_file = place->data + "/admin-token";
    }
    if (!token_file.empty()) {
        auto token = read_token(token_file);
        if (!token) return std::unexpected(token.error());
        remote.token = std::move(*token);
    }
    remote.url = base_url(remote.url);
    return remote;
}

// What an answer that is not a success says.
std::string message_of(const HttpAnswer& answer) {
    const Json json = Json::parse(answer.body, nullptr, false);
    if (json.is_object() && json.contains("error") && json["error"].is_object()) {
        const auto& error = json["error"];
        const auto message = error.find("message");
        if (message != error.end() && message->is_string()) return message->get<std::string>();
    }
    return fmt::format("status {}, and not in Weir's words: is it Weir?", answer.status);
}

void print(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
}

}  // namespace

int remote(
    const RemoteOptions& options, const RemoteCall& asked, std::string (*tell)(const Json& answer)
) {
    const auto found = find_remote(options);
    if (!found) {
        complain(found.error().detail);
        return kWrong;
    }
    HttpCall http;
    http.method = asked.method;
    http.url = found->url + "/api/admin/" + asked.path;
    http.bearer = found->token;
    if (!asked.body.is_null()) {
        http.body = asked.body.dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    const auto answer = call(http);
    if (!answer) {
        const auto& error = answer.error();
        const bool nobody = error.code == ErrorCode::kUpstreamConnect;
        complain(error.detail + (nobody ? " (is the gateway running there?)" : ""));
        return error.code == ErrorCode::kBadRequest ? kWrong : kFailed;
    }
    const Json json = Json::parse(answer->body, nullptr, false);
    if (answer->status < 200 || answer->status > 299 || !json.is_object()) {
        if (options.json && json.is_object()) print(answer->body + "\n");
        complain(message_of(*answer));
        return answer->status == 400 ? kWrong : kFailed;
    }
    print(options.json ? answer->body + "\n" : tell(json));
    return kDone;
}

int health(const HealthOptions& options) {
    std::string where = !options.url.empty() ? options.url : environment("WEIR_URL");
    if (where.empty()) {
        const auto place = load_place(options.config);
        if (place) {
            where = address_of(place->listen.front());
        } else if (options.config_named) {
            complain(place.error());
            return kWrong;
        }
    }
    // What the shipped config listens on; it may be gone, while its gateway still runs.
    if (where.empty()) where = environment("WEIR_LISTEN");
    if (where.empty()) where = "127.0.0.1:8080";
    const bool json = options.json;
    HttpCall http;
    http.url = base_url(where) + "/healthz";
    http.connect_timeout = std::chrono::milliseconds(900);
    http.timeout = std::chrono::milliseconds(900);
    const auto answer = call(http);
    const bool alive = answer && answer->status == 200;
    if (json) {
        Json told{{"alive", alive}, {"url", http.url}};
        if (answer) told["status"] = answer->status;
        print(told.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    } else if (alive) {
        print("alive\n");
    }
    if (!alive) {
        complain(
            answer ? fmt::format("{}: status {}", http.url, answer->status) : answer.error().detail
        );
    }
    return alive ? kDone : kFailed;
}

}  // namespace weir::app
