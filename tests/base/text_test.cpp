#include "weir/base/text.hpp"

#include <random>

#include <gtest/gtest.h>

namespace weir {
namespace {

using namespace std::chrono_literals;

TEST(Text, SizesHaveUnits) {
    EXPECT_EQ(parse_size("512"), 512U);
    EXPECT_EQ(parse_size("64KiB"), 65536U);
    EXPECT_EQ(parse_size("1.5GiB"), 1610612736U);
    EXPECT_EQ(parse_size("10MB"), 10000000U);
    for (const char* const bad :
         {"", "KiB", "64kib", "-1", "1.0000001KiB", "64 KiB", "1e3", "99999TiB"}) {
        EXPECT_EQ(parse_size(bad), std::nullopt) << bad;
    }
}

TEST(Text, DurationsHaveUnits) {
    EXPECT_EQ(parse_duration("250ms"), 250ms);
    EXPECT_EQ(parse_duration("4h"), 4h);
    EXPECT_EQ(parse_duration("1h30m"), 90min);
    EXPECT_EQ(parse_duration("1.5s"), 1500ms);
    EXPECT_EQ(parse_duration("2d"), 48h);
    for (const char* const bad : {"", "5", "s", "-1s", "5 s", "1x", "1h30"}) {
        EXPECT_EQ(parse_duration(bad), std::nullopt) << bad;
    }
}

TEST(Text, ResetsArePrintedAsGoDoes) {
    EXPECT_EQ(go_duration(0us), "0s");
    EXPECT_EQ(go_duration(12ms), "12ms");
    EXPECT_EQ(go_duration(1s), "1s");
    EXPECT_EQ(go_duration(6min), "6m0s");
    EXPECT_EQ(go_duration(4h), "4h0m0s");
    EXPECT_EQ(go_duration(1500ms), "1.5s");
    EXPECT_EQ(go_duration(25h + 1s), "25h0m1s");
    EXPECT_EQ(go_duration(-5s), "0s");
}

TEST(Text, PeopleReadTwoUnitsAtMost) {
    EXPECT_EQ(human_duration(12min + 5s), "12 min 5 s");
    EXPECT_EQ(human_duration(4h), "4 h");
    EXPECT_EQ(human_duration(51h), "2 days 3 h");
    EXPECT_EQ(human_duration(24h + 5s), "1 day");
    EXPECT_EQ(human_duration(800ms), "800 ms");
    EXPECT_EQ(human_size(65536), "64 KiB");
    EXPECT_EQ(human_size(1610612736), "1.5 GiB");
}

TEST(Text, GlobsMatchWithoutCase) {
    EXPECT_TRUE(glob_match("gpt-4*", "GPT-4o-mini"));
    EXPECT_TRUE(glob_match("*", ""));
    EXPECT_TRUE(glob_match("*-4?", "gpt-4o"));
    EXPECT_FALSE(glob_match("gpt-4", "gpt-4o"));
    EXPECT_FALSE(glob_match("gpt-4?", "gpt-4"));
    EXPECT_TRUE(glob_match("a*b*c", "axxbyybc"));
    EXPECT_FALSE(glob_match("", "a"));
}

// Reference: what the two wildcards mean, by recursion.
bool glob_reference(std::string_view pattern, std::string_view text) {
    if (pattern.empty()) return text.empty();
    if (pattern[0] == '*') {
        return glob_reference(pattern.substr(1), text) ||
               (!text.empty() && glob_reference(pattern, text.substr(1)));
    }
    return !text.empty() && (pattern[0] == '?' || pattern[0] == text[0]) &&
           glob_reference(pattern.substr(1), text.substr(1));
}

TEST(Text, GlobAgreesWithItsMeaning) {
    std::mt19937 random(std::random_device{}());
    const auto make = [&](std::string_view letters, std::size_t longest) {
        std::string text;
        for (std::size_t n = random() % longest; n > 0; --n)
            text += letters[random() % letters.size()];
        return text;
    };
    for (int i = 0; i < 20'000; ++i) {
        const std::string pattern = make("ab*?", 7);
        const std::string text = make("ab", 9);
        ASSERT_EQ(glob_match(pattern, text), glob_reference(pattern, text))
            << pattern << " / " << text;
    }
}

TEST(Text, NearestFindsTypingErrorsOnly) {
    const std::vector<std::string_view> names = {"models", "plans", "upstreams"};
    EXPECT_EQ(nearest("modles", names), "models");
    EXPECT_EQ(nearest("upstream", names), "upstreams");
    EXPECT_EQ(nearest("zebra", names), std::nullopt);
}

TEST(Text, JsonQuotingSurvivesAnyBytes) {
    EXPECT_EQ(json_quote("a\"b\\c\n"), R"("a\"b\\c\n")");
    EXPECT_EQ(json_quote(std::string_view("\x01\x7f", 2)), R"("\u0001\u007f")");
    EXPECT_EQ(json_quote("é"), "\"é\"");
    EXPECT_EQ(json_quote("\xff\xc0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    EXPECT_EQ(json_quote("\xed\xa0\x80").find('\xed'), std::string::npos);  // a lone surrogate
}

TEST(Text, RedactTakesEverySecretOut) {
    const std::vector<std::string> secrets = {"sk-12345678", "short"};
    EXPECT_EQ(
        redact("key sk-12345678, again sk-12345678; short stays", secrets),
        "key [redacted], again [redacted]; short stays"
    );
}

}  // namespace
}  // namespace weir
