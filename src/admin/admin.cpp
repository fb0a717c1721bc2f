#include "weir/admin/admin.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <utility>

#include <fmt/format.h>

#include "weir/base/log.hpp"
#include "weir/base/text.hpp"

#include "request.hpp"
#include "routes.hpp"

namespace weir::admin {
namespace {

constexpr std::string_view kPrefix = "/api/admin/";
constexpr std::size_t kMostQuoted = 64;  // of a caller's path, repeated in an error

std::string_view as_text(const Digest& digest) noexcept {
    return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

http::ApiError unauthorized(bool presented) {
    http::ApiError error;
    error.status = 401;
    error.type = "invalid_request_error";
    error.code = presented ? "invalid_admin_token" : "missing_admin_token";
    error.message =
        presented
            ? "That is not the admin token. A client's key does not open this; the token is in "
              "the file admin-token in Weir's data directory."
            : "This needs the admin token, in the header `Authorization: Bearer ...`; it is in the "
              "file admin-token in Weir's data directory.";
    return error;
}

// The words for clients name the base URL of the API that they use.
http::ApiError unknown_call(std::string_view path) {
    constexpr std::array<std::string_view, 9> kCalls = {
        "/api/admin/keys",
        "/api/admin/keys/NAME/grants",
        "/api/admin/keys/NAME/reset",
        "/api/admin/explain",
        "/api/admin/audit",
        "/api/admin/usage",
        "/api/admin/cache",
        "/api/admin/reload",
        "/api/admin/version"
    };
    http::ApiError error = bad_request(
        fmt::format(
            "There is nothing at {}.{} The calls are: {}.",
            path.substr(0, kMostQuoted),
            did_you_mean(path, kCalls),
            fmt::join(kCalls, ", ")
        ),
        "not_found"
    );
    error.status = 404;
    return error;
}

// The token of `Authorization: Bearer x`; empty: none.
std::string_view bearer(const http::Fields& fields) {
    constexpr std::string_view kScheme = "bearer ";
    const auto value = fields.find("authorization").value_or("");
    if (value.size() <= kScheme.size() || !iequals(value.substr(0, kScheme.size()), kScheme)) {
        return {};
    }
    return trim(value.substr(kScheme.size()));
}

}  // namespace

struct Admin::Route {
    std::string_view method;
    std::string_view path;  // behind the prefix; "*" takes one segment
    http::Response (Admin::*run)(const Call&);
    std::array<std::string_view, 3> parameters = {};  // of the query; empty: none
};

Admin::Admin(Services services)
    : services_(std::move(services)), token_hash_(sha256(services_.token)) {}

void Admin::record(const Act& act) {
    const auto done = services_.audit.add(act, services_.clock.wall());
    if (done) return;
    log::error(
        "admin: the audit trail misses an act",
        {{"act", std::string_view(act.what)},
         {"subject", std::string_view(act.subject)},
         {"error", std::string_view(done.error().detail)}}
    );
}

bool Admin::has_token(const http::Fields& fields) const {
    // An empty token would let everybody in; nobody has it.
    if (services_.token.empty()) return false;
    return equal_constant_time(as_text(sha256(bearer(fields))), as_text(token_hash_));
}

std::optional<http::Response> Admin::check_token(const http::RequestHead& head) const {
    if (has_token(head.fields)) return std::nullopt;
    return refuse(unauthorized(!bearer(head.fields).empty()));
}

http::Response Admin::body_too_large() {
    // The words for clients name `limits.body`, which is not the limit here.
    http::ApiError error = bad_request(
        fmt::format(
            "The body is larger than the {} that this API takes.", human_size(kLargestBody)
        ),
        "request_too_large"
    );
    error.status = 413;
    return refuse(error);
}

http::Response Admin::handle(const http::RequestHead& head, std::string_view body) {
    try {
        if (auto refusal = check_token(head)) return std::move(*refusal);
        return dispatch(head, body);
    } catch (const std::exception& bug) {
        log::error("admin: exception", {{"what", std::string_view(bug.what())}});
        return refuse(http::internal_error());
    }
}

http::Response Admin::dispatch(const http::RequestHead& head, std::string_view body) {
    static constexpr std::array<Route, 13> kRoutes = {{
        {"GET", "keys", &Admin::list_keys},
        {"POST", "keys", &Admin::create_key},
        {"GET", "keys/*", &Admin::show_key},
        {"DELETE", "keys/*", &Admin::revoke_key},
        {"POST", "keys/*/grants", &Admin::grant},
        {"POST", "keys/*/reset", &Admin::reset},
        {"GET", "explain", &Admin::explain, {"key", "model", "endpoint"}},
        {"GET", "audit", &Admin::show_audit, {"limit"}},
        {"GET", "usage", &Admin::show_usage, {"span"}},
        {"GET", "cache", &Admin::show_cache},
        {"DELETE", "cache", &Admin::clear_cache, {"model", "key", "entry"}},
        {"POST", "reload", &Admin::reload},
        {"GET", "version", &Admin::show_version},
    }};

    const auto path = head.path();
    if (!path.starts_with(kPrefix)) return refuse(unknown_call(path));
    const auto rest = path.substr(kPrefix.size());

    std::string allowed;
    for (const auto& route : kRoutes) {
        std::string_view segment;
        if (!matches(route.path, rest, segment)) continue;
        if (route.method != head.method) {
            if (!allowed.empty()) allowed += ", ";
            allowed += route.method;
            continue;
        }
        if (body.size() > kLargestBody) return body_too_large();
        const auto name = percent_decode(segment);
        if (!name || (name->empty() && !segment.empty())) {
            return refuse(bad_request("The path is not properly percent-encoded.", "invalid_path"));
        }
        const std::span<const std::string_view> parameters(
            route.parameters.begin(), std::ranges::find(route.parameters, std::string_view())
        );
        const auto query = read_query(head.query(), parameters);
        if (!query) return refuse(query.error());
        return (this->*route.run)(Call{*name, *query, body});
    }
    if (allowed.empty()) return refuse(unknown_call(path));
    return refuse(http::wrong_method(head.method, path, allowed));
}

}  // namespace weir::admin
