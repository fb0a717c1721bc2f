#include "weir/cache/cache_key.hpp"

#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "weir/http/json_request.hpp"

#include "http/random_change.hpp"
#include "http/random_json.hpp"

namespace weir::cache {
namespace {

using test::Node;
using test::Random;

struct Parts {
    std::string scope = "team:a";
    std::string endpoint = "/v1/chat/completions";
    std::string query;
    std::vector<std::string> fields;
    std::string route = "openai";
    std::string shape;
    std::string variant;
    std::string canonical = "{}";
    friend bool operator==(const Parts&, const Parts&) = default;
};

CacheKey key_of(const Parts& parts) {
    return make_cache_key(
        {.scope = parts.scope,
         .endpoint = parts.endpoint,
         .query = parts.query,
         .fields = parts.fields,
         .route = parts.route,
         .shape = parts.shape,
         .variant = parts.variant,
         .canonical = parts.canonical}
    );
}

std::string canonical(std::string_view body) {
    const auto request = http::read_json_request(Buffer::copy_of(body), true);
    EXPECT_TRUE(request) << body;
    EXPECT_TRUE(request && request->canonical_complete) << body;
    return request ? request->canonical : std::string();
}

TEST(CacheKey, EveryPartCounts) {
    const Parts plain;
    std::vector<Parts> others(10, plain);
    others[0].scope = "team:b";
    others[1].endpoint = "/v1/completions";
    others[2].query = "a=1";
    others[3].fields = {"openai-beta: x"};
    others[4].fields = {"openai-beta: x", "openai-beta: y"};
    others[5].route = "azure";
    others[6].shape = "stream";
    others[7].canonical = "[]";
    others[8].fields = {""};
    others[9].variant = "b";
    std::unordered_set<std::string> texts{key_of(plain).text};
    for (const Parts& other : others) {
        EXPECT_NE(key_of(other).hash, key_of(plain).hash);
        EXPECT_TRUE(texts.insert(key_of(other).text).second);
    }
    EXPECT_EQ(key_of(plain), key_of(plain));
    EXPECT_EQ(key_of(plain).hash, sha256(key_of(plain).text));
}

TEST(CacheKey, LongFormsStandByTheirDigest) {
    Parts parts;
    parts.canonical = "{" + std::string(CacheKey::kLongestWhole, 'a');
    const CacheKey key = key_of(parts);
    EXPECT_LT(key.text.size(), 300U);
    EXPECT_EQ(key, key_of(parts));
    Parts other = parts;
    other.canonical.back() = 'b';
    EXPECT_NE(key.text, key_of(other).text);
    other.canonical = parts.canonical + "a";
    EXPECT_NE(key.text, key_of(other).text);
    // Up to there all of it is compared.
    parts.canonical.pop_back();
    EXPECT_GT(key_of(parts).text.size(), CacheKey::kLongestWhole);
}

TEST(CacheKeyProperty, NoByteCrossesFromOnePartToTheNext) {
    Random random("NoByteCrosses");
    constexpr std::string_view kPieces[] = {"", "1", "1:", ":", "a", "2:ab", "0:", ";", "11:"};
    const auto text = [&] {
        std::string out;
        for (std::size_t i = random.below(4); i > 0; --i) out += random.pick(kPieces);
        return out;
    };
    std::unordered_map<std::string, Parts> seen;
    for (int round = 0; round < 60'000; ++round) {
        Parts parts{text(), text(), text(), {}, text(), text(), text()};
        for (std::size_t i = random.below(3); i > 0; --i) parts.fields.push_back(text());
        const CacheKey key = key_of(parts);
        const auto [known, fresh] = seen.try_emplace(key.text, parts);
        if (!fresh) {
            ASSERT_EQ(known->second, parts);
        }
    }
}

TEST(CacheKeyProperty, TheSameRequestWrittenOtherwiseIsTheSameKey) {
    Random random("TheSameRequestWrittenOtherwise");
    const Node streams[] = {Node::word("true"), Node::word("false"), Node::word("null")};
    for (int round = 0; round < 10'000; ++round) {
        Node body = test::random_body(random);
        if (random.one_in(50)) test::lengthen(random, body);
        Parts parts;
        parts.canonical = canonical(test::write(random, {}, body));
        Node other = body;
        if (random.one_in(2)) other.members.emplace_back("stream", random.pick(streams));
        if (random.one_in(2)) {
            other.members.emplace_back(
                "stream_options", Node::object({{"include_usage", Node::word("true")}})
            );
        }
        Parts same;
        same.canonical =
            canonical(test::write(random, {.shuffle = true, .space = true, .escapes = true}, other)
            );
        ASSERT_EQ(key_of(parts), key_of(same));
    }
}

TEST(CacheKeyProperty, NearTwinsNeverCollide) {
    Random random("NearTwinsNeverCollide");
    // 105,000 pairs: the promise is none in 10^6 (reliability: cache isolation); every run adds.
    int pairs = 0;
    std::unordered_map<std::string, Node> seen;
    while (pairs < 105'000) {
        Node base = test::random_body(random);
        if (random.one_in(50)) test::lengthen(random, base);
        const std::string form = canonical(test::write(random, {}, base));
        for (int i = 0; i < 40; ++i) {
            Node twin = base;
            if (!test::change(random, twin) || twin.sorted() == base.sorted()) continue;
            const auto request = http::read_json_request(
                Buffer::copy_of(test::write(
                    random, {.shuffle = true, .space = false, .escapes = random.one_in(4)}, twin
                )),
                true
            );
            if (!request) continue;  // the change made a key twice
            ++pairs;
            ASSERT_NE(request->canonical, form) << test::write(random, {}, base);
            // And against all others so far, not only its twin.
            if (seen.size() < 20'000) {
                const Node sorted = twin.sorted();
                const auto [known, fresh] = seen.try_emplace(request->canonical, sorted);
                if (!fresh) {
                    ASSERT_EQ(known->second, sorted);
                }
            }
        }
    }
}

TEST(CacheKey, NumbersAreEqualByTheirText) {
    EXPECT_NE(canonical(R"({"a":1})"), canonical(R"({"a":1.0})"));
    EXPECT_NE(canonical(R"({"a":[1,2]})"), canonical(R"({"a":[12]})"));
    EXPECT_NE(canonical(R"({"a":1})"), canonical(R"({"a":"1"})"));
    EXPECT_NE(canonical(R"({"a":{"b":1},"c":2})"), canonical(R"({"a":{"b":1,"c":2}})"));
    EXPECT_NE(canonical(R"({"a":null})"), canonical("{}"));
    EXPECT_NE(canonical(R"({"a":[[],[]]})"), canonical(R"({"a":[[[]]]})"));
    EXPECT_EQ(canonical(R"({"a":"\u00e9\/"})"), canonical("{\"a\":\"é/\"}"));
}

TEST(CacheKey, DigestHashSpreads) {
    std::unordered_set<std::size_t> hashes;
    for (int i = 0; i < 1000; ++i) {
        hashes.insert(DigestHash()(sha256(std::to_string(i))));
    }
    EXPECT_EQ(hashes.size(), 1000U);
}

}  // namespace
}  // namespace weir::cache
