// The files that people start from do what they say.
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client_certificate.hpp"
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
    const ClientCertificate client = make_client_certificate();
    return sources_of(
        {{"ALICE_KEY", "a-secret-of-16-chars"}},
        {{"/etc/weir/internal-ca.pem", kCertificate},
         {"/etc/weir/weir.pem", client.certificate},
         {"/etc/weir/weir.key", client.key}}
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
    EXPECT_EQ(config->limits.upload_bytes, defaults.limits.upload_bytes);
    EXPECT_EQ(config->cors.origins, defaults.cors.origins);
    EXPECT_EQ(config->cors.max_age, defaults.cors.max_age);
    EXPECT_EQ(config->realtime_count, defaults.realtime_count);
    EXPECT_EQ(config->upstreams[0].weight, 1);
    const UpstreamLine line;
    EXPECT_EQ(config->upstreams[0].at_once.queue, line.queue);
    EXPECT_EQ(config->upstreams[0].at_once.wait, line.wait);
    const Timeouts timeouts;
    EXPECT_EQ(config->upstreams[0].timeouts.tls, timeouts.tls);
    EXPECT_EQ(config->upstreams[0].timeouts.write, timeouts.write);
    EXPECT_EQ(config->upstreams[0].timeouts.connect, timeouts.connect);
    EXPECT_EQ(config->upstreams[0].timeouts.first_byte, timeouts.first_byte);
    EXPECT_EQ(config->upstreams[0].timeouts.idle, timeouts.idle);
    EXPECT_EQ(config->upstreams[0].timeouts.total, timeouts.total);
    EXPECT_EQ(config->cache.when, defaults.cache.when);
    EXPECT_EQ(config->cache.ttl, defaults.cache.ttl);
    EXPECT_EQ(config->cache.replay, defaults.cache.replay);
    EXPECT_EQ(config->cache.finish_abandoned, defaults.cache.finish_abandoned);
    EXPECT_EQ(config->cache.ignore, defaults.cache.ignore);
    EXPECT_EQ(config->cache.max_size_bytes, defaults.cache.max_size_bytes);
    EXPECT_EQ(config->cache.max_entry_bytes, defaults.cache.max_entry_bytes);
    EXPECT_EQ(config->cache.max_request_bytes, defaults.cache.max_request_bytes);
    EXPECT_EQ(config->cache.memory_bytes, defaults.cache.memory_bytes);
    EXPECT_EQ(config->cache.scope, defaults.cache.scope);
    EXPECT_EQ(config->cache.enabled, defaults.cache.enabled);
    EXPECT_EQ(config->cache.hits_counted, defaults.cache.hits_counted);
    EXPECT_EQ(config->retry.attempts, defaults.retry.attempts);
    EXPECT_EQ(config->retry.statuses, defaults.retry.statuses);
    EXPECT_EQ(config->retry.backoff, defaults.retry.backoff);
    EXPECT_EQ(config->retry.longest_wait, defaults.retry.longest_wait);
    EXPECT_EQ(config->retry.budget_percent, defaults.retry.budget_percent);
    EXPECT_EQ(config->retry.break_after, defaults.retry.break_after);
    EXPECT_EQ(config->retry.rest, defaults.retry.rest);
    EXPECT_EQ(config->stream_keep_alive, defaults.stream_keep_alive);
    EXPECT_EQ(config->timezone->name(), defaults.timezone->name());
}

// All of design.md's section 2 that this version has.
TEST(Shipped, TheSkeletonLoads) {
    const auto config = good(
        R"(
listen: "${WEIR_LISTEN:-127.0.0.1:8080}"
data: ./data
workers: 2
drain: 30s
limits: {head: 64KiB, body: 64MiB, bodies: 512MiB, upload: 512MiB, head_time: 10s, body_idle: 15s, connections: 8192}
admin: {listen: same}
log: {format: json, requests: all, level: info}
upstreams:
  - name: openai
    url: https://api.openai.com/v1
    key: "${OPENAI_API_KEY}"
    models: ["gpt-*", "o*", "text-embedding-*"]
    priority: 1
    timeouts: {connect: 5s, first_byte: 600s, idle: 300s, total: 30m}
    at_once: 100
  - {name: deepseek, use: deepseek, key: "${DEEPSEEK_API_KEY}"}
models:
  gpt-4: {serve_as: gpt-4-0613, max_output: 8192}
prices: {gpt-4-0613: {input: 30, cached_input: 15, output: 60}}
timezone: Asia/Shanghai
plans:
  plus:
    caps:
      - {models: "gpt-4*", allow: 100/4h, then: gpt-3.5-turbo}
      - {models: "*", allow: 1000/day}
      - {models: "*", allow: 4 at once, queue: 30s}
      - {models: "*", allow: 2000000 tokens/30d}
    models: ["gpt-*"]
    inputs: [text, image]
    endpoints: [files]
teams:
  research: {caps: [{models: "*", allow: 5000/1d}]}
caps: []
keys:
  - {name: alice, team: research, plan: plus, secret: "${ALICE_KEY}"}
cache: {when: always, ttl: 24h, max_size: 2GiB, max_entry: 8MiB, max_request: 4MiB, memory: 64MiB, scope: team, hits: free}
store: sqlite
)",
        sources_of(
            {{"OPENAI_API_KEY", "sk-x"},
             {"DEEPSEEK_API_KEY", "sk-y"},
             {"ALICE_KEY", "a-secret-of-16-chars"}}
        )
    );
    EXPECT_EQ(config->find_plan("plus")->caps.size(), 4U);
    EXPECT_EQ(config->find_team("research")->caps.size(), 1U);
}

// The last words of the keys that the loader lists as known, asked for by a wrong key in each map.
std::set<std::string> known_keys() {
    const std::string everywhere = R"(
zzzzzzzzz: 1
limits: {zzzzzzzzz: 1}
admin: {zzzzzzzzz: 1}
log: {zzzzzzzzz: 1}
listen: [{zzzzzzzzz: 1}]
upstreams: [{zzzzzzzzz: 1, timeouts: {zzzzzzzzz: 1}, at_once: {zzzzzzzzz: 1}}]
cors: {zzzzzzzzz: 1}
realtime: {zzzzzzzzz: 1}
models: {m: {zzzzzzzzz: 1}}
plans: {p: {zzzzzzzzz: 1, caps: [{zzzzzzzzz: 1}]}}
keys: [{zzzzzzzzz: 1}]
teams: {t: {zzzzzzzzz: 1}}
prices: {m: {zzzzzzzzz: 1}}
cache: {zzzzzzzzz: 1}
retry: {zzzzzzzzz: 1}
stream: {zzzzzzzzz: 1}
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
    EXPECT_EQ(maps, 19);
    EXPECT_GT(known.size(), 85U);
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
