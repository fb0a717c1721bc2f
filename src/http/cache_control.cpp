#include "weir/http/cache_control.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <system_error>

#include "weir/base/text.hpp"

#include "characters.hpp"

namespace weir::http {

namespace {

using std::chrono::seconds;

constexpr seconds kLongest = std::chrono::days(366);
constexpr std::size_t kLongestVariant = 256;

// Whole seconds; more than a year is as good as a year. nullopt: not a number.
std::optional<seconds> read_seconds(std::string_view text) {
    std::int64_t value = 0;
    const auto [behind, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || behind != text.data() + text.size() || text.front() == '-') {
        return std::nullopt;
    }
    if (error == std::errc::result_out_of_range) return kLongest;
    return std::min(seconds(value), kLongest);
}

void read_directive(std::string_view directive, CacheControl& out) {
    const std::string_view name = directive.substr(0, directive.find('='));
    if (iequals(name, "no-cache")) out.no_cache = true;
    if (iequals(name, "no-store")) out.no_store = true;
    if (iequals(name, "only-if-cached")) out.only_if_cached = true;
    if (!iequals(name, "max-age")) return;
    std::string_view value = directive.substr(std::min(name.size() + 1, directive.size()));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
        value = value.substr(1, value.size() - 2);
    }
    const seconds age = read_seconds(value).value_or(seconds(0));
    out.max_age = std::min(out.max_age.value_or(age), age);
    if (age == seconds(0)) out.no_cache = true;
}

// "90", or as the config writes durations: "10m".
std::optional<seconds> read_ttl(std::string_view text) {
    if (const auto whole = read_seconds(text)) return whole;
    const auto span = parse_duration(text);
    if (!span || *span < std::chrono::microseconds(0)) return std::nullopt;
    return std::min(std::chrono::floor<seconds>(*span), kLongest);
}

}  // namespace

std::expected<CacheControl, ApiError> read_cache_control(const Fields& from) {
    CacheControl out;
    for (const Field& field : from) {
        if (iequals(field.name, "cache-control")) {
            for_each_list_member(field.value, [&out](std::string_view directive) {
                read_directive(directive, out);
            });
        } else if (iequals(field.name, "x-weir-cache-ttl")) {
            out.ttl = read_ttl(trim_blanks(field.value));
            if (!out.ttl) {
                return std::unexpected(invalid_field(
                    "x-weir-cache-ttl",
                    "The header x-weir-cache-ttl is neither whole seconds (90) nor a duration "
                    "(10m)."
                ));
            }
            if (*out.ttl == seconds(0)) out.no_store = true;
        } else if (iequals(field.name, "x-weir-cache-key")) {
            if (field.value.size() > kLongestVariant) {
                return std::unexpected(invalid_field(
                    "x-weir-cache-key", "The header x-weir-cache-key is longer than 256 bytes."
                ));
            }
            out.variant = field.value;
        }
    }
    return out;
}

}  // namespace weir::http
