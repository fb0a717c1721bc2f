#include "weir/config/cap.hpp"

#include <random>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::config {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::uint64_t kUsd = kNanoDollars;

struct Good {
    std::string_view text;
    Unit unit;
    std::uint64_t limit;
    Period period;
    std::int64_t span = 0;
    std::string_view allow = {};  // what names it, if not the text itself
};

const Good kGood[] = {
    // Rolling: a duration, or a word that is shorter than a day.
    {"100/4h", Unit::kMessages, 100, Period::kRolling, 14'400},
    {"1000/1d", Unit::kMessages, 1000, Period::kRolling, 86'400},
    {"20/min", Unit::kMessages, 20, Period::kRolling, 60},
    {"20/minute", Unit::kMessages, 20, Period::kRolling, 60},
    {"1/second", Unit::kMessages, 1, Period::kRolling, 1},
    {"5/hour", Unit::kMessages, 5, Period::kRolling, 3'600},
    {"0/4h", Unit::kMessages, 0, Period::kRolling, 14'400},
    {"1000000000/32d", Unit::kMessages, 1'000'000'000, Period::kRolling, 32 * 86'400},
    {"3/1s", Unit::kMessages, 3, Period::kRolling, 1},
    {"3/1h30m", Unit::kMessages, 3, Period::kRolling, 5'400},
    {"3/1000ms", Unit::kMessages, 3, Period::kRolling, 1},
    {"100 messages/4h", Unit::kMessages, 100, Period::kRolling, 14'400},
    {"1 message/4h", Unit::kMessages, 1, Period::kRolling, 14'400},
    {"100 MESSAGES/MIN", Unit::kMessages, 100, Period::kRolling, 60},
    {"007/4h", Unit::kMessages, 7, Period::kRolling, 14'400},
    // Blanks.
    {" 3/90s ", Unit::kMessages, 3, Period::kRolling, 90, "3/90s"},
    {"100 /4h", Unit::kMessages, 100, Period::kRolling, 14'400},
    {"100 \t messages  /  1h  30m",
     Unit::kMessages,
     100,
     Period::kRolling,
     5'400,
     "100 messages / 1h 30m"},
    {"3/4 h", Unit::kMessages, 3, Period::kRolling, 14'400},
    {"3/\n4h", Unit::kMessages, 3, Period::kRolling, 14'400, "3/ 4h"},
    // Tokens and money.
    {"200000 tokens/1d", Unit::kTokens, 200'000, Period::kRolling, 86'400},
    {"1 token/hour", Unit::kTokens, 1, Period::kRolling, 3'600},
    {"200000Tokens/1d", Unit::kTokens, 200'000, Period::kRolling, 86'400},
    {"1000000000000000 tokens/30d",
     Unit::kTokens,
     1'000'000'000'000'000,
     Period::kRolling,
     30 * 86'400},
    {"5 usd/30d", Unit::kMoney, 5 * kUsd, Period::kRolling, 30 * 86'400},
    {"5usd/30d", Unit::kMoney, 5 * kUsd, Period::kRolling, 30 * 86'400},
    {"0.50 USD/1h", Unit::kMoney, kUsd / 2, Period::kRolling, 3'600},
    {"0.000000001 usd/1h", Unit::kMoney, 1, Period::kRolling, 3'600},
    {"0.1 usd/1h", Unit::kMoney, 100'000'000, Period::kRolling, 3'600},
    {"0.7 usd/1h", Unit::kMoney, 700'000'000, Period::kRolling, 3'600},
    {"123456.123456789 usd/1h", Unit::kMoney, 123'456'123'456'789, Period::kRolling, 3'600},
    {"999999999.999999999 usd/1h", Unit::kMoney, 999'999'999'999'999'999, Period::kRolling, 3'600},
    {"1000000000 usd/1h", Unit::kMoney, 1'000'000'000 * kUsd, Period::kRolling, 3'600},
    {"0 usd/day", Unit::kMoney, 0, Period::kDay},
    // Fixed.
    {"100/4h fixed", Unit::kMessages, 100, Period::kFixed, 14'400},
    {"100/4h   FIXED", Unit::kMessages, 100, Period::kFixed, 14'400, "100/4h FIXED"},
    {"5 usd/30d fixed", Unit::kMoney, 5 * kUsd, Period::kFixed, 30 * 86'400},
    {"9/hour fixed", Unit::kMessages, 9, Period::kFixed, 3'600},
    {"9/1h 30m fixed", Unit::kMessages, 9, Period::kFixed, 5'400},
    // The calendar.
    {"1000/day", Unit::kMessages, 1000, Period::kDay},
    {"7/Week", Unit::kMessages, 7, Period::kWeek},
    {"0/week", Unit::kMessages, 0, Period::kWeek},
    {"1000/month", Unit::kMessages, 1000, Period::kMonth},
    {"2.5 usd/month", Unit::kMoney, 5 * kUsd / 2, Period::kMonth},
    {"9 tokens/ DAY", Unit::kTokens, 9, Period::kDay},
    // The two phrases.
    {"4 at once", Unit::kMessages, 4, Period::kAtOnce},
    {"1 At  Once", Unit::kMessages, 1, Period::kAtOnce, 0, "1 At Once"},
    {"1000000 messages at once", Unit::kMessages, 1'000'000, Period::kAtOnce},
    {"unlimited", Unit::kMessages, 0, Period::kUnlimited},
    {" Unlimited", Unit::kMessages, 0, Period::kUnlimited, 0, "Unlimited"},
};

TEST(ParseAllow, TakesEveryKind) {
    const auto shanghai = TimeZone::find("Asia/Shanghai");
    for (const Good& good : kGood) {
        const auto cap = parse_allow(good.text, shanghai);
        ASSERT_TRUE(cap.has_value()) << good.text << ": " << cap.error();
        EXPECT_EQ(cap->unit, good.unit) << good.text;
        EXPECT_EQ(cap->limit, good.limit) << good.text;
        EXPECT_EQ(cap->period, good.period) << good.text;
        EXPECT_EQ(cap->span, seconds(good.span)) << good.text;
        EXPECT_EQ(cap->allow, good.allow.empty() ? good.text : good.allow) << good.text;
        EXPECT_EQ(cap->models, "*") << good.text;
        EXPECT_TRUE(cap->endpoints.empty() && cap->then.empty() && !cap->warn) << good.text;
        EXPECT_EQ(cap->queue.count(), 0) << good.text;
        const bool calendar = good.period == Period::kDay || good.period == Period::kWeek ||
                              good.period == Period::kMonth;
        EXPECT_EQ(cap->zone, calendar ? shanghai : nullptr) << good.text;
    }
    EXPECT_EQ(parse_allow("1/day")->zone->name(), "UTC");
}

TEST(ParseAllow, WhatItNamesACapIsTheSameCap) {
    for (const Good& good : kGood) {
        const auto cap = parse_allow(good.text);
        ASSERT_TRUE(cap.has_value());
        EXPECT_EQ(parse_allow(cap->allow), cap) << good.text;
    }
}

struct Wrong {
    std::string_view text;
    std::string_view told;
};

const Wrong kWrong[] = {
    {"", "`100/4h`"},
    {"   ", "`100/4h`"},
    {"100", "`100/4h`"},
    {"100 per 4h", "a slash before the time"},
    {"unlimitd", "did you mean `unlimited`"},
    {"unlimited/day", "stands alone"},
    {"unlimited tokens/day", "stands alone"},
    // Amounts.
    {"/4h", "whole number"},
    {"-1/4h", "whole number"},
    {"1.5/4h", "messages are a whole number"},
    {"1.5 tokens/4h", "tokens are a whole number"},
    {"1e3/4h", "whole number"},
    {"1,000/day", "digits alone"},
    {"1_000/day", "digits alone"},
    {"200k tokens/day", "digits alone"},
    {"2M tokens/day", "digits alone"},
    {"1 2/day", "whole number"},
    {"100 requests/day", "behind it `messages`"},
    {"100 mesages/day", "did you mean `messages`"},
    {"100 tokns/day", "did you mean `tokens`"},
    {"100 bananas/day", "`200000 tokens`"},
    {"tokens/day", "an amount before the slash"},
    {"1000000001/4h", "more than 1000000000 messages"},
    {"99999999999999999999999999/4h", "more than 1000000000 messages"},
    {"1000000000000001 tokens/4h", "more than 1000000000000000 tokens"},
    {"18446744073709551616 tokens/4h", "more than 1000000000000000 tokens"},
    {"$5/day", "`5 usd/day`"},
    {"5$/day", "`5 usd/day`"},
    {"$5", "`5 usd/day`"},
    {"5 dollars/day", "`5 usd/day`"},
    {"50 cents/day", "`5 usd/day`"},
    {"5 EUR/day", "`5 usd/day`"},
    {"5 usdt/day", "did you mean `usd`"},
    {"0.1234567890 usd/day", "at most 9"},
    {"5. usd/day", "at most 9"},
    {".5 usd/day", "at most 9"},
    {"1.2.3 usd/day", "at most 9"},
    {"1000000000.000000001 usd/day", "up to 1000000000 usd"},
    {"1000000001 usd/day", "up to 1000000000 usd"},
    {"99999999999999999999 usd/day", "up to 1000000000 usd"},
    // Times.
    {"100/", "after the slash"},
    {"100/4", "the unit is missing"},
    {"100/h", "write `1h`"},
    {"100/dey", "did you mean `day`"},
    {"100/mnth", "did you mean `month`"},
    {"100/daily", "did you mean `day`"},
    {"100/days", "did you mean `day`"},
    {"100/2 weeks", "write `14d`"},
    {"100/2w", "write `14d`"},
    {"100/4 hours", "write `4h`"},
    {"100/3 days", "write `3d`"},
    {"100/4H", "small letters"},
    {"100/1 2h", "after the slash"},
    {"100/4h/2", "after the slash"},
    {"100/year", "at most a month"},
    {"5 usd/quarter", "at most a month"},
    {"1000/3 months", "at most a month"},
    {"100/33d", "32 days"},
    {"100/2764801s", "32 days"},
    {"100/500ms", "1 second"},
    {"100/0s", "1 second"},
    {"100/1500ms", "whole number of seconds"},
    {"100/4h rolling", "rolls without"},
    {"100/calendar day", "of the calendar"},
    {"100/day calendar", "of the calendar"},
    // Fixed.
    {"1000/day fixed", "a calendar day is fixed already"},
    {"1000/Week  Fixed", "a calendar week is fixed already"},
    {"5 usd/month fixed", "a calendar month is fixed already"},
    {"fixed 100/4h", "at the end: `100/4h fixed`"},
    {"100 fixed/4h", "at the end: `100/4h fixed`"},
    {"100/fixed", "after the slash"},
    {"100/4hfixed", "after the slash"},
    {"100/4h fixed fixed", "after the slash"},
    // At once.
    {"at once", "`4 at once`"},
    {"0 at once", "1 to 1000000 messages"},
    {"1000001 at once", "1 to 1000000 messages"},
    {"9000000000 at once", "whole number of messages, as `4 at once`"},
    {"1.5 at once", "whole number of messages, as `4 at once`"},
    {"many at once", "whole number of messages, as `4 at once`"},
    {"9 tokens at once", "only messages"},
    {"9 usd at once", "only messages"},
    {"4/day at once", "no time"},
    {"4 at once/day", "no time"},
    {"4 concurrent", "`4 at once`"},
    {"4 at-once", "`4 at once`"},
};

TEST(ParseAllow, SaysWhatIsWrong) {
    for (const Wrong& c : kWrong) {
        const auto cap = parse_allow(c.text);
        ASSERT_FALSE(cap.has_value()) << c.text;
        EXPECT_THAT(cap.error(), HasSubstr(std::string(c.told))) << c.text;
        EXPECT_THAT(cap.error(), Not(HasSubstr("not yet"))) << c.text;
        EXPECT_EQ(cap.error().find('\n'), std::string::npos) << c.text;
    }
    EXPECT_FALSE(parse_allow("1/1" + std::string(1000, '0') + "s"));
    // 5M may have been meant as months: nothing is guessed.
    EXPECT_THAT(parse_allow("100/5M").error(), Not(HasSubstr("small letters")));
}

// Any mixture of the grammar's pieces is refused with a text, or is a cap within its bounds whose
// own text means the same.
TEST(ParseAllow, AnyMixtureIsACapOrAFault) {
    static constexpr std::string_view kPieces[] = {
        "0",      "1",      "100",    "0.5",      "999999999999", "/",
        "/",      " ",      " ",      "\t",       "4h",           "30d",
        "33d",    "1ms",    "day",    "week",     "month",        "year",
        "hour",   "min",    "tokens", "usd",      "message",      "messages",
        " fixed", "at",     "once",   " at once", "unlimited",    "$",
        "FIXED",  "Tokens", ".",      "-",        "\n",           "\xFF",
        "h",      "1d",     "/day",   "/4h",
    };
    const std::uint64_t seed = std::random_device{}();
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    const auto below = [&](std::size_t bound) {
        return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random);
    };
    int taken = 0;
    for (int round = 0; round < 50'000; ++round) {
        std::string text;
        for (std::size_t i = 0, count = 1 + below(6); i < count; ++i) {
            text += kPieces[below(std::size(kPieces))];
        }
        const auto cap = parse_allow(text);
        if (!cap) {
            ASSERT_FALSE(cap.error().empty()) << text;
            continue;
        }
        ++taken;
        ASSERT_EQ(parse_allow(cap->allow), cap) << text;
        const bool spans = cap->period == Period::kRolling || cap->period == Period::kFixed;
        ASSERT_EQ(spans, cap->span > seconds(0)) << text;
        ASSERT_LE(cap->span, seconds(32 * 86'400)) << text;
        ASSERT_EQ(cap->allow.find_first_of("\n\t\xFF"), std::string::npos) << text;
        ASSERT_FALSE(cap->in_words().empty()) << text;
    }
    EXPECT_GT(taken, 100);
}

TEST(Cap, CounterIsTheSameWhateverTheLimitAndTheWriting) {
    Cap a = *parse_allow("100/4h");
    a.models = "gpt-4*";
    Cap b = *parse_allow("7 messages / 240m");
    b.models = "GPT-4*";
    EXPECT_EQ(a.counter(), "messages|gpt-4*||rolling|14400");
    b.then = "other";
    b.warn = true;
    EXPECT_EQ(b.counter(), a.counter());
    b.models = "gpt-4";
    EXPECT_NE(b.counter(), a.counter());

    Cap c = *parse_allow("2 at once");
    c.endpoints = {"images/*", "Audio/*", "images/*"};
    EXPECT_EQ(c.counter(), "messages|*|audio/*,images/*|at_once|");
    Cap d = *parse_allow("3 at once");
    d.endpoints = {"audio/*", "images/*"};
    d.queue = seconds(3);
    EXPECT_EQ(d.counter(), c.counter());

    EXPECT_EQ(parse_allow("9/4h fixed")->counter(), "messages|*||fixed|14400");
    EXPECT_EQ(parse_allow("9 tokens/1d")->counter(), "tokens|*||rolling|86400");
    EXPECT_EQ(parse_allow("9 usd/day")->counter(), "usd|*||day|UTC");
    EXPECT_EQ(
        parse_allow("9 usd/week", TimeZone::find("Asia/Shanghai"))->counter(),
        "usd|*||week|Asia/Shanghai"
    );
    EXPECT_EQ(parse_allow("9/month")->counter(), "messages|*||month|UTC");
    EXPECT_EQ(parse_allow("unlimited")->counter(), "messages|*||unlimited|");
}

TEST(Cap, SaysItselfInWords) {
    struct Case {
        std::string_view allow;
        std::string_view words;
        std::string_view amount;
        std::string_view time;
    };
    for (const Case& c : {
             Case{"100/4h", "100 messages in any 4 h for gpt-4*", "100 messages", "4 h"},
             Case{"1/1d", "1 message in any 1 day for gpt-4*", "1 message", "1 day"},
             Case{"3/86405s", "3 messages in any 1 day 5 s for gpt-4*", "3 messages", "1 day 5 s"},
             Case{"0/4h", "no messages for gpt-4*", "0 messages", "4 h"},
             Case{"0 usd/day", "no messages for gpt-4*", "0 usd", "the day (Asia/Shanghai)"},
             Case{
                 "100/4h fixed",
                 "100 messages per 4 h, counted from the first one, for gpt-4*",
                 "100 messages",
                 "4 h"
             },
             Case{
                 "5 usd/30d fixed",
                 "5 usd per 30 days, counted from the first message, for gpt-4*",
                 "5 usd",
                 "30 days"
             },
             Case{
                 "1000/day",
                 "1000 messages per calendar day (Asia/Shanghai) for gpt-4*",
                 "1000 messages",
                 "the day (Asia/Shanghai)"
             },
             Case{
                 "1 token/week",
                 "1 token per calendar week (Asia/Shanghai) for gpt-4*",
                 "1 token",
                 "the week (Asia/Shanghai)"
             },
             Case{
                 "0.0125 usd/month",
                 "0.0125 usd per calendar month (Asia/Shanghai) for gpt-4*",
                 "0.0125 usd",
                 "the month (Asia/Shanghai)"
             },
             Case{"4 at once", "4 messages at once for gpt-4*", "4 messages", ""},
             Case{"unlimited", "no limit for gpt-4*", "0 messages", ""},
             Case{
                 "2000000 tokens/30d",
                 "2000000 tokens in any 30 days for gpt-4*",
                 "2000000 tokens",
                 "30 days"
             },
         }) {
        Cap cap = *parse_allow(c.allow, TimeZone::find("Asia/Shanghai"));
        cap.models = "gpt-4*";
        EXPECT_EQ(cap.in_words(), c.words);
        EXPECT_EQ(cap.amount_in_words(cap.limit), c.amount) << c.allow;
        EXPECT_EQ(cap.time_in_words(), c.time) << c.allow;
    }
}

TEST(Cap, SaysWhereItHoldsAndWhatComesBehindIt) {
    Cap cap = *parse_allow("4 at once");
    EXPECT_EQ(cap.in_words(), "4 messages at once for all models");
    cap.endpoints = {"chat/completions", "images/*"};
    cap.then = "gpt-3.5-turbo";
    cap.queue = seconds(30);
    cap.warn = true;
    EXPECT_EQ(
        cap.in_words(),
        "4 messages at once for all models on chat/completions, images/*; then gpt-3.5-turbo "
        "answers; up to 30 s in the queue; only a warning"
    );
}

}  // namespace
}  // namespace weir::config
