// What somebody is told whom a cap holds back.
#include <algorithm>
#include <array>
#include <ctime>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "weir/base/text.hpp"
#include "weir/http/error_body.hpp"

#include "error_text.hpp"

namespace weir::http {

namespace {

using std::chrono::seconds;

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

std::string for_models(std::string_view models) {
    return models.empty() || models == "*" ? std::string() : fmt::format(" for {}", models);
}

// "You have used 100 of 100 messages for gpt-4* in 4 hours", without its end.
std::string used_words(const SpentCap& cap) {
    std::string out =
        fmt::format("{} used {} of {}{}", cap.who, cap.used, cap.limit, for_models(cap.models));
    if (!cap.time.empty()) out += " in " + cap.time;
    return out;
}

ApiError transient(std::string message, seconds retry_after) {
    ApiError error = make_error(429, "requests", "rate_limit_exceeded", std::move(message));
    error.retry_after = std::clamp(retry_after, seconds(1), kLongestTransient);
    return error;
}

}  // namespace

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

ApiError cap_reached(const SpentCap& cap) {
    constexpr std::string_view kQuota = "insufficient_quota";
    ApiError error = make_error(429, kQuota, kQuota, used_words(cap) + ".");
    error.should_not_retry = true;
    if (!cap.needs.empty()) error.message += " " + cap.needs;
    if (cap.never) {
        error.message +=
            cap.needs.empty()
                ? " None becomes free by itself. Ask the administrator of this gateway for more."
                : " Waiting does not make room for it: ask for a shorter answer (max_tokens), "
                  "or the administrator of this gateway for more.";
        return error;
    }
    // Rounded up: at exactly that time a message is admitted.
    const seconds wait = std::max(std::chrono::ceil<seconds>(cap.retry_after), seconds(0));
    error.retry_after = wait;
    error.message += fmt::format(
        " {} at {}, in {}.",
        cap.one,
        utc_words(cap.free_at_us, wait >= std::chrono::hours(24)),
        human_duration(wait)
    );
    return error;
}

ApiError reserved_by_others(const SpentCap& cap) {
    std::string message =
        used_words(cap) + ", and messages in flight hold what is left until they end.";
    if (!cap.needs.empty()) message += " " + cap.needs;
    return transient(std::move(message) + " Try again in a moment.", seconds(1));
}

ApiError at_once_reached(const AtOnceCap& cap) {
    std::string message = fmt::format(
        "{} {} message{}{} in flight, which is as many as are allowed at once.",
        cap.who,
        cap.limit,
        cap.limit == 1 ? "" : "s",
        for_models(cap.models)
    );
    switch (cap.queued) {
        case Queued::kNo:
            message += " Wait until one has ended.";
            break;
        case Queued::kWaited:
            message += fmt::format(
                " This one waited {} for its turn, which did not come. Try again a little later.",
                human_duration(cap.waited)
            );
            break;
        case Queued::kFull:
            message += " As many more as may wait are waiting. Try again a little later.";
            break;
    }
    return transient(std::move(message), cap.retry_after);
}

}  // namespace weir::http
