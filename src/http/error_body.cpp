#include "weir/http/error_body.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "weir/base/text.hpp"

#include "error_text.hpp"

namespace weir::http {

namespace {

using std::chrono::seconds;

// Longer text of a client's is cut where it is repeated.
constexpr std::size_t kMaxQuoted = 200;

// Anthropic tells errors apart by type, and has one for each status.
std::string_view anthropic_type(const ApiError& error) noexcept {
    switch (error.status) {
        case 401:
            return "authentication_error";
        case 402:
            return "billing_error";
        case 403:
            return "permission_error";
        case 404:
            return "not_found_error";
        case 413:
            return "request_too_large";
        case 429:
            return "rate_limit_error";
        case 503:
            // What waiting does not mend is not what its clients take "overloaded" for.
            return error.should_not_retry ? "api_error" : "overloaded_error";
        case 504:
            return "timeout_error";
        case 529:
            return "overloaded_error";
        default:
            return error.status >= 500 ? "api_error" : kInvalidRequest;
    }
}

void append_member(std::string& out, std::string_view name, std::string_view value) {
    out += name;
    if (value.empty()) {
        out += "null";
    } else {
        append_json_quoted(out, value);
    }
}

}  // namespace

std::string plan_words(std::string_view plan) {
    return plan.empty() ? std::string("the plan of your key")
                        : fmt::format("the plan {}", shown(plan));
}

ApiError make_error(int status, std::string_view type, std::string_view code, std::string message) {
    ApiError error;
    error.status = status;
    error.type = type;
    error.code = code;
    error.message = std::move(message);
    return error;
}

std::string shown(std::string_view text) {
    const bool cut = text.size() > kMaxQuoted;
    return fmt::format("'{}{}'", text.substr(0, kMaxQuoted), cut ? "..." : "");
}

std::string ApiError::body(Api api, std::string_view request_id) const {
    if (api == Api::kAnthropic) {
        std::string out = R"({"type":"error","error":{"type":")";
        out += anthropic_type(*this);
        out += R"(","message":)";
        append_json_quoted(out, message);
        out += '}';
        if (!request_id.empty()) {
            out += R"(,"request_id":)";
            append_json_quoted(out, request_id);
        }
        return out + '}';
    }
    std::string out = R"({"error":{"message":)";
    append_json_quoted(out, message);
    out += R"(,"type":)";
    append_json_quoted(out, type);
    append_member(out, R"(,"param":)", param);
    append_member(out, R"(,"code":)", code);
    out += "}}";
    return out;
}

std::string ApiError::event(Api api) const {
    const std::string_view name = api == Api::kAnthropic ? "event: error\n" : "";
    return std::string(name) + "data: " + body(api) + "\n\n";
}

Response ApiError::response(Api api, std::string_view request_id) const {
    Response out;
    out.status = status;
    out.body = body(api, request_id);
    out.error = code.empty() ? type : code;
    out.fields.add("content-type", "application/json");
    if (retry_after) {
        const seconds wait = std::max(*retry_after, seconds(0));
        out.fields.add("retry-after", std::to_string(wait.count()));
    }
    if (should_not_retry) out.fields.add("x-should-retry", "false");
    if (!allow.empty()) out.fields.add("allow", allow);
    if (status == 401) out.fields.add("www-authenticate", "Bearer");
    if (status == 426) out.fields.add("upgrade", "websocket");
    return out;
}

ApiError malformed_request(int status, std::string message) {
    std::string_view code;
    if (status == 405) code = "method_not_allowed";
    if (status == 408) code = "request_timeout";
    if (status == 413) code = "request_too_large";
    if (status == 431) code = "request_head_too_large";
    ApiError error = make_error(status, kInvalidRequest, code, std::move(message));
    if (status == 405) error.allow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
    return error;
}

ApiError needs_websocket(std::string_view path, std::string_view wrong) {
    return make_error(
        426,
        kInvalidRequest,
        "upgrade_required",
        fmt::format(
            "GET {} is a WebSocket: open it with a WebSocket client (wss://.../...), or check that "
            "the proxies in front of this gateway pass on the header fields `Upgrade` and "
            "`Connection`. What is wrong here: {}.",
            shown(path),
            wrong
        )
    );
}

ApiError invalid_json(std::string what) {
    return make_error(400, kInvalidRequest, "invalid_json", std::move(what));
}

ApiError invalid_field(std::string param, std::string what) {
    ApiError error = make_error(400, kInvalidRequest, "", std::move(what));
    error.param = std::move(param);
    return error;
}

ApiError missing_key() {
    return make_error(
        401,
        kInvalidRequest,
        "invalid_api_key",
        "No API key was sent. Send the key that you have for this gateway in the header "
        "'Authorization: Bearer KEY' or 'x-api-key: KEY'."
    );
}

ApiError unknown_key() {
    return make_error(
        401,
        kInvalidRequest,
        "invalid_api_key",
        "This gateway does not know the API key that was sent, or it was revoked or has expired. "
        "Check that it is the gateway's key, not the upstream's, or ask its administrator for a "
        "new one."
    );
}

ApiError not_cached() {
    ApiError error = make_error(
        504,
        kInvalidRequest,
        "not_cached",
        "No answer to this request is in the cache, and its Cache-Control says only-if-cached. "
        "Send "
        "it without that to have it answered upstream."
    );
    error.should_not_retry = true;
    return error;
}

ApiError model_not_allowed(std::string_view model, std::string_view plan) {
    ApiError error = make_error(
        403,
        kInvalidRequest,
        "model_not_allowed",
        fmt::format(
            "Your key may not use the model {}{}. 'GET /v1/models' lists the models that it may "
            "use.",
            shown(model),
            plan.empty() ? std::string() : fmt::format(" (plan {})", shown(plan))
        )
    );
    error.param = "model";
    return error;
}

ApiError model_not_found(std::string_view model, Api api) {
    const std::string_view anthropic =
        api == Api::kAnthropic
            ? " in Anthropic's API; that takes one with 'kind: anthropic' and the model in its "
              "'models:'"
            : "";
    ApiError error = make_error(
        404,
        kInvalidRequest,
        "model_not_found",
        fmt::format(
            "No upstream of this gateway serves the model {}{}. 'GET /v1/models' lists the models "
            "that your key may use.",
            shown(model),
            anthropic
        )
    );
    error.param = "model";
    return error;
}

ApiError body_too_large(std::uint64_t limit_bytes) {
    return make_error(
        413,
        kInvalidRequest,
        "request_too_large",
        fmt::format(
            "The request's body is larger than the {} that this gateway takes. Send less, or ask "
            "its administrator to raise 'limits: body'.",
            human_size(limit_bytes)
        )
    );
}

ApiError encoded_body(std::string_view encoding) {
    return make_error(
        415,
        kInvalidRequest,
        "unsupported_encoding",
        fmt::format(
            "The request's body is encoded as {}, which this gateway does not read. Send it "
            "without Content-Encoding.",
            shown(encoding)
        )
    );
}

ApiError bodies_full() {
    ApiError error = make_error(
        503,
        kServerError,
        "overloaded",
        "The gateway is reading as many request bodies as fit into its memory. Try again in a "
        "second."
    );
    error.retry_after = seconds(1);
    return error;
}

ApiError too_many_connections() {
    ApiError error = make_error(
        503,
        kServerError,
        "overloaded",
        "The gateway has as many connections as it takes. Try again in a second."
    );
    error.retry_after = seconds(1);
    return error;
}

ApiError storage_down() {
    ApiError error = make_error(
        503,
        kServerError,
        "storage_unavailable",
        "The gateway cannot write its ledger at the moment, and gives no answer that it could not "
        "count. Your caps are untouched. Try again in a few seconds."
    );
    error.retry_after = seconds(5);
    return error;
}

ApiError ledger_full() {
    ApiError error = make_error(
        503,
        kServerError,
        "storage_unavailable",
        "The gateway counts as many messages of the last 32 days as it can hold, and admits new "
        "ones as old ones leave. Tell who runs it: its log has the number."
    );
    error.retry_after = seconds(60);
    return error;
}

ApiError draining() {
    ApiError error = make_error(
        503,
        kServerError,
        "shutting_down",
        "The gateway is shutting down and takes no new requests. Try again in a few seconds: "
        "after a restart it is back by then."
    );
    error.retry_after = seconds(5);
    return error;
}

ApiError internal_error() {
    return make_error(
        500,
        kServerError,
        "internal_error",
        "The gateway failed on this request; that is a fault of its own. If it happens again, "
        "tell its administrator the x-request-id of this answer."
    );
}

ApiError input_not_allowed(std::string_view kind, std::string_view plan, std::string_view allowed) {
    const std::string_view article = kind == "image" ? "an " : kind == "file" ? "a " : "";
    return make_error(
        403,
        kInvalidRequest,
        "input_not_allowed",
        fmt::format(
            "The request carries {}{}, and {} takes only {}. An administrator can allow it with "
            "'inputs: [{}, {}]' there.",
            article,
            kind,
            plan_words(plan),
            allowed,
            allowed,
            kind
        )
    );
}

ApiError input_too_large(std::uint64_t limit_bytes, std::string_view plan) {
    return make_error(
        413,
        kInvalidRequest,
        "request_too_large",
        fmt::format(
            "The request's body is larger than the {} that {} takes. Send less, or ask the "
            "administrator of this gateway to raise 'max_input' there.",
            human_size(limit_bytes),
            plan_words(plan)
        )
    );
}

ApiError model_not_priced(std::string_view model, std::string_view cap) {
    ApiError error = make_error(
        403,
        kInvalidRequest,
        "model_not_priced",
        fmt::format(
            "The cap {} counts money, and this gateway does not know what the model {} costs. An "
            "administrator can add its price under 'prices:'.",
            shown(cap),
            shown(model)
        )
    );
    error.param = "model";
    return error;
}

}  // namespace weir::http
