#include "weir/config/cap.hpp"

#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::config {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

TEST(ParseAllow, TakesNumbersPerTime) {
    struct Case {
        std::string_view text;
        std::uint64_t limit;
        std::int64_t span;
    };
    for (const Case& c : {
             Case{"100/4h", 100, 14'400},
             Case{"1000/day", 1000, 86'400},
             Case{"20/min", 20, 60},
             Case{"20/minute", 20, 60},
             Case{"1/second", 1, 1},
             Case{"5/hour", 5, 3'600},
             Case{"7/week", 7, 604'800},
             Case{"7/Week", 7, 604'800},
             Case{"0/day", 0, 86'400},
             Case{"1000000000/32d", 1'000'000'000, 32 * 86'400},
             Case{"3/1s", 3, 1},
             Case{"3/1h30m", 3, 5'400},
             Case{"3/1000ms", 3, 1},
             Case{" 3/90s ", 3, 90},
         }) {
        const auto cap = parse_allow(c.text);
        ASSERT_TRUE(cap.has_value()) << c.text << ": " << cap.error();
        EXPECT_EQ(cap->limit, c.limit) << c.text;
        EXPECT_EQ(cap->span, seconds(c.span)) << c.text;
        EXPECT_EQ(cap->models, "*") << c.text;
    }
    EXPECT_EQ(parse_allow(" 3/90s ")->allow, "3/90s");
}

TEST(ParseAllow, SaysWhatIsWrong) {
    struct Case {
        std::string_view text;
        std::string_view told;
    };
    for (const Case& c : {
             Case{"", "`100/4h`"},
             Case{"100", "`100/4h`"},
             Case{"/4h", "whole number"},
             Case{"-1/4h", "whole number"},
             Case{"1.5/4h", "whole number"},
             Case{"1e3/4h", "whole number"},
             Case{"100 /4h", "whole number"},
             Case{"1000000001/4h", "more than 1000000000"},
             Case{"99999999999999999999999999/4h", "more than 1000000000"},
             Case{"100/", "after the slash"},
             Case{"100/4", "after the slash"},
             Case{"100/h", "write `1h`"},
             Case{"100/dey", "did you mean `day`"},
             Case{"100/4h/2", "after the slash"},
             Case{"100/33d", "32 days"},
             Case{"100/2764801s", "32 days"},
             Case{"100/500ms", "1 second"},
             Case{"100/0s", "1 second"},
             Case{"100/1500ms", "whole number of seconds"},
         }) {
        const auto cap = parse_allow(c.text);
        ASSERT_FALSE(cap.has_value()) << c.text;
        EXPECT_THAT(cap.error(), HasSubstr(std::string(c.told))) << c.text;
        EXPECT_THAT(cap.error(), ::testing::Not(HasSubstr("not yet"))) << c.text;
    }
}

TEST(ParseAllow, TellsLaterKindsFromMistakes) {
    for (const std::string_view text :
         {"200000 tokens/1d",
          "200000 Tokens/1d",
          "1 token/1d",
          "4 at once",
          "100/4h fixed",
          "fixed 100/4h",
          "1000/month",
          "1000/3 months",
          "1000/year",
          "unlimited",
          "5 usd/1d",
          "$5/day",
          "5$/day"}) {
        const auto cap = parse_allow(text);
        ASSERT_FALSE(cap.has_value()) << text;
        EXPECT_THAT(cap.error(), HasSubstr("not yet supported")) << text;
    }
}

TEST(Cap, CounterIsTheSameWhateverTheLimitAndTheWriting) {
    Cap a = *parse_allow("100/4h");
    a.models = "gpt-4*";
    Cap b = *parse_allow("7/240m");
    b.models = "GPT-4*";
    EXPECT_EQ(a.counter(), "gpt-4*|14400");
    EXPECT_EQ(b.counter(), a.counter());
    b.models = "gpt-4";
    EXPECT_NE(b.counter(), a.counter());
    EXPECT_NE(parse_allow("100/4h")->counter(), parse_allow("100/5h")->counter());
}

TEST(Cap, SaysItselfInWords) {
    Cap cap = *parse_allow("100/4h");
    cap.models = "gpt-4*";
    EXPECT_EQ(cap.in_words(), "100 messages in any 4 h for gpt-4*");
    EXPECT_EQ(parse_allow("1/day")->in_words(), "1 message in any 1 day for all models");
    EXPECT_EQ(parse_allow("0/day")->in_words(), "no messages for all models");
}

}  // namespace
}  // namespace weir::config
