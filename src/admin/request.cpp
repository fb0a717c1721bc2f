#include "request.hpp"

#include <algorithm>
#include <ctime>

#include <fmt/format.h>

#include "weir/base/text.hpp"

namespace weir::admin {
namespace {

constexpr std::size_t kMostQuoted = 64;  // of a caller's text, repeated in an error

int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool contains(std::span<const std::string_view> names, std::string_view name) {
    return std::ranges::find(names, name) != names.end();
}

std::string unknown(
    std::string_view what,
    std::string_view name,
    std::span<const std::string_view> first,
    std::span<const std::string_view> second = {}
) {
    std::vector<std::string_view> known(first.begin(), first.end());
    known.insert(known.end(), second.begin(), second.end());
    std::string hint = did_you_mean(name, known);
    if (hint.empty() && !known.empty()) hint = fmt::format(" Known: {}.", fmt::join(known, ", "));
    if (known.empty()) hint = " There is none here.";
    return fmt::format("Unknown {} `{}`.{}", what, name.substr(0, kMostQuoted), hint);
}

}  // namespace

std::optional<std::string> percent_decode(std::string_view text) {
    std::string decoded;
    decoded.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == '%') {
            if (i + 2 >= text.size()) return std::nullopt;
            const int high = hex_digit(text[i + 1]);
            const int low = hex_digit(text[i + 2]);
            if (high < 0 || low < 0) return std::nullopt;
            c = static_cast<char>(high * 16 + low);
            i += 2;
        }
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return std::nullopt;
        decoded.push_back(c);
    }
    return decoded;
}

Checked<Query> read_query(std::string_view query, std::span<const std::string_view> allowed) {
    Query found;
    while (!query.empty()) {
        const auto end = std::min(query.find('&'), query.size());
        const auto pair = query.substr(0, end);
        query.remove_prefix(std::min(end + 1, query.size()));
        if (pair.empty()) continue;
        const auto equals = std::min(pair.find('='), pair.size());
        const auto name = percent_decode(pair.substr(0, equals));
        const auto value = percent_decode(pair.substr(std::min(equals + 1, pair.size())));
        if (!name || !value) {
            return std::unexpected(
                bad_request("The query is not properly percent-encoded.", "invalid_query")
            );
        }
        if (!contains(allowed, *name)) {
            return std::unexpected(
                bad_request(unknown("parameter", *name, allowed), "unknown_parameter", *name)
            );
        }
        if (find(found, *name)) {
            return std::unexpected(bad_request(
                fmt::format("`{}` stands twice in the query.", *name), "invalid_query", *name
            ));
        }
        found.emplace_back(*name, *value);
    }
    return found;
}

std::optional<std::string> find(const Query& query, std::string_view name) {
    const auto found = std::ranges::find(query, name, [](const auto& pair) -> std::string_view {
        return pair.first;
    });
    if (found == query.end()) return std::nullopt;
    return found->second;
}

std::string Texts::get(std::string_view name) const {
    return find(members, name).value_or("");
}

Checked<Texts> read_texts(
    std::string_view body,
    std::span<const std::string_view> required,
    std::span<const std::string_view> optional
) {
    // Members of the outermost object, to see a name that stands twice (the parser keeps one).
    std::vector<std::string> names;
    const auto note = [&names](int depth, Json::parse_event_t event, Json& value) {
        if (event == Json::parse_event_t::key && depth == 1) {
            names.push_back(value.get<std::string>());
        }
        return true;
    };
    const Json json = Json::parse(body, note, false);
    if (json.is_discarded() || !json.is_object()) {
        return std::unexpected(http::invalid_json("The body is not a JSON object."));
    }
    std::ranges::sort(names);
    if (const auto twice = std::ranges::adjacent_find(names); twice != names.end()) {
        return std::unexpected(
            bad_request(fmt::format("`{}` stands twice.", *twice), "invalid_json", *twice)
        );
    }
    Texts texts;
    for (const auto& [name, value] : json.items()) {
        if (!contains(required, name) && !contains(optional, name)) {
            return std::unexpected(
                bad_request(unknown("field", name, required, optional), "unknown_field", name)
            );
        }
        if (value.is_null()) continue;
        if (!value.is_string()) {
            return std::unexpected(
                bad_request(fmt::format("`{}` is not a text.", name), "invalid_field", name)
            );
        }
        texts.members.emplace_back(name, value.get<std::string>());
    }
    for (const auto name : required) {
        if (texts.get(name).empty()) {
            return std::unexpected(bad_request(
                fmt::format("`{}` is missing.", name), "missing_field", std::string(name)
            ));
        }
    }
    return texts;
}

http::Response answer(int status, const Json& json) {
    http::Response response;
    response.status = status;
    response.fields.add("content-type", "application/json");
    response.fields.add("cache-control", "no-store");
    response.body = json.dump(-1, ' ', false, Json::error_handler_t::replace);
    return response;
}

http::Response refuse(const http::ApiError& error) {
    auto response = error.response();
    response.fields.set("cache-control", "no-store");
    return response;
}

http::ApiError bad_request(std::string message, std::string code, std::string param) {
    http::ApiError error;
    error.status = 400;
    error.type = "invalid_request_error";
    error.code = std::move(code);
    error.message = std::move(message);
    error.param = std::move(param);
    return error;
}

http::ApiError failure(const Error& error) {
    http::ApiError told;
    told.type = "invalid_request_error";
    told.message = error.detail;
    switch (error.code) {
        case ErrorCode::kConfig:
            told.status = 400;
            told.code = "invalid_config";
            break;
        case ErrorCode::kBadRequest:
            told.status = 400;
            break;
        case ErrorCode::kNotFound:
            told.status = 404;
            told.code = "not_found";
            break;
        case ErrorCode::kConflict:
            told.status = 409;
            told.code = "conflict";
            break;
        case ErrorCode::kDraining:
            told = http::draining();
            break;
        case ErrorCode::kStorage:
            told = http::storage_down();
            told.message += " " + error.detail;
            break;
        default:
            told = http::internal_error();
            told.message += " " + error.detail;
            break;
    }
    return told;
}

std::string iso_time(std::int64_t unix_us) {
    const std::time_t seconds = unix_us / 1'000'000;
    std::tm utc{};
    gmtime_r(&seconds, &utc);
    return fmt::format(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        utc.tm_year + 1900,
        utc.tm_mon + 1,
        utc.tm_mday,
        utc.tm_hour,
        utc.tm_min,
        utc.tm_sec
    );
}

std::optional<std::string> name_fault(std::string_view name) {
    // Paths drop "." and "..", command lines take "-x" for an option, and "cfg-x" is the id of a
    // declared key: a later call that names one must mean that one.
    if (name == "." || name == "..") return "may not be . or ..";
    if (name.starts_with('-') || name.starts_with("cfg-")) return "may not begin with - or cfg-";
    return std::nullopt;
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates) {
    const auto near = nearest(word, candidates);
    return near ? fmt::format(" Did you mean `{}`?", *near) : std::string();
}

}  // namespace weir::admin
