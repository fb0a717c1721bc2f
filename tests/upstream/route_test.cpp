#include "weir/upstream/route.hpp"

#include <set>

#include <gtest/gtest.h>

#include "weir/upstream/url.hpp"

namespace weir::upstream {
namespace {

config::Upstream named(std::string name, std::vector<std::string> models, int priority) {
    config::Upstream out;
    out.name = std::move(name);
    out.url = "http://" + out.name;
    out.models = std::move(models);
    out.priority = priority;
    return out;
}

std::vector<std::string> names(const Route& route) {
    std::vector<std::string> out;
    for (const config::Upstream* upstream : route.upstreams) out.push_back(upstream->name);
    return out;
}

TEST(Route, TakesTheUpstreamsWhoseGlobsMatch) {
    config::Config config;
    config.upstreams = {
        named("openai", {"gpt-*", "o?"}, 1),
        named("deepseek", {"deepseek-*"}, 1),
        named("all", {"*"}, 2)
    };
    using Names = std::vector<std::string>;
    EXPECT_EQ(names(find_route(config, "GPT-4", "GPT-4")), (Names{"openai", "all"}));
    EXPECT_EQ(names(find_route(config, "o3", "o3")), (Names{"openai", "all"}));
    EXPECT_EQ(names(find_route(config, "o10", "o10")), (Names{"all"}));
    EXPECT_EQ(names(find_route(config, "deepseek-chat", "x")), (Names{"deepseek", "all"}));
    config.upstreams.pop_back();
    const Route none = find_route(config, "claude", "claude");
    EXPECT_TRUE(none.upstreams.empty());
    EXPECT_TRUE(none.rule.empty());
}

TEST(Route, OrdersByPriorityAndThenAsWritten) {
    config::Config config;
    config.upstreams = {
        named("c", {"*"}, 3),
        named("a1", {"*"}, 1),
        named("b", {"*"}, 2),
        named("a2", {"*"}, 1),
        named("a3", {"*"}, 1)
    };
    const std::vector<std::string> expected = {"a1", "a2", "a3", "b", "c"};
    EXPECT_EQ(names(find_route(config, "m", "m")), expected);
}

TEST(Route, AnUpstreamIsAskedForWhatItsKindHas) {
    config::Config config;
    config.upstreams = {
        named("open", {"*"}, 1), named("claude", {"*"}, 1), named("azure", {"*"}, 2)
    };
    config.upstreams[1].kind = config::Kind::kAnthropic;
    config.upstreams[2].kind = config::Kind::kAzure;
    using Names = std::vector<std::string>;
    EXPECT_EQ(names(find_route(config, "m", "m")), (Names{"open", "azure"}));
    EXPECT_EQ(names(find_route(config, "m", "m", http::Api::kOpenAi)), (Names{"open", "azure"}));
    EXPECT_EQ(names(find_route(config, "m", "m", http::Api::kAnthropic)), (Names{"claude"}));
    config.upstreams = {named("demo", {"*"}, 1)};
    config.upstreams[0].demo = true;
    EXPECT_EQ(names(find_route(config, "m", "m", http::Api::kAnthropic)), (Names{"demo"}));
}

TEST(Route, TheLastResortServesWhatNobodyElseDoes) {
    config::Config config;
    config.upstreams = {named("first", {"gpt-*"}, 1), named("second", {"deepseek-*"}, 2)};
    config.upstreams[0].last_resort = true;
    using Names = std::vector<std::string>;
    EXPECT_EQ(names(find_route(config, "gpt-4", "")), (Names{"first"}));
    EXPECT_EQ(names(find_route(config, "deepseek-chat", "")), (Names{"second"}));
    EXPECT_EQ(names(find_route(config, "llama", "")), (Names{"first"}));
    EXPECT_TRUE(find_route(config, "llama", "", http::Api::kAnthropic).upstreams.empty());
}

// Every way to spread a few characters over names, urls and serve_as is a rule of its own.
TEST(Route, RuleTellsEveryRouteApart) {
    const std::vector<std::string> parts = {"", "a", "b", "ab", "1:a", "a1:b", "0:", "1:", ":"};
    std::set<std::string> rules;
    std::size_t made = 0;
    for (const std::string& name : parts) {
        for (const std::string& url : parts) {
            for (const std::string& second : parts) {
                for (const std::string& serve_as : parts) {
                    config::Config config;
                    config.upstreams = {named(name, {"*"}, 1), named(second, {"*"}, 1)};
                    config.upstreams[0].url = url;
                    config.upstreams[1].url = "u";
                    rules.insert(find_route(config, "m", serve_as).rule);
                    ++made;
                }
            }
        }
    }
    EXPECT_EQ(rules.size(), made);
}

TEST(Route, RuleNeedsNeitherKeyNorPriority) {
    config::Config config;
    config.upstreams = {named("a", {"*"}, 1)};
    const std::string before = find_route(config, "m", "m").rule;
    config.upstreams[0].keys = {"sk-other"};
    config.upstreams[0].priority = 7;
    EXPECT_EQ(find_route(config, "m", "m").rule, before);
}

TEST(Url, IsTakenApart) {
    const auto full = upstream_from_url("HTTPS://API.Example.org:8443/v1/", "x");
    ASSERT_TRUE(full);
    EXPECT_TRUE(full->tls);
    EXPECT_EQ(full->host, "api.example.org");
    EXPECT_EQ(full->port, 8443);
    EXPECT_EQ(full->base_path, "/v1");
    EXPECT_EQ(full->name, "x");
    const auto plain = upstream_from_url("http://h", "x");
    ASSERT_TRUE(plain);
    EXPECT_FALSE(plain->tls);
    EXPECT_EQ(plain->port, 80);
    EXPECT_EQ(plain->base_path, "");
    const auto v6 = upstream_from_url("https://[::1]/v1", "x");
    ASSERT_TRUE(v6);
    EXPECT_EQ(v6->host, "::1");
    EXPECT_EQ(v6->port, 443);
}

TEST(Url, RefusesWhatIsNotAPlainOne) {
    for (const char* text :
         {"",
          "h",
          "ftp://h",
          "http://",
          "http:///v1",
          "http://h:0",
          "http://h:70000",
          "http://h:8x",
          "http://u:p@h",
          "http://h/?q",
          "http://h/#f",
          "http://h h",
          "http://a:b:c",
          "http://h\r\n"}) {
        EXPECT_FALSE(upstream_from_url(text, "x")) << text;
    }
}

}  // namespace
}  // namespace weir::upstream
