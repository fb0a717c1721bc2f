// Days, weeks and months of a place's calendar, by the IANA time zone database of the machine
// (/usr/share/zoneinfo). Immutable once found; thread-safe.
//
// A day begins at its local midnight; where clocks skip midnight, at the first moment behind the
// gap; where they show it twice, at the first of both. So days follow each other without a gap and
// may be 23 or 25 hours long.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

// The wall clock: microseconds since 1970, UTC. May be stepped by the operator at any time.
using WallTime = std::chrono::sys_time<std::chrono::microseconds>;

class TimeZone {
public:
    struct Bounds {
        WallTime begin;  // within
        WallTime end;    // no longer within
    };

    // "Europe/Berlin", "UTC", ... nullptr: the machine's database knows no such zone. "UTC" is
    // always there.
    [[nodiscard]] static std::shared_ptr<const TimeZone> find(std::string_view name);
    // Of the database, sorted; for hints.
    [[nodiscard]] static std::vector<std::string> names();

    virtual ~TimeZone() = default;
    [[nodiscard]] virtual const std::string& name() const noexcept = 0;
    [[nodiscard]] virtual Bounds day(WallTime at) const = 0;
    [[nodiscard]] virtual Bounds week(WallTime at) const = 0;  // from Monday
    [[nodiscard]] virtual Bounds month(WallTime at) const = 0;
    // When clocks show `of_day` on the day around `at`: the first time if they do so twice, the end
    // of the gap if they skip it.
    [[nodiscard]] virtual WallTime clock(WallTime at, std::chrono::minutes of_day) const = 0;
};

// "2026-11-23T15:16:01Z"; parts of a second are cut off.
[[nodiscard]] std::string iso_time(WallTime at);
// The same, also without seconds, with parts of a second, or with an offset such as "+08:00" in
// place of the Z. nullopt: not such a time.
[[nodiscard]] std::optional<WallTime> parse_iso_time(std::string_view text);

}  // namespace weir
