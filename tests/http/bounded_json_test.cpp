#include "weir/http/bounded_json.hpp"

#include <chrono>
#include <cstddef>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace weir::http {
namespace {

std::string nested(std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
}

TEST(BoundedJson, AllowsDepth64AndRefuses65AndAnythingDeeper) {
    EXPECT_TRUE(parse_bounded_json(nested(64)));
    EXPECT_FALSE(parse_bounded_json(nested(65)));
    EXPECT_FALSE(parse_bounded_json(std::string(200'000, '[')));
    const auto members = [](std::size_t depth) {
        std::string text;
        for (std::size_t i = 0; i < depth; ++i) text += "{\"a\":";
        return text + "1" + std::string(depth, '}');
    };
    EXPECT_TRUE(parse_bounded_json(members(64)));
    EXPECT_FALSE(parse_bounded_json(members(65)));
    // What stands beside the deep part does not save it.
    EXPECT_FALSE(parse_bounded_json(R"({"a":)" + nested(200'000) + R"(,"b":1})"));
}

TEST(BoundedJson, BracketsInStringsAreNoDepth) {
    const std::string brackets(200, '[');
    EXPECT_TRUE(parse_bounded_json("[\"" + brackets + "\"]"));
    EXPECT_TRUE(parse_bounded_json(R"(["\\\"","x\"{)" + brackets + R"(",["\\"]])"));
    // A string that ends in an escaped backslash does end.
    EXPECT_FALSE(parse_bounded_json(R"(["\\",)" + nested(64) + "]"));
    EXPECT_TRUE(parse_bounded_json(R"(["\\",)" + nested(63) + "]"));
}

// 600 KB, well within what an upstream may say.
TEST(BoundedJson, TakesNoMoreTimeForManyObjectsThanForOthers) {
    std::string text = "[{}";
    for (int i = 0; i < 200'000; ++i) text += ",{}";
    const auto begun = std::chrono::steady_clock::now();
    const auto json = parse_bounded_json(text + "]");
    ASSERT_TRUE(json);
    EXPECT_EQ(json->size(), 200'001U);
    // Some 0.05 s; two minutes if each object looks at all before it.
    EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(30));
}

TEST(BoundedJson, RefusesAnObjectOfTooManyMembers) {
    const auto wide = [](int members) {
        std::string text = R"({"in":{"a:":[{"b":1},{"b":1}]})";
        for (int i = 1; i < members; ++i) text += ",\"m" + std::to_string(i) + "\":0";
        return text + "}";
    };
    EXPECT_TRUE(parse_bounded_json(wide(1024)));
    EXPECT_FALSE(parse_bounded_json(wide(1025)));
    EXPECT_TRUE(parse_bounded_json("[" + wide(1024) + "," + wide(1024) + "]"));
}

TEST(BoundedJson, GivesWhatItSaysInItsOrder) {
    const auto json = parse_bounded_json(R"({"z":1,"a":[true,null,"x"]})");
    ASSERT_TRUE(json);
    EXPECT_EQ(json->dump(), R"({"z":1,"a":[true,null,"x"]})");
    EXPECT_TRUE(parse_bounded_json("null"));
    for (const char* const text : {"", "{", "[1,]", "nul", "{} {}", "\"\xFF\""}) {
        EXPECT_FALSE(parse_bounded_json(text)) << text;
    }
}

}  // namespace
}  // namespace weir::http
