#include "weir/config/cap.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "weir/base/text.hpp"

namespace weir::config {

namespace {

using std::chrono::seconds;

// All of it: human_duration() tells two units at most, and a cap is exact.
std::string in_words(seconds span) {
    struct Part {
        std::int64_t size_s;
        std::string_view one;
        std::string_view many;
    };
    static constexpr std::array<Part, 4> kParts = {
        {{86'400, "day", "days"}, {3'600, "h", "h"}, {60, "min", "min"}, {1, "s", "s"}}
    };
    std::string text;
    std::int64_t left = span.count();
    for (const Part& part : kParts) {
        const std::int64_t count = left / part.size_s;
        left %= part.size_s;
        if (count == 0) continue;
        if (!text.empty()) text += ' ';
        text += fmt::format("{} {}", count, count == 1 ? part.one : part.many);
    }
    return text;
}

std::string usd_in_words(std::uint64_t nano) {
    std::string text = fmt::format("{}.{:09}", nano / kNanoDollars, nano % kNanoDollars);
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
    return text + " usd";
}

std::string_view zone_name(const Cap& cap) {
    return cap.zone == nullptr ? std::string_view("UTC") : std::string_view(cap.zone->name());
}

// "100 messages in any 4 h": the amount with its time.
std::string allowance(const Cap& cap) {
    if (cap.period == Period::kUnlimited) return "no limit";
    if (cap.limit == 0) return "no messages";
    std::string amount = cap.amount_in_words(cap.limit);
    switch (cap.period) {
        case Period::kRolling:
            return fmt::format("{} in any {}", amount, in_words(cap.span));
        case Period::kFixed:
            return fmt::format(
                "{} per {}, counted from the first {},",
                amount,
                in_words(cap.span),
                cap.unit == Unit::kMessages ? "one" : "message"
            );
        case Period::kDay:
        case Period::kWeek:
        case Period::kMonth:
            return fmt::format(
                "{} per calendar {} ({})", amount, name_of(cap.period), zone_name(cap)
            );
        case Period::kAtOnce:
            return amount + " at once";
        case Period::kUnlimited:
            break;
    }
    return amount;
}

}  // namespace

std::string_view name_of(Unit unit) noexcept {
    switch (unit) {
        case Unit::kMessages:
            return "messages";
        case Unit::kTokens:
            return "tokens";
        case Unit::kMoney:
            return "usd";
    }
    return {};
}

std::string_view name_of(Period period) noexcept {
    switch (period) {
        case Period::kRolling:
            return "rolling";
        case Period::kFixed:
            return "fixed";
        case Period::kDay:
            return "day";
        case Period::kWeek:
            return "week";
        case Period::kMonth:
            return "month";
        case Period::kAtOnce:
            return "at_once";
        case Period::kUnlimited:
            return "unlimited";
    }
    return {};
}

std::string Cap::counter() const {
    std::vector<std::string> paths;
    paths.reserve(endpoints.size());
    for (const std::string& path : endpoints) paths.push_back(to_lower(path));
    std::ranges::sort(paths);
    const auto repeated = std::ranges::unique(paths);
    paths.erase(repeated.begin(), repeated.end());
    std::string time;
    if (period == Period::kRolling || period == Period::kFixed) {
        time = fmt::to_string(span.count());
    } else if (period == Period::kDay || period == Period::kWeek || period == Period::kMonth) {
        time = zone_name(*this);  // where a day begins elsewhere, it is another day
    }
    return fmt::format(
        "{}|{}|{}|{}|{}",
        name_of(unit),
        to_lower(models),
        fmt::join(paths, ","),
        name_of(period),
        time
    );
}

std::string Cap::in_words() const {
    std::string text = allowance(*this);
    text += " for " + (models == "*" ? std::string("all models") : models);
    if (!endpoints.empty()) text += fmt::format(" on {}", fmt::join(endpoints, ", "));
    if (!then.empty()) text += fmt::format("; then {} answers", then);
    if (queue.count() > 0) text += fmt::format("; up to {} in the queue", human_duration(queue));
    if (warn) text += "; only a warning";
    return text;
}

std::string Cap::amount_in_words(std::uint64_t amount) const {
    switch (unit) {
        case Unit::kMessages:
            return fmt::format("{} {}", amount, amount == 1 ? "message" : "messages");
        case Unit::kTokens:
            return fmt::format("{} {}", amount, amount == 1 ? "token" : "tokens");
        case Unit::kMoney:
            break;
    }
    return usd_in_words(amount);
}

std::string Cap::time_in_words() const {
    switch (period) {
        case Period::kRolling:
        case Period::kFixed:
            return config::in_words(span);
        case Period::kDay:
        case Period::kWeek:
        case Period::kMonth:
            return fmt::format("the {} ({})", name_of(period), zone_name(*this));
        case Period::kAtOnce:
        case Period::kUnlimited:
            break;
    }
    return {};
}

}  // namespace weir::config
