// Which bytes HTTP/1.1 allows where (RFC 9110 5.5 and 5.6.2). Private to the room.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace weir::http {

namespace detail {
using CharTable = std::array<bool, 256>;

constexpr CharTable make_token_table() {
    CharTable table{};
    for (const char c : std::string_view("!#$%&'*+-.^_`|~"
                                         "0123456789"
                                         "abcdefghijklmnopqrstuvwxyz"
                                         "ABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
        table[static_cast<unsigned char>(c)] = true;
    }
    return table;
}

constexpr CharTable make_text_table() {
    CharTable table{};
    for (std::size_t c = 0; c < table.size(); ++c) table[c] = (c >= 0x20 && c != 0x7f) || c == '\t';
    return table;
}

inline constexpr CharTable kToken = make_token_table();
inline constexpr CharTable kText = make_text_table();
}  // namespace detail

// May stand in a token: a method, a field name.
[[nodiscard]] constexpr bool is_token_char(char c) noexcept {
    return detail::kToken[static_cast<unsigned char>(c)];
}
// May stand in a field value: no control byte but the tab.
[[nodiscard]] constexpr bool is_text_char(char c) noexcept {
    return detail::kText[static_cast<unsigned char>(c)];
}
[[nodiscard]] constexpr bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}
[[nodiscard]] constexpr bool is_hex_digit(char c) noexcept {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
[[nodiscard]] constexpr bool is_token(std::string_view text) noexcept {
    return !text.empty() && std::ranges::all_of(text, is_token_char);
}
[[nodiscard]] constexpr bool is_field_value(std::string_view text) noexcept {
    bool all = true;  // to the end, without a branch: values are long and nearly always right
    for (const char c : text) all &= is_text_char(c);
    return all;
}
[[nodiscard]] constexpr std::string_view trim_blanks(std::string_view text) noexcept {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

// Calls `visit` with each non-empty member of a comma-separated list. Quoted strings are not known:
// only for lists of tokens.
template <class Visit>
constexpr void for_each_list_member(std::string_view list, Visit visit) {
    while (!list.empty()) {
        const std::size_t comma = std::min(list.find(','), list.size());
        const std::string_view member = trim_blanks(list.substr(0, comma));
        if (!member.empty()) visit(member);
        list.remove_prefix(std::min(comma + 1, list.size()));
    }
}

}  // namespace weir::http
