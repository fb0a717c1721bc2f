#include "weir/config/load.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "helpers.hpp"

namespace weir::config::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Load, ReadsEveryValue) {
    const auto config = good(
        R"(
listen: ["127.0.0.1:8080", "[::1]:9", {address: "0.0.0.0:0"}]
data: /var/lib/weir
workers: 3
drain: 90s
store: sqlite
limits: {head: 32KiB, body: 1MiB, bodies: 2MiB, head_time: 1s, body_idle: 2s, keep_alive: 3s, write_stall: 4s, connections: 5}
admin: {listen: same}
log: {format: text, requests: none, level: debug}
upstreams:
  - name: second
    url: http://Example.ORG:8000/api/v2/
    key: "${KEY}"
    models: gpt-*
    priority: 2
    stream_usage: false
    timeouts: {connect: 1s, first_byte: 2s, idle: 3s, total: 4s}
  - {name: first, url: "https://[::1]", models: [a, "b*"], ca: /ca.pem}
  - {name: third, url: "https://h", priority: 2}
models:
  gpt-4: {serve_as: gpt-4-0613}
  plain: {}
plans:
  plus:
    caps:
      - {models: "gpt-4*", allow: 100/4h}
      - {allow: 1000/day}
    models: ["gpt-*"]
    deny: gpt-3*
  free: {}
keys:
  - {name: alice, team: research, plan: plus, secret: sixteen-chars-ok}
  - {name: bob, plan: free, secret: "${file:/bob}"}
cache: {enabled: false, when: always, ttl: 2h, max_size: 1GiB, max_entry: 2MiB, max_request: 3MiB, memory: 0, scope: key}
demo: never
)",
        sources_of({{"KEY", "sk-up"}}, {{"/bob", "another-secret-17\n"}, {"/ca.pem", kCertificate}})
    );
    ASSERT_EQ(config->listen.size(), 3U);
    EXPECT_EQ(config->listen[0].host, "127.0.0.1");
    EXPECT_EQ(config->listen[0].port, 8080);
    EXPECT_EQ(config->listen[1].host, "::1");
    EXPECT_EQ(config->listen[1].port, 9);
    EXPECT_EQ(config->listen[2].host, "0.0.0.0");
    EXPECT_EQ(config->listen[2].port, 0);
    EXPECT_EQ(config->data, "/var/lib/weir");
    EXPECT_EQ(config->workers, 3U);
    EXPECT_EQ(config->drain, 90s);
    EXPECT_EQ(config->limits.head_bytes, 32U << 10);
    EXPECT_EQ(config->limits.body_bytes, 1U << 20);
    EXPECT_EQ(config->limits.bodies_bytes, 2U << 20);
    EXPECT_EQ(config->limits.head_time, 1s);
    EXPECT_EQ(config->limits.body_idle, 2s);
    EXPECT_EQ(config->limits.keep_alive, 3s);
    EXPECT_EQ(config->limits.write_stall, 4s);
    EXPECT_EQ(config->limits.connections, 5U);
    EXPECT_EQ(config->log.format, log::Format::kText);
    EXPECT_EQ(config->log.level, log::Level::kDebug);
    EXPECT_FALSE(config->log_requests);

    ASSERT_EQ(config->upstreams.size(), 3U);
    const Upstream& first = config->upstreams[0];
    EXPECT_EQ(first.name, "first");
    EXPECT_TRUE(first.tls);
    EXPECT_EQ(first.host, "::1");
    EXPECT_EQ(first.port, 443);
    EXPECT_EQ(first.base_path, "");
    EXPECT_TRUE(first.keys.empty());
    EXPECT_EQ(first.ca_file, "/ca.pem");
    EXPECT_TRUE(first.stream_usage);
    EXPECT_THAT(first.models, ElementsAre("a", "b*"));
    EXPECT_EQ(first.timeouts.total, 30min);
    const Upstream& second = config->upstreams[1];
    EXPECT_EQ(second.name, "second");
    EXPECT_EQ(second.url, "http://Example.ORG:8000/api/v2");
    EXPECT_FALSE(second.tls);
    EXPECT_EQ(second.host, "example.org");
    EXPECT_EQ(second.port, 8000);
    EXPECT_EQ(second.base_path, "/api/v2");
    EXPECT_EQ(second.keys, std::vector<std::string>{"sk-up"});
    EXPECT_FALSE(second.stream_usage);
    EXPECT_THAT(second.models, ElementsAre("gpt-*"));
    EXPECT_EQ(second.timeouts.connect, 1s);
    EXPECT_EQ(second.timeouts.first_byte, 2s);
    EXPECT_EQ(second.timeouts.idle, 3s);
    EXPECT_EQ(second.timeouts.total, 4s);
    EXPECT_EQ(config->upstreams[2].name, "third");  // as written within a priority

    ASSERT_NE(config->find_model("gpt-4"), nullptr);
    EXPECT_EQ(config->find_model("gpt-4")->serve_as, "gpt-4-0613");
    EXPECT_EQ(config->find_model("plain")->serve_as, "");
    EXPECT_EQ(config->find_model("other"), nullptr);

    const Plan* const plus = config->find_plan("plus");
    ASSERT_NE(plus, nullptr);
    ASSERT_EQ(plus->caps.size(), 2U);
    EXPECT_EQ(plus->caps[0].counter(), "messages|gpt-4*||rolling|14400");
    EXPECT_EQ(plus->caps[0].limit, 100U);
    EXPECT_EQ(plus->caps[1].counter(), "messages|*||day|UTC");
    EXPECT_THAT(plus->models, ElementsAre("gpt-*"));
    EXPECT_THAT(plus->deny, ElementsAre("gpt-3*"));
    EXPECT_THAT(config->find_plan("free")->models, ElementsAre("*"));
    EXPECT_EQ(config->find_plan("nobody"), nullptr);

    ASSERT_EQ(config->keys.size(), 2U);
    EXPECT_EQ(config->keys[0].name, "alice");
    EXPECT_EQ(config->keys[0].team, "research");
    EXPECT_EQ(config->keys[0].plan, "plus");
    EXPECT_EQ(config->keys[0].secret, "sixteen-chars-ok");
    EXPECT_EQ(config->keys[1].secret, "another-secret-17");
    EXPECT_EQ(config->keys[1].team, "");

    EXPECT_FALSE(config->cache.enabled);
    EXPECT_EQ(config->cache.ttl, 2h);
    EXPECT_EQ(config->cache.max_size_bytes, 1U << 30);
    EXPECT_EQ(config->cache.max_entry_bytes, 2U << 20);
    EXPECT_EQ(config->cache.max_request_bytes, 3U << 20);
    EXPECT_EQ(config->cache.memory_bytes, 0U);
    EXPECT_EQ(config->cache.scope, Scope::kKey);
}

TEST(Load, ShortConfigHasTheDefaults) {
    const auto config = good_with_upstream("");
    const Config defaults;
    EXPECT_EQ(config->listen.size(), 1U);
    EXPECT_EQ(config->listen[0].port, 8080);
    EXPECT_EQ(config->limits.body_bytes, defaults.limits.body_bytes);
    EXPECT_EQ(config->workers, std::max(1U, std::thread::hardware_concurrency()));
    EXPECT_EQ(config->cache.scope, Scope::kTeam);
    EXPECT_TRUE(config->cache.enabled);
    EXPECT_TRUE(config->log_requests);
    EXPECT_EQ(config->demo, Demo::kNever);
    EXPECT_THAT(config->upstreams[0].models, ElementsAre("*"));
    EXPECT_TRUE(config->upstreams[0].keys.empty());
    EXPECT_EQ(config->upstreams[0].port, 80);
}

TEST(Load, DemoStandsInForUpstreamsWithoutKeys) {
    constexpr std::string_view kYaml = R"(
demo: when no upstream has a key
upstreams:
  - {name: a, url: "https://a", key: "${A:-}"}
  - {name: b, url: "https://b", priority: 0}
)";
    const auto demo = good(kYaml, sources_of());
    ASSERT_EQ(demo->upstreams.size(), 1U);
    EXPECT_TRUE(demo->upstreams[0].demo);
    EXPECT_EQ(demo->upstreams[0].name, "demo");
    EXPECT_THAT(demo->upstreams[0].models, ElementsAre("*"));

    const auto real = good(kYaml, sources_of({{"A", "sk-1"}}));
    ASSERT_EQ(real->upstreams.size(), 2U);
    EXPECT_FALSE(real->upstreams[0].demo);
    EXPECT_EQ(real->upstreams[0].name, "b");
    EXPECT_EQ(real->upstreams[1].keys, std::vector<std::string>{"sk-1"});

    EXPECT_TRUE(good("demo: when no upstream has a key", sources_of())->upstreams[0].demo);
    // Without `demo`, no key is just that: a server of one's own.
    EXPECT_FALSE(good_with_upstream("demo: never")->upstreams[0].demo);
}

TEST(Load, FollowsChainsOfAliases) {
    const auto config =
        good_with_upstream("models: {c: {serve_as: d}, a: {serve_as: b}, b: {serve_as: c}, e: {}}");
    EXPECT_EQ(config->find_model("a")->serve_as, "d");
    EXPECT_EQ(config->find_model("b")->serve_as, "d");
    EXPECT_EQ(config->find_model("c")->serve_as, "d");
    EXPECT_EQ(config->find_model("e")->serve_as, "");
}

TEST(Load, AnchorsAndAliasesWork) {
    const auto config =
        good_with_upstream("plans:\n  a: {caps: &caps [{allow: 1/day}]}\n  b: {caps: *caps}\n");
    ASSERT_EQ(config->find_plan("b")->caps.size(), 1U);
    EXPECT_EQ(config->find_plan("b")->caps[0].limit, 1U);
}

TEST(Load, ByteOrderMarkAndWindowsLineEndsAreFine) {
    EXPECT_EQ(good_with_upstream("\xEF\xBB\xBFworkers: 5\r\ndata: x\r\n")->data, "x");
}

struct Expansion {
    std::string_view written;
    std::string_view becomes;
};

TEST(Expand, ReplacesVariablesAndFilesInValues) {
    const Sources sources = sources_of(
        {{"A", "x"}, {"EMPTY", ""}, {"_b2", "y"}, {"NEST", "${A}"}, {"N", "7"}},
        {{"/f", "file\n"},
         {"/crlf", "f\r\n"},
         {"/two", "f\n\n"},
         {"/none", "f"},
         {"rel/x:-y", "odd"}}
    );
    for (const Expansion& c : {
             Expansion{"${A}", "x"},
             Expansion{"a${A}b${_b2}c", "axbyc"},
             Expansion{"${A}${A}", "xx"},
             Expansion{"${A:-d}", "x"},
             Expansion{"${EMPTY:-d}", "d"},
             Expansion{"p${EMPTY}q", "pq"},
             Expansion{"${GONE:-d e}", "d e"},
             Expansion{"p${GONE:-}q", "pq"},
             Expansion{"${GONE:-a:-b}", "a:-b"},
             Expansion{"${NEST}", "${A}"},
             Expansion{"$A", "$A"},
             Expansion{"$$", "$$"},
             Expansion{"{A}", "{A}"},
             Expansion{"a}b", "a}b"},
             Expansion{"$${A}", "$x"},
             Expansion{"${file:/f}", "file"},
             Expansion{"${file:/crlf}", "f"},
             Expansion{"${file:/two}", "f\\n"},
             Expansion{"${file:/none}", "f"},
             Expansion{"${file:rel/x:-y}", "odd"},
         }) {
        const auto config = good_with_upstream("data: \"" + std::string(c.written) + "\"", sources);
        std::string expected(c.becomes);
        if (expected == "f\\n") expected = "f\n";
        EXPECT_EQ(config->data, expected) << c.written;
    }
    EXPECT_EQ(good_with_upstream("workers: ${N}", sources)->workers, 7U);
    EXPECT_EQ(
        good_with_upstream("limits: {head: \"${GONE:-1}${GONE:-2}KiB\"}", sources)
            ->limits.head_bytes,
        12U << 10
    );
}

TEST(Expand, ValuesFromOutsideAreNeverShown) {
    const Sources sources = sources_of({{"S", "hunter2-hunter2"}}, {{"/s", "hunter2-hunter2"}});
    for (const std::string_view line :
         {"workers: ${S}",
          "listen: ${S}",
          "drain: ${file:/s}",
          "limits: {head: \"${S}\"}",
          "cache: {enabled: \"${S}\", scope: \"x${S}\"}",
          "log: {level: \"${S}\"}",
          "store: ${S}",
          "admin: {listen: \"a${S}\"}",
          "plans: {p: {caps: [{allow: \"${S}\"}], models: \"${S} ${S}\"}}",
          "models: {m: {serve_as: \"${S}*\"}}",
          "models: {m: {serve_as: \"${S}\"}, other: {serve_as: \"m\"}}\nkeys: 1",
          "plans: {p: {caps: [{models: \"${S}\", allow: 1/day}, {models: \"${S}\", allow: "
          "2/day}]}}",
          "plans: {p: {}}\nkeys: [{name: \"${S}\", plan: \"${S}\", team: \"${S} \", secret: "
          "\"${S}\"}, {name: \"${S}\", plan: p, secret: \"${S}\"}]",
          "listen: \"${S}:x\"",
          "timezone: ${S}",
          "prices: {m: {input: \"${S}\"}}",
          "teams: {t: {caps: [{allow: 1/1d, endpoints: \"${S}!\", mode: \"${S}\"}]}}",
          "caps: [{allow: 1/1d, then: \"${S}\"}]",
          "caps: [{models: a, allow: 1/1d, then: \"${S}\"}, {models: \"${S}\", allow: 1/1d, then: "
          "a}]",
          "plans: {p: {models: x, inputs: [\"${S}\"], caps: [{models: a, allow: 4 at once, queue: "
          "\"${S}\", "
          "then: \"${S}*\"}]}}",
          "demo: ${S}"}) {
        const std::string all = all_texts(
            faults_of(std::string(line) + "\nupstreams: [{name: a, url: \"http://h\"}]", sources)
        );
        EXPECT_THAT(all, ::testing::Not(HasSubstr("hunter2"))) << line;
    }
}

TEST(Expand, FaultsNameTheVariable) {
    EXPECT_THAT(
        all_texts(
            faults_of("workers: ${S}\ndemo: when no upstream has a key", sources_of({{"S", "x"}}))
        ),
        HasSubstr("t.yaml:1:10: `workers`: expected a whole number from 1 to 1024, found the value "
                  "of `${S}`")
    );
}

TEST(Load, SecretsAreNeverShown) {
    const std::string all = all_texts(faults_of(R"(
upstreams:
  - {name: a, url: "https://me:hunter2-hunter2@h/", key: "hunter2-hunter2 "}
  - {name: b, url: "https://h/?key=hunter2-hunter2", key: "hunter2-upstream-key"}
  - {name: b, url: "hunter2://h", key: "Bearer hunter2-hunter2"}
keys:
  - {name: k, plan: hunter2-plain-text, secret: hunter2-plain-text}
  - {name: hunter2-plain-text, plan: p, secret: hunter2}
  - {name: hunter2-plain-text, plan: p, secret: hunter2-plain-text}
  - {name: d, plan: p, secret: hunter2-upstream-key}
  - {name: e, plan: p, secret: "hunter2-with-lf\n-xxxx"}
  - {name: f, plan: p, secret: ["hunter2-in-a-list"]}
plans: {p: {}}
)"));
    EXPECT_THAT(all, ::testing::Not(HasSubstr("hunter2"))) << all;
    EXPECT_THAT(all, HasSubstr("[redacted]"));
    EXPECT_THAT(all, HasSubstr("fewer than 16"));
    // Where the file does not even parse, the default of a variable could be one.
    EXPECT_THAT(
        all_texts(faults_of("a: {key: ${K:-hunter2}}\n")), ::testing::Not(HasSubstr("hunter2"))
    );
    EXPECT_THAT(all_texts(faults_of("secret: *hunter2\n")), ::testing::Not(HasSubstr("hunter2")));
}

// A secret that a slip of the pen puts where keys, names and other values are read.
TEST(Load, MisplacedSecretsAreNeverShown) {
    constexpr std::string_view kSecret = "sk-live-4242424242";
    constexpr std::string_view kOther = "0123456789abcdef0123456789abcdef0";  // 33, as from openssl
    for (const std::string& text : {
             std::string("upstreams: [{name: o, url: \"https://a/v1\", key:@}]"),
             std::string("upstreams: [{name: o, url: \"https://a/v1\", key:@, key:@}]"),
             std::string("upstreams: [{name: o, url: \"https://a/v1\", @}]"),
             std::string("upstreams: [{name: o, url: \"https://a/v1\", @: x}]"),
             std::string("upstreams: [{name: o, url: \"https://a/v1\", key @}]"),
             std::string("upstreams: [{name: o, \"${X:-@}\": x}]"),
             std::string("upstreams:\n- url: https://a/v1\n  models: gpt-4\n    key:@"),
             std::string("upstreams:\n- url: https://a/v1\n  priority: 1\n    key:@"),
             std::string("upstreams:\n- url: https://a/v1\n  name: o\n    key:@"),
             std::string("keys: [{name: a, plan: p, secret:@}]"),
             std::string("keys: [{@}]"),
             std::string("keys: [@]"),
             std::string("keys: {@}"),
             std::string("plans: {plus:@}"),
             std::string("plans: {@, @}"),
             std::string("models: {a:@, \"@\": b}"),
             std::string("@: 1"),
         }) {
        for (const std::string_view secret : {kSecret, kOther}) {
            // Only a prefix tells a secret from a name that people chose.
            if (secret == kOther && text.starts_with("models")) continue;
            if (secret == kOther && text.starts_with("plans")) continue;
            std::string yaml;
            for (const char c : text) {
                if (c == '@') {
                    yaml += secret;
                } else {
                    yaml += c;
                }
            }
            const std::string told = all_texts(faults_of(yaml));
            EXPECT_THAT(told, ::testing::Not(HasSubstr(secret.substr(8)))) << yaml;
        }
    }
}

class LoadFile : public ::testing::Test {
protected:
    void SetUp() override {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "weir-config-XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        directory_ = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }
    std::string write(const std::string& name, const std::string& content) {
        const std::string path = (directory_ / name).string();
        std::ofstream(path, std::ios::binary) << content;
        return path;
    }
    std::filesystem::path directory_;
};

TEST_F(LoadFile, ReadsTheRealFileAndTheRealEnvironment) {
    ASSERT_EQ(setenv("WEIR_CONFIG_TEST_DATA", "from-env", 1), 0);
    const std::string secret = write("secret", "a-secret-of-16-chars\n");
    const std::string path = write(
        "weir.yaml",
        "data: ${WEIR_CONFIG_TEST_DATA}\nupstreams: [{name: a, url: \"http://h\", key: \"${file:" +
            secret + "}\"}]\n"
    );
    const Loaded loaded = load_file(path);
    unsetenv("WEIR_CONFIG_TEST_DATA");
    ASSERT_TRUE(loaded.has_value()) << all_texts(loaded.error());
    EXPECT_EQ((*loaded)->data, "from-env");
    EXPECT_EQ((*loaded)->upstreams[0].keys, std::vector<std::string>{"a-secret-of-16-chars"});
}

TEST_F(LoadFile, APlaceNeedsNothingButListenAndData) {
    const std::string path = write(
        "c.yaml",
        "listen: [\"[::1]:${PORT}\", \"127.0.0.1:8081\"]\ndata: kept\n"
        "upstreams: [{name: a, url: \"http://h\", key: \"${GONE}\", ca: /gone}]\n"
        "keys: [{name: k, plan: none, secret: \"${file:/gone}\"}]\nmistake: 1\n"
    );
    const Sources system = Sources::system();
    Sources sources = sources_of({{"PORT", "8090"}});
    sources.file = system.file;
    const auto place = load_place(path, sources);
    ASSERT_TRUE(place) << all_texts(place.error());
    ASSERT_EQ(place->listen.size(), 2U);
    EXPECT_EQ(place->listen.front().host, "::1");
    EXPECT_EQ(place->listen.front().port, 8090);
    EXPECT_EQ(place->data, "kept");
    EXPECT_FALSE(load_place(path, system)) << "what it does read has to be right";
    EXPECT_FALSE(load_place(path + "x", sources));
}

TEST_F(LoadFile, MissingUnreadableAndEndlessFilesAreFaults) {
    for (const std::string& path :
         {(directory_ / "none").string(), directory_.string(), std::string("/dev/zero")}) {
        const Loaded loaded = load_file(path);
        ASSERT_FALSE(loaded.has_value()) << path;
        ASSERT_EQ(loaded.error().size(), 1U);
        EXPECT_EQ(loaded.error()[0].file, path);
        EXPECT_EQ(loaded.error()[0].line, 0);
        EXPECT_THAT(loaded.error()[0].message, HasSubstr("cannot be read"));
    }
    const std::string large = write("large", std::string((1 << 20) + 1, '#'));
    EXPECT_FALSE(load_file(large).has_value());
    const std::string fits = write("fits", std::string(1 << 20, '#'));
    EXPECT_THAT(all_texts(load_file(fits).error()), HasSubstr("no upstream"));
}

TEST(Fault, TextIsOneLineForAPerson) {
    EXPECT_EQ(
        (Fault{"weir.yaml", 12, 5, "unknown key `modles`", "did you mean `models`?"}.text()),
        "weir.yaml:12:5: unknown key `modles` (did you mean `models`?)"
    );
    EXPECT_EQ((Fault{"weir.yaml", 0, 0, "cannot be read", ""}.text()), "weir.yaml: cannot be read");
    EXPECT_EQ((Fault{"weir.yaml", 3, 0, "odd", ""}.text()), "weir.yaml:3: odd");
    // Control bytes of the file do not reach a terminal.
    const std::string all =
        all_texts(faults_of("workers: \"a\\e[31m\\nb\"\ndemo: when no upstream has a key\n"));
    EXPECT_THAT(all, HasSubstr("`a\\x1b[31m\\x0ab`"));
    EXPECT_THAT(all, ::testing::Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace weir::config::testing
