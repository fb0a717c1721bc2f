#include "weir/http/upstream_error.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>

#include <simdjson.h>

#include "weir/base/text.hpp"
#include "weir/http/error_body.hpp"
#include "weir/http/hygiene.hpp"

namespace weir::http {

namespace {

constexpr std::chrono::seconds kLongestWait{60};  // SDKs sleep through whatever they are told
constexpr std::chrono::seconds kUsualWait{2};

std::chrono::seconds bounded_wait(const Fields& fields) {
    const auto text = fields.find("retry-after");
    if (!text) return kUsualWait;
    double seconds = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), seconds);
    if (error != std::errc{} || !(seconds >= 0)) return kUsualWait;  // a date, or nonsense
    return std::chrono::seconds(static_cast<std::int64_t>(
        std::min(seconds + 0.999, static_cast<double>(kLongestWait.count()))
    ));
}

// What a body in OpenAI's shape or Anthropic's says: both have their object at "error".
struct Told {
    bool error = false;    // it has an error object
    bool quota = false;    // which says that the account is out of money
    bool billing = false;  // the same in Anthropic's words, whatever the status
};

// Anthropic's API says it as a type of its own or, as its other invalid requests, by 400 and a
// text.
bool says_billing(std::string_view type, std::string_view message) noexcept {
    if (type == "billing_error") return true;
    return type == "invalid_request_error" &&
           (message.starts_with("Your credit balance is too low") ||
            message.starts_with("You have reached your specified API usage limits"));
}

// By simdjson, which takes any nesting and any width in linear time: this is a worker's.
Told read_error(std::string_view body) {
    simdjson::dom::parser parser;
    simdjson::dom::element answer;
    simdjson::dom::object error;
    if (parser.parse(body.data(), body.size()).get(answer) != simdjson::SUCCESS) return {};
    if (answer["error"].get(error) != simdjson::SUCCESS) return {};
    const auto text_at = [&error](std::string_view member) {
        std::string_view text;
        return error[member].get(text) == simdjson::SUCCESS ? text : std::string_view();
    };
    const std::string_view type = text_at("type");
    const bool quota = type == "insufficient_quota" || text_at("code") == "insufficient_quota";
    return {.error = true, .quota = quota, .billing = says_billing(type, text_at("message"))};
}

ApiError status_alone(int status, std::string_view upstream) {
    ApiError error;
    error.status = status > 599 ? 502 : status;
    error.type = status >= 500 ? "server_error" : "invalid_request_error";
    error.code = status == 504 ? "upstream_timeout" : "upstream_error";
    error.message = "The upstream `" + std::string(upstream) + "` answered " +
                    std::to_string(status) + " (" + std::string(reason_phrase(status)) +
                    ") and gave no reason that could be passed on. The request was not counted" +
                    (status >= 500 ? "; try again later." : ".");
    return error;
}

Explained ours(const ApiError& error, Api api) {
    return {.answer = error.response(api), .code = error.code, .ours = true};
}

}  // namespace

bool body_tells_nothing(int status) noexcept {
    return status < 400 || status == 401 || status == 403;
}

Explained explain_upstream_answer(
    const ResponseHead& head,
    std::optional<std::string_view> body,
    std::string_view upstream,
    std::span<const std::string> secrets,
    Api api
) {
    const int status = head.status;
    if (status == 401 || status == 403) {
        return ours(upstream_failed(UpstreamFault::kCredentials, upstream), api);
    }
    if (status < 400) return ours(upstream_failed(UpstreamFault::kProtocol, upstream), api);

    const Told told = read_error(body.value_or(""));
    if (status == 402 || (status == 429 && told.quota) || told.billing) {
        return ours(upstream_failed(UpstreamFault::kQuota, upstream), api);
    }
    if (status == 429) {
        return ours(upstream_rate_limited(upstream, bounded_wait(head.fields)), api);
    }
    if (!body || (status >= 500 && !told.error)) {
        Explained alone = ours(status_alone(status, upstream), api);
        alone.ours = status >= 500;
        return alone;
    }
    Explained passed{.answer = {}, .code = "upstream_status", .ours = status >= 500};
    passed.answer.status = status;
    Fields& fields = passed.answer.fields;
    for (const Field& field : forwarded_response_fields(head.fields)) {
        fields.add(field.name, redact(field.value, secrets));
    }
    // In milliseconds it would win over the bounded one, wherever it stands alone too.
    if (fields.find("retry-after") || fields.find("retry-after-ms")) {
        fields.remove("retry-after-ms");
        fields.set("retry-after", std::to_string(bounded_wait(head.fields).count()));
    }
    passed.answer.body = redact(*body, secrets);
    return passed;
}

}  // namespace weir::http
