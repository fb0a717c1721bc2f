#include "request.hpp"

#include <array>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(AdminTimes, AreIso) {
    EXPECT_EQ(iso_time(1'795'447'001'999'999), "2026-11-23T15:16:41Z");
    EXPECT_EQ(iso_time(0), "1970-01-01T00:00:00Z");
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
