#include "weir/base/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace weir {

namespace {

constexpr char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Reads "12" or "1.5" from the front of `text`; nullopt if there is no number.
std::optional<double> take_number(std::string_view& text) {
    if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
    double value = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
    if (error != std::errc{}) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return value;
}

struct Unit {
    std::string_view name;
    double factor;
};

const Unit* take_unit(std::string_view& text, std::span<const Unit> units) {
    std::size_t letters = 0;
    while (letters < text.size() && (text[letters] < '0' || text[letters] > '9')) ++letters;
    const std::string_view name = text.substr(0, letters);
    for (const Unit& unit : units) {
        if (unit.name == name) {
            text.remove_prefix(letters);
            return &unit;
        }
    }
    return nullptr;
}

// A decimal without the zeros behind, nor a point behind. REQUIRES: it has a point.
std::string without_zeros(std::string text) {
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
    return text;
}

// What is so many units of 10^-digits, without zeros behind.
std::string decimal(std::int64_t units, int digits) {
    std::string text = std::to_string(units);
    const auto behind = static_cast<std::size_t>(digits);
    if (text.size() <= behind) text.insert(0, behind + 1 - text.size(), '0');
    text.insert(text.size() - behind, 1, '.');
    return without_zeros(std::move(text));
}

std::string trimmed_decimal(double value) {
    std::array<char, 32> digits;
    const auto [end, error] = std::to_chars(
        digits.data(), digits.data() + digits.size(), value, std::chars_format::fixed, 6
    );
    return without_zeros(std::string(digits.data(), end));
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t above = row[j];
            const std::size_t replace = diagonal + (lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1);
            row[j] = std::min({above + 1, row[j - 1] + 1, replace});
            diagonal = above;
        }
    }
    return row[b.size()];
}

// How much of it stands in JSON as it is and is ASCII.
std::size_t plain_length(std::string_view text) noexcept {
    std::size_t length = 0;
    const auto plain = [](char c) { return c >= ' ' && c < 0x7F && c != '"' && c != '\\'; };
    while (length < text.size() && plain(text[length])) ++length;
    return length;
}

// Length of the valid UTF-8 sequence at the front of `text`, 0 if there is none (RFC 3629).
std::size_t utf8_length(std::string_view text) noexcept {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = byte(0);
    std::size_t length = 0;
    if (first < 0x80) return 1;
    if (first >= 0xC2 && first <= 0xDF)
        length = 2;
    else if (first >= 0xE0 && first <= 0xEF)
        length = 3;
    else if (first >= 0xF0 && first <= 0xF4)
        length = 4;
    if (length == 0 || text.size() < length) return 0;
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xC0) != 0x80) return 0;
    }
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return length;
}

}  // namespace

std::optional<std::uint64_t> parse_size(std::string_view text) {
    static constexpr std::array<Unit, 9> kUnits = {
        {{"", 1},
         {"B", 1},
         {"KiB", 1024},
         {"MiB", 1048576},
         {"GiB", 1073741824},
         {"TiB", 1099511627776},
         {"KB", 1e3},
         {"MB", 1e6},
         {"GB", 1e9}}
    };
    const auto number = take_number(text);
    if (!number) return std::nullopt;
    const Unit* const unit = take_unit(text, kUnits);
    if (unit == nullptr || !text.empty()) return std::nullopt;
    const double bytes = *number * unit->factor;
    if (bytes > 9e15 || bytes != std::floor(bytes)) return std::nullopt;
    return static_cast<std::uint64_t>(bytes);
}

std::optional<std::chrono::microseconds> parse_duration(std::string_view text) {
    static constexpr std::array<Unit, 7> kUnits = {
        {{"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"m", 6e7}, {"min", 6e7}, {"h", 3.6e9}, {"d", 8.64e10}}
    };
    double total = 0;
    if (text.empty()) return std::nullopt;
    while (!text.empty()) {
        const auto number = take_number(text);
        if (!number) return std::nullopt;
        const Unit* const unit = take_unit(text, kUnits);
        if (unit == nullptr) return std::nullopt;
        total += *number * unit->factor;
    }
    if (total > 9e15) return std::nullopt;
    return std::chrono::microseconds(std::llround(total));
}

std::string go_duration(std::chrono::microseconds span) {
    const std::int64_t us = std::max<std::int64_t>(span.count(), 0);
    if (us == 0) return "0s";
    if (us < 1'000) return std::to_string(us) + "µs";
    if (us < 1'000'000) return decimal(us, 3) + "ms";
    const std::int64_t hours = us / 3'600'000'000;
    const std::int64_t minutes = us / 60'000'000 % 60;
    std::string text;
    if (hours > 0) text += std::to_string(hours) + "h";
    if (hours > 0 || minutes > 0) text += std::to_string(minutes) + "m";
    return text + decimal(us % 60'000'000, 6) + "s";
}

std::string human_duration(std::chrono::microseconds span) {
    const std::int64_t us = std::max<std::int64_t>(span.count(), 0);
    if (us < 1'000'000) return std::to_string(us / 1'000) + " ms";
    struct Part {
        std::int64_t size_s;
        std::string_view one;
        std::string_view many;
    };
    static constexpr std::array<Part, 4> kParts = {
        {{86'400, "day", "days"}, {3'600, "h", "h"}, {60, "min", "min"}, {1, "s", "s"}}
    };
    std::int64_t left = us / 1'000'000;
    std::string text;
    int told = 0;
    for (const Part& part : kParts) {
        const std::int64_t count = left / part.size_s;
        left %= part.size_s;
        if (count == 0) {
            if (told > 0) break;  // "1 day 5 s" says less than "1 day"
            continue;
        }
        if (told > 0) text += ' ';
        text += std::to_string(count) + ' ';
        text += count == 1 ? part.one : part.many;
        if (++told == 2) break;
    }
    return text;
}

std::string human_size(std::uint64_t bytes) {
    static constexpr std::array<std::string_view, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (value >= 1024 && unit + 1 < kUnits.size()) {
        value /= 1024;
        ++unit;
    }
    return trimmed_decimal(std::round(value * 10) / 10) + " " + std::string(kUnits[unit]);
}

bool glob_match(std::string_view pattern, std::string_view text) noexcept {
    // Most of a long list begin otherwise.
    if (!pattern.empty() && !text.empty() && pattern[0] != '*' && pattern[0] != '?' &&
        lower(pattern[0]) != lower(text[0])) {
        return false;
    }
    std::size_t p = 0;
    std::size_t t = 0;
    std::size_t star = std::string_view::npos;  // the last star seen, to come back to
    std::size_t star_text = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            star_text = t;
        } else if (p < pattern.size() &&
                   (pattern[p] == '?' || lower(pattern[p]) == lower(text[t]))) {
            ++p;
            ++t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++star_text;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

bool iequals(std::string_view a, std::string_view b) noexcept {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
               return lower(x) == lower(y);
           });
}

std::string to_lower(std::string_view text) {
    std::string result(text);
    for (char& c : result) c = lower(c);
    return result;
}

std::string_view trim(std::string_view text) noexcept {
    static constexpr std::string_view kBlanks = " \t\r\n";
    const std::size_t first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::optional<std::string> nearest(
    std::string_view word, std::span<const std::string_view> candidates
) {
    // A third of the letters wrong is a typing error; more is another word.
    std::size_t best = std::max<std::size_t>(1, word.size() / 3) + 1;
    std::optional<std::string> found;
    for (const std::string_view candidate : candidates) {
        const std::size_t distance = edit_distance(word, candidate);
        if (distance < best) {
            best = distance;
            found = std::string(candidate);
        }
    }
    return found;
}

std::string to_hex(std::span<const std::uint8_t> bytes) {
    static constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const std::uint8_t byte : bytes) {
        text += kDigits[byte >> 4];
        text += kDigits[byte & 15];
    }
    return text;
}

void append_json_quoted(std::string& out, std::string_view text) {
    static constexpr std::string_view kDigits = "0123456789abcdef";
    out += '"';
    while (!text.empty()) {
        // Nearly always all of it.
        const std::size_t plain = plain_length(text);
        out.append(text.substr(0, plain));
        text.remove_prefix(plain);
        if (text.empty()) break;
        const char c = text.front();
        const auto byte = static_cast<unsigned char>(c);
        std::size_t length = 1;
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (c == '\n') {
            out += "\\n";
        } else if (byte < 0x20 || byte == 0x7F) {
            out += "\\u00";
            out += kDigits[byte >> 4];
            out += kDigits[byte & 15];
        } else if (length = utf8_length(text); length == 0) {
            out += "\xEF\xBF\xBD";
            length = 1;
        } else {
            out.append(text.substr(0, length));
        }
        text.remove_prefix(length);
    }
    out += '"';
}

std::string json_quote(std::string_view text) {
    std::string out;
    out.reserve(text.size() + 2);
    append_json_quoted(out, text);
    return out;
}

std::string redact(std::string_view text, std::span<const std::string> secrets) {
    static constexpr std::size_t kShortest = 8;  // shorter ones would black out common words
    static constexpr std::string_view kMark = "[redacted]";
    std::string result(text);
    for (const std::string& secret : secrets) {
        if (secret.size() < kShortest) continue;
        for (std::size_t at = result.find(secret); at != std::string::npos;
             at = result.find(secret, at + kMark.size())) {
            result.replace(at, secret.size(), kMark);
        }
    }
    return result;
}

}  // namespace weir
