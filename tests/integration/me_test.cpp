// What a key's holder sees of its caps, and what helps when they are used up: GET /api/me, grants,
// resets, explanations and the audit trail of the real gateway.
#include <algorithm>
#include <future>
#include <map>
#include <regex>
#include <set>
#include <vector>

#include "tools.hpp"

namespace weir::test {
namespace {

using nlohmann::json;

Answer ask_me(const TestGateway& gateway, const char* key = kAlice, const char* method = "GET") {
    return ask(gateway.port(), {.method = method, .path = "/api/me", .key = key});
}

// Says "an answer" that took 5 tokens of input, 2 of them cached, and 3 of output.
void say_with_usage(Wire& wire, const SeenRequest&) {
    wire.json(R"({"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4",)"
              R"("choices":[{"index":0,"message":{"role":"assistant","content":"an answer"},)"
              R"("finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":3,)"
              R"("total_tokens":8,"prompt_tokens_details":{"cached_tokens":2}}})");
}

struct Limit {
    std::uint64_t quota = 0;
    std::uint64_t left = 0;
    std::int64_t next_s = 0;
};

// RateLimit-Policy and RateLimit of an answer, by the names of the caps.
std::map<std::string, Limit> limits_of(const Answer& answer) {
    std::map<std::string, Limit> all;
    const auto each = [](const std::string& field, const auto& see) {
        static const std::regex item(R"re("([^"]*)"((?:;[a-z]+=[^,;]*)*))re");
        for (std::sregex_iterator at(field.begin(), field.end(), item), end; at != end; ++at) {
            const std::string parameters = (*at)[2];
            const auto number = [&parameters](const std::string& name) {
                const std::size_t begin = parameters.find(";" + name + "=");
                if (begin == std::string::npos) return 0LL;
                return std::stoll(parameters.substr(begin + name.size() + 2));
            };
            see((*at)[1], number);
        }
    };
    each(answer.field("ratelimit-policy"), [&all](const std::string& name, const auto& number) {
        all[name].quota = static_cast<std::uint64_t>(number("q"));
    });
    each(answer.field("ratelimit"), [&all](const std::string& name, const auto& number) {
        all[name].left = static_cast<std::uint64_t>(number("r"));
        all[name].next_s = number("t");
    });
    return all;
}

std::string header_name(const json& cap) {
    const std::string whose = cap["whose"];
    return (whose == "key" ? "" : whose + " ") + cap["models"].get<std::string>() + " " +
           cap["allow"].get<std::string>();
}

constexpr char kEveryLevel[] =
    "[{models: \"gpt-4*\", allow: 5/4h}, {models: \"*\", allow: 9/day}, "
    "{models: \"*\", allow: 1000000 tokens/1d}, {models: \"*\", allow: 4 at once}]";
constexpr char kOtherLevels[] =
    "teams: {red: {caps: [{models: \"*\", allow: 20/1h fixed}]}}\n"
    "caps: [{models: \"*\", allow: 50/1h}]\n";

TEST(Me, AgreesWithTheRateHeaders) {
    FakeUpstream upstream(say_with_usage);
    TestGateway gateway({.upstream_url = upstream.url(), .caps = kEveryLevel, .more = kOtherLevels}
    );
    for (int i = 0; i < 7; ++i) {
        // Bob's count for the team, and for everybody.
        if (i == 3) EXPECT_EQ(send(gateway, "bob", "gpt-4", kBob).status, 200);
        EXPECT_EQ(send(gateway, std::to_string(i)).status, i < 5 ? 200 : 429);
        const json me = parsed(ask_me(gateway));
        // Takes nothing, but tells: the caps refuse it, or a free path does.
        const Answer told =
            ask(gateway.port(), {.method = "GET", .path = "/v1/models", .key = kAlice});
        const auto limits = limits_of(told);
        ASSERT_EQ(me["caps"].size(), 6U) << me;
        EXPECT_EQ(limits.size(), 6U) << told.raw_head;
        for (const json& cap : me["caps"]) {
            const auto found = limits.find(header_name(cap));
            ASSERT_NE(found, limits.end()) << cap << told.raw_head;
            EXPECT_EQ(cap["limit"], found->second.quota) << cap;
            EXPECT_EQ(cap["left"], found->second.left) << cap;
            const std::int64_t next = cap["next_free_s"];
            EXPECT_NEAR(static_cast<double>(next), static_cast<double>(found->second.next_s), 1)
                << cap;
            EXPECT_EQ(cap["next_free_at"].is_null(), next == 0) << cap;
        }
    }
    const json caps = parsed(ask_me(gateway))["caps"];
    EXPECT_EQ(caps[0]["used"], 5);
    EXPECT_EQ(caps[0]["left"], 0);
    EXPECT_EQ(caps[0]["in_words"], "5 messages in any 4 h for gpt-4*");
    EXPECT_EQ(caps[2]["used"], 5 * 8) << "what the answers told";
    EXPECT_EQ(caps[3]["period"], "at_once");
    EXPECT_EQ(caps[3]["used"], 0);
    EXPECT_EQ(caps[4]["whose"], "team");
    EXPECT_EQ(caps[4]["used"], 6);
    EXPECT_EQ(caps[5]["used"], 6);
    // The admin sees the same.
    const json shown = parsed(admin(gateway, "GET", "keys/alice"));
    ASSERT_EQ(shown["caps"].size(), caps.size());
    for (std::size_t i = 0; i < caps.size(); ++i) {
        EXPECT_EQ(shown["caps"][i]["used"], caps[i]["used"]);
        EXPECT_EQ(shown["caps"][i].size(), caps[i].size());
    }
}

TEST(Me, TellsTheHolderWhatItMay) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: unlimited}, {models: \"*\", allow: 5/4h, mode: warn, "
                 "endpoints: [embeddings]}]",
         .plan_more = "    models: [\"gpt-*\"]\n    deny: [gpt-5]\n    inputs: [text, image]\n"
                      "    max_input: 1MiB\n    max_output: 4096\n"}
    );
    const Answer answer = ask_me(gateway);
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.field("content-type"), "application/json");
    EXPECT_EQ(answer.field("cache-control"), "no-store");
    EXPECT_TRUE(answer.has("x-request-id"));
    const json me = parsed(answer);
    EXPECT_EQ(
        me["key"], json::parse(R"({"id":"cfg-alice","name":"alice","team":"red","plan":"plus"})")
    );
    EXPECT_EQ(
        me["plan"],
        json::parse(R"({"models":["gpt-*"],"deny":["gpt-5"],"inputs":["text","image"],)"
                    R"("max_input":1048576,"max_output":4096})")
    );
    EXPECT_TRUE(me["grants"].empty());
    ASSERT_EQ(me["caps"].size(), 1U) << "what limits nothing is left out";
    EXPECT_EQ(me["caps"][0]["mode"], "warn");
    EXPECT_EQ(me["caps"][0]["endpoints"], json::array({"embeddings"}));
    EXPECT_EQ(answer.body.find(kAlice), std::string::npos);
    EXPECT_TRUE(parsed(ask_me(gateway, kCarol))["key"]["team"].is_null());

    const Answer by_other_field =
        ask(gateway.port(),
            {.method = "GET", .path = "/api/me", .fields = {{"x-api-key", kAlice}}});
    EXPECT_EQ(parsed(by_other_field)["key"]["name"], "alice");
    Client client(gateway.port());
    ASSERT_TRUE(client.send(Ask{.method = "HEAD", .path = "/api/me", .key = kAlice}.bytes()));
    EXPECT_EQ(client.read_answer(true).status, 200);
}

TEST(Me, IsForHoldersOnly) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url()});
    expect_error(ask_me(gateway, ""), 401, "invalid_api_key");
    expect_error(ask_me(gateway, "nobody-has-this-key"), 401, "invalid_api_key");
    expect_error(ask_me(gateway, gateway.admin_token().c_str()), 401, "invalid_api_key");
    for (const char* const method : {"POST", "DELETE", "PUT"}) {
        const Answer answer = ask_me(gateway, kAlice, method);
        EXPECT_EQ(answer.status, 405);
        EXPECT_EQ(answer.field("allow"), "GET");
    }
    const json made = parsed(admin(gateway, "POST", "keys", R"({"name":"dora","plan":"plus"})"));
    const std::string dora = made["key"];
    EXPECT_EQ(ask_me(gateway, dora.c_str()).status, 200);
    EXPECT_EQ(admin(gateway, "DELETE", "keys/dora").status, 200);
    expect_error(ask_me(gateway, dora.c_str()), 401, "invalid_api_key");
}

TEST(Me, TellsMoneyWithoutNoise) {
    FakeUpstream upstream(say_with_usage);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: 0.5 usd/30d}]",
         .more = "prices: {gpt-4: {input: 30, cached_input: 15, output: 60}}\n",
         .cache = "{enabled: false}"}
    );
    // 3 x 30 + 2 x 15 + 3 x 60 millionths each.
    for (int i = 0; i < 3; ++i) EXPECT_EQ(send(gateway, std::to_string(i)).status, 200);
    const Answer me = ask_me(gateway);
    for (const char* const text :
         {R"("unit":"usd")", R"("limit":0.5,)", R"("used":0.0009,)", R"("left":0.4991,)"}) {
        EXPECT_NE(me.body.find(text), std::string::npos) << text << " " << me.body;
    }
    const Answer usage = admin(gateway, "GET", "usage");
    EXPECT_NE(usage.body.find(R"("tokens":24,"usd":0.0009})"), std::string::npos) << usage.body;
}

TEST(Grants, LetExactlySoManyMoreThrough) {
    FakeUpstream upstream(say_an_answer);
    GatewaySetup setup{
        .upstream_url = upstream.url(),
        .caps = "[{models: \"gpt-4*\", allow: 2/4h}]",
        .workers = 4,
        .more = "teams: {red: {caps: [{models: \"*\", allow: 100/1h}]}}\n",
        .cache = "{enabled: false}"
    };
    const TempDir directory;
    setup.data = directory.path("data");
    {
        TestGateway gateway(setup);
        for (int i = 0; i < 3; ++i) EXPECT_EQ(send(gateway, "x").status, i < 2 ? 200 : 429);
        const Answer granted = admin(
            gateway,
            "POST",
            "keys/alice/grants",
            R"({"messages":50,"models":"gpt-4*","until":"2h"})"
        );
        EXPECT_EQ(granted.status, 201) << granted.body;
        EXPECT_EQ(parsed(ask_me(gateway))["caps"][0]["granted"], 50);
        // 20 go before a restart; behind it six at a time race for the rest.
        for (int i = 0; i < 20; ++i) EXPECT_EQ(send(gateway, "y").status, 200);
        EXPECT_EQ(send(gateway, "z", "gpt-4", kBob).status, 200);
        EXPECT_EQ(send(gateway, "z", "gpt-4", kBob).status, 200);
        EXPECT_EQ(send(gateway, "z", "gpt-4", kBob).status, 429) << "they are alice's";
    }
    TestGateway gateway(setup);
    EXPECT_EQ(parsed(ask_me(gateway))["caps"][0]["left"], 30);
    std::vector<std::future<int>> racing;
    for (int i = 0; i < 6; ++i) {
        racing.push_back(std::async(std::launch::async, [&gateway] {
            int through = 0;
            for (int k = 0; k < 10; ++k) through += send(gateway, "r").status == 200 ? 1 : 0;
            return through;
        }));
    }
    int through = 0;
    for (auto& one : racing) through += one.get();
    EXPECT_EQ(through, 30);
    const json me = parsed(ask_me(gateway));
    EXPECT_EQ(me["grants"][0]["used"], 50);
    EXPECT_EQ(me["caps"][0]["left"], 0);
    EXPECT_EQ(me["caps"][0]["used"], 2) << "extra messages count not under it";
    EXPECT_EQ(me["caps"][1]["used"], 54) << "but under the team's, with bob's two";
    EXPECT_EQ(send(gateway, "last").status, 429);
}

TEST(Resets, LetACountBeginAnew) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"gpt-4*\", allow: 2/4h}]",
         .more = "teams: {red: {caps: [{models: \"*\", allow: 5/1h}]}}\n",
         .cache = "{enabled: false}"}
    );
    const auto through = [&gateway] {
        int count = 0;
        for (int i = 0; i < 4; ++i) count += send(gateway, "x").status == 200 ? 1 : 0;
        return count;
    };
    EXPECT_EQ(through(), 2);
    EXPECT_EQ(parsed(admin(gateway, "POST", "keys/alice/reset"))["reset"], 2);
    EXPECT_EQ(parsed(ask_me(gateway))["caps"][0]["used"], 0);
    EXPECT_EQ(through(), 2);
    EXPECT_EQ(parsed(admin(gateway, "POST", "keys/alice/reset", "{}"))["reset"], 2);
    EXPECT_EQ(through(), 1) << "the team's cap is not the key's";
    EXPECT_EQ(parsed(ask_me(gateway))["caps"][1]["used"], 5);
}

TEST(Audit, TellsWhoChangedWhat) {
    FakeUpstream upstream(say_an_answer);
    const GatewaySetup setup{.upstream_url = upstream.url()};
    TestGateway gateway(setup);
    const json made = parsed(admin(gateway, "POST", "keys", R"({"name":"dora","plan":"plus"})"));
    const auto act = [&](const char* method, const char* path, const char* body = "") {
        EXPECT_LT(admin(gateway, method, path, body).status, 300) << path;
    };
    act("POST", "keys/dora/grants", R"({"messages":5,"models":"*","until":"1h"})");
    act("POST", "keys/dora/reset");
    act("DELETE", "keys/dora");
    act("DELETE", "cache");
    act("POST", "reload");
    ASSERT_TRUE(gateway.reload(setup).has_value());
    const Answer answer = admin(gateway, "GET", "audit");
    std::vector<std::string> acts;
    for (const json& row : parsed(answer)["audit"]) {
        acts.push_back(row["actor"].get<std::string>() + " " + row["act"].get<std::string>());
    }
    EXPECT_EQ(
        acts,
        std::vector<std::string>(
            {"signal reload",
             "admin reload",
             "admin cache.clear",
             "admin key.revoke",
             "admin reset",
             "admin grant",
             "admin key.create"}
        )
    );
    const std::string text = made["key"];
    EXPECT_EQ(answer.body.find(text.substr(text.rfind('-') + 1)), std::string::npos);
    EXPECT_EQ(answer.body.find(gateway.admin_token()), std::string::npos);
}

// What it says would happen is what happens.
TEST(Explain, AgreesWithTheGateway) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"gpt-4*\", allow: 1/4h, then: gpt-3.5}, "
                 "{models: \"gpt-3.5*\", allow: 2/4h}, "
                 "{models: \"dear*\", allow: 1 usd/1d}, {models: \"never\", allow: 0/1d}]",
         .more = "models: {smart: {serve_as: gpt-4-0613}, odd: {serve_as: gpt-5}}\n",
         .cache = "{enabled: false}",
         .upstream_more = ", models: [\"gpt-*\", \"dear*\", never]",
         .plan_more = "    models: [\"gpt-*\", smart, odd, unserved, \"dear*\", never]\n"
                      "    deny: [\"GPT-5*\"]\n"}
    );
    const std::vector<std::string> models = {
        "gpt-4", "smart", "gpt-3.5", "gpt-5", "odd", "unserved", "claude", "dear-1", "never"
    };
    std::set<int> seen;
    for (int round = 0; round < 3; ++round) {
        for (const std::string& model : models) {
            const json told = parsed(admin(gateway, "GET", "explain?key=alice&model=" + model));
            const Answer answer = send(gateway, std::to_string(round), model);
            EXPECT_EQ(told["goes"], answer.status == 200)
                << model << " " << answer.status << " " << told["why"];
            EXPECT_EQ(
                told["allowed"] == false, answer.body.find("model_not_allowed") != std::string::npos
            ) << model
              << answer.body;
            EXPECT_EQ(told["route"].empty() && told["allowed"] == true, answer.status == 404)
                << model << told;
            seen.insert(answer.status);
        }
    }
    EXPECT_EQ(seen, (std::set<int>{200, 403, 404, 429}));
}

}  // namespace
}  // namespace weir::test
