// What is tried again, where, when and how often: decisions alone.
#include "weir/upstream/retry.hpp"

#include <deque>
#include <random>

#include <gtest/gtest.h>

namespace weir::upstream {
namespace {

using namespace std::chrono_literals;
using Stage = Call::Stage;

Outcome answered(int status) {
    return {.status = status, .stage = Stage::kBody, .written = true};
}

Outcome failed(ErrorCode error, Stage stage, bool written) {
    return {.error = error, .stage = stage, .written = written};
}

TEST(Retry, WhatNeverWentOutWholeMayGoAnywhere) {
    const config::Retry policy;
    const Outcome outcomes[] = {
        failed(ErrorCode::kUpstreamConnect, Stage::kResolve, false),
        failed(ErrorCode::kUpstreamConnect, Stage::kConnect, false),
        failed(ErrorCode::kUpstreamConnect, Stage::kTls, false),
        failed(ErrorCode::kUpstreamTimeout, Stage::kConnect, false),
        failed(ErrorCode::kUpstreamTimeout, Stage::kWrite, false),
        failed(ErrorCode::kUpstreamClosed, Stage::kWrite, false),
    };
    for (const Outcome& outcome : outcomes) {
        EXPECT_EQ(judge(policy, outcome), Next::kAnywhere) << word_of(outcome);
        EXPECT_EQ(blame(outcome), Blame::kUpstream);
    }
}

TEST(Retry, WhatMayHaveBeenWorkedOnGoesToAnotherUpstreamOnly) {
    const config::Retry policy;
    Outcome broken = answered(200);
    broken.broke_off = true;
    broken.error = ErrorCode::kUpstreamClosed;
    const Outcome outcomes[] = {
        failed(ErrorCode::kUpstreamClosed, Stage::kFirstByte, true),
        failed(ErrorCode::kUpstreamTimeout, Stage::kFirstByte, true),
        failed(ErrorCode::kUpstreamProtocol, Stage::kFirstByte, true),
        broken,
    };
    for (const Outcome& outcome : outcomes) {
        EXPECT_EQ(judge(policy, outcome), Next::kOtherUpstream) << word_of(outcome);
        EXPECT_EQ(blame(outcome), Blame::kUpstream);
    }
}

TEST(Retry, WhatWeEndedOurselvesIsNotTriedAgain) {
    const config::Retry policy;
    for (const ErrorCode error :
         {ErrorCode::kCancelled, ErrorCode::kClientGone, ErrorCode::kTooLarge}) {
        for (const bool written : {false, true}) {
            const Outcome outcome = failed(error, Stage::kWrite, written);
            EXPECT_EQ(judge(policy, outcome), Next::kNowhere);
            EXPECT_EQ(blame(outcome), Blame::kUnknown);
        }
    }
}

TEST(Retry, AnswersAreJudgedByTheirStatus) {
    config::Retry policy;
    for (const int status : {200, 204, 400, 404, 413, 422, 501, 302}) {
        EXPECT_EQ(judge(policy, answered(status)), Next::kNowhere) << status;
    }
    for (const int status : {408, 409, 429, 500, 502, 503, 504, 529}) {
        EXPECT_EQ(judge(policy, answered(status)), Next::kAnywhere) << status;
    }
    for (const int status : {401, 403}) {
        EXPECT_EQ(judge(policy, answered(status)), Next::kOtherKey) << status;
        EXPECT_EQ(blame(answered(status)), Blame::kKey);
    }
    Outcome poor = answered(429);
    poor.out_of_money = true;
    EXPECT_EQ(judge(policy, poor), Next::kOtherKey);
    EXPECT_EQ(blame(poor), Blame::kKey);
    Outcome stop = answered(503);
    stop.told_to_stop = true;
    EXPECT_EQ(judge(policy, stop), Next::kOtherUpstream);
    policy.statuses = {404};
    EXPECT_EQ(judge(policy, answered(503)), Next::kNowhere);
    EXPECT_EQ(judge(policy, answered(404)), Next::kAnywhere);
    EXPECT_EQ(blame(answered(500)), Blame::kUpstream);
    EXPECT_EQ(blame(answered(404)), Blame::kNobody);
    EXPECT_EQ(blame(answered(429)), Blame::kUnknown);
}

TEST(Retry, EachOutcomeHasAWord) {
    EXPECT_EQ(word_of(answered(503)), "503");
    EXPECT_EQ(word_of(failed(ErrorCode::kUpstreamConnect, Stage::kResolve, false)), "connect");
    EXPECT_EQ(word_of(failed(ErrorCode::kUpstreamConnect, Stage::kTls, false)), "tls");
    EXPECT_EQ(word_of(failed(ErrorCode::kUpstreamClosed, Stage::kWrite, false)), "write");
    EXPECT_EQ(word_of(failed(ErrorCode::kUpstreamClosed, Stage::kFirstByte, true)), "closed");
    EXPECT_EQ(word_of(failed(ErrorCode::kUpstreamTimeout, Stage::kConnect, false)), "timeout");
    EXPECT_EQ(word_of(failed(ErrorCode::kUpstreamProtocol, Stage::kFirstByte, true)), "protocol");
    Outcome broken = answered(200);
    broken.broke_off = true;
    broken.error = ErrorCode::kUpstreamClosed;
    EXPECT_EQ(word_of(broken), "broke-off");
}

http::Fields fields_of(std::initializer_list<std::pair<std::string_view, std::string_view>> all) {
    http::Fields fields;
    for (const auto& [name, value] : all) fields.add(name, value);
    return fields;
}

TEST(Retry, ReadsHowLongToWait) {
    const WallTime now = *parse_iso_time("2026-10-21T07:28:00Z");
    const struct {
        std::string_view name;
        std::string_view value;
        std::optional<milliseconds> wait;
    } cases[] = {
        {"Retry-After", "3", 3s},
        {"Retry-After", "0.25", 250ms},
        {"Retry-After", "0", 0ms},
        {"Retry-After", "Wed, 21 Oct 2026 07:28:10 GMT", 10s},
        {"Retry-After", "Wed, 21 Oct 2026 07:27:00 GMT", 0ms},
        {"Retry-After", "Wed, 21 Oct 2099 07:28:00 GMT", 24h},
        {"Retry-After", "1e300", 24h},
        {"retry-after-ms", "1500", 1500ms},
        {"x-ms-retry-after-ms", "20", 20ms},
        {"Retry-After", "-1", std::nullopt},
        {"Retry-After", "nan", std::nullopt},
        {"Retry-After", "soon", std::nullopt},
        {"Retry-After", "", std::nullopt},
        {"Retry-After", "3 s", std::nullopt},
    };
    for (const auto& one : cases) {
        EXPECT_EQ(told_wait(fields_of({{one.name, one.value}}), now), one.wait) << one.value;
    }
    EXPECT_EQ(told_wait(fields_of({{"retry-after", "9"}, {"retry-after-ms", "5"}}), now), 5ms);
    EXPECT_EQ(told_wait(fields_of({{"retry-after", "9"}, {"retry-after-ms", "x"}}), now), 9s);
    EXPECT_EQ(told_wait({}, now), std::nullopt);
}

TEST(Retry, ReadsRoomThatIsUsedUp) {
    const WallTime now = *parse_iso_time("2026-10-21T07:28:00Z");
    const auto openai =
        [&](std::string_view remaining, std::string_view reset, std::string_view limit) {
            return rest_by_room(
                fields_of(
                    {{"x-ratelimit-remaining-requests", remaining},
                     {"x-ratelimit-reset-requests", reset},
                     {"x-ratelimit-limit-requests", limit}}
                ),
                now
            );
        };
    EXPECT_EQ(openai("1", "6m0s", "60"), std::nullopt);
    // All of the 60 are free again in a minute: one is in a second.
    EXPECT_EQ(openai("0", "1m0s", "60"), 1s);
    EXPECT_EQ(openai("0", "12ms", "1"), 12ms);
    EXPECT_EQ(openai("0", "1.5s", ""), 1500ms);
    EXPECT_EQ(openai("0", "2", "1"), 2s);
    EXPECT_EQ(openai("0", "", "60"), std::nullopt);
    EXPECT_EQ(openai("-1", "1s", "60"), std::nullopt);
    const auto anthropic = fields_of(
        {{"anthropic-ratelimit-requests-remaining", "0"},
         {"anthropic-ratelimit-requests-limit", "2"},
         {"anthropic-ratelimit-requests-reset", "2026-10-21T07:28:30Z"}}
    );
    EXPECT_EQ(rest_by_room(anthropic, now), 15s);
    EXPECT_EQ(rest_by_room({}, now), std::nullopt);
}

TEST(Retry, BacksOffWithFullJitterUpToABound) {
    config::Retry policy;
    policy.backoff = 100ms;
    policy.longest_wait = 1s;
    EXPECT_EQ(backoff(policy, 1, 0), 0ms);
    EXPECT_EQ(backoff(policy, 1, 0.5), 50ms);
    EXPECT_EQ(backoff(policy, 2, 0.5), 100ms);
    EXPECT_EQ(backoff(policy, 3, 0.5), 200ms);
    EXPECT_EQ(backoff(policy, 60, 0.5), 500ms);
    EXPECT_EQ(backoff(policy, 0, 0.5), 50ms);
}

// Whatever the history: within any ten seconds (of the clock's) the extra calls are at most a share
// of the calls, or the few that there always are.
TEST(RetryBudgetProperty, IsNeverPassed) {
    std::uint64_t seed = std::random_device()();
    for (int history = 0; history < 10'000; ++history, ++seed) {
        std::mt19937_64 random(seed);
        RetryBudget budget;
        const auto percent = static_cast<std::uint32_t>(random() % 101);
        const bool busy = random() % 2 == 0;
        RetryBudget::Time now{std::chrono::hours(1) + std::chrono::milliseconds(random() % 10'000)};
        std::deque<std::pair<std::int64_t, bool>> log;  // second, extra
        for (int step = 0; step < 60; ++step) {
            now += std::chrono::milliseconds(random() % (busy ? 100 : 4'000));
            const std::int64_t second =
                std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count();
            const bool extra = random() % 2 == 0;
            std::uint64_t calls = 0;
            std::uint64_t extras = 0;
            for (const auto& [at, was_extra] : log) {
                if (at <= second - 10) continue;
                ++(was_extra ? extras : calls);
            }
            if (!extra) {
                budget.count(now);
            } else {
                const std::uint64_t most =
                    percent == 0 ? 0 : std::max(RetryBudget::kAlways, calls * percent / 100);
                const bool given = budget.take(percent, now);
                ASSERT_EQ(given, extras < most) << "seed " << seed << ", step " << step;
                if (!given) continue;
            }
            log.emplace_back(second, extra);
        }
    }
}

}  // namespace
}  // namespace weir::upstream
