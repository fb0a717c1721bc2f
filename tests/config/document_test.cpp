// Files that are made to hurt: deep, wide, and small ones that unfold.
#include <chrono>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "helpers.hpp"

namespace weir::config::testing {
namespace {

using ::testing::HasSubstr;

TEST(Document, AliasesThatUnfoldToBillionsAreRefused) {
    std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 20; ++i) {
        const std::string inner = "*a" + std::to_string(i - 1);
        bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + inner;
        for (int j = 0; j < 9; ++j) bomb += ", " + inner;
        bomb += "]\n";
    }
    const auto faults = faults_of(bomb);
    ASSERT_EQ(faults.size(), 1U);
    EXPECT_THAT(faults[0].message, HasSubstr("100000 values"));
    EXPECT_GT(faults[0].line, 3);
}

TEST(Document, DeepOnesAreRefused) {
    for (const std::string_view open : {"[", "{a: "}) {
        std::string deep = "x: ";
        for (int i = 0; i < 100'000; ++i) deep += open;
        const auto faults = faults_of(deep);
        ASSERT_EQ(faults.size(), 1U);
        EXPECT_THAT(faults[0].message, HasSubstr("64 levels"));
    }
    // Through aliases as well.
    std::string chain = "a0: &a0 [x]\n";
    for (int i = 1; i < 100; ++i) {
        chain += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" +
                 std::to_string(i - 1) + "]\n";
    }
    EXPECT_THAT(faults_of(chain)[0].message, HasSubstr("64 levels"));
    std::string just = "x: " + std::string(62, '[') + "y" + std::string(62, ']') + "\n";
    EXPECT_THAT(all_texts(faults_of(just)), HasSubstr("unknown key `x`"));
    just = "x: " + std::string(63, '[') + "y" + std::string(63, ']') + "\n";
    EXPECT_THAT(all_texts(faults_of(just)), HasSubstr("64 levels"));
}

TEST(Document, WideOnesAreRefused) {
    std::string wide = "listen: [";
    for (int i = 0; i < 100'001; ++i) wide += "a,";
    EXPECT_THAT(faults_of(wide + "a]\n")[0].message, HasSubstr("100000 values"));
    EXPECT_THAT(
        faults_of("data: " + std::string(1 << 20, 'x'))[0].message, HasSubstr("larger than 1 MiB")
    );
}

TEST(Document, ManyEmptyValuesAreReadInReasonableTime) {
    // The place of an empty value is looked for in the text; that must not start at the top.
    std::string many = "listen:\n";
    for (int i = 0; i < 40'000; ++i) many += "-\n\n";
    const auto start = std::chrono::steady_clock::now();
    EXPECT_FALSE(load_text(many, "t.yaml", sources_of()).has_value());
    // Looking from the top takes minutes; this is seconds even under a sanitizer.
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST(Document, NullBytesAndBadTextAreOnlyFaults) {
    using namespace std::string_literals;
    for (const std::string& text :
         {"\0"s,
          "a\0b: 1"s,
          "\xFF\xFE"s,
          "\xFE\xFF\0a"s,
          "\xC3"s,
          "data: \"\\0\"\n"s,
          "%YAML 9.9\n---\n"s,
          "%TAG\n---\na: 1"s,
          "? ? ? ?"s,
          "- - - -"s,
          "&a"s,
          "*"s,
          "!<"s,
          "|"s,
          ">9"s,
          "\""s,
          ": : :"s}) {
        EXPECT_FALSE(load_text(text, "t.yaml", sources_of()).has_value());
    }
}

}  // namespace
}  // namespace weir::config::testing
