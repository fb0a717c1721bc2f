#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "weir/base/text.hpp"
#include "weir/http/error_body.hpp"

#include "error_text.hpp"

namespace weir::http {

using std::chrono::seconds;

namespace {

constexpr seconds kUsualTransient{2};

}  // namespace

ApiError upstream_rate_limited(std::string_view upstream, std::optional<seconds> retry_after) {
    ApiError error = make_error(
        429,
        "requests",
        "rate_limit_exceeded",
        fmt::format(
            "The upstream {} takes no more requests from this gateway at the moment. Your caps "
            "are untouched. Try again a little later.",
            shown(upstream)
        )
    );
    if (retry_after) error.retry_after = std::clamp(*retry_after, seconds(1), kLongestTransient);
    return error;
}

ApiError out_of_patience() {
    return make_error(
        504,
        kServerError,
        "upstream_timeout",
        "The answer did not begin within the time that your client gives it "
        "(x-stainless-timeout). Give it more time."
    );
}

ApiError upstream_busy(std::string_view upstream, std::chrono::milliseconds waited) {
    const std::string what =
        waited.count() > 0
            ? fmt::format(
                  "none of them ended within {}", human_duration(std::chrono::microseconds(waited))
              )
            : "as many more as may wait are waiting for one to end";
    ApiError error = make_error(
        429,
        "requests",
        "rate_limit_exceeded",
        fmt::format(
            "As many calls as the upstream {} takes at once are in flight, and {}. Your caps are "
            "untouched. Try again a little later.",
            shown(upstream),
            what
        )
    );
    error.retry_after = kUsualTransient;
    return error;
}

ApiError upstream_failed(UpstreamFault fault, std::string_view upstream) {
    constexpr std::string_view kFailed = "upstream_error";
    constexpr std::string_view kLate = "upstream_timeout";
    constexpr std::string_view kAgain = "Nothing was charged. Try again in a moment.";
    constexpr std::string_view kTell = "Nothing was charged. Tell the administrator.";
    struct Words {
        int status;
        std::string_view code;
        std::string_view what;
        std::string_view advice;
    };
    Words words{502, kFailed, "failed", kAgain};
    switch (fault) {
        case UpstreamFault::kConnect:
            words.what = "could not be reached: connecting to it failed";
            break;
        case UpstreamFault::kConnectTimeout:
            words = {504, kLate, "could not be reached: connecting to it took too long", kAgain};
            break;
        case UpstreamFault::kTls:
            words.what = "could not be trusted: the TLS handshake with it failed";
            words.advice = kTell;
            break;
        case UpstreamFault::kClosedEarly:
            words.what = "closed the connection before it answered";
            break;
        case UpstreamFault::kProtocol:
            words.what = "gave an answer that cannot be understood";
            break;
        case UpstreamFault::kFirstByteTimeout:
            words = {504, kLate, "did not begin to answer in time", kAgain};
            break;
        case UpstreamFault::kIdleTimeout:
            words = {504, kLate, "stopped in the middle of its answer for too long", kAgain};
            break;
        case UpstreamFault::kTotalTimeout:
            words = {504, kLate, "did not finish its answer in time", kAgain};
            break;
        case UpstreamFault::kBrokeOff:
            words.what = "broke off in the middle of its answer, which is not complete";
            break;
        case UpstreamFault::kError:
            words.what = "ended its answer with an error";
            break;
        case UpstreamFault::kCredentials:
            words.what = "does not accept the key that this gateway has for it";
            words.advice = kTell;
            break;
        case UpstreamFault::kQuota:
            words = {
                503,
                "upstream_quota_exhausted",
                "refuses, because this gateway's account there is out of quota or money",
                kTell
            };
            break;
    }
    ApiError error = make_error(
        words.status,
        kServerError,
        words.code,
        fmt::format("The upstream {} {}. {}", shown(upstream), words.what, words.advice)
    );
    // Only a person can mend these: retries would only keep the client waiting.
    error.should_not_retry = fault == UpstreamFault::kCredentials || fault == UpstreamFault::kQuota;
    return error;
}

}  // namespace weir::http
