// Texts and tables for people.
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "weir/base/text.hpp"

#include "tables_parts.hpp"

namespace weir::app {
namespace {

// Reads one UTF-8 character at `i` and moves behind it; U+FFFD for broken bytes.
char32_t next_character(std::string_view text, std::size_t& i) noexcept {
    const auto byte = [&text](std::size_t at) {
        return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
    };
    const unsigned first = byte(i++);
    if (first < 0x80) return first;
    if (first < 0xC2 || first > 0xF4) return 0xFFFD;
    const unsigned length = 1U + (first >= 0xE0 ? 1U : 0U) + (first >= 0xF0 ? 1U : 0U);
    char32_t character = first & (0x3FU >> length);
    for (unsigned k = 0; k < length; ++k) {
        if ((byte(i) & 0xC0U) != 0x80U) return 0xFFFD;
        character = (character << 6U) | (byte(i++) & 0x3FU);
    }
    return character;
}

// Columns on a terminal: characters of East Asian scripts and emoji take two.
std::size_t width(std::string_view text) noexcept {
    static constexpr std::array<std::pair<char32_t, char32_t>, 7> kWide = {{
        {0x1100, 0x115F},
        {0x2E80, 0xA4CF},
        {0xAC00, 0xD7A3},
        {0xF900, 0xFAFF},
        {0xFE30, 0xFE6F},
        {0xFF00, 0xFF60},
        {0x1F300, 0x3FFFD},
    }};
    std::size_t columns = 0;
    for (std::size_t i = 0; i < text.size();) {
        const auto c = next_character(text, i);
        const bool wide = std::ranges::any_of(kWide, [c](const auto& range) {
            return range.first <= c && c <= range.second;
        });
        columns += wide ? 2 : 1;
    }
    return columns;
}

bool is_number(std::string_view text) noexcept {
    return !text.empty() && std::ranges::all_of(text, [](char c) {
        return (c >= '0' && c <= '9') || c == ',' || c == '.';
    });
}

// A row for each key or model that has asked since the start.
std::string saved_by(const Json& rows, const char* name, const char* title) {
    if (rows.empty()) return "";
    Table table(
        {std::string(title), "HITS", "JOINED", "MISSES", "BYPASSES", "TOKENS SAVED", "USD SAVED"}
    );
    for (const Json& row : rows) {
        table.add({
            text_at(row, name),
            grouped(number_at(row, "hits")),
            grouped(number_at(row, "joined")),
            grouped(number_at(row, "misses")),
            grouped(number_at(row, "bypasses")),
            grouped(number_at(row, "saved_tokens")),
            amount_at(row, "saved_usd"),
        });
    }
    return "\n" + table.text();
}

}  // namespace

std::string grouped(std::uint64_t number) {
    std::string text = std::to_string(number);
    for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3) {
        text.insert(static_cast<std::size_t>(at), ",");
    }
    return text;
}

std::string text_at(const Json& json, const char* name) {
    if (!json.is_object()) return "";
    const auto found = json.find(name);
    if (found == json.end() || !found->is_string()) return "";
    return printable(found->get_ref<const std::string&>());
}

std::uint64_t number_at(const Json& json, const char* name) {
    if (!json.is_object()) return 0;
    const auto found = json.find(name);
    return found != json.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

bool flag_at(const Json& json, const char* name) {
    if (!json.is_object()) return false;
    const auto found = json.find(name);
    return found != json.end() && found->is_boolean() && found->get<bool>();
}

const Json& list_at(const Json& json, const char* name) {
    static const Json kNone = Json::array();
    if (!json.is_object()) return kNone;
    const auto found = json.find(name);
    return found != json.end() && found->is_array() ? *found : kNone;
}

std::string or_dash(std::string text) {
    return text.empty() ? "-" : text;
}

std::string when_made(const Json& key) {
    return flag_at(key, "declared") ? "in the config" : or_dash(text_at(key, "created"));
}

std::string not_in_force(const Json& key) {
    const auto why = text_at(key, "why");
    if (why.empty()) return "";
    return fmt::format("not in force: {}.\n  To mend it: {}.\n", why, text_at(key, "cure"));
}

std::string amount_at(const Json& json, const char* name) {
    if (!json.is_object()) return "0";
    const auto found = json.find(name);
    if (found == json.end() || !found->is_number_float()) return grouped(number_at(json, name));
    // At most what Weir counts in: nano-dollars.
    std::string text = fmt::format("{:.9f}", found->get<double>());
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
    return text;
}

std::string printable(std::string_view text) {
    std::string clean;
    clean.reserve(text.size());
    for (std::size_t i = 0; i < text.size();) {
        const auto begin = i;
        const auto c = next_character(text, i);
        // Control characters could move the cursor or rename the window; those that turn the
        // direction of writing could make one name look like another.
        const bool bad = c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xFFFD || c == 0x2028 ||
                         c == 0x2029 || (c >= 0x202A && c <= 0x202E) ||
                         (c >= 0x2066 && c <= 0x2069);
        if (bad) {
            clean += '?';
        } else {
            clean += text.substr(begin, i - begin);
        }
    }
    return clean;
}

std::string Table::text() const {
    std::vector<std::size_t> widths(rows_.front().size());
    for (const auto& row : rows_) {
        for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) {
            widths[i] = std::max(widths[i], width(row[i]));
        }
    }
    std::string out;
    for (const auto& row : rows_) {
        std::string line;
        for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) {
            const std::string blanks(widths[i] - width(row[i]), ' ');
            if (i > 0) line += "  ";
            line += is_number(row[i]) ? blanks + row[i] : row[i] + blanks;
        }
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + "\n";
    }
    return out;
}

std::string tell_keys(const Json& answer) {
    const auto& keys = list_at(answer, "keys");
    if (keys.empty()) return "There are no keys. Make one: weir keys create NAME --plan PLAN\n";
    Table table({"NAME", "ID", "PLAN", "TEAM", "MADE"});
    std::string notes;
    for (const auto& key : keys) {
        if (const auto note = not_in_force(key); !note.empty()) {
            notes += fmt::format("\n{} ({}) is {}", text_at(key, "name"), text_at(key, "id"), note);
        }
        table.add({
            text_at(key, "name"),
            text_at(key, "id"),
            text_at(key, "plan"),
            or_dash(text_at(key, "team")),
            when_made(key),
        });
    }
    return table.text() + notes;
}

std::string tell_new_key(const Json& answer) {
    const auto team = text_at(answer, "team");
    return fmt::format(
        "Key for {} (plan {}{}), id {}:\n\n    {}\n\n"
        "It is shown this once: Weir keeps only a hash of it.\n",
        text_at(answer, "name"),
        text_at(answer, "plan"),
        team.empty() ? "" : ", team " + team,
        text_at(answer, "id"),
        text_at(answer, "key")
    );
}

std::string tell_revoked(const Json& answer) {
    return fmt::format(
        "The key {} of {} is revoked.\n", text_at(answer, "id"), text_at(answer, "name")
    );
}

std::string tell_usage(const Json& answer) {
    const auto& usage = list_at(answer, "usage");
    const auto span = text_at(answer, "span");
    if (usage.empty()) return fmt::format("No messages in the last {}.\n", span);
    Table table({"KEY", "MODEL", "MESSAGES", "TOKENS", "USD"});
    for (const auto& row : usage) {
        table.add({
            text_at(row, "key"),
            text_at(row, "model"),
            grouped(number_at(row, "messages")),
            grouped(number_at(row, "tokens")),
            amount_at(row, "usd"),
        });
    }
    return table.text() + fmt::format(
                              "\n{} in the last {}: {} tokens, {} usd\n",
                              grouped(number_at(answer, "messages")),
                              span,
                              grouped(number_at(answer, "tokens")),
                              amount_at(answer, "usd")
                          );
}

std::string tell_cache(const Json& answer) {
    const auto hits = number_at(answer, "hits_memory") + number_at(answer, "hits_disk");
    const auto asked = hits + number_at(answer, "misses");
    std::string out = fmt::format(
        "on disk    {} answers, {}\nin memory  {} answers, {}\n",
        grouped(number_at(answer, "entries")),
        human_size(number_at(answer, "bytes")),
        grouped(number_at(answer, "memory_entries")),
        human_size(number_at(answer, "memory_bytes"))
    );
    out += fmt::format(
        "hits       {} of {}{} ({} from memory, {} from disk)\n",
        grouped(hits),
        grouped(asked),
        asked == 0 ? "" : fmt::format(", {}%", hits * 100 / asked),
        grouped(number_at(answer, "hits_memory")),
        grouped(number_at(answer, "hits_disk"))
    );
    out += fmt::format(
        "stored     {}, {} pushed out, {} failed\n",
        grouped(number_at(answer, "stored")),
        grouped(number_at(answer, "evicted")),
        grouped(number_at(answer, "write_failures"))
    );
    const Json none = Json::object();
    const auto all = answer.find("all");
    const Json& saved = all != answer.end() ? *all : none;
    out += fmt::format(
        "saved      {} tokens and {} usd since the start; {} shared a call\n",
        grouped(number_at(saved, "saved_tokens")),
        amount_at(saved, "saved_usd"),
        grouped(number_at(saved, "joined"))
    );
    out += saved_by(list_at(answer, "models"), "model", "MODEL");
    out += saved_by(list_at(answer, "keys"), "key", "KEY");
    if (!flag_at(answer, "enabled")) out += "The config says `cache: {enabled: false}`.\n";
    return out;
}

std::string tell_cleared(const Json& answer) {
    const auto removed = number_at(answer, "removed");
    return fmt::format("{} answer{} removed.\n", grouped(removed), removed == 1 ? "" : "s");
}

std::string tell_reloaded(const Json& answer) {
    std::string waiting;
    for (const auto& name : list_at(answer, "restart_needed")) {
        if (!name.is_string()) continue;
        if (!waiting.empty()) waiting += ", ";
        waiting += printable(name.get_ref<const std::string&>());
    }
    if (waiting.empty()) return "The config is reloaded and in force.\n";
    return fmt::format(
        "The config is reloaded and in force, except for what waits for a restart: {}\n", waiting
    );
}

}  // namespace weir::app
