#include "weir/http/upstream_error.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>

#include <nlohmann/json.hpp>

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

// The `error` member of a body in OpenAI's shape, or null.
nlohmann::json error_object(std::string_view body) {
    const auto json = nlohmann::json::parse(body, nullptr, false);
    if (!json.is_object()) return nullptr;
    const auto error = json.find("error");
    return error != json.end() && error->is_object() ? *error : nlohmann::json();
}

bool names_quota(const nlohmann::json& error) {
    const auto is_quota = [&](const char* member) {
        const auto found = error.find(member);
        return found != error.end() && found->is_string() &&
               found->get_ref<const std::string&>() == "insufficient_quota";
    };
    return error.is_object() && (is_quota("code") || is_quota("type"));
}

}  // namespace

Response explain_upstream_answer(
    const ResponseHead& head,
    std::string_view body,
    std::string_view upstream,
    std::span<const std::string> secrets
) {
    const int status = head.status;
    if (status == 401 || status == 403) {
        return upstream_failed(UpstreamFault::kCredentials, upstream).response();
    }
    if (status < 400) return upstream_failed(UpstreamFault::kProtocol, upstream).response();

    const nlohmann::json error = error_object(body);
    if (status == 429 || status == 402) {
        if (status == 402 || names_quota(error)) {
            return upstream_failed(UpstreamFault::kQuota, upstream).response();
        }
        return upstream_rate_limited(upstream, bounded_wait(head.fields)).response();
    }
    if (status >= 500 && !error.is_object()) {
        ApiError failed;
        failed.status = status > 599 ? 502 : status;
        failed.type = "server_error";
        failed.code = status == 504 ? "upstream_timeout" : "upstream_error";
        failed.message = "The upstream `" + std::string(upstream) + "` answered " +
                         std::to_string(status) + " (" + std::string(reason_phrase(status)) +
                         "). The request was not counted; try again later.";
        return failed.response();
    }
    Response passed;
    passed.status = status;
    passed.fields = forwarded_response_fields(head.fields);
    if (passed.fields.find("retry-after")) {
        passed.fields.set("retry-after", std::to_string(bounded_wait(head.fields).count()));
        passed.fields.remove("retry-after-ms");  // it would win over the bounded one
    }
    passed.body = redact(body, secrets);
    return passed;
}

}  // namespace weir::http
