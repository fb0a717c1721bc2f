#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "weir/base/text.hpp"

#include "price_table.hpp"
#include "sections.hpp"
#include "usd.hpp"

namespace weir::config {

namespace {

constexpr std::size_t kMostPrices = 1000;  // each is looked at for each message
constexpr std::uint64_t kMostPrice = 1'000'000 * kNanoDollars;  // of a million tokens

// "shanghai" and "new york" are Asia/Shanghai and America/New_York; else the nearest name.
std::string zone_hint(std::string_view given) {
    const std::vector<std::string> names = TimeZone::names();
    std::string city = "/" + to_lower(given);
    std::ranges::replace(city, ' ', '_');
    for (const std::string& name : names) {
        if (given.size() < 3 || !to_lower(name).ends_with(city)) continue;
        return fmt::format("did you mean {}?", quoted(name));
    }
    std::string hint = did_you_mean(given, names);
    return hint.empty() ? "as Asia/Shanghai, Europe/Berlin or UTC" : hint;
}

// Whether `out` was written.
bool read_price(Section& section, Reader& reader, std::string_view key, std::uint64_t& out) {
    const Node* const node = section.find(key);
    if (node == nullptr) return false;
    const auto value = reader.value(*node, key, "usd per million tokens such as 2.50");
    if (!value) return false;
    const auto nano = nano_dollars(value->text);
    if (!nano || *nano > kMostPrice) {
        reader.fault(
            *node,
            fmt::format(
                "`{}`: expected usd per million tokens, such as 2.50, with at most 9 digits behind "
                "the dot and up to 1000000, found {}",
                key,
                value->shown
            ),
            value->text.starts_with('$') ? "write the number alone" : ""
        );
        return false;
    }
    out = *nano;
    return true;
}

// Whether each model that fits `later` fits `earlier` too. Wildcards of `later` are taken in by a
// `*`, as any text is; a `?` could take in a `*`, which stands for more.
bool covers(std::string_view earlier, std::string_view later) {
    const bool name = later.find_first_of("*?") == std::string_view::npos;
    return (name || earlier.find('?') == std::string_view::npos) && glob_match(earlier, later);
}

void read_own(Reader& reader, const Node& node, Config& config) {
    std::vector<const Node*> places;
    const auto entries = named_entries(reader, node, "prices", "a map of models and their prices");
    if (entries.size() > kMostPrices) {
        reader.fault(node, fmt::format("`prices` has more than {} entries", kMostPrices));
        return;
    }
    for (const Named& entry : entries) {
        const std::string shown = shown_name(entry.name, "a model");
        for (std::size_t i = 0; i < places.size(); ++i) {
            if (!covers(config.prices[i].models, entry.name)) continue;
            reader.fault(
                *entry.key,
                fmt::format(
                    "the price of {} is never used: {} on line {} fits first",
                    shown,
                    shown_name(config.prices[i].models, "a pattern"),
                    places[i]->line
                ),
                "put it above"
            );
            break;
        }
        if (entry.value->kind == Node::Kind::kScalar) {
            reader.fault(
                *entry.value,
                fmt::format("`prices`: expected a map for {}, found a single value", shown),
                "write {input: 2.50, output: 10}"
            );
            continue;
        }
        Section section(reader, *entry.value, "a price", "");
        PricedModels priced{entry.name, {}};
        const bool input = read_price(section, reader, "input", priced.price.input);
        priced.price.cached_input = priced.price.input;
        read_price(section, reader, "cached_input", priced.price.cached_input);
        read_price(section, reader, "output", priced.price.output);
        if (!input && section.find("input") == nullptr && entry.value->kind == Node::Kind::kMap) {
            reader.fault(*entry.value, "a price has no `input`", "write {input: 2.50, output: 10}");
        }
        section.finish();
        config.prices.push_back(std::move(priced));
        places.push_back(entry.key);
    }
}

}  // namespace

void read_calendar(Section& root, Reader& reader, Config& config) {
    const Node* const node = root.find("timezone");
    if (node == nullptr) return;
    const auto value = reader.value(*node, "timezone", "a time zone such as Asia/Shanghai");
    if (!value) return;
    auto zone = TimeZone::find(value->text);
    if (zone == nullptr) {
        reader.fault(
            *node,
            fmt::format("`timezone`: there is no time zone {}", value->shown),
            zone_hint(value->text)
        );
        return;
    }
    config.timezone = std::move(zone);
}

void read_prices(Section& root, Reader& reader, Config& config) {
    if (const Node* const node = root.find("prices")) read_own(reader, *node, config);
    for (const ShippedPrice& shipped : shipped_prices()) {
        config.prices.push_back({std::string(shipped.models), shipped.price});
    }
}

}  // namespace weir::config
