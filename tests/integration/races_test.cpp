// Every kind of cap, while 200 connections of 20 keys in two teams race.
#include <algorithm>
#include <map>
#include <mutex>

#include "tools.hpp"

namespace weir::test {
namespace {

constexpr int kKeys = 20;
constexpr int kConnections = 200;

std::string secret_of(int key) {
    return "racer-secret-0123456789-" + std::to_string(key);
}

std::string team_of(int key) {
    return key < kKeys / 2 ? "one" : "two";
}

// 20 keys behind those that the setup has, and what else stands at the top.
std::string keys_and(const std::string& more) {
    std::string yaml;
    for (int key = 0; key < kKeys; ++key) {
        yaml += "  - {name: racer" + std::to_string(key) + ", team: " + team_of(key) +
                ", plan: plus, secret: " + secret_of(key) + "}\n";
    }
    return yaml + more;
}

std::vector<Ask> questions() {
    std::vector<Ask> requests;
    for (int i = 0; i < kConnections; ++i) {
        const int key = i % kKeys;
        requests.push_back(
            {.key = secret_of(key),
             .body = chat_body(
                 "question " + std::to_string(i) + " of team " + team_of(key) + ".",
                 i % 3 == 0,
                 "gpt-4",
                 R"("max_tokens":3)"
             ),
             .fields = {}}
        );
    }
    return requests;
}

struct Tally {
    int answered = 0;
    std::map<int, int> by_key;
    std::map<std::string, int> by_team;
};

Tally race_all(const TestGateway& gateway) {
    const std::vector<Answer> answers = race(gateway.port(), questions());
    Tally tally;
    for (int i = 0; i < kConnections; ++i) {
        const Answer& answer = answers[static_cast<std::size_t>(i)];
        EXPECT_TRUE(answer.complete);
        EXPECT_TRUE(answer.status == 200 || answer.status == 429) << answer.body;
        if (answer.status != 200) continue;
        ++tally.answered;
        ++tally.by_key[i % kKeys];
        ++tally.by_team[team_of(i % kKeys)];
    }
    return tally;
}

// What a cap counts, by the admin's word; `whose` of the holder that the key shows it for.
double used_of(const TestGateway& gateway, const std::string& key, std::size_t cap) {
    const Answer answer = admin(gateway, "GET", "keys/" + key);
    const auto json = nlohmann::json::parse(answer.body, nullptr, false);
    if (!json.is_object() || json["caps"].size() <= cap) return -1;
    return json["caps"][cap]["used"].get<double>();
}

// 10 tokens, 5 of them out.
void say_ten_tokens(Wire& wire, const SeenRequest& request) {
    const auto asked = nlohmann::json::parse(request.body);
    const std::string usage = R"({"prompt_tokens":5,"completion_tokens":5,"total_tokens":10})";
    if (!asked.value("stream", false)) {
        wire.json(
            R"({"id":"c","object":"chat.completion","created":1,"model":"gpt-4","choices":[)"
            R"({"index":0,"message":{"role":"assistant","content":"ok"},)"
            R"("finish_reason":"stop"}],"usage":)" +
            usage + "}"
        );
        return;
    }
    wire.begin_stream();
    wire.event(chat_chunk("ok", "stop"));
    wire.event(
        R"({"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt-4",)"
        R"("choices":[],"usage":)" +
        usage + "}"
    );
    wire.event("[DONE]");
    wire.last_chunk();
}

class Races : public testing::TestWithParam<std::uint32_t> {};

TEST_P(Races, CapsOfKeysTeamsAndEverybodyHoldTogether) {
    FakeUpstream upstream(say_ten_tokens);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: 6/4h}, {models: \"*\", allow: 8/day}]",
         .workers = GetParam(),
         .more = keys_and("teams: {one: {caps: [{models: \"*\", allow: 40/4h fixed}]}, "
                          "two: {caps: [{models: \"*\", allow: 50/4h}]}}\n"
                          "caps: [{models: \"gpt-*\", allow: 70/month}]\n"),
         .cache = "{enabled: false}"}
    );
    const Tally tally = race_all(gateway);
    EXPECT_EQ(tally.answered, 70);
    for (const auto& [key, count] : tally.by_key) EXPECT_LE(count, 6) << key;
    EXPECT_LE(tally.by_team.at("one"), 40);
    EXPECT_LE(tally.by_team.at("two"), 50);
    EXPECT_EQ(upstream.calls(), 70U);
}

TEST_P(Races, TokensPassTheirLimitByOneMessageAtMost) {
    FakeUpstream upstream(say_ten_tokens);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .workers = GetParam(),
         .more = keys_and("caps: [{models: \"*\", allow: 995 tokens/1d}]\n"),
         .cache = "{enabled: false}"}
    );
    const Tally tally = race_all(gateway);
    EXPECT_GE(tally.answered, 1);
    EXPECT_LE(tally.answered, 100);
    EXPECT_EQ(upstream.calls(), std::size_t(tally.answered));
    // One after the other until it is used up: then all that was left was used.
    int more = 0;
    for (const Ask& request : questions()) more += ask(gateway.port(), request).status == 200;
    EXPECT_EQ(tally.answered + more, 100);
    EXPECT_EQ(metric(gateway, "weir_flights"), 0);
}

TEST_P(Races, MoneyPassesItsLimitByOneMessageAtMost) {
    FakeUpstream upstream(say_ten_tokens);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .workers = GetParam(),
         // A message costs 0.001 usd: 5 x 100 + 5 x 100 millionths.
         .more = keys_and("prices: {gpt-4: {input: 100, output: 100}}\n"
                          "teams: {one: {caps: [{models: \"*\", allow: 0.0295 usd/1d}]}, "
                          "two: {caps: [{models: \"*\", allow: 0.03 usd/1d}]}}\n"),
         .cache = "{enabled: false}"}
    );
    const Tally tally = race_all(gateway);
    std::map<std::string, int> by_team = tally.by_team;
    const std::vector<Ask> all = questions();
    for (int i = 0; i < kConnections; ++i) {
        const Answer answer = ask(gateway.port(), all[static_cast<std::size_t>(i)]);
        by_team[team_of(i % kKeys)] += answer.status == 200;
    }
    EXPECT_EQ(by_team.at("one"), 30);
    EXPECT_EQ(by_team.at("two"), 30);
}

TEST_P(Races, NeverMoreAtOnceAndEverybodyHasATurn) {
    std::mutex mutex;
    std::map<std::string, int> now;
    int most = 0;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        const std::string team =
            request.body.find("of team one.") != std::string::npos ? "one" : "two";
        {
            const std::lock_guard lock(mutex);
            most = std::max(most, ++now[team]);
        }
        std::this_thread::sleep_for(2ms);
        {
            const std::lock_guard lock(mutex);
            --now[team];
        }
        say_ten_tokens(wire, request);
    });
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: 2 at once, queue: 60s}]",
         .workers = GetParam(),
         .more = keys_and("teams: {one: {caps: [{models: \"*\", allow: 4 at once, queue: 60s}]}, "
                          "two: {caps: [{models: \"*\", allow: 4 at once, queue: 60s}]}}\n"),
         .cache = "{enabled: false}"}
    );
    const Tally tally = race_all(gateway);
    EXPECT_EQ(tally.answered, kConnections);
    EXPECT_LE(most, 4);
    EXPECT_TRUE(eventually([&] { return used_of(gateway, "racer0", 0) == 0; }));
}

INSTANTIATE_TEST_SUITE_P(Workers, Races, testing::Values(1U, 4U));

}  // namespace
}  // namespace weir::test
