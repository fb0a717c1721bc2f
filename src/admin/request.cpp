#include "request.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>

#include <fmt/format.h>

#include "weir/base/text.hpp"
#include "weir/quota/cap_view.hpp"

namespace weir::admin {
namespace {

constexpr std::size_t kMostQuoted = 64;  // of a caller's text, repeated in an error

constexpr std::chrono::hours kLongestGrant{32 * 24};  // the ledger's

// "18:00", "9:05". nullopt: no time of a day.
std::optional<std::chrono::minutes> read_clock(std::string_view text) noexcept {
    const auto colon = text.find(':');
    if (colon == 0 || colon > 2 || text.size() != colon + 3) return std::nullopt;
    int parts[2] = {0, 0};
    int* part = parts;
    for (const char c : text) {
        if (c == ':' && part == parts) {
            ++part;
        } else if (c < '0' || c > '9') {
            return std::nullopt;
        } else {
            *part = *part * 10 + (c - '0');
        }
    }
    if (parts[0] > 23 || parts[1] > 59) return std::nullopt;
    return std::chrono::hours(parts[0]) + std::chrono::minutes(parts[1]);
}

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
    std::span<const std::string_view> optional,
    std::span<const std::string_view> numbers
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
        if (contains(numbers, name)) {
            if (!value.is_number_unsigned()) {
                return std::unexpected(bad_request(
                    fmt::format("`{}` is not a whole number.", name), "invalid_field", name
                ));
            }
            texts.members.emplace_back(name, std::to_string(value.get<std::uint64_t>()));
            continue;
        }
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

Checked<std::uint64_t> read_number(
    std::string_view name, std::string_view digits, std::uint64_t least, std::uint64_t most
) {
    std::uint64_t number = 0;
    const char* const begin = digits.data();
    const char* const end = begin + digits.size();
    const auto [read, error] = std::from_chars(begin, end, number);
    if (error == std::errc() && read == end && least <= number && number <= most) return number;
    return std::unexpected(bad_request(
        fmt::format("`{}` is not a whole number of {} to {}.", name, least, most),
        "invalid_field",
        std::string(name)
    ));
}

Checked<Digest> read_digest(std::string_view name, std::string_view hex) {
    Digest digest{};
    bool good = hex.size() == 2 * digest.size();
    for (std::size_t i = 0; good && i < digest.size(); ++i) {
        const char* const begin = hex.data() + 2 * i;
        const auto [read, error] = std::from_chars(begin, begin + 2, digest[i], 16);
        good = error == std::errc() && read == begin + 2;
    }
    if (good) return digest;
    return std::unexpected(bad_request(
        fmt::format("`{}` is not 64 hexadecimal digits.", name), "invalid_field", std::string(name)
    ));
}

Checked<WallTime> read_until(std::string_view text, WallTime now, const TimeZone& zone) {
    const auto wrong = [](std::string message) {
        return std::unexpected(bad_request(std::move(message), "invalid_field", "until"));
    };
    const auto clock = read_clock(text);
    const auto span = parse_duration(text);
    auto until = parse_iso_time(text);
    if (clock) {
        until = zone.clock(now, *clock);
        if (*until <= now) until = zone.clock(zone.day(now).end, *clock);
    } else if (span && *span <= kLongestGrant) {
        until = now + *span;
    } else if (span) {
        until = WallTime::max();
    }
    if (!until) {
        return wrong(fmt::format(
            "`until` is `{}`, and not a time: write a clock time such as `18:00` ({}), a time from "
            "now such as `4h`, or `2026-11-25T18:00:00Z`.",
            text.substr(0, kMostQuoted),
            zone.name()
        ));
    }
    if (*until <= now) {
        return wrong(fmt::format(
            "`until` is `{}`, which has passed: now it is {}.",
            text.substr(0, kMostQuoted),
            iso_time(now)
        ));
    }
    if (*until - now > kLongestGrant) {
        return wrong(fmt::format(
            "`until` is `{}`, which is more than 32 days away.", text.substr(0, kMostQuoted)
        ));
    }
    return *until;
}

http::Response answer(int status, const Json& json) {
    http::Response response;
    response.status = status;
    response.fields.add("content-type", "application/json");
    response.fields.add("cache-control", "no-store");
    response.body = quota::json_text(json);
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
