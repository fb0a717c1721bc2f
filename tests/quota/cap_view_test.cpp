// How a cap reads as JSON.
#include "weir/quota/cap_view.hpp"

#include <cstdint>
#include <random>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "weir/base/time_zone.hpp"

namespace weir::quota {
namespace {

using std::chrono::microseconds;

constexpr WallTime kNow{std::chrono::seconds(1'800'000'000)};

CapState state_of(const config::Cap& cap) {
    CapState state;
    state.cap = &cap;
    state.window.limit = cap.limit;
    return state;
}

TEST(CapView, TellsACapInFull) {
    auto parsed = config::parse_allow("100/4h");
    ASSERT_TRUE(parsed);
    config::Cap cap = *parsed;
    cap.models = "gpt-4*";
    CapState state = state_of(cap);
    state.window.used = 100;
    state.window.extra = 7;
    state.window.next_free = std::chrono::seconds(725) + microseconds(1);
    state.window.full_reset = std::chrono::hours(4);
    EXPECT_EQ(
        json_text(cap_view(state, kNow)),
        R"({"whose":"key","models":"gpt-4*","allow":"100/4h","unit":"messages",)"
        R"("period":"rolling","mode":"enforce","in_words":"100 messages in any 4 h for gpt-4*",)"
        R"("limit":100,"used":100,"left":7,"granted":7,"next_free_s":726,)"
        R"("next_free_at":"2027-01-15T08:12:06Z","full_reset_s":14400,)"
        R"("resets_at":"2027-01-15T12:00:00Z"})"
    );
}

TEST(CapView, TellsWhatElseACapHas) {
    auto parsed = config::parse_allow("4 at once");
    ASSERT_TRUE(parsed);
    config::Cap cap = *parsed;
    cap.endpoints = {"embeddings"};
    cap.queue = std::chrono::milliseconds(1'500);
    cap.then = "gpt-3.5-turbo";
    cap.warn = true;
    CapState state = state_of(cap);
    state.whose = Whose::kTeam;
    const Json json = cap_view(state, kNow);
    EXPECT_EQ(json["whose"], "team");
    EXPECT_EQ(json["period"], "at_once");
    EXPECT_EQ(json["mode"], "warn");
    EXPECT_EQ(json["endpoints"], Json::array({"embeddings"}));
    EXPECT_EQ(json["queue_s"], 2);
    EXPECT_EQ(json["then"], "gpt-3.5-turbo");
    EXPECT_EQ(json["next_free_s"], 0);
    EXPECT_TRUE(json["next_free_at"].is_null());
    EXPECT_TRUE(json["resets_at"].is_null());
}

TEST(CapView, TellsMoneyInDollars) {
    const auto cap = config::parse_allow("5 usd/30d");
    ASSERT_TRUE(cap);
    CapState state = state_of(*cap);
    state.window.used = 12'500'000;
    const std::string text = json_text(cap_view(state, kNow));
    EXPECT_NE(text.find(R"("limit":5,"used":0.0125,"left":4.9875,"granted":0,)"), text.npos)
        << text;
}

TEST(GrantView, EndsByTheWallClock) {
    const Grant grant{
        .id = 3, .models = "*", .messages = 5, .used = 2, .until = ledger_time_us(3'600'000'000)
    };
    // The clocks are read one after the other: a microsecond between them changes no second.
    for (const int late : {-1, 0, 1}) {
        const Now now{LedgerTime(), kNow + microseconds(late)};
        EXPECT_EQ(
            json_text(grant_view(grant, now)),
            R"({"id":3,"models":"*","messages":5,"used":2,"left":3,"until":"2027-01-15T09:00:00Z"})"
        );
    }
}

TEST(JsonText, WritesMoneyAsItIs) {
    EXPECT_EQ(json_text(usd(0)), "0");
    EXPECT_EQ(json_text(usd(1)), "0.000000001");
    EXPECT_EQ(json_text(usd(12'500'000)), "0.0125");
    EXPECT_EQ(json_text(usd(100'000'000)), "0.1");
    EXPECT_EQ(json_text(usd(3'000'000'000)), "3");
    constexpr unsigned kSeed = 11;
    std::mt19937_64 random(kSeed);
    for (int i = 0; i < 200'000; ++i) {
        const std::uint64_t nano = random() % 1'000'000'000'000'000ULL >> (random() % 50);
        std::string expected = std::to_string(nano % config::kNanoDollars);
        expected = std::to_string(nano / config::kNanoDollars) + "." +
                   std::string(9 - expected.size(), '0') + expected;
        while (expected.back() == '0') expected.pop_back();
        if (expected.back() == '.') expected.pop_back();
        ASSERT_EQ(json_text(usd(nano)), expected) << "seed " << kSeed;
    }
}

TEST(JsonText, IsTheJsonThatWentIn) {
    const auto json = Json::parse(
        R"({"b":[1,-2,"x\"\u0001",null,true,{}],"a":{"":[],"\u00e9":18446744073709551615}})"
    );
    EXPECT_EQ(json_text(json), json.dump());
    EXPECT_TRUE(Json::accept(json_text(Json{{"\xFF", "\xFF"}})));
}

}  // namespace
}  // namespace weir::quota
