// The files that people start from do what they say.
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "helpers.hpp"

namespace weir::config::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string source_file(const std::string& path) {
    std::ifstream file(std::string(WEIR_SOURCE_DIR) + "/" + path, std::ios::binary);
    EXPECT_TRUE(file.good()) << path;
    return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Shipped, WorksWithoutKeyAndNetwork) {
    const auto config = good(source_file("config/weir.yaml"), sources_of());
    ASSERT_EQ(config->upstreams.size(), 1U);
    EXPECT_TRUE(config->upstreams[0].demo);
    ASSERT_EQ(config->listen.size(), 1U);
    EXPECT_EQ(config->listen[0].host, "127.0.0.1");
    EXPECT_EQ(config->listen[0].port, 8080);
    EXPECT_EQ(config->data, "./data");
    EXPECT_TRUE(config->keys.empty());  // a secret in a shipped file would be everybody's
    EXPECT_TRUE(config->cache.enabled);
    const Plan* const plus = config->find_plan("plus");
    ASSERT_NE(plus, nullptr);
    ASSERT_EQ(plus->caps.size(), 2U);
    EXPECT_EQ(plus->caps[0].counter(), "messages|gpt-4*||rolling|14400");
    EXPECT_EQ(plus->caps[0].limit, 100U);
    EXPECT_EQ(plus->caps[1].counter(), "messages|*||day|UTC");
    EXPECT_EQ(plus->caps[1].limit, 1000U);
}

TEST(Shipped, ForwardsWithAKey) {
    const auto config = good(
        source_file("config/weir.yaml"),
        sources_of({{"OPENAI_API_KEY", "sk-x"}, {"WEIR_LISTEN", "0.0.0.0:80"}, {"WEIR_DATA", "/d"}})
    );
    ASSERT_EQ(config->upstreams.size(), 1U);
    EXPECT_FALSE(config->upstreams[0].demo);
    EXPECT_EQ(config->upstreams[0].name, "openai");
    EXPECT_EQ(config->upstreams[0].host, "api.openai.com");
    EXPECT_EQ(config->upstreams[0].base_path, "/v1");
    EXPECT_TRUE(config->upstreams[0].tls);
    EXPECT_EQ(config->listen[0].host, "0.0.0.0");
    EXPECT_EQ(config->data, "/d");
}

Sources example_sources() {
    return sources_of(
        {{"ALICE_KEY", "a-secret-of-16-chars"}}, {{"/etc/weir/internal-ca.pem", kCertificate}}
    );
}

TEST(Shipped, ExampleLoadsAndItsValuesAreTheDefaults) {
    const auto config = good(source_file("config/weir.example.yaml"), example_sources());
    const Config defaults;
    EXPECT_EQ(config->data, defaults.data);
    EXPECT_EQ(config->drain, defaults.drain);
    EXPECT_EQ(config->limits.head_bytes, defaults.limits.head_bytes);
    EXPECT_EQ(config->limits.body_bytes, defaults.limits.body_bytes);
    EXPECT_EQ(config->limits.bodies_bytes, defaults.limits.bodies_bytes);
    EXPECT_EQ(config->limits.head_time, defaults.limits.head_time);
    EXPECT_EQ(config->limits.body_idle, defaults.limits.body_idle);
    EXPECT_EQ(config->limits.keep_alive, defaults.limits.keep_alive);
    EXPECT_EQ(config->limits.write_stall, defaults.limits.write_stall);
    EXPECT_EQ(config->limits.connections, defaults.limits.connections);
    EXPECT_EQ(config->log.format, defaults.log.format);
    EXPECT_EQ(config->log.level, defaults.log.level);
    EXPECT_EQ(config->log_requests, defaults.log_requests);
    EXPECT_EQ(config->demo, defaults.demo);
    const Timeouts timeouts;
    EXPECT_EQ(config->upstreams[0].timeouts.connect, timeouts.connect);
    EXPECT_EQ(config->upstreams[0].timeouts.first_byte, timeouts.first_byte);
    EXPECT_EQ(config->upstreams[0].timeouts.idle, timeouts.idle);
    EXPECT_EQ(config->upstreams[0].timeouts.total, timeouts.total);
    EXPECT_EQ(config->cache.ttl, defaults.cache.ttl);
    EXPECT_EQ(config->cache.max_size_bytes, defaults.cache.max_size_bytes);
    EXPECT_EQ(config->cache.max_entry_bytes, defaults.cache.max_entry_bytes);
    EXPECT_EQ(config->cache.max_request_bytes, defaults.cache.max_request_bytes);
    EXPECT_EQ(config->cache.memory_bytes, defaults.cache.memory_bytes);
    EXPECT_EQ(config->cache.scope, defaults.cache.scope);
    EXPECT_EQ(config->cache.enabled, defaults.cache.enabled);
}

// The last words of the keys that the loader lists as known, asked for by a wrong key in each map.
std::set<std::string> known_keys() {
    const std::string everywhere = R"(
zzzzzzzzz: 1
limits: {zzzzzzzzz: 1}
admin: {zzzzzzzzz: 1}
log: {zzzzzzzzz: 1}
listen: [{zzzzzzzzz: 1}]
upstreams: [{zzzzzzzzz: 1, timeouts: {zzzzzzzzz: 1}}]
models: {m: {zzzzzzzzz: 1}}
plans: {p: {zzzzzzzzz: 1, caps: [{zzzzzzzzz: 1}]}}
keys: [{zzzzzzzzz: 1}]
cache: {zzzzzzzzz: 1}
)";
    std::set<std::string> known;
    int maps = 0;
    for (const Fault& fault : faults_of(everywhere)) {
        constexpr std::string_view kStart = "known here: ";
        if (!fault.hint.starts_with(kStart)) continue;
        ++maps;
        const std::string list = fault.hint.substr(kStart.size());
        const std::regex word("[a-z_]+");
        for (std::sregex_iterator i(list.begin(), list.end(), word), end; i != end; ++i) {
            known.insert(i->str());
        }
    }
    EXPECT_EQ(maps, 12);
    EXPECT_GT(known.size(), 40U);
    return known;
}

TEST(Shipped, ExampleAndReferenceNameEveryKey) {
    const std::string example = source_file("config/weir.example.yaml");
    const std::string reference = source_file("docs/config.md");
    for (const std::string& key : known_keys()) {
        EXPECT_TRUE(std::regex_search(example, std::regex("\\b" + key + ":"))) << key;
        EXPECT_TRUE(std::regex_search(reference, std::regex("`([a-z_.\\[\\]]*\\.)?" + key + "[.`]"))
        ) << key;
    }
}

TEST(Shipped, ReferenceNamesNoKeyThatTheLoaderDoesNotKnow) {
    const std::string reference = source_file("docs/config.md");
    const std::set<std::string> known = known_keys();
    const std::regex row("\n\\| `([a-z_]+[.\\[\\]])*\\.?([a-z_]+)` \\|");
    int rows = 0;
    const std::string tables = reference.substr(0, reference.find("## Not yet supported"));
    for (std::sregex_iterator i(tables.begin(), tables.end(), row), end; i != end; ++i) {
        ++rows;
        if ((*i)[2] == "alice") continue;  // the example of a name
        EXPECT_TRUE(known.contains((*i)[2].str())) << (*i)[2];
    }
    EXPECT_GT(rows, 40);
}

}  // namespace
}  // namespace weir::config::testing
