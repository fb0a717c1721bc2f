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

// What a body in OpenAI's shape says.
struct Told {
    bool error = false;  // it has an error object
    bool quota = false;  // which says that the account is out of money
};

// By simdjson, which takes any nesting and any width in linear time: this is a worker's.
Told read_error(std::string_view body) {
    simdjson::dom::parser parser;
    simdjson::dom::element answer;
    simdjson::dom::object error;
    if (parser.parse(body.data(), body.size()).get(answer) != simdjson::SUCCESS) return {};
    if (answer["error"].get(error) != simdjson::SUCCESS) return {};
    const auto is_quota = [&error](std::string_view member) {
        std::string_view text;
        return error[member].get(text) == simdjson::SUCCESS && text == "insufficient_quota";
    };
    return {.error = true, .quota = is_quota("code") || is_quota("type")};
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

Explained ours(const ApiError& error) {
    return {.answer = error.response(), .code = error.code, .ours = true};
}

}  // namespace

bool body_tells_nothing(int status) noexcept {
    return status < 400 || status == 401 || status == 403;
}

Explained explain_upstream_answer(
    const ResponseHead& head,
    std::optional<std::string_view> body,
    std::string_view upstream,
    std::span<const std::string> secrets
) {
    const int status = head.status;
    if (status == 401 || status == 403) {
        return ours(upstream_failed(UpstreamFault::kCredentials, upstream));
    }
    if (status < 400) return ours(upstream_failed(UpstreamFault::kProtocol, upstream));

    const Told told = read_error(body.value_or(""));
    if (status == 402 || (status == 429 && told.quota)) {
        return ours(upstream_failed(UpstreamFault::kQuota, upstream));
    }
    if (status == 429) return ours(upstream_rate_limited(upstream, bounded_wait(head.fields)));
    if (!body || (status >= 500 && !told.error)) {
        Explained alone = ours(status_alone(status, upstream));
        alone.ours = status >= 500;
        return alone;
    }
    Explained passed{.answer = {}, .code = "upstream_status", .ours = status >= 500};
    passed.answer.status = status;
    passed.answer.fields = forwarded_response_fields(head.fields);
    for (Field& field : passed.answer.fields) field.value = redact(field.value, secrets);
    // In milliseconds it would win over the bounded one, wherever it stands alone too.
    Fields& fields = passed.answer.fields;
    if (fields.find("retry-after") || fields.find("retry-after-ms")) {
        fields.remove("retry-after-ms");
        fields.set("retry-after", std::to_string(bounded_wait(head.fields).count()));
    }
    passed.answer.body = redact(*body, secrets);
    return passed;
}

}  // namespace weir::http
