#include "usage.hpp"

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace weir::http {

namespace {

namespace dom = simdjson::dom;

// No answer takes more: a larger number is an upstream's fault, and would fill a cap for ever.
constexpr std::uint64_t kMostTokens = std::uint64_t{1} << 40;

std::optional<std::uint64_t> count_at(dom::element json, std::string_view key) noexcept {
    std::uint64_t count = 0;
    if (json[key].get(count) != simdjson::SUCCESS || count > kMostTokens) return std::nullopt;
    return count;
}

// `detail` of the object at `key`.
std::optional<std::uint64_t> detail_at(
    dom::element json, std::string_view key, std::string_view detail
) noexcept {
    const auto details = object_at(json, key);
    return details ? count_at(*details, detail) : std::nullopt;
}

}  // namespace

std::optional<dom::element> object_at(dom::element json, std::string_view key) noexcept {
    dom::element found;
    if (json[key].get(found) != simdjson::SUCCESS || !found.is_object()) return std::nullopt;
    return found;
}

std::optional<Usage> read_usage(dom::element usage) noexcept {
    if (!usage.is_object()) return std::nullopt;
    std::optional<std::uint64_t> input = count_at(usage, "prompt_tokens");
    std::optional<std::uint64_t> cached =
        detail_at(usage, "prompt_tokens_details", "cached_tokens");
    if (!cached) cached = count_at(usage, "prompt_cache_hit_tokens");  // DeepSeek
    if (!input) {
        input = count_at(usage, "input_tokens");
        if (const auto part = detail_at(usage, "input_tokens_details", "cached_tokens")) {
            cached = part;
        } else if (const auto spoken = detail_at(usage, "input_token_details", "cached_tokens")) {
            cached = spoken;  // realtime
        } else if (!cached) {
            // Anthropic's input_tokens are those that came from no cache and went into none.
            cached = count_at(usage, "cache_read_input_tokens");
            const auto created = count_at(usage, "cache_creation_input_tokens");
            if (input || cached || created) {
                input = input.value_or(0) + cached.value_or(0) + created.value_or(0);
            }
        }
    }
    std::optional<std::uint64_t> output = count_at(usage, "completion_tokens");
    if (!output) output = count_at(usage, "output_tokens");
    const auto total = count_at(usage, "total_tokens");
    if (!input && total) input = *total - std::min(*total, output.value_or(0));
    if (!input && !output) return std::nullopt;
    Usage out;
    out.input = input.value_or(0);
    out.cached_input = std::min(cached.value_or(0), out.input);
    out.output = output.value_or(0);
    return out;
}

std::optional<Usage> usage_at(dom::element json) noexcept {
    const auto usage = object_at(json, "usage");
    return usage ? read_usage(*usage) : std::nullopt;
}

}  // namespace weir::http
