#include "weir/http/cache_control.hpp"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace weir::http {
namespace {

using std::chrono::seconds;

std::expected<CacheControl, ApiError> read(
    const std::vector<std::pair<std::string, std::string>>& fields
) {
    Fields from;
    for (const auto& [name, value] : fields) from.add(name, value);
    return read_cache_control(from);
}

CacheControl control(const std::string& value) {
    return read({{"Cache-Control", value}}).value();
}

TEST(CacheControl, ReadsItsDirectives) {
    EXPECT_TRUE(control("no-cache").no_cache);
    EXPECT_FALSE(control("no-cache").no_store);
    EXPECT_TRUE(control("NO-STORE").no_store);
    EXPECT_TRUE(control("max-age=60, no-store , foo=\"no-cache\"").no_store);
    EXPECT_FALSE(control("max-age=60, foo=\"no-cache\"").no_cache);
    EXPECT_FALSE(control("no-cached, x-no-store").no_cache);
    EXPECT_TRUE(control("only-if-cached, max-stale").only_if_cached);
    EXPECT_FALSE(read({})->no_cache);
    const auto both = read({{"cache-control", "no-cache"}, {"Cache-Control", "no-store"}});
    EXPECT_TRUE(both->no_cache && both->no_store);
}

TEST(CacheControl, ReadsAges) {
    EXPECT_EQ(control("max-age=60").max_age, seconds(60));
    EXPECT_FALSE(control("max-age=60").no_cache);
    EXPECT_EQ(control("max-age=\"60\"").max_age, seconds(60));
    EXPECT_EQ(control("max-age=60, max-age=5").max_age, seconds(5));
    EXPECT_EQ(control("max-age=99999999999999999999").max_age, std::chrono::days(366));
    for (const char* const stale :
         {"max-age=0", "max-age=", "max-age", "max-age=x", "max-age=-1"}) {
        EXPECT_TRUE(control(stale).no_cache) << stale;
    }
}

TEST(CacheControl, ReadsOurOwnFields) {
    const auto ttl = [](const char* value) { return read({{"X-Weir-Cache-TTL", value}}); };
    EXPECT_EQ(ttl("90")->ttl, seconds(90));
    EXPECT_EQ(ttl("10m")->ttl, seconds(600));
    EXPECT_EQ(ttl("0")->ttl, seconds(0));
    EXPECT_TRUE(ttl("0")->no_store);
    EXPECT_FALSE(ttl("1")->no_store);
    for (const char* const wrong : {"", "-1", "soon", "1.5x"}) {
        const auto told = ttl(wrong);
        ASSERT_FALSE(told) << wrong;
        EXPECT_EQ(told.error().status, 400);
        EXPECT_EQ(told.error().param, "x-weir-cache-ttl");
    }
    EXPECT_EQ(read({{"x-weir-cache-key", "b"}})->variant, "b");
    EXPECT_FALSE(read({{"x-weir-cache-key", std::string(257, 'a')}}));
}

}  // namespace
}  // namespace weir::http
