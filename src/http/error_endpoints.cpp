// What is said of endpoints: that there is none, that it is closed, which line of config opens it.
#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "weir/base/text.hpp"
#include "weir/http/api.hpp"
#include "weir/http/error_body.hpp"

#include "error_text.hpp"

namespace weir::http {

namespace {

bool is_known(std::string_view path) noexcept {
    return find_endpoint("POST", path).match != Match::kUnknown;
}

// What to do about a path of the API that Weir does not forward.
std::string hint_for(std::string_view path) {
    constexpr std::string_view kTwice = "/v1/v1/";
    const std::string_view bare = path.substr(0, path.find_last_not_of('/') + 1);
    if (bare.size() < path.size() && is_known(bare)) return "Leave out the slash at its end.";
    if (path.starts_with(kTwice) && is_known(path.substr(3))) {
        return "The base URL ends with '/v1' once.";
    }
    if (bare == "/v1") return "It is the base URL; what can be asked stands behind it.";
    return "Weir forwards only what its docs/endpoints.md lists, and no line of its config opens "
           "anything else: check the spelling.";
}

}  // namespace

ApiError unknown_path(std::string_view method, std::string_view path) {
    const bool in_api = path == "/v1" || path.starts_with("/v1/");
    return make_error(
        404,
        kInvalidRequest,
        "not_found",
        fmt::format(
            "There is nothing at {} for {}. {}",
            shown(path),
            shown(method),
            in_api ? hint_for(path) : "Check the base URL: it ends with '/v1'."
        )
    );
}

ApiError wrong_method(std::string_view method, std::string_view path, std::string_view allowed) {
    ApiError error = make_error(
        405,
        kInvalidRequest,
        "method_not_allowed",
        fmt::format("{} does not take {}. Use {}.", shown(path), shown(method), allowed)
    );
    error.allow = allowed;
    return error;
}

ApiError closed_endpoint(std::string_view path, std::string_view plan, std::string_view opens) {
    if (opens.empty()) {
        return make_error(
            403,
            kInvalidRequest,
            "endpoint_closed",
            fmt::format(
                "{} is never forwarded by this gateway, because it manages the account that "
                "everybody shares. Use the upstream itself for that.",
                shown(path)
            )
        );
    }
    return make_error(
        403,
        kInvalidRequest,
        "endpoint_closed",
        fmt::format(
            "{} is closed, because it reads or changes what the shared upstream account stores. "
            "An administrator can open it with 'endpoints: [{}]' in {}.",
            shown(path),
            opens,
            plan_words(plan)
        )
    );
}

ApiError no_account(std::string_view path) {
    return make_error(
        404,
        kInvalidRequest,
        "not_found",
        fmt::format(
            "No upstream of this gateway has {}. An administrator can add one under 'upstreams:'.",
            shown(path)
        )
    );
}

ApiError upload_too_large(std::uint64_t limit_bytes) {
    return make_error(
        413,
        kInvalidRequest,
        "request_too_large",
        fmt::format(
            "The upload is larger than the {} that this gateway takes. Send it in parts, or ask "
            "its administrator to raise 'limits: upload'.",
            human_size(limit_bytes)
        )
    );
}

ApiError origin_not_allowed(std::string_view origin) {
    return make_error(
        403,
        kInvalidRequest,
        "origin_not_allowed",
        fmt::format(
            "Browsers may not ask this gateway from {}. An administrator can let them with 'cors: "
            "{{origins: [...]}}' in the config.",
            shown(origin)
        )
    );
}

ApiError not_your_response(std::string_view plan) {
    ApiError error = make_error(
        403,
        kInvalidRequest,
        "endpoint_closed",
        fmt::format(
            "previous_response_id names a response that this gateway has not given to your key "
            "since it was started. Send the whole conversation instead, or ask an administrator to "
            "open all that are stored with 'endpoints: [stored_responses]' in {}.",
            plan_words(plan)
        )
    );
    error.param = "previous_response_id";
    return error;
}

}  // namespace weir::http
