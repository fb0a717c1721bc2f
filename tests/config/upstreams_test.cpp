// What an upstream may be, who may come, and that nothing secret of it is shown.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client_certificate.hpp"
#include "helpers.hpp"

namespace weir::config::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Upstreams, EveryKeyIsRead) {
    const ClientCertificate client = make_client_certificate();
    const auto config = good(
        R"(
upstreams:
  - name: east
    url: https://east.openai.azure.com/
    kind: azure
    key: ["${KEY}", "${GONE:-}", sk-2]
    weight: 3
    at_once: {calls: 20, queue: 5, wait: 2s}
    headers: {X-Team: "red & ${KEY}", authorization: Bearer x}
    query: {"a b": "c&d", n: 3, empty: ""}
    api_version: 2024-10-21
    deployments: {gpt-4o: prod, "o3": reason}
    proxy: "https://us%40er:p%3Aw@[::1]:3129/"
    ca: /ca.pem
    certificate: /client.pem
    certificate_key: /client.key
    timeouts: {tls: 1s, write: 2s}
  - {name: plain, url: "http://h", key: "${GONE:-}", at_once: 7, proxy: "${GONE:-}"}
  - {name: claude, url: "https://c/v1", kind: anthropic, proxy: "http://Proxy"}
)",
        sources_of(
            {{"KEY", "sk-1"}},
            {{"/ca.pem", kCertificate},
             {"/client.pem", client.certificate},
             {"/client.key", client.key}}
        )
    );
    ASSERT_EQ(config->upstreams.size(), 3U);
    const Upstream& east = config->upstreams[0];
    EXPECT_EQ(east.kind, Kind::kAzure);
    EXPECT_EQ(east.url, "https://east.openai.azure.com");
    EXPECT_THAT(east.keys, ElementsAre("sk-1", "sk-2"));
    EXPECT_EQ(east.weight, 3);
    EXPECT_EQ(east.at_once.calls, 20U);
    EXPECT_EQ(east.at_once.queue, 5U);
    EXPECT_EQ(east.at_once.wait, 2s);
    ASSERT_EQ(east.headers.size(), 2U);
    EXPECT_EQ(east.headers[0].name, "x-team");
    EXPECT_EQ(east.headers[0].value, "red & sk-1");
    EXPECT_EQ(east.headers[1].value, "Bearer x");
    ASSERT_EQ(east.query.size(), 3U);
    EXPECT_EQ(east.query[0].name, "a b");
    EXPECT_EQ(east.query[0].value, "c&d");
    EXPECT_EQ(east.query[1].value, "3");
    EXPECT_EQ(east.query[2].value, "");
    EXPECT_EQ(east.api_version, "2024-10-21");
    ASSERT_EQ(east.deployments.size(), 2U);
    EXPECT_EQ(east.deployments[0].first, "gpt-4o");
    EXPECT_EQ(east.deployments[0].second, "prod");
    EXPECT_EQ(east.proxy, (HttpProxy{true, "::1", 3129, "us@er:p:w"}));
    EXPECT_EQ(east.ca_file, "/ca.pem");
    EXPECT_EQ(east.certificate_file, "/client.pem");
    EXPECT_EQ(east.certificate_key_file, "/client.key");
    EXPECT_EQ(east.timeouts.tls, 1s);
    EXPECT_EQ(east.timeouts.write, 2s);
    const Upstream& plain = config->upstreams[1];
    EXPECT_TRUE(plain.keys.empty());
    EXPECT_EQ(plain.at_once.calls, 7U);
    EXPECT_FALSE(plain.proxy);
    EXPECT_EQ(plain.kind, Kind::kOpenAi);
    EXPECT_EQ(config->upstreams[2].kind, Kind::kAnthropic);
    EXPECT_EQ(config->upstreams[2].proxy, (HttpProxy{false, "proxy", 80, ""}));
}

// A private CA may also be that of an https proxy on the way to a plain upstream.
TEST(Upstreams, ACaMayBeTheProxysAlone) {
    const auto config = good(
        "upstreams: [{name: a, url: \"http://h\", proxy: \"https://p\", ca: /ca.pem}]",
        sources_of({}, {{"/ca.pem", kCertificate}})
    );
    EXPECT_EQ(config->upstreams[0].ca_file, "/ca.pem");
}

TEST(Upstreams, OriginsUploadsAndOpenedEndpointsAreRead) {
    const auto config = good_with_upstream(R"(
cors: {origins: ["HTTPS://*.Example.org", "http://localhost:*"], max_age: 1h}
realtime: {count: response}
limits: {upload: 1GiB}
plans: {p: {endpoints: [files, batches]}, q: {endpoints: realtime}, r: {endpoints: []}}
)");
    EXPECT_THAT(config->cors.origins, ElementsAre("https://*.example.org", "http://localhost:*"));
    EXPECT_EQ(config->cors.max_age, 1h);
    EXPECT_EQ(config->realtime_count, RealtimeCount::kResponse);
    EXPECT_EQ(config->limits.upload_bytes, 1U << 30);
    EXPECT_THAT(config->find_plan("p")->endpoints, ElementsAre("files", "batches"));
    EXPECT_THAT(config->find_plan("q")->endpoints, ElementsAre("realtime"));
    EXPECT_TRUE(config->find_plan("r")->endpoints.empty());
    EXPECT_THAT(good_with_upstream("cors: {origins: \"*\"}")->cors.origins, ElementsAre("*"));
    EXPECT_TRUE(good_with_upstream("")->cors.origins.empty());
}

// What an upstream is told is as secret as its key, and so is a proxy's password.
TEST(Upstreams, SecretsOfTheWayAreNeverShown) {
    for (const std::string_view entry : {
             "headers: {x-a: \"hunter2-hunter2\\n\"}",
             "headers: {\"x-a: hunter2-hunter2\": y}",
             "headers: {x-a:hunter2-hunter2}",
             "headers: \"x-a: hunter2-hunter2\"",
             "headers: [\"x-a: hunter2-hunter2\"]",
             "query: {a: \"hunter2-hunter2\", a: b}",
             "query: \"hunter2-hunter2\"",
             "key: [hunter2-hunter2, hunter2-hunter2]",
             "key: {hunter2-hunter2: x}",
             "proxy: \"http://u:hunter2-hunter2@p:x\"",
             "proxy: \"u:hunter2-hunter2@p\"",
             "proxy: \"http://u:hunter2-hunter2@p/x\"",
             "proxy: \"http://u:hunter2-hunter2%zz@p\"",
             "proxy: {\"http://u:hunter2-hunter2@p\": x}",
         }) {
        const std::string all = all_texts(
            faults_of("upstreams: [{name: a, url: \"http://h\", " + std::string(entry) + "}]")
        );
        EXPECT_THAT(all, Not(HasSubstr("hunter2"))) << entry << "\n" << all;
    }
}

}  // namespace
}  // namespace weir::config::testing
