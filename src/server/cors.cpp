#include "cors.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "weir/base/text.hpp"
#include "weir/http/error_body.hpp"

namespace weir::server {

namespace {

constexpr std::string_view kMethods = "GET, HEAD, POST, PUT, PATCH, DELETE";

// What clients of these APIs send; patterns in lower case.
constexpr auto kRequestFields = std::to_array<std::string_view>({
    "accept",       "anthropic-*",  "api-key",         "authorization", "cache-control",
    "content-type", "http-referer", "idempotency-key", "openai-*",      "range",
    "traceparent",  "tracestate",   "user-agent",      "x-api-key",     "x-client-request-id",
    "x-codex-*",    "x-request-id", "x-stainless-*",   "x-title",       "x-weir-*",
});

bool allows(const config::Cors& cors, std::string_view origin) {
    return !origin.empty() &&
           std::ranges::any_of(cors.origins, [origin](const std::string& pattern) {
               return glob_match(pattern, origin);
           });
}

std::string_view origin_of(const http::RequestHead& head) noexcept {
    return head.fields.find("origin").value_or("");
}

// Of the names asked for, those that may be sent.
std::string allowed_fields(std::string_view asked) {
    std::string allowed;
    while (!asked.empty()) {
        const std::size_t end = std::min(asked.find(','), asked.size());
        const std::string_view name = trim(asked.substr(0, end));
        asked.remove_prefix(std::min(end + 1, asked.size()));
        const bool known = std::ranges::any_of(kRequestFields, [name](std::string_view pattern) {
            return glob_match(pattern, name);
        });
        if (!known) continue;
        if (!allowed.empty()) allowed += ", ";
        allowed += name;
    }
    return allowed;
}

}  // namespace

http::Fields cors_fields(const config::Cors& cors, const http::RequestHead& head) {
    http::Fields fields;
    // Also where nobody is let in: a cache must not give one site's answer to another.
    fields.add("vary", "Origin");
    const std::string_view origin = origin_of(head);
    if (!allows(cors, origin)) return fields;
    fields.add("access-control-allow-origin", origin);
    // All of ours; a browser reads the star so, as credentials of its own are never allowed.
    fields.add("access-control-expose-headers", "*");
    return fields;
}

bool is_preflight(const http::RequestHead& head) noexcept {
    return head.method == "OPTIONS" && head.fields.find("origin") &&
           head.fields.find("access-control-request-method");
}

http::Response answer_preflight(const config::Cors& cors, const http::RequestHead& head) {
    if (!allows(cors, origin_of(head))) {
        return http::origin_not_allowed(origin_of(head)).response();
    }
    http::Response response;
    response.status = 204;
    response.fields.add("access-control-allow-methods", kMethods);
    const std::string fields =
        allowed_fields(head.fields.find("access-control-request-headers").value_or(""));
    if (!fields.empty()) response.fields.add("access-control-allow-headers", fields);
    response.fields.add("access-control-max-age", std::to_string(cors.max_age.count()));
    return response;
}

}  // namespace weir::server
