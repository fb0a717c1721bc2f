#include "weir/http/response_id.hpp"

#include <algorithm>
#include <cstddef>

namespace weir::http {

namespace {

bool is_plain(std::string_view id) noexcept {
    return std::ranges::all_of(id, [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               c == '_' || c == '-' || c == '.';
    });
}

}  // namespace

// Strings and brackets are all that has to be told apart: the answer was judged, or will be, by
// those who know JSON. So a part of it will do.
std::string_view response_id(std::string_view text, bool event) noexcept {
    if (event) {
        const std::size_t at = text.find("data:");
        if (at == std::string_view::npos) return {};
        text.remove_prefix(at + 5);
    }
    const int wanted = event ? 2 : 1;
    int depth = 0;
    std::string_view key;    // of the member that is being read
    std::string_view outer;  // and the one at depth 1 that it is in
    bool behind_colon = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '{' || c == '[') {
            if (++depth == 2) outer = key;
            behind_colon = false;
        } else if (c == '}' || c == ']') {
            --depth;
        } else if (c == ':') {
            behind_colon = true;
        } else if (c == ',') {
            behind_colon = false;
        } else if (c == '"') {
            const std::size_t begin = i + 1;
            for (++i; i < text.size() && text[i] != '"'; ++i) {
                if (text[i] == '\\') ++i;
            }
            if (i >= text.size()) return {};
            const std::string_view string = text.substr(begin, i - begin);
            if (!behind_colon) {
                key = string;
            } else if (depth == wanted && key == "id" && (!event || outer == "response")) {
                return is_plain(string) ? string : std::string_view();
            }
        }
    }
    return {};
}

}  // namespace weir::http
