#include "request.hpp"

#include <array>
#include <chrono>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "routes.hpp"

namespace weir::admin {
namespace {

using ::testing::HasSubstr;

constexpr std::array<std::string_view, 2> kRequired = {"name", "plan"};
constexpr std::array<std::string_view, 1> kOptional = {"team"};

std::string fault_of(std::string_view body) {
    const auto texts = read_texts(body, kRequired, kOptional);
    if (texts) return "";
    EXPECT_EQ(texts.error().status, 400);
    return texts.error().message;
}

TEST(AdminBody, TakesKnownFieldsOnly) {
    const auto texts = read_texts(R"({"plan":"p","name":"n","team":null})", kRequired, kOptional);
    ASSERT_TRUE(texts);
    EXPECT_EQ(texts->get("name"), "n");
    EXPECT_EQ(texts->get("plan"), "p");
    EXPECT_EQ(texts->get("team"), "");
    EXPECT_THAT(fault_of(R"({"name":"n","plam":"p"})"), HasSubstr("Did you mean `plan`?"));
    EXPECT_THAT(fault_of(R"({"name":"n","plan":"p","admin":true})"), HasSubstr("`admin`"));
    EXPECT_THAT(fault_of(R"({"name":"n"})"), HasSubstr("`plan` is missing"));
    EXPECT_THAT(fault_of(R"({"name":"","plan":"p"})"), HasSubstr("`name` is missing"));
    EXPECT_THAT(fault_of(R"({"name":5,"plan":"p"})"), HasSubstr("not a text"));
}

TEST(AdminBody, RefusesANameThatStandsTwice) {
    EXPECT_THAT(
        fault_of(R"({"name":"a","plan":"p","name":"b"})"), HasSubstr("`name` stands twice")
    );
    // Inside another value it is that value's business.
    EXPECT_THAT(fault_of(R"({"name":{"x":1,"x":2},"plan":"p"})"), HasSubstr("not a text"));
}

TEST(AdminBody, RefusesWhatIsNoObject) {
    for (const auto* body : {"", "{", "[]", "null", "\"x\"", "{\"name\":\"\xFF\"}", "{} {}"}) {
        EXPECT_THAT(fault_of(body), HasSubstr("not a JSON object")) << body;
    }
    EXPECT_FALSE(fault_of(std::string(60'000, '[')).empty());
}

TEST(AdminQuery, TakesAllowedNamesOnce) {
    constexpr std::array<std::string_view, 1> kSpan = {"span"};
    const auto query = read_query("span=1%64", kSpan);
    ASSERT_TRUE(query);
    EXPECT_EQ(find(*query, "span"), "1d");
    EXPECT_EQ(find(*query, "model"), std::nullopt);
    EXPECT_TRUE(read_query("", {}));
    EXPECT_TRUE(read_query("&", {}));
    for (const auto* bad :
         {"spam=1d", "span=1d&span=2d", "span=%", "span=%4", "span=%zz", "span=%0a", "x", "="}) {
        EXPECT_FALSE(read_query(bad, kSpan)) << bad;
    }
    EXPECT_THAT(read_query("spam=1", kSpan).error().message, HasSubstr("`span`"));
    EXPECT_FALSE(read_query("span=1d", {}));
}

TEST(AdminPath, DecodesPercent) {
    EXPECT_EQ(percent_decode("a%2Fb%20c"), "a/b c");
    EXPECT_EQ(percent_decode("%E6%B0%B4"), "\xE6\xB0\xB4");
    EXPECT_EQ(percent_decode("a+b"), "a+b");
    for (const auto* bad : {"%", "%1", "%g0", "%00", "a\nb", "%7f", "%-1"}) {
        EXPECT_EQ(percent_decode(bad), std::nullopt) << bad;
    }
}

TEST(AdminNames, CanBeAskedAboutLater) {
    for (const auto* good : {"a", "bob@example.org", "...", "a-b", "cfg"}) {
        EXPECT_EQ(name_fault(good), std::nullopt) << good;
    }
    for (const auto* bad : {".", "..", "-x", "cfg-alice"}) {
        EXPECT_NE(name_fault(bad), std::nullopt) << bad;
    }
}

TEST(AdminBody, TakesWholeNumbersWhereTheyBelong) {
    constexpr std::array<std::string_view, 1> kCount = {"count"};
    const auto read = [&](std::string_view body) { return read_texts(body, kCount, {}, kCount); };
    EXPECT_EQ(read(R"({"count":50})")->get("count"), "50");
    for (const auto* bad :
         {R"({"count":"50"})", R"({"count":-1})", R"({"count":1.5})", R"({"count":[1]})"}) {
        ASSERT_FALSE(read(bad)) << bad;
        EXPECT_THAT(read(bad).error().message, HasSubstr("`count` is not a whole number"));
    }
    EXPECT_THAT(read("{}").error().message, HasSubstr("`count` is missing"));
    EXPECT_EQ(read_number("n", "7", 1, 9), 7U);
    for (const auto* bad : {"", "0", "10", "-1", "1x", "99999999999999999999"}) {
        EXPECT_FALSE(read_number("n", bad, 1, 9)) << bad;
    }
}

TEST(AdminRoutes, AStarTakesOneSegment) {
    std::string_view segment;
    EXPECT_TRUE(matches("keys", "keys", segment));
    EXPECT_EQ(segment, "");
    EXPECT_TRUE(matches("keys/*", "keys/a%2Fb", segment));
    EXPECT_EQ(segment, "a%2Fb");
    EXPECT_TRUE(matches("keys/*/grants", "keys/bob/grants", segment));
    EXPECT_EQ(segment, "bob");
    for (const auto* path :
         {"keys",
          "keys/",
          "keys/bob",
          "keys//grants",
          "keys/bob/grants/",
          "keys/bob/grantsx",
          "keys/bob/grants/x",
          "key/bob/grants",
          "/keys/bob/grants",
          ""}) {
        EXPECT_FALSE(matches("keys/*/grants", path, segment)) << path;
    }
}

WallTime time(std::string_view iso) {
    return *parse_iso_time(iso);
}

TEST(AdminUntil, IsAClockTimeASpanOrAMoment) {
    const auto berlin = TimeZone::find("Europe/Berlin");
    ASSERT_NE(berlin, nullptr);
    const WallTime now = time("2026-11-25T16:30:00Z");  // 17:30 there
    const auto read = [&](std::string_view text) { return read_until(text, now, *berlin); };
    EXPECT_EQ(read("18:00"), time("2026-11-25T17:00:00Z"));
    EXPECT_EQ(read("17:30"), time("2026-11-26T16:30:00Z")) << "the next time, which is not now";
    EXPECT_EQ(read("9:05"), time("2026-11-26T08:05:00Z"));
    EXPECT_EQ(read("4h"), now + std::chrono::hours(4));
    EXPECT_EQ(read("32d"), now + std::chrono::days(32));
    EXPECT_EQ(read("2026-11-25T18:00:00Z"), time("2026-11-25T18:00:00Z"));
    EXPECT_EQ(read("2026-11-25T18:00+01:00"), time("2026-11-25T17:00:00Z"));
    // Tomorrow's clocks differ from today's.
    EXPECT_EQ(
        read_until("18:00", time("2026-03-28T20:00:00Z"), *berlin), time("2026-03-29T16:00:00Z")
    );
    for (const auto* bad :
         {"",
          "tomorrow",
          "18",
          "24:00",
          "18:60",
          "18:0",
          "18:00:00",
          "018:00",
          ":00",
          "0s",
          "-4h",
          "33d",
          "99999999999999d",
          "2026-11-25",
          "2026-11-25T16:30:00Z",
          "2026-12-28T16:30:00Z"}) {
        ASSERT_FALSE(read(bad)) << bad;
        EXPECT_EQ(read(bad).error().param, "until");
    }
    EXPECT_THAT(read("noon").error().message, HasSubstr("Europe/Berlin"));
    EXPECT_THAT(read("2026-11-25T16:00:00Z").error().message, HasSubstr("has passed"));
    EXPECT_THAT(read("33d").error().message, HasSubstr("32 days"));
}

TEST(AdminFailures, KeepTheirMeaning) {
    EXPECT_EQ(failure({ErrorCode::kNotFound, "x"}).status, 404);
    EXPECT_EQ(failure({ErrorCode::kConflict, "x"}).status, 409);
    EXPECT_EQ(failure({ErrorCode::kConfig, "a\nb"}).status, 400);
    EXPECT_EQ(failure({ErrorCode::kConfig, "a\nb"}).message, "a\nb");
    EXPECT_EQ(failure({ErrorCode::kStorage, "disk full"}).status, 503);
    EXPECT_THAT(failure({ErrorCode::kStorage, "disk full"}).message, HasSubstr("disk full"));
    EXPECT_EQ(failure({ErrorCode::kInternal, "x"}).status, 500);
}

}  // namespace
}  // namespace weir::admin
