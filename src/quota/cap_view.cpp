#include "weir/quota/cap_view.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <string_view>

#include <nlohmann/json.hpp>

#include "weir/base/text.hpp"
#include "weir/base/time_zone.hpp"

namespace weir::quota {

namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

std::string_view name_of(Whose whose) noexcept {
    switch (whose) {
        case Whose::kKey:
            return "key";
        case Whose::kTeam:
            return "team";
        case Whose::kAll:
            break;
    }
    return "all";
}

std::int64_t in_seconds(microseconds span) {
    return std::chrono::ceil<seconds>(std::max(span, microseconds(0))).count();
}

// Of a moment to come: not before it. Null: never, or it is so already.
Json moment(WallTime now, microseconds in) {
    if (in <= microseconds(0)) return nullptr;
    return iso_time(std::chrono::ceil<seconds>(now + in));
}

Json amount(config::Unit unit, std::uint64_t value) {
    return unit == config::Unit::kMoney ? usd(value) : Json(value);
}

// No deeper than what Weir itself builds.
void append(std::string& out, const Json& json) {
    if (json.is_number_float()) {
        std::array<char, 512> digits;
        const auto end = std::to_chars(
            digits.data(),
            digits.data() + digits.size(),
            json.get<double>(),
            std::chars_format::fixed
        );
        out.append(digits.data(), end.ptr);
        return;
    }
    if (!json.is_structured()) {
        out += json.dump(-1, ' ', false, Json::error_handler_t::replace);
        return;
    }
    out += json.is_array() ? '[' : '{';
    bool first = true;
    for (const auto& [name, value] : json.items()) {
        if (!std::exchange(first, false)) out += ',';
        if (json.is_object()) {
            append_json_quoted(out, name);
            out += ':';
        }
        append(out, value);
    }
    out += json.is_array() ? ']' : '}';
}

}  // namespace

Json usd(std::uint64_t nano_dollars) {
    // Both numbers are exact, so that this is the double next to the decimal fraction; up to 15
    // digits its shortest text is that fraction.
    if (nano_dollars % config::kNanoDollars == 0) return nano_dollars / config::kNanoDollars;
    return static_cast<double>(nano_dollars) / static_cast<double>(config::kNanoDollars);
}

Json cap_view(const CapState& state, WallTime now) {
    const config::Cap& cap = *state.cap;
    const WindowState& window = state.window;
    Json json{{"whose", name_of(state.whose)}, {"models", cap.models}};
    if (!cap.endpoints.empty()) json["endpoints"] = cap.endpoints;
    json["allow"] = cap.allow;
    json["unit"] = config::name_of(cap.unit);
    json["period"] = config::name_of(cap.period);
    json["mode"] = cap.warn ? "warn" : "enforce";
    json["in_words"] = cap.in_words();
    json["limit"] = amount(cap.unit, window.limit);
    json["used"] = amount(cap.unit, window.used);
    json["left"] = amount(cap.unit, window.remaining());
    json["granted"] = amount(cap.unit, window.extra);
    json["next_free_s"] = in_seconds(window.next_free);
    json["next_free_at"] = moment(now, window.next_free);
    json["full_reset_s"] = in_seconds(window.full_reset);
    json["resets_at"] = moment(now, window.full_reset);
    if (!cap.then.empty()) json["then"] = cap.then;
    if (cap.queue.count() > 0) json["queue_s"] = in_seconds(cap.queue);
    return json;
}

Json grant_view(const Grant& grant, const Now& now) {
    // The two clocks are not read at the very same moment, here and when it was made.
    const auto until = std::chrono::round<seconds>(now.wall + (grant.until - now.ledger));
    return Json{
        {"id", grant.id},
        {"models", grant.models},
        {"messages", grant.messages},
        {"used", grant.used},
        {"left", grant.messages - std::min(grant.used, grant.messages)},
        {"until", iso_time(until)}
    };
}

std::string json_text(const Json& json) {
    std::string out;
    append(out, json);
    return out;
}

}  // namespace weir::quota
