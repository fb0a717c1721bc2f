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

// A calendar whose local days begin where `begin_of` says.
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

protected:
    [[nodiscard]] virtual date::local_days today_at(WallTime at) const = 0;
    [[nodiscard]] virtual WallTime begin_of(date::local_days day) const = 0;

private:
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
    [[nodiscard]] WallTime begin_of(date::local_days day) const override {
        return WallTime(day.time_since_epoch());
    }
};

class Place final : public Calendar {
public:
    Place(std::string name, const date::time_zone& zone) : Calendar(std::move(name)), zone_(zone) {}

private:
    [[nodiscard]] date::local_days today_at(WallTime at) const override {
        return date::floor<date::days>(zone_.to_local(as_date(at)));
    }
    [[nodiscard]] WallTime begin_of(date::local_days day) const override {
        // In a gap both choices give its end.
        return WallTime(zone_.to_sys(date::local_time<microseconds>(day), date::choose::earliest)
                            .time_since_epoch());
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

}  // namespace weir
