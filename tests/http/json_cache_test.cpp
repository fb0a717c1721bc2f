// What a body tells the cache: long strings by their digest, members left out, what must not be
// kept.
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "weir/base/crypto.hpp"
#include "weir/http/json_request.hpp"

#include "http/random_json.hpp"

namespace weir::http {
namespace {

using test::Random;

JsonRequest read(std::string_view body, const std::vector<std::string>& ignored = {}) {
    auto request = read_json_request(Buffer::copy_of(body), true, ignored);
    if (request) return std::move(*request);
    ADD_FAILURE() << request.error().message << " " << body.substr(0, 200);
    return {};
}

std::string with_content(std::string_view literal) {
    return R"({"model":"m","messages":[{"role":"user","content":")" + std::string(literal) +
           "\"}]}";
}

TEST(LongStrings, StandByTheirLengthAndDigest) {
    const std::string text(100'000, 'a');
    const std::string form = read(with_content(text)).canonical;
    EXPECT_LT(form.size(), 200U);
    const Digest digest = sha256(text);
    // Nothing else begins with that tag, and the length (LEB128) is beside the digest.
    const std::string stands = "#\xA0\x8D\x06" + std::string(digest.begin(), digest.end());
    EXPECT_NE(form.find(stands), std::string::npos);
    // Up to 16 KiB they stand there whole.
    const std::string whole = read(with_content(text.substr(0, 16'384))).canonical;
    EXPECT_NE(whole.find(text.substr(0, 16'384)), std::string::npos);
    EXPECT_EQ(read(with_content(text.substr(0, 16'385))).canonical.find("aaaa"), std::string::npos);
    // A string that looks like the digest of another one is not it.
    const std::string forged(
        form.begin() + static_cast<std::ptrdiff_t>(form.find('#')), form.end()
    );
    EXPECT_NE(form, read(with_content("forged")).canonical + forged);
}

// One character of the text, as JSON may write it.
std::string spell(Random& random, char c) {
    static constexpr char kDigits[] = "0123456789abcdef";
    if (random.one_in(3)) {
        return std::string("\\u00") + kDigits[c >> 4] + kDigits[c & 15];
    }
    if (c == '/' && random.one_in(2)) return "\\/";
    return {c};
}

TEST(LongStrings, AreEqualHoweverTheyAreSpelled) {
    Random random("LongStringsAreEqual");
    constexpr std::string_view kPair = "\\ud83d\\ude00";
    for (int round = 0; round < 60; ++round) {
        // Escapes and pairs stand at every place around the ends of the pieces that are hashed.
        std::string plain;
        std::string spelled;
        const std::size_t size = 16'300 + random.below(40'000);
        while (plain.size() < size) {
            if (random.one_in(50)) {
                plain += "\xF0\x9F\x98\x80";
                spelled += random.one_in(2) ? std::string(kPair) : std::string("\xF0\x9F\x98\x80");
                continue;
            }
            const char c = static_cast<char>('/' + random.below(60));
            if (c == '\\') continue;
            plain += c;
            spelled += spell(random, c);
        }
        const std::string form = read(with_content(plain)).canonical;
        ASSERT_EQ(form, read(with_content(spelled)).canonical);
        std::string other = plain;
        other[random.below(other.size() / 2)] ^= 1;
        const auto twin = read_json_request(Buffer::copy_of(with_content(other)), true);
        if (twin) {
            ASSERT_NE(form, twin->canonical);
        }
        ASSERT_NE(form, read(with_content(plain + " ")).canonical);
    }
}

TEST(Ignored, MembersOfTheTopLevelAreLeftOut) {
    const std::vector<std::string> ignored = {"user", "metadata"};
    const std::string bare = read(R"({"model":"m"})", ignored).canonical;
    EXPECT_EQ(read(R"({"user":"u","model":"m","metadata":{"a":[1]}})", ignored).canonical, bare);
    EXPECT_NE(read(R"({"user":"u","model":"m"})").canonical, bare);
    // Only there, and only these.
    EXPECT_NE(
        read(R"({"model":"m","a":{"user":"u"}})", ignored).canonical,
        read(R"({"model":"m","a":{}})", ignored).canonical
    );
    EXPECT_NE(read(R"({"model":"m","users":1})", ignored).canonical, bare);
    // What is left out is still checked.
    EXPECT_FALSE(read_json_request(Buffer::copy_of(R"({"user":{"a":1,"a":2}})"), true, ignored));
}

TEST(Acts, ToolsOfTheUpstreamAreSeen) {
    const char* const acting[] = {
        R"({"tools":[{"type":"web_search"}]})",
        R"({"tools":[{"type":"function","name":"f"},{"type":"web_search_preview"}]})",
        R"({"tools":[{"type":"file_search"}]})",
        R"({"tools":[{"type":"mcp","server_url":"x"}]})",
        R"({"tools":[{"type":"code_interpreter"}]})",
        R"({"tools":[{"type":"image_generation"}]})",
        R"({"web_search_options":{}})",
        R"({"search_parameters":{"mode":"auto"}})",
        R"({"enable_search":true})",
        R"({"plugins":[{"id":"web"}]})",
        R"({"mcp_servers":[{"url":"x"}]})",
        R"({"tools":[{"type":"web_search_20250305","name":"web_search"}]})",
        R"({"tools":[{"type":"web_fetch_20250910","name":"web_fetch"}]})",
        R"({"tools":[{"type":"code_execution_20250825","name":"code_execution"}]})",
        R"({"tools":[{"type":"computer_use_preview"}]})",
        R"({"tools":[{"type":"bash_2025012x"}]})",
        R"({"tools":[{"type":"bash_202501240"}]})",
    };
    for (const char* const body : acting) EXPECT_TRUE(read(body).acts) << body;
    const char* const not_acting[] = {
        R"({"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]})",
        R"({"tools":[{"type":"custom","name":"c"}]})",
        R"({"tools":[]})",
        R"({"tools":[{"name":"f","input_schema":{"type":"object"}}]})",
        R"({"tools":[{"type":"computer_20250124","name":"computer"},{"type":"bash_20250124"}]})",
        R"({"tools":[{"type":"text_editor_20250728"},{"type":"memory_20250818"}]})",
        R"({"web_search_options":null,"enable_search":false})",
        R"({"tools":[{"type":"function","function":{"parameters":{"properties":{"web_search":{}}}}}]})",
        R"({"messages":[{"role":"user","content":"x","type":"web_search"}]})",
    };
    for (const char* const body : not_acting) EXPECT_FALSE(read(body).acts) << body;
}

TEST(Deterministic, IsTemperatureNoughtOrASeed) {
    for (const char* const body :
         {R"({"temperature":0})",
          R"({"temperature":0.0})",
          R"({"temperature":-0})",
          R"({"temperature":0e5})",
          R"({"seed":7})",
          R"({"temperature":1,"seed":7})"}) {
        EXPECT_TRUE(read(body).deterministic) << body;
    }
    for (const char* const body :
         {R"({})",
          R"({"temperature":0.1})",
          R"({"temperature":null})",
          R"({"temperature":"0"})",
          R"({"seed":null})",
          R"({"a":{"temperature":0,"seed":1}})",
          R"({"temperature":1e-400})"}) {
        EXPECT_FALSE(read(body).deterministic) << body;
    }
}

}  // namespace
}  // namespace weir::http
