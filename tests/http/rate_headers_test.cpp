#include "weir/http/rate_headers.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace weir::http {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

RateState state(const char* name, std::uint64_t limit, std::uint64_t remaining) {
    RateState out;
    out.name = name;
    out.limit = limit;
    out.remaining = remaining;
    out.window = std::chrono::hours(4);
    return out;
}

TEST(RateHeaders, NothingForNoCaps) {
    Fields fields;
    add_rate_headers(fields, {});
    EXPECT_TRUE(fields.empty());
}

TEST(RateHeaders, SpeakOpenAIsAndTheIetfsLanguage) {
    RateState cap = state("gpt-4", 100, 42);
    cap.next_free = seconds(3600);
    cap.full_reset = std::chrono::hours(4);
    Fields fields;
    add_rate_headers(fields, std::vector{cap});
    EXPECT_EQ(fields.find("x-ratelimit-limit-requests"), "100");
    EXPECT_EQ(fields.find("x-ratelimit-remaining-requests"), "42");
    EXPECT_EQ(fields.find("x-ratelimit-reset-requests"), "4h0m0s");
    EXPECT_EQ(fields.find("RateLimit-Policy"), "\"gpt-4\";q=100;w=14400");
    EXPECT_EQ(fields.find("RateLimit"), "\"gpt-4\";r=42;t=3600");
    EXPECT_EQ(fields.size(), 5u);
}

TEST(RateHeaders, SpeakAnthropicsLanguageOnItsPaths) {
    RateState cap = state("claude-*", 100, 42);
    cap.next_free = seconds(3600);
    cap.full_reset = std::chrono::hours(4);
    RateState tokens = state("tokens", 1000, 7);
    tokens.unit = RateUnit::kTokens;
    tokens.full_reset = microseconds(1);
    const WallTime now{microseconds(1'700'749'930'000'000)};  // 2023-11-23 14:32:10 UTC
    Fields fields;
    add_rate_headers(fields, std::vector{cap, tokens}, Api::kAnthropic, now);
    EXPECT_EQ(fields.find("anthropic-ratelimit-requests-limit"), "100");
    EXPECT_EQ(fields.find("anthropic-ratelimit-requests-remaining"), "42");
    EXPECT_EQ(fields.find("anthropic-ratelimit-requests-reset"), "2023-11-23T18:32:10Z");
    EXPECT_EQ(fields.find("anthropic-ratelimit-tokens-limit"), "1000");
    EXPECT_EQ(fields.find("anthropic-ratelimit-tokens-remaining"), "7");
    EXPECT_EQ(fields.find("anthropic-ratelimit-tokens-reset"), "2023-11-23T14:32:11Z");
    EXPECT_TRUE(fields.find("ratelimit-policy"));
    EXPECT_TRUE(fields.find("ratelimit"));
    EXPECT_EQ(fields.size(), 8u);
}

TEST(RateHeaders, SecondsAreRoundedUpAndLeftOutWhenNothingIsUsed) {
    RateState used = state("a", 10, 9);
    used.next_free = microseconds(1);
    used.full_reset = std::chrono::milliseconds(12);
    const RateState unused = state("b", 10, 10);
    Fields fields;
    add_rate_headers(fields, std::vector{used, unused});
    EXPECT_EQ(fields.find("ratelimit"), "\"a\";r=9;t=1, \"b\";r=10");
    EXPECT_EQ(fields.find("ratelimit-policy"), "\"a\";q=10;w=14400, \"b\";q=10;w=14400");
    EXPECT_EQ(fields.find("x-ratelimit-reset-requests"), "12ms");
}

TEST(RateHeaders, TightestHasFewestRemainingThenTheLongestReset) {
    RateState loose = state("loose", 1000, 500);
    loose.full_reset = seconds(9);
    RateState soon = state("soon", 100, 3);
    soon.full_reset = seconds(1);
    RateState late = state("late", 50, 3);
    late.full_reset = seconds(360);
    for (const auto& order :
         {std::vector{loose, soon, late},
          std::vector{late, soon, loose},
          std::vector{soon, late, loose}}) {
        Fields fields;
        add_rate_headers(fields, order);
        EXPECT_EQ(fields.find("x-ratelimit-limit-requests"), "50");
        EXPECT_EQ(fields.find("x-ratelimit-reset-requests"), "6m0s");
        EXPECT_EQ(fields.count("x-ratelimit-limit-requests"), 1u);
    }
}

TEST(RateHeaders, NamesAreStructuredFieldStrings) {
    Fields fields;
    add_rate_headers(fields, std::vector{state("a\"b\\c\r\n\xc3\xa9", 1, 1)});
    EXPECT_EQ(fields.find("ratelimit"), "\"a\\\"b\\\\c????\";r=1");
}

TEST(RateHeaders, NumbersStayWithinStructuredFieldIntegers) {
    Fields fields;
    RateState cap = state("a", ~std::uint64_t{0}, ~std::uint64_t{0});
    cap.window = seconds(0);
    add_rate_headers(fields, std::vector{cap});
    EXPECT_EQ(fields.find("ratelimit-policy"), "\"a\";q=999999999999999");
}

TEST(RateHeaders, TokenCapsHaveTheirOwnHeaders) {
    RateState tokens = state("tokens", 150'000, 10);
    tokens.unit = RateUnit::kTokens;
    tokens.full_reset = seconds(360);
    Fields fields;
    add_rate_headers(fields, std::vector{state("messages", 60, 59), tokens});
    EXPECT_EQ(fields.find("x-ratelimit-limit-requests"), "60");
    EXPECT_EQ(fields.find("x-ratelimit-remaining-tokens"), "10");
    EXPECT_EQ(fields.find("x-ratelimit-reset-tokens"), "6m0s");
    EXPECT_EQ(
        fields.find("ratelimit-policy"),
        "\"messages\";q=60;w=14400, \"tokens\";q=150000;w=14400;qu=\"tokens\""
    );
    Fields only_tokens;
    add_rate_headers(only_tokens, std::vector{tokens});
    EXPECT_FALSE(only_tokens.find("x-ratelimit-limit-requests"));
}

TEST(RateHeaders, MoneyIsToldInWholeCentsAndNeverTooMuch) {
    RateState money = state("usd", 5'000'000'000, 4'999'999'999);
    money.unit = RateUnit::kMoney;
    Fields fields;
    add_rate_headers(fields, std::vector{money});
    EXPECT_EQ(fields.find("ratelimit-policy"), "\"usd\";q=500;w=14400;qu=\"usd-cents\"");
    EXPECT_EQ(fields.find("ratelimit"), "\"usd\";r=499");
    EXPECT_EQ(fields.size(), 2u);
    money.limit = 12'345'678;
    money.remaining = 9'999'999;
    Fields small;
    add_rate_headers(small, std::vector{money});
    EXPECT_EQ(small.find("ratelimit-policy"), "\"usd\";q=1;w=14400;qu=\"usd-cents\"");
    EXPECT_EQ(small.find("ratelimit"), "\"usd\";r=0");
}

TEST(RateHeaders, CapsOnWhatIsInFlightAreNotRequests) {
    RateState at_once = state("4 at once", 4, 0);
    at_once.unit = RateUnit::kConcurrent;
    at_once.window = seconds(0);
    Fields fields;
    add_rate_headers(fields, std::vector{at_once, state("messages", 60, 59)});
    EXPECT_EQ(fields.find("x-ratelimit-limit-requests"), "60");
    EXPECT_EQ(
        fields.find("ratelimit-policy"),
        "\"4 at once\";q=4;qu=\"concurrent-requests\", \"messages\";q=60;w=14400"
    );
    Fields alone;
    add_rate_headers(alone, std::vector{at_once});
    EXPECT_FALSE(alone.find("x-ratelimit-limit-requests"));
    EXPECT_EQ(alone.find("ratelimit"), "\"4 at once\";r=0");
}

TEST(RateHeaders, EqualNamesAreToldApart) {
    Fields fields;
    add_rate_headers(
        fields,
        std::vector{state("a", 1, 1), state("a", 2, 2), state("a (2)", 3, 3), state("a", 4, 4)}
    );
    EXPECT_EQ(
        fields.find("ratelimit"), "\"a\";r=1, \"a (2)\";r=2, \"a (2) (2)\";r=3, \"a (3)\";r=4"
    );
    // Also those that only differ in what a header cannot say.
    Fields odd;
    add_rate_headers(odd, std::vector{state("\xc3", 1, 1), state("\xc4", 2, 2)});
    EXPECT_EQ(odd.find("ratelimit"), "\"?\";r=1, \"? (2)\";r=2");
}

}  // namespace
}  // namespace weir::http
