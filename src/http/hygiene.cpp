#include "weir/http/hygiene.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <span>

#include "weir/base/text.hpp"

#include "characters.hpp"

namespace weir::http {

namespace {

constexpr auto kRequestNames = std::to_array<std::string_view>({
    "accept",
    "anthropic-beta",
    "anthropic-dangerous-direct-browser-access",
    "anthropic-version",
    "content-type",
    "conversation_id",
    "http-referer",  // with x-title: how OpenRouter knows the application
    "idempotency-key",
    "openai-beta",
    "originator",
    "session-id",
    "session_id",
    "thread-id",
    "thread_id",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-client-request-id",
    "x-title",
});
constexpr auto kRequestPrefixes = std::to_array<std::string_view>({"x-stainless-", "x-codex-"});

constexpr auto kResponseNames = std::to_array<std::string_view>({
    "accept-ranges",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "openai-model",
    "openai-poll-after-ms",
    "openai-processing-ms",
    "openai-version",
    "retry-after",
    "retry-after-ms",
});

constexpr auto kShapingNames = std::to_array<std::string_view>({
    "anthropic-beta",
    "anthropic-version",
    "openai-beta",
});

// What an API client asks for by habit, whether it streams or not: openai-node sends
// application/json even for streams. These do not shape the answer, the body does.
constexpr auto kUsualAccepts = std::to_array<std::string_view>({
    "*/*",
    "application/*",
    "application/json",
    "text/event-stream",
});

bool listed(std::span<const std::string_view> names, std::string_view name) {
    return std::ranges::any_of(names, [name](std::string_view candidate) {
        return candidate.size() == name.size() && iequals(candidate, name);
    });
}

bool has_prefix(std::span<const std::string_view> prefixes, std::string_view name) {
    return std::ranges::any_of(prefixes, [name](std::string_view prefix) {
        return name.size() > prefix.size() && iequals(name.substr(0, prefix.size()), prefix);
    });
}

// Names that the sender's Connection fields make hop-by-hop (RFC 9110 7.6.1).
std::vector<std::string_view> named_by_connection(const Fields& fields) {
    std::vector<std::string_view> names;
    for (const Field& field : fields) {
        if (!iequals(field.name, "connection")) continue;
        for_each_list_member(field.value, [&names](std::string_view n) { names.push_back(n); });
    }
    return names;
}

std::string_view media_type(std::string_view value) {
    return trim_blanks(value.substr(0, std::min(value.find(';'), value.size())));
}

bool is_usual_accept(std::string_view value) {
    bool usual = true;
    for_each_list_member(value, [&usual](std::string_view range) {
        usual = usual && listed(kUsualAccepts, media_type(range));
    });
    return usual;
}

// What browsers can say with a WebSocket: one of the subprotocols that they offer holds the key.
std::string_view key_of_protocol(const Fields& from) noexcept {
    static constexpr std::string_view kPrefix = "openai-insecure-api-key.";
    std::string_view key;
    for (const Field& field : from) {
        if (!iequals(field.name, "sec-websocket-protocol")) continue;
        for_each_list_member(field.value, [&key](std::string_view member) {
            if (key.empty() && member.starts_with(kPrefix)) key = member.substr(kPrefix.size());
        });
    }
    return key;
}

}  // namespace

Fields forwarded_request_fields(const Fields& from) {
    const auto dropped = named_by_connection(from);
    Fields out;
    for (const Field& field : from) {
        if (!listed(kRequestNames, field.name) && !has_prefix(kRequestPrefixes, field.name)) {
            continue;
        }
        if (listed(dropped, field.name)) continue;
        out.add(field.name, field.value);
    }
    return out;
}

Fields forwarded_response_fields(const Fields& from) {
    const auto dropped = named_by_connection(from);
    Fields out;
    bool has_id = false;
    for (const Field& field : from) {
        if (listed(dropped, field.name)) continue;
        // Where something is on the upstream is nobody's business; a path is the same here.
        const bool path = iequals(field.name, "location") && field.value.starts_with('/') &&
                          !field.value.starts_with("//");
        if (path || listed(kResponseNames, field.name)) {
            out.add(field.name, field.value);
        } else if (!has_id &&
                   (iequals(field.name, "x-request-id") || iequals(field.name, "request-id"))) {
            out.add("x-upstream-request-id", field.value);
            has_id = true;
        }
    }
    return out;
}

std::vector<std::string> shaping_fields(const Fields& from) {
    const auto dropped = named_by_connection(from);
    std::map<std::string, std::string, std::less<>> values;
    const auto note = [&values](std::string name, std::string_view value) {
        const auto [at, is_new] = values.try_emplace(std::move(name), value);
        // Several fields of a name mean the same as one list (RFC 9110 5.3).
        if (!is_new) at->second.append(", ").append(value);
    };
    for (const Field& field : from) {
        if (listed(dropped, field.name)) continue;
        if (listed(kShapingNames, field.name)) {
            note(to_lower(field.name), field.value);
        } else if (iequals(field.name, "accept") && !is_usual_accept(field.value)) {
            note("accept", field.value);
        } else if (iequals(field.name, "content-type")) {
            const std::string type = to_lower(media_type(field.value));
            if (type != "application/json") note("content-type", type);
        }
    }
    std::vector<std::string> out;
    out.reserve(values.size());
    for (const auto& [name, value] : values) out.emplace_back(name).append(": ").append(value);
    return out;
}

bool is_json(const Fields& from) noexcept {
    return iequals(media_type(from.find("content-type").value_or("")), "application/json");
}

std::string_view presented_key(const Fields& from) noexcept {
    constexpr std::string_view kScheme = "bearer ";
    const std::string_view authorization = from.find("authorization").value_or("");
    if (authorization.size() > kScheme.size() &&
        iequals(authorization.substr(0, kScheme.size()), kScheme)) {
        return trim_blanks(authorization.substr(kScheme.size()));
    }
    if (const auto key = from.find("x-api-key"); key && !key->empty()) return *key;
    if (const auto key = from.find("api-key"); key && !key->empty()) return *key;
    return key_of_protocol(from);
}

}  // namespace weir::http
