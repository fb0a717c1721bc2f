#include "weir/http/bounded_json.hpp"

#include <array>
#include <cstddef>

#include <nlohmann/json.hpp>

namespace weir::http {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxDepth = 64;  // as of requests (json_walk)
// The tree keeps the order of members and looks through all of them for each new one.
constexpr std::size_t kMostMembers = 1024;

// Right for JSON; whatever else this lets through, the parser refuses.
bool is_too_deep_or_wide(std::string_view text) noexcept {
    std::array<std::size_t, kMaxDepth + 1> members{};
    std::size_t depth = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\') {
                ++i;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > kMaxDepth) return true;
            members[depth] = 0;
        } else if (c == ':') {
            if (++members[depth] > kMostMembers) return true;
        } else if ((c == ']' || c == '}') && depth > 0) {
            --depth;
        }
    }
    return false;
}

}  // namespace

// Not with the parser's callback: with one it looks, at the end of each object, through all that
// stands before it in the same list, which takes half a minute for a list of 100,000.
std::optional<Json> parse_bounded_json(std::string_view text) {
    if (is_too_deep_or_wide(text)) return std::nullopt;
    Json json = Json::parse(text, nullptr, false);
    if (json.is_discarded()) return std::nullopt;
    return json;
}

}  // namespace weir::http
