#include "weir/base/time_zone.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include <date/tz.h>

namespace weir {

namespace {

using std::chrono::floor;
using std::chrono::microseconds;

date::sys_time<microseconds> as_date(WallTime at) {
    return date::sys_time<microseconds>(at.time_since_epoch());
}

using LocalTime = date::local_time<microseconds>;

// Reads `count` digits at the front of `text` and takes them off. -1: they are not there.
int take_digits(std::string_view& text, std::size_t count) noexcept {
    if (text.size() < count) return -1;
    int number = 0;
    for (const char c : text.substr(0, count)) {
        if (c < '0' || c > '9') return -1;
        number = number * 10 + (c - '0');
    }
    text.remove_prefix(count);
    return number;
}

bool take(std::string_view& text, char c) noexcept {
    if (!text.starts_with(c)) return false;
    text.remove_prefix(1);
    return true;
}

// Behind the time of day: "Z", "+08:00", "-0330".
std::optional<std::chrono::minutes> take_offset(std::string_view& text) noexcept {
    if (take(text, 'Z') || take(text, 'z')) return std::chrono::minutes(0);
    const bool west = text.starts_with('-');
    if (!take(text, west ? '-' : '+')) return std::nullopt;
    const int hours = take_digits(text, 2);
    take(text, ':');
    const int minutes = take_digits(text, 2);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return std::nullopt;
    const std::chrono::minutes east(hours * 60 + minutes);
    return west ? -east : east;
}

// A calendar whose local times are the moments that `moment_of` says.
class Calendar : public TimeZone {
public:
    explicit Calendar(std::string name) : name_(std::move(name)) {}

    [[nodiscard]] const std::string& name() const noexcept override { return name_; }
    [[nodiscard]] Bounds day(WallTime at) const override {
        const date::local_days today = today_at(at);
        return {begin_of(today), begin_of(today + date::days(1))};
    }
    [[nodiscard]] Bounds week(WallTime at) const override {
        const date::local_days today = today_at(at);
        const date::local_days monday = today - (date::weekday(today) - date::Monday);
        return {begin_of(monday), begin_of(monday + date::days(7))};
    }
    [[nodiscard]] Bounds month(WallTime at) const override {
        const date::year_month_day today(today_at(at));
        const date::year_month month = today.year() / today.month();
        return {
            begin_of(date::local_days(month / 1)),
            begin_of(date::local_days((month + date::months(1)) / 1))
        };
    }
    [[nodiscard]] WallTime clock(WallTime at, std::chrono::minutes of_day) const override {
        return moment_of(today_at(at) + of_day);
    }

protected:
    [[nodiscard]] virtual date::local_days today_at(WallTime at) const = 0;
    [[nodiscard]] virtual WallTime moment_of(LocalTime time) const = 0;

private:
    [[nodiscard]] WallTime begin_of(date::local_days day) const { return moment_of(day); }

    std::string name_;
};

// Needs no database.
class Utc final : public Calendar {
public:
    Utc() : Calendar("UTC") {}

private:
    [[nodiscard]] date::local_days today_at(WallTime at) const override {
        return date::local_days(date::floor<date::days>(as_date(at)).time_since_epoch());
    }
    [[nodiscard]] WallTime moment_of(LocalTime time) const override {
        return WallTime(time.time_since_epoch());
    }
};

class Place final : public Calendar {
public:
    Place(std::string name, const date::time_zone& zone) : Calendar(std::move(name)), zone_(zone) {}

private:
    [[nodiscard]] date::local_days today_at(WallTime at) const override {
        return date::floor<date::days>(zone_.to_local(as_date(at)));
    }
    [[nodiscard]] WallTime moment_of(LocalTime time) const override {
        // In a gap both choices give its end.
        return WallTime(zone_.to_sys(time, date::choose::earliest).time_since_epoch());
    }

    const date::time_zone& zone_;  // of the database, which stays for good
};

}  // namespace

std::shared_ptr<const TimeZone> TimeZone::find(std::string_view name) {
    if (name == "UTC") return std::make_shared<const Utc>();
    try {
        return std::make_shared<const Place>(std::string(name), *date::locate_zone(name));
    } catch (const std::exception&) {
        return nullptr;  // no such zone, or no database at all
    }
}

std::vector<std::string> TimeZone::names() {
    std::vector<std::string> names;
    try {
        for (const date::time_zone& zone : date::get_tzdb().zones) names.push_back(zone.name());
    } catch (const std::exception&) {
        names.clear();
    }
    if (!std::ranges::binary_search(names, "UTC")) names.emplace_back("UTC");
    std::ranges::sort(names);
    return names;
}

std::string iso_time(WallTime at) {
    return date::format("%FT%TZ", date::floor<std::chrono::seconds>(as_date(at)));
}

std::optional<WallTime> parse_iso_time(std::string_view text) {
    const int year = take_digits(text, 4);
    if (!take(text, '-')) return std::nullopt;
    const int month = take_digits(text, 2);
    if (!take(text, '-')) return std::nullopt;
    const int day = take_digits(text, 2);
    if (!take(text, 'T') && !take(text, 't') && !take(text, ' ')) return std::nullopt;
    const int hours = take_digits(text, 2);
    if (!take(text, ':')) return std::nullopt;
    const int minutes = take_digits(text, 2);
    int seconds = 0;
    microseconds fraction{0};
    if (take(text, ':')) {
        seconds = take_digits(text, 2);
        if (take(text, '.')) {
            microseconds digit = std::chrono::milliseconds(100);
            int value = take_digits(text, 1);
            if (value < 0) return std::nullopt;
            for (; value >= 0; value = take_digits(text, 1), digit /= 10) fraction += value * digit;
        }
    }
    const auto offset = take_offset(text);
    if (!offset || !text.empty() || year < 0 || month < 0 || day < 0) return std::nullopt;
    const date::year_month_day date_part = date::year(year) /
                                           date::month(static_cast<unsigned>(month)) /
                                           date::day(static_cast<unsigned>(day));
    if (!date_part.ok() || hours < 0 || hours > 23 || minutes < 0 || minutes > 59 || seconds < 0 ||
        seconds > 59) {
        return std::nullopt;
    }
    const auto at = date::sys_days(date_part) + std::chrono::hours(hours) +
                    std::chrono::minutes(minutes) + std::chrono::seconds(seconds) + fraction;
    return WallTime(at.time_since_epoch() - *offset);
}

}  // namespace weir
