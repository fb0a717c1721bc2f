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
          Json{{"keys", {1, nullptr}}, {"usage", {"a"}}, {"caps", {{{"limit", -1}}}}}}) {
        for (auto* const tell : all) EXPECT_FALSE(tell(answer).empty());
    }
}

TEST(Tables, TellUsageAndCache) {
    const Json usage =
        Json::parse(R"({"span":"1d","messages":1234567,)"
                    R"("usage":[{"key":"bob","model":"evil\u001b[2J","messages":1234567}]})");
    EXPECT_THAT(
        tell_usage(usage), AllOf(HasSubstr("1,234,567 in the last 1d"), HasSubstr("evil?[2J"))
    );
    const Json cache = Json::parse(R"({"enabled":true,"hits_memory":2,"hits_disk":1,"misses":1})");
    EXPECT_THAT(tell_cache(cache), HasSubstr("3 of 4, 75%"));
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
