#include "weir/http/error_body.hpp"

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include <fmt/format.h>

#include "weir/base/text.hpp"

#include "error_text.hpp"

namespace weir::http {

namespace {

using std::chrono::seconds;

// Longer text of a client's is cut where it is repeated.
constexpr std::size_t kMaxQuoted = 200;

// A window as people say it: "4 hours", "1 day", "90 seconds".
std::string window_words(seconds span) {
    static constexpr std::array<std::pair<std::int64_t, std::string_view>, 4> kUnits = {
        {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}}
    };
    const std::int64_t count = span.count();
    for (const auto& [size, name] : kUnits) {
        if (count % size != 0) continue;
        return fmt::format("{} {}{}", count / size, name, count / size == 1 ? "" : "s");
    }
    return human_duration(span);
}

// "14:32:10 UTC", with its date if it is not within a day.
std::string utc_words(std::int64_t at_us, bool with_date) {
    // Rounded up, as retry-after is: never a moment too early.
    const std::time_t second = std::chrono::ceil<seconds>(std::chrono::microseconds(at_us)).count();
    std::tm utc{};
    gmtime_r(&second, &utc);
    std::string out;
    if (with_date) {
        out = fmt::format("{:04}-{:02}-{:02} ", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday);
    }
    return out + fmt::format("{:02}:{:02}:{:02} UTC", utc.tm_hour, utc.tm_min, utc.tm_sec);
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

std::string ApiError::body() const {
    std::string out = R"({"error":{"message":)";
    append_json_quoted(out, message);
    out += R"(,"type":)";
    append_json_quoted(out, type);
    append_member(out, R"(,"param":)", param);
    append_member(out, R"(,"code":)", code);
    out += "}}";
    return out;
}

std::string ApiError::event() const {
    return "data: " + body() + "\n\n";
}

Response ApiError::response() const {
    Response out;
    out.status = status;
    out.body = body();
    out.error = code.empty() ? type : code;
    out.fields.add("content-type", "application/json");
    if (retry_after) {
        const seconds wait = std::max(*retry_after, seconds(0));
        out.fields.add("retry-after", std::to_string(wait.count()));
    }
    if (should_not_retry) out.fields.add("x-should-retry", "false");
    if (!allow.empty()) out.fields.add("allow", allow);
    if (status == 401) out.fields.add("www-authenticate", "Bearer");
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
        "'Authorization: Bearer KEY'."
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

ApiError unknown_path(std::string_view method, std::string_view path) {
    return make_error(
        404,
        kInvalidRequest,
        "not_found",
        fmt::format(
            "There is nothing at {} for {}. Check the base URL: it ends with '/v1'.",
            shown(path),
            shown(method)
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
    const std::string where = plan.empty() ? std::string("the plan of your key")
                                           : fmt::format("the plan {}", shown(plan));
    return make_error(
        403,
        kInvalidRequest,
        "endpoint_closed",
        fmt::format(
            "{} is closed, because it reads or changes what the shared upstream account stores. "
            "An administrator can open it with 'endpoints: [{}]' in {}.",
            shown(path),
            opens,
            where
        )
    );
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

ApiError model_not_found(std::string_view model) {
    ApiError error = make_error(
        404,
        kInvalidRequest,
        "model_not_found",
        fmt::format(
            "No upstream of this gateway serves the model {}. 'GET /v1/models' lists the models "
            "that your key may use.",
            shown(model)
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

ApiError cap_reached(const SpentCap& cap) {
    constexpr std::string_view kQuota = "insufficient_quota";
    ApiError error = make_error(429, kQuota, kQuota, {});
    error.should_not_retry = true;
    const std::string window = cap.span.count() > 0 ? " in " + window_words(cap.span) : "";
    const std::string models = cap.models.empty() || cap.models == "*" ? "" : " for " + cap.models;
    error.message = fmt::format(
        "You have used {} of {} message{}{}{}.",
        cap.used,
        cap.limit,
        cap.limit == 1 ? "" : "s",
        models,
        window
    );
    if (cap.never) {
        error.message +=
            " None becomes free by itself. Ask the administrator of this gateway for more.";
        return error;
    }
    // Rounded up: at exactly that time a message is admitted.
    const seconds wait = std::max(std::chrono::ceil<seconds>(cap.retry_after), seconds(0));
    error.retry_after = wait;
    error.message += fmt::format(
        " The next one is free at {}, in {}.",
        utc_words(cap.free_at_us, wait >= std::chrono::hours(24)),
        human_duration(wait)
    );
    return error;
}

ApiError at_once_reached(std::uint64_t limit, std::string_view models, seconds retry_after) {
    const std::string for_models =
        models.empty() || models == "*" ? std::string() : fmt::format(" for {}", models);
    ApiError error = make_error(
        429,
        "requests",
        "rate_limit_exceeded",
        fmt::format(
            "{} message{} of yours{} {} in flight, which is as many as you may have at once. Wait "
            "until one has ended.",
            limit,
            limit == 1 ? "" : "s",
            for_models,
            limit == 1 ? "is" : "are"
        )
    );
    error.retry_after = std::clamp(retry_after, seconds(1), kLongestTransient);
    return error;
}

}  // namespace weir::http
