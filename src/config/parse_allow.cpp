// The grammar of `allow:`. What it refuses, it tells apart: a form of somebody else's, a unit that
// is missing, a word with a typing error each have a text that says what to write.
#include <array>
#include <cctype>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "weir/base/text.hpp"
#include "weir/config/cap.hpp"

#include "usd.hpp"

namespace weir::config {

namespace {

using std::chrono::seconds;

constexpr std::uint64_t kMostMessages = 1'000'000'000;
constexpr std::uint64_t kMostTokens = 1'000'000'000'000'000;
constexpr std::uint64_t kMostAtOnce = 1'000'000;
constexpr seconds kLongest = std::chrono::days(32);  // the ledger keeps its rows that long
constexpr std::size_t kLongestText = 100;

constexpr std::string_view kShape =
    "expected an amount per time such as `100/4h`, `1000/day`, `200000 tokens/1d` or "
    "`5 usd/month`, or `4 at once`, or `unlimited`";
constexpr std::string_view kAmount =
    "expected an amount before the slash: a whole number of messages, or as `200000 tokens` or "
    "`0.50 usd`";
constexpr std::string_view kTime =
    "expected a time after the slash: a duration such as `4h` or `30d`, or second, minute, min, "
    "hour, day, week or month";
constexpr std::string_view kAtMostAMonth =
    "a cap is over at most a month: `1000/month`, or `1000/32d`";

using Parsed = std::expected<Cap, std::string>;

std::unexpected<std::string> wrong(std::string_view text) {
    return std::unexpected(std::string(text));
}
std::unexpected<std::string> wrong(std::string_view text, std::string_view hint) {
    return std::unexpected(fmt::format("{} ({})", text, hint));
}

struct Word {
    std::string_view name;
    Period period;
    seconds span;
};
constexpr std::array<Word, 7> kWords = {
    {{"second", Period::kRolling, std::chrono::seconds(1)},
     {"minute", Period::kRolling, std::chrono::minutes(1)},
     {"min", Period::kRolling, std::chrono::minutes(1)},
     {"hour", Period::kRolling, std::chrono::hours(1)},
     {"day", Period::kDay, seconds(0)},
     {"week", Period::kWeek, seconds(0)},
     {"month", Period::kMonth, seconds(0)}}
};

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_letter(char c) {
    return c >= 'a' && c <= 'z';
}
bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// One blank where there were several, none at the ends.
std::string squeeze(std::string_view text) {
    std::string out;
    for (const char c : trim(text)) {
        if (!is_blank(c)) {
            out += c;
        } else if (out.back() != ' ') {
            out += ' ';
        }
    }
    return out;
}

bool has_word(std::string_view text, std::string_view word) {
    for (std::size_t at = text.find(word); at != std::string_view::npos;
         at = text.find(word, at + 1)) {
        const std::size_t end = at + word.size();
        if ((at == 0 || !is_letter(text[at - 1])) && (end == text.size() || !is_letter(text[end])))
            return true;
    }
    return false;
}

bool has_any(std::string_view text, std::initializer_list<std::string_view> words) {
    for (const std::string_view word : words) {
        if (has_word(text, word)) return true;
    }
    return false;
}

// Takes `word` and a blank before it from the end of `text`.
bool take_last(std::string_view& text, std::string_view word) {
    if (!text.ends_with(word)) return false;
    const std::string_view rest = text.substr(0, text.size() - word.size());
    if (!rest.empty() && rest.back() != ' ') return false;
    text = trim(rest);
    return true;
}

// Digits alone, at most `most`. nullopt: not a number at all; UINT64_MAX: more.
std::optional<std::uint64_t> whole(std::string_view digits, std::uint64_t most) {
    if (digits.empty()) return std::nullopt;
    std::uint64_t number = 0;
    bool more = false;
    for (const char c : digits) {
        if (!is_digit(c)) return std::nullopt;
        if (!more) number = number * 10 + static_cast<std::uint64_t>(c - '0');
        more = more || number > most;
    }
    return more ? UINT64_MAX : number;
}

std::optional<std::string> read_whole(
    std::string_view digits, std::uint64_t most, std::string_view unit, Cap& cap
) {
    const auto number = whole(digits, most);
    if (!number) return fmt::format("{} are a whole number", unit);
    if (*number > most) return fmt::format("the limit is more than {} {}", most, unit);
    cap.limit = *number;
    return std::nullopt;
}

// "100", "100 messages", "200000 tokens", "0.50 usd". What is wrong with it, if anything.
std::optional<std::string> read_amount(std::string_view text, Cap& cap) {
    if (text.find('$') != std::string_view::npos ||
        has_any(
            text, {"eur", "euro", "euros", "dollar", "dollars", "cent", "cents", "cny", "rmb"}
        )) {
        return "money is in us dollars and written so: `5 usd/day`";
    }
    std::size_t length = 0;
    while (length < text.size() && (is_digit(text[length]) || text[length] == '.')) ++length;
    const std::string_view number = text.substr(0, length);
    const std::string_view unit = trim(text.substr(length));
    if (number.empty()) return std::string(kAmount);
    if (unit.empty() || unit == "message" || unit == "messages") {
        cap.unit = Unit::kMessages;
        return read_whole(number, kMostMessages, "messages", cap);
    }
    if (unit == "token" || unit == "tokens") {
        cap.unit = Unit::kTokens;
        return read_whole(number, kMostTokens, "tokens", cap);
    }
    if (unit == "usd") {
        cap.unit = Unit::kMoney;
        const auto nano = nano_dollars(number);
        if (!nano) {
            return fmt::format(
                "an amount of money is digits, and at most 9 more behind a dot, up to {} usd",
                kMostUsd
            );
        }
        cap.limit = *nano;
        return std::nullopt;
    }
    if (unit.front() == '_' || unit.front() == ',' || unit == "k" || unit == "m" ||
        unit.starts_with("k ") || unit.starts_with("m ")) {
        return fmt::format("{} (write the number in digits alone, as 200000)", kAmount);
    }
    if (has_any(unit, {"request", "requests", "call", "calls", "msg", "msgs"})) {
        return fmt::format("{} (write the number alone, or behind it `messages`)", kAmount);
    }
    static constexpr std::array<std::string_view, 3> kUnits = {"messages", "tokens", "usd"};
    if (const auto near = nearest(unit, std::span<const std::string_view>(kUnits))) {
        return fmt::format("{} (did you mean `{}`?)", kAmount, *near);
    }
    return std::string(kAmount);
}

// "4 h" and "1h 30m" as a duration; "1 2h" is none.
std::optional<std::chrono::microseconds> read_duration(std::string_view text) {
    std::string joined;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool between = text[i] == ' ' && i > 0 && i + 1 < text.size();
        const auto letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
        if (between && (letter(text[i - 1]) || letter(text[i + 1]))) continue;
        joined += text[i];
    }
    return parse_duration(joined);
}

// What to write for "2 weeks", "4 hours", "3w"; nullopt: not of that kind.
std::optional<std::string> counted_word(std::string_view lower) {
    struct Named {
        std::string_view word;
        std::string_view unit;
        std::uint64_t times;
    };
    static constexpr std::array<Named, 15> kNamed = {
        {{"second", "s", 1},
         {"seconds", "s", 1},
         {"sec", "s", 1},
         {"secs", "s", 1},
         {"minute", "m", 1},
         {"minutes", "m", 1},
         {"mins", "m", 1},
         {"hour", "h", 1},
         {"hours", "h", 1},
         {"hr", "h", 1},
         {"hrs", "h", 1},
         {"day", "d", 1},
         {"days", "d", 1},
         {"week", "d", 7},
         {"weeks", "d", 7}}
    };
    std::size_t length = 0;
    while (length < lower.size() && is_digit(lower[length])) ++length;
    const auto number = whole(lower.substr(0, length), 10'000'000);
    if (!number || *number > 10'000'000) return std::nullopt;
    std::string_view word = trim(lower.substr(length));
    if (word == "w") word = "weeks";
    for (const Named& named : kNamed) {
        if (named.word != word) continue;
        return fmt::format("write `{}{}`", *number * named.times, named.unit);
    }
    return std::nullopt;
}

// Says why `text`, which is no time, is none.
std::string time_fault(std::string_view text) {
    const std::string lower = to_lower(text);
    if (has_any(lower, {"year", "years", "yr", "quarter", "quarters", "months"})) {
        return std::string(kAtMostAMonth);
    }
    if (has_any(lower, {"rolling", "sliding"})) {
        return fmt::format("{} (a duration rolls without any more words)", kTime);
    }
    if (has_word(lower, "calendar")) {
        return fmt::format("{} (day, week and month are those of the calendar)", kTime);
    }
    if (const auto written = counted_word(lower)) return fmt::format("{} ({})", kTime, *written);
    if (whole(lower, UINT64_MAX / 100)) {
        return fmt::format("{} (the unit is missing: s, m, h or d)", kTime);
    }
    if (!lower.empty() && !is_digit(lower.front()) && parse_duration("1" + lower)) {
        return fmt::format("{} (write `1{}`)", kTime, lower);
    }
    // M may have been meant as months: no advice then.
    if (lower != text && text.find('M') == std::string_view::npos && read_duration(lower)) {
        return fmt::format("{} (units are in small letters)", kTime);
    }
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kOther = {
        {{"hourly", "hour"},
         {"daily", "day"},
         {"days", "day"},
         {"weekly", "week"},
         {"monthly", "month"},
         {"sec", "second"},
         {"hr", "hour"},
         {"today", "day"}}
    };
    for (const auto& [word, right] : kOther) {
        if (lower == word) return fmt::format("{} (did you mean `{}`?)", kTime, right);
    }
    std::array<std::string_view, kWords.size()> names;
    for (std::size_t i = 0; i < kWords.size(); ++i) names[i] = kWords[i].name;
    if (lower.size() < 32) {
        if (const auto near = nearest(lower, std::span<const std::string_view>(names))) {
            return fmt::format("{} (did you mean `{}`?)", kTime, *near);
        }
    }
    return std::string(kTime);
}

// What stands behind the slash. What is wrong with it, if anything.
std::optional<std::string> read_time(std::string_view text, Cap& cap) {
    const std::string lower = to_lower(text);
    std::string_view lower_time = lower;
    const bool fixed = take_last(lower_time, "fixed");
    const std::string_view time = trim(text.substr(0, lower_time.size()));
    for (const Word& word : kWords) {
        if (word.name != lower_time) continue;
        cap.period = word.period;
        cap.span = word.span;
        if (fixed && word.period != Period::kRolling) {
            return fmt::format(
                "a calendar {} is fixed already: leave `fixed` out, or write a duration such as "
                "`1d fixed`, which begins with its first message",
                word.name
            );
        }
        if (fixed) cap.period = Period::kFixed;
        return std::nullopt;
    }
    const auto span = read_duration(time);
    if (!span) return time_fault(time);
    if (*span > kLongest) {
        return std::string("a window is 1 second to 32 days long (or `/month`)");
    }
    if (*span < seconds(1)) return std::string("a window is 1 second to 32 days long");
    if (*span % seconds(1) != std::chrono::microseconds(0)) {
        return std::string("a window is a whole number of seconds long");
    }
    cap.period = fixed ? Period::kFixed : Period::kRolling;
    cap.span = std::chrono::duration_cast<seconds>(*span);
    return std::nullopt;
}

// "4 at once"; `amount` is what stands before "at once".
Parsed read_at_once(std::string_view amount) {
    Cap cap;
    cap.period = Period::kAtOnce;
    if (amount.find('/') != std::string_view::npos || amount.empty()) {
        return wrong("expected a number of messages and no time, as `4 at once`");
    }
    if (auto fault = read_amount(amount, cap)) {
        return wrong("expected a whole number of messages, as `4 at once`");
    }
    if (cap.unit != Unit::kMessages) return wrong("only messages are counted `at once`");
    if (cap.limit < 1 || cap.limit > kMostAtOnce) {
        return wrong(fmt::format("`at once` is for 1 to {} messages", kMostAtOnce));
    }
    return cap;
}

Parsed read(std::string_view text) {
    const std::string lower = to_lower(text);
    if (lower == "unlimited") {
        Cap cap;
        cap.period = Period::kUnlimited;
        return cap;
    }
    if (has_word(lower, "unlimited")) return wrong("`unlimited` stands alone");
    std::string_view before = lower;
    if (take_last(before, "at once")) return read_at_once(before);
    if (has_any(lower, {"at once", "at-once", "concurrent", "parallel", "simultaneous"})) {
        return wrong("what is in flight at the same time is written `4 at once`, and has no time");
    }
    const std::size_t slash = lower.find('/');
    if (slash == std::string::npos) {
        if (has_any(lower, {"per", "a", "in", "every", "each"})) {
            return wrong(kShape, "write a slash before the time");
        }
        if (lower.find('$') != std::string::npos) {
            return wrong(kShape, "money is written so: `5 usd/day`");
        }
        static constexpr std::array<std::string_view, 1> kAlone = {"unlimited"};
        if (const auto near = nearest(lower, std::span<const std::string_view>(kAlone))) {
            return wrong(kShape, fmt::format("did you mean `{}`?", *near));
        }
        return wrong(kShape);
    }
    const std::string_view amount = trim(std::string_view(lower).substr(0, slash));
    if (has_word(amount, "fixed")) return wrong("`fixed` stands at the end: `100/4h fixed`");
    Cap cap;
    if (auto fault = read_amount(amount, cap)) return wrong(*fault);
    // In its own letters: 5M is not 5m.
    if (auto fault = read_time(trim(text.substr(slash + 1)), cap)) return wrong(*fault);
    return cap;
}

}  // namespace

std::expected<Cap, std::string> parse_allow(
    std::string_view text, std::shared_ptr<const TimeZone> zone
) {
    // One for all, so that equal texts make equal caps.
    static const std::shared_ptr<const TimeZone> utc = TimeZone::find("UTC");
    std::string allow = squeeze(text);
    if (allow.size() > kLongestText) return wrong(kShape);
    Parsed cap = read(allow);
    if (!cap) return cap;
    cap->allow = std::move(allow);
    if (cap->period == Period::kDay || cap->period == Period::kWeek ||
        cap->period == Period::kMonth) {
        if (zone == nullptr) zone = utc;
        cap->zone = std::move(zone);
    }
    return cap;
}

}  // namespace weir::config
