#include "weir/config/cap.hpp"

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "weir/base/text.hpp"

namespace weir::config {

namespace {

using std::chrono::seconds;

constexpr std::uint64_t kMostMessages = 1'000'000'000;
constexpr seconds kLongest = std::chrono::days(32);  // the ledger keeps its rows that long
constexpr std::string_view kShape =
    "expected messages per time such as `100/4h`, `1000/day` or `20/min`";

struct Word {
    std::string_view name;
    seconds span;
};
constexpr std::array<Word, 6> kWords = {
    {{"second", std::chrono::seconds(1)},
     {"minute", std::chrono::minutes(1)},
     {"min", std::chrono::minutes(1)},
     {"hour", std::chrono::hours(1)},
     {"day", std::chrono::days(1)},
     {"week", std::chrono::weeks(1)}}
};

bool has_word(std::string_view text, std::string_view word) {
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
    for (std::size_t at = text.find(word); at != std::string_view::npos;
         at = text.find(word, at + 1)) {
        const std::size_t end = at + word.size();
        if ((at == 0 || !letter(text[at - 1])) && (end == text.size() || !letter(text[end]))) {
            return true;
        }
    }
    return false;
}

// The kinds of cap that the grammar will have; told apart from nonsense, so that nobody looks for
// a typing error.
std::optional<std::string> later_kind(std::string_view text) {
    struct Kind {
        std::string_view word;
        std::string_view what;
    };
    static constexpr std::array<Kind, 16> kKinds = {
        {{"token", "token caps are"},
         {"tokens", "token caps are"},
         {"usd", "money caps are"},
         {"eur", "money caps are"},
         {"cent", "money caps are"},
         {"cents", "money caps are"},
         {"at once", "caps on calls at once are"},
         {"concurrent", "caps on calls at once are"},
         {"fixed", "fixed windows are"},
         {"sliding", "other kinds of window are"},
         {"calendar", "calendar windows are"},
         {"month", "calendar months are"},
         {"months", "calendar months are"},
         {"quarter", "calendar windows are"},
         {"year", "calendar years are"},
         {"unlimited", "the word `unlimited` is"}}
    };
    const std::string lower = to_lower(text);
    for (const Kind& kind : kKinds) {
        if (!has_word(lower, kind.word)) continue;
        std::string told = fmt::format("{} not yet supported; {}", kind.what, kShape);
        if (kind.word.starts_with("month")) told += " (at most 32 days: `100/30d`)";
        if (kind.word == "unlimited") told += " (without a cap, nothing is limited)";
        return told;
    }
    if (text.find('$') != std::string_view::npos) {
        return fmt::format("money caps are not yet supported; {}", kShape);
    }
    return std::nullopt;
}

std::expected<std::uint64_t, std::string> parse_limit(std::string_view digits) {
    if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos) {
        return std::unexpected(fmt::format("{}: a whole number, a slash and a time", kShape));
    }
    std::uint64_t limit = 0;
    for (const char c : digits) {
        limit = limit * 10 + static_cast<std::uint64_t>(c - '0');
        if (limit > kMostMessages) {
            return std::unexpected(std::string("the limit is more than 1000000000 messages"));
        }
    }
    return limit;
}

std::expected<seconds, std::string> parse_span(std::string_view text) {
    for (const Word& word : kWords) {
        if (iequals(word.name, text)) return word.span;
    }
    const auto span = parse_duration(text);
    if (!span) {
        std::array<std::string_view, kWords.size()> names;
        for (std::size_t i = 0; i < kWords.size(); ++i) names[i] = kWords[i].name;
        std::string told =
            "expected a time after the slash: a duration such as `4h` or `30d`, or second, "
            "minute, min, hour, day or week";
        if (!text.empty() && parse_duration(fmt::format("1{}", text))) {
            told += fmt::format(" (write `1{}`)", text);
        } else if (text.size() < 32) {
            if (const auto near = nearest(text, std::span<const std::string_view>(names))) {
                told += fmt::format(" (did you mean `{}`?)", *near);
            }
        }
        return std::unexpected(std::move(told));
    }
    if (*span < seconds(1) || *span > kLongest) {
        return std::unexpected(std::string("a window is 1 second to 32 days long"));
    }
    if (*span % seconds(1) != std::chrono::microseconds(0)) {
        return std::unexpected(std::string("a window is a whole number of seconds long"));
    }
    return std::chrono::duration_cast<seconds>(*span);
}

}  // namespace

std::string Cap::counter() const {
    return fmt::format("{}|{}", to_lower(models), span.count());
}

std::string Cap::in_words() const {
    const std::string which = models == "*" ? "all models" : models;
    if (limit == 0) return fmt::format("no messages for {}", which);
    return fmt::format(
        "{} {} in any {} for {}",
        limit,
        limit == 1 ? "message" : "messages",
        human_duration(span),
        which
    );
}

std::expected<Cap, std::string> parse_allow(
    std::string_view text, std::shared_ptr<const TimeZone> /*zone*/
) {
    text = trim(text);
    if (text.size() > 100) return std::unexpected(std::string(kShape));
    if (auto later = later_kind(text)) return std::unexpected(std::move(*later));
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos) return std::unexpected(std::string(kShape));
    const auto limit = parse_limit(text.substr(0, slash));
    if (!limit) return std::unexpected(limit.error());
    const auto span = parse_span(text.substr(slash + 1));
    if (!span) return std::unexpected(span.error());
    Cap cap;
    cap.limit = *limit;
    cap.span = *span;
    cap.allow = std::string(text);
    return cap;
}

}  // namespace weir::config
