// Days as people in a place count them, clock changes included.
#include "weir/base/time_zone.hpp"

#include <algorithm>
#include <chrono>
#include <random>

#include <gtest/gtest.h>

namespace weir {
namespace {

using namespace std::chrono;
using std::chrono::days;

WallTime at(int year, unsigned month, unsigned day, microseconds of_day = {}) {
    return sys_days(std::chrono::year(year) / std::chrono::month(month) / std::chrono::day(day)) +
           of_day;
}

TEST(TimeZoneTest, UtcIsAlwaysThereAndItsDaysAreAllTheSame) {
    const auto utc = TimeZone::find("UTC");
    ASSERT_NE(utc, nullptr);
    EXPECT_EQ(utc->name(), "UTC");
    const auto day = utc->day(at(2026, 11, 25, 10h));
    EXPECT_EQ(day.begin, at(2026, 11, 25));
    EXPECT_EQ(day.end, at(2026, 11, 26));
    const auto week = utc->week(at(2026, 11, 25, 10h));  // a Wednesday
    EXPECT_EQ(week.begin, at(2026, 11, 23));
    EXPECT_EQ(week.end, at(2026, 11, 30));
    const auto month = utc->month(at(2024, 2, 29, 23h));
    EXPECT_EQ(month.begin, at(2024, 2, 1));
    EXPECT_EQ(month.end, at(2024, 3, 1));
    EXPECT_EQ(utc->month(at(2025, 12, 31)).end, at(2026, 1, 1));
}

TEST(TimeZoneTest, ADayHas23Or25HoursWhereClocksChange) {
    const auto berlin = TimeZone::find("Europe/Berlin");
    ASSERT_NE(berlin, nullptr);
    const auto spring = berlin->day(at(2026, 3, 29, 12h));
    EXPECT_EQ(spring.begin, at(2026, 3, 28, 23h));
    EXPECT_EQ(spring.end - spring.begin, 23h);
    const auto autumn = berlin->day(at(2026, 10, 25, 12h));
    EXPECT_EQ(autumn.begin, at(2026, 10, 24, 22h));
    EXPECT_EQ(autumn.end - autumn.begin, 25h);
    EXPECT_EQ(berlin->month(at(2026, 10, 31, 22h + 59min)).end, at(2026, 10, 31, 23h));
}

TEST(TimeZoneTest, AMidnightThatClocksSkipIsTheFirstMomentBehindTheGap) {
    // In Beirut clocks went from 00:00 to 01:00 on 27 March 2022.
    const auto beirut = TimeZone::find("Asia/Beirut");
    ASSERT_NE(beirut, nullptr);
    const auto day = beirut->day(at(2022, 3, 27, 12h));
    EXPECT_EQ(day.begin, at(2022, 3, 26, 22h));
    EXPECT_EQ(day.end, at(2022, 3, 27, 21h));
}

TEST(TimeZoneTest, KnowsWhenClocksShowATime) {
    const auto utc = TimeZone::find("UTC");
    EXPECT_EQ(utc->clock(at(2026, 11, 25, 23h), 18h), at(2026, 11, 25, 18h));
    const auto berlin = TimeZone::find("Europe/Berlin");
    ASSERT_NE(berlin, nullptr);
    EXPECT_EQ(berlin->clock(at(2026, 7, 1, 12h), 18h + 5min), at(2026, 7, 1, 16h + 5min));
    EXPECT_EQ(berlin->clock(at(2026, 6, 30, 22h), 0min), at(2026, 6, 30, 22h)) << "its 1 July";
    EXPECT_EQ(berlin->clock(at(2026, 3, 29, 12h), 18h), at(2026, 3, 29, 16h)) << "a short day";
    EXPECT_EQ(berlin->clock(at(2026, 3, 29, 12h), 2h + 30min), at(2026, 3, 29, 1h)) << "skipped";
    EXPECT_EQ(berlin->clock(at(2026, 10, 25, 12h), 2h + 30min), at(2026, 10, 25, 0h + 30min));
}

TEST(IsoTime, GoesToTextAndBack) {
    EXPECT_EQ(iso_time(at(2026, 11, 3, 5h + 6min + 7s + 999ms)), "2026-11-03T05:06:07Z");
    EXPECT_EQ(iso_time(WallTime(-1us)), "1969-12-31T23:59:59Z");
    const WallTime time = at(2026, 11, 25, 18h);
    for (const char* const text :
         {"2026-11-25T18:00:00Z",
          "2026-11-25T18:00Z",
          "2026-11-25 18:00z",
          "2026-11-25T18:00:00.000Z",
          "2026-11-26T02:00:00+08:00",
          "2026-11-25T14:30-0330"}) {
        EXPECT_EQ(parse_iso_time(text), time) << text;
    }
    EXPECT_EQ(parse_iso_time("2026-11-25T18:00:00.0123456Z"), time + 12'345us);
    EXPECT_EQ(parse_iso_time("2024-02-29T00:00Z"), at(2024, 2, 29));
    for (const char* const text :
         {"",
          "18:00",
          "2026-11-25",
          "2026-11-25T18:00",
          "2026-11-25T18:00:00",
          "2026-11-25T18:00:00.Z",
          "2026-11-25T18:00:00Zx",
          "2026-11-25T24:00Z",
          "2026-11-25T18:60Z",
          "2026-02-29T00:00Z",
          "2026-13-01T00:00Z",
          "2026-00-01T00:00Z",
          "26-11-25T18:00Z",
          "2026-11-25T18:00+8",
          "2026-11-25T18:00+24:00",
          "-026-11-25T18:00Z"}) {
        EXPECT_FALSE(parse_iso_time(text)) << text;
    }
}

TEST(TimeZoneTest, DaysFollowEachOtherWithoutAGap) {
    std::mt19937_64 random(7);
    for (const char* const name :
         {"UTC",
          "Asia/Shanghai",
          "Europe/Berlin",
          "Asia/Beirut",
          "America/Sao_Paulo",
          "Pacific/Apia",
          "Australia/Lord_Howe",
          "America/Havana"}) {
        const auto zone = TimeZone::find(name);
        ASSERT_NE(zone, nullptr) << name;
        for (int i = 0; i < 2000; ++i) {
            const WallTime now = at(2005, 1, 1) + seconds(random() % (25ULL * 365 * 86400));
            for (const auto bounds : {zone->day(now), zone->week(now), zone->month(now)}) {
                ASSERT_LE(bounds.begin, now) << name << ' ' << now.time_since_epoch().count();
                ASSERT_GT(bounds.end, now) << name << ' ' << now.time_since_epoch().count();
                ASSERT_LE(bounds.end - bounds.begin, days(31) + 2h);
            }
            const auto day = zone->day(now);
            ASSERT_EQ(zone->day(day.end).begin, day.end) << name;
            ASSERT_EQ(zone->day(day.begin).begin, day.begin) << name;
            ASSERT_EQ(zone->day(day.begin - 1us).end, day.begin) << name;
        }
    }
}

TEST(TimeZoneTest, AnUnknownNameIsNoZone) {
    for (const char* const name : {"", "Mars/Base", "../etc/passwd", "utc+1", "Europe"}) {
        EXPECT_EQ(TimeZone::find(name), nullptr) << name;
    }
    const auto names = TimeZone::names();
    EXPECT_TRUE(std::ranges::binary_search(names, "Asia/Shanghai"));
    EXPECT_TRUE(std::ranges::binary_search(names, "UTC"));
}

}  // namespace
}  // namespace weir
