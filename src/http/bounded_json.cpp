#include "weir/http/bounded_json.hpp"

#include <cstddef>

#include <nlohmann/json.hpp>

namespace weir::http {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxDepth = 64;  // as of requests (json_walk)

// Right for JSON; whatever else this lets through, the parser refuses.
bool nests_too_deep(std::string_view text) noexcept {
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
    if (nests_too_deep(text)) return std::nullopt;
    Json json = Json::parse(text, nullptr, false);
    if (json.is_discarded()) return std::nullopt;
    return json;
}

}  // namespace weir::http
