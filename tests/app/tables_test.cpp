#include <cstdint>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "weir/app/client.hpp"

#include "commands_parts.hpp"

namespace weir::app {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Printable, LetsNothingSteerTheTerminal) {
    EXPECT_EQ(
        printable("plain \xE6\xB0\xB4 \xF0\x9F\x8C\x8A"), "plain \xE6\xB0\xB4 \xF0\x9F\x8C\x8A"
    );
    EXPECT_EQ(printable("\x1B[31mred\a\n"), "?[31mred??");
    EXPECT_EQ(
        printable("\xC2\x9B"
                  "1m"),
        "?1m"
    );  // C1
    EXPECT_EQ(
        printable("a\xE2\x80\xAE"
                  "b"),
        "a?b"
    );                                       // right-to-left override
    EXPECT_EQ(printable("\xFF\xC3"), "??");  // not UTF-8
    EXPECT_EQ(printable("\xE6\xB0"), "?");
}

TEST(Tables, AlignAlsoWideCharacters) {
    Table table({"NAME", "N"});
    table.add({"\xE6\xB0\xB4\xE5\x9D\x9D\xE5\x9D\x9D", "7"});
    table.add({"bob", "1,000"});
    EXPECT_EQ(
        table.text(),
        "NAME    N\n"
        "\xE6\xB0\xB4\xE5\x9D\x9D\xE5\x9D\x9D      7\n"
        "bob     1,000\n"
    );
}

TEST(Tables, TakeAnyAnswer) {
    const std::vector<std::string (*)(const Json&)> all = {
        tell_keys,
        tell_key,
        tell_new_key,
        tell_revoked,
        tell_granted,
        tell_reset,
        tell_explained,
        tell_audit,
        tell_usage,
        tell_cache,
        tell_cleared,
        tell_reloaded
    };
    for (const auto& answer :
         {Json(nullptr),
          Json::array(),
          Json::object(),
          Json{{"keys", 5}, {"usage", "x"}},
          Json{{"why", {1, nullptr}}, {"audit", {1}}, {"grants", {{{"left", "x"}}, nullptr}}},
          Json{{"keys", {1, nullptr}}, {"usage", {"a"}}, {"caps", {{{"limit", -1}}}}}}) {
        for (auto* const tell : all) EXPECT_FALSE(tell(answer).empty());
    }
}

TEST(Tables, TellUsageAndCache) {
    const Json usage =
        Json::parse(R"({"span":"1d","messages":1234567,)"
                    R"("tokens":12000,"usd":0.0125,)"
                    R"("usage":[{"key":"bob","model":"evil\u001b[2J","messages":1234567,)"
                    R"("tokens":12000,"usd":0.0125}]})");
    EXPECT_EQ(
        tell_usage(usage),
        "KEY  MODEL     MESSAGES   TOKENS  USD\n"
        "bob  evil?[2J  1,234,567  12,000  0.0125\n"
        "\n1,234,567 in the last 1d: 12,000 tokens, 0.0125 usd\n"
    );
    const Json cache = Json::parse(R"({"enabled":true,"hits_memory":2,"hits_disk":1,"misses":1})");
    EXPECT_THAT(tell_cache(cache), HasSubstr("3 of 4, 75%"));
    const Json saved = Json::parse(
        R"({"enabled":true,"all":{"joined":4,"saved_tokens":5000,"saved_usd":0.5},"models":[)"
        R"({"model":"m","hits":3,"joined":4,"misses":2,"bypasses":1,"saved_tokens":5000,"saved_usd":0.5}]})"
    );
    EXPECT_THAT(
        tell_cache(saved),
        HasSubstr("saved      5,000 tokens and 0.5 usd since the start; 4 shared a call\n\n"
                  "MODEL  HITS  JOINED  MISSES  BYPASSES  TOKENS SAVED  USD SAVED\n"
                  "m         3       4       2         1         5,000        0.5\n")
    );
}

TEST(Tables, TellHowCapsStand) {
    const Json key = Json::parse(
        R"({"name":"bob","id":"x1","plan":"plus","team":null,"created":"2026-11-23T15:16:01Z",)"
        R"("caps":[)"
        R"({"whose":"key","in_words":"100 messages in any 4 h for gpt-4*","limit":100,"used":100,)"
        R"("left":50,"granted":50,"next_free_s":725,"full_reset_s":14400},)"
        R"({"whose":"team","in_words":"5 usd in any 30 days for all models","limit":5,)"
        R"("used":0.0125,"left":4.9875,"granted":0,"next_free_s":0,"full_reset_s":0}],)"
        R"("grants":[{"messages":50,"models":"gpt-4*","left":50,"until":"2026-11-25T18:00:00Z"}]})"
    );
    EXPECT_EQ(
        tell_key(key),
        "name  bob\nid    x1\nplan  plus\nteam  -\nmade  2026-11-23T15:16:01Z\n\n"
        "WHOSE  CAP                                  USED      LEFT             NEXT FREE   ALL "
        "FREE\n"
        "key    100 messages in any 4 h for gpt-4*   100/100   50 (50 granted)  12 min 5 s  4 h\n"
        "team   5 usd in any 30 days for all models  0.0125/5           4.9875  -           -\n\n"
        "GRANTED  MODELS  LEFT  UNTIL\n"
        "     50  gpt-4*    50  2026-11-25T18:00:00Z\n"
    );
    EXPECT_EQ(
        tell_granted(
            Json::parse(R"({"key":"bob","messages":1,"models":"*","until":"2026-11-25T18:00:00Z"})")
        ),
        "bob has 1 message more for *, until 2026-11-25T18:00:00Z.\n"
    );
    EXPECT_EQ(
        tell_reset(Json::parse(R"({"key":"bob","models":"*","reset":37})")),
        "The caps of bob begin anew for *: 37 messages taken out.\n"
    );
}

TEST(Tables, TellExplanationsAndTheAuditTrail) {
    const Json told = Json::parse(
        R"({"why":["The plan plus allows it.","So a message \u001b[2J goes now."],"caps":[]})"
    );
    EXPECT_EQ(tell_explained(told), "The plan plus allows it.\nSo a message ?[2J goes now.\n");
    const Json audit = Json::parse(
        R"({"audit":[{"id":1,"at":"2026-11-25T18:00:00Z","actor":"admin","act":"reload",)"
        R"("subject":"config","detail":""}]})"
    );
    EXPECT_EQ(
        tell_audit(audit),
        "WHEN                  WHO    WHAT    OF      HOW\n"
        "2026-11-25T18:00:00Z  admin  reload  config  -\n"
    );
    EXPECT_EQ(tell_audit(Json{{"audit", Json::array()}}), "Nothing was changed yet.\n");
}

TEST(Client, KnowsWhereAListenerIsReached) {
    EXPECT_EQ(url_of_listener("127.0.0.1:8080"), "http://127.0.0.1:8080");
    EXPECT_EQ(url_of_listener("0.0.0.0:80"), "http://127.0.0.1:80");
    EXPECT_EQ(url_of_listener("[::]:8080"), "http://[::1]:8080");
    EXPECT_EQ(url_of_listener("[2001:db8::1]:8080"), "http://[2001:db8::1]:8080");
    EXPECT_EQ(url_of_listener(":8080"), "http://127.0.0.1:8080");
    EXPECT_EQ(url_of_listener("example.org"), "http://example.org");
}

TEST(Client, EncodesWhatIsNotPlain) {
    EXPECT_EQ(percent_encode("aZ9-._~"), "aZ9-._~");
    EXPECT_EQ(percent_encode("a/b c?\xE6"), "a%2Fb%20c%3F%E6");
}

TEST(Client, OnlySpeaksHttp) {
    for (const auto* url : {"file:///etc/hostname", "ftp://127.0.0.1/", "", "http://"}) {
        HttpCall wrong;
        wrong.url = url;
        const auto answer = call(wrong);
        ASSERT_FALSE(answer) << url;
        EXPECT_EQ(answer.error().code, ErrorCode::kBadRequest) << answer.error().detail;
    }
}

}  // namespace
}  // namespace weir::app
