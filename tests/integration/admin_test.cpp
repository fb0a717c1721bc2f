// Promise 10 (boring to run): keys, usage, cache and reload while the gateway serves; what it tells
// those who watch it.
#include <regex>
#include <set>

#include "tools.hpp"

namespace weir::test {
namespace {

using nlohmann::json;

struct Made {
    std::string id;
    std::string key;
};

Made create(const TestGateway& gateway, const std::string& name) {
    const Answer answer =
        admin(gateway, "POST", "keys", json{{"name", name}, {"plan", "plus"}}.dump());
    EXPECT_EQ(answer.status, 201) << answer.body;
    const json made = parsed(answer);
    return {made.value("id", ""), made.value("key", "")};
}

TEST(Keys, AreInForceAndOutOfForceOnAllWorkersAtOnce) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url(), .workers = 4});
    const std::string list = Ask{.method = "GET", .path = "/v1/models", .key = "KEY"}.bytes();
    for (int round = 0; round < 5; ++round) {
        const Made made = create(gateway, "dora");
        std::string request = list;
        request.replace(request.find("KEY"), 3, made.key);
        // Twice as many connections as workers: each worker has some.
        std::vector<Client> clients;
        for (int i = 0; i < 8; ++i) {
            Client& client = clients.emplace_back(gateway.port());
            ASSERT_TRUE(client.send(request));
            EXPECT_EQ(client.read_answer().status, 200);
        }
        const Answer revoked = admin(gateway, "DELETE", "keys/" + made.id);
        EXPECT_EQ(revoked.status, 200) << revoked.body;
        for (Client& client : clients) {
            ASSERT_TRUE(client.send(request));
            expect_error(client.read_answer(), 401, "invalid_api_key");
        }
        EXPECT_EQ(parsed(admin(gateway, "GET", "keys")).value("keys", json()).size(), 3U);
    }
}

TEST(Keys, OneRevokedStartsNothingMoreButEndsWhatItBegan) {
    Steps go;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        if (go.wait()) answer_chat(wire, request, "to the end");
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    const Made made = create(gateway, "dora");
    Client client(gateway.port());
    ASSERT_TRUE(client.send(Ask{.key = made.key, .body = chat_body("x", true)}.bytes()));
    ASSERT_TRUE(upstream.wait_for_calls(1));
    EXPECT_EQ(admin(gateway, "DELETE", "keys/dora").status, 200);
    go.pass();
    EXPECT_EQ(chat_text(client.read_answer()), "to the end");
    ASSERT_TRUE(client.send(Ask{.key = made.key, .body = chat_body("x", true)}.bytes()));
    EXPECT_EQ(client.read_answer().status, 401);  // also for what the cache has
    EXPECT_EQ(upstream.calls(), 1U);
}

TEST(Keys, TheAdminTokenAndClientsKeysOpenOnlyTheirOwn) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url()});
    const auto with = [&](const char* method, const std::string& path, const std::string& key) {
        return ask(gateway.port(), {.method = method, .path = path, .key = key, .fields = {}}
        ).status;
    };
    for (const char* const path :
         {"/api/admin/keys", "/api/admin/usage", "/api/admin/cache", "/api/admin/version"}) {
        EXPECT_EQ(with("GET", path, kAlice), 401) << path;
        EXPECT_EQ(with("GET", path, ""), 401) << path;
        EXPECT_EQ(with("GET", path, gateway.admin_token()), 200) << path;
    }
    EXPECT_EQ(with("POST", "/api/admin/reload", kAlice), 401);
    EXPECT_EQ(with("GET", "/v1/models", gateway.admin_token()), 401);
}

TEST(Keys, ABodyTooLargeForThemIsToldOfTheLimitThatItMet) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url()});
    const Answer answer = admin(gateway, "POST", "keys", std::string(70'000, ' '));
    EXPECT_EQ(answer.status, 413);
    EXPECT_NE(answer.body.find("64 KiB"), std::string::npos) << answer.body;
    EXPECT_EQ(answer.body.find("limits"), std::string::npos) << answer.body;
}

TEST(Usage, TellsWhatWasUsed) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"gpt-4*\", allow: 4/4h}]",
         .cache = "{enabled: false}"}
    );
    const auto send = [&](const char* key, const char* model) {
        return ask(gateway.port(), {.key = key, .body = chat_body("x", false, model)}).status;
    };
    for (int i = 0; i < 5; ++i) EXPECT_EQ(send(kAlice, "gpt-4"), i < 4 ? 200 : 429);
    EXPECT_EQ(send(kAlice, "gpt-3.5"), 200);
    EXPECT_EQ(send(kCarol, "gpt-4"), 200);
    const json usage = parsed(admin(gateway, "GET", "usage?span=1h"));
    EXPECT_EQ(usage["messages"], 6) << usage;
    // An answer takes 5 tokens of input and 3 of output; nobody knows what gpt-3.5 costs.
    const auto row = [](const char* key, const char* model, int messages, double usd) {
        return json{
            {"key", key},
            {"model", model},
            {"messages", messages},
            {"tokens", 8 * messages},
            {"usd", usd}
        };
    };
    const json expected = {
        row("alice", "gpt-3.5", 1, 0),
        row("alice", "gpt-4", 4, 0.00156),
        row("carol", "gpt-4", 1, 0.00039),
    };
    EXPECT_EQ(usage["tokens"], 48) << usage;
    EXPECT_EQ(usage["usd"], 0.00195) << usage;
    EXPECT_EQ(usage["usage"], expected) << usage;
}

TEST(CacheAdmin, ClearsWhatIsKept) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url(), .workers = 4});
    const auto told = [&](const char* model) {
        return ask(gateway.port(), {.key = kAlice, .body = chat_body("x", false, model)})
            .field("x-cache");
    };
    EXPECT_EQ(told("gpt-4"), "MISS");
    EXPECT_EQ(told("gpt-3.5"), "MISS");
    EXPECT_EQ(told("gpt-4"), "HIT");
    EXPECT_EQ(admin(gateway, "DELETE", "cache?model=gpt-4").status, 200);
    EXPECT_EQ(told("gpt-4"), "MISS");
    EXPECT_EQ(told("gpt-3.5"), "HIT");
    EXPECT_EQ(admin(gateway, "DELETE", "cache").status, 200);
    EXPECT_EQ(told("gpt-4"), "MISS");
    EXPECT_EQ(told("gpt-3.5"), "MISS");
}

TEST(Reload, IsAllOrNothing) {
    FakeUpstream upstream(say_an_answer);
    GatewaySetup setup{
        .upstream_url = upstream.url(), .caps = "[{models: \"*\", allow: 2/4h}]", .workers = 4
    };
    TestGateway gateway(setup);
    const auto status = [&](const std::string& content) {
        return ask(gateway.port(), {.key = kAlice, .body = chat_body(content)}).status;
    };
    EXPECT_EQ(status("a"), 200);
    GatewaySetup bad = setup;
    bad.caps = "[{models: \"*\", allow: 50/4h}]";
    bad.more = "no_such_key: 1\n";
    const auto refused = gateway.reload(bad);
    ASSERT_FALSE(refused.has_value());
    EXPECT_NE(refused.error().detail.find("no_such_key"), std::string::npos);
    // The same over the API: it reads the same bad text.
    const Answer told = admin(gateway, "POST", "reload");
    EXPECT_GE(told.status, 400);
    EXPECT_NE(told.body.find("no_such_key"), std::string::npos) << told.body;
    EXPECT_EQ(status("b"), 200);
    EXPECT_EQ(status("c"), 429) << "the old caps hold";
    // New caps see the messages that were counted under the old ones, on every worker.
    setup.caps = "[{models: \"*\", allow: 5/4h}]";
    ASSERT_TRUE(gateway.reload(setup).has_value());
    EXPECT_EQ(used(gateway, "alice"), 2);
    for (int i = 0; i < 12; ++i) EXPECT_EQ(status("d" + std::to_string(i)), i < 3 ? 200 : 429);
    setup.caps = "[{models: \"*\", allow: 1/4h}]";
    ASSERT_TRUE(gateway.reload(setup).has_value());
    EXPECT_EQ(status("e"), 429);
    setup.caps = "[]";
    ASSERT_TRUE(gateway.reload(setup).has_value());
    EXPECT_EQ(status("f"), 200);
    EXPECT_EQ(admin(gateway, "POST", "reload").status, 200);
}

TEST(Reload, DisturbsNothingThatRuns) {
    Steps go;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        if (go.wait()) answer_chat(wire, request, "under the old config");
    });
    GatewaySetup setup{.upstream_url = upstream.url()};
    TestGateway gateway(setup);
    Client client(gateway.port());
    ASSERT_TRUE(client.send(Ask{.key = kAlice, .body = chat_body("x", true)}.bytes()));
    ASSERT_TRUE(upstream.wait_for_calls(1));
    FakeUpstream other([](Wire& wire, const SeenRequest& request) {
        answer_chat(wire, request, "under the new config");
    });
    setup.upstream_url = other.url();
    ASSERT_TRUE(gateway.reload(setup).has_value());
    go.pass();
    EXPECT_EQ(chat_text(client.read_answer()), "under the old config");
    ASSERT_TRUE(client.send(Ask{.key = kAlice, .body = chat_body("x", true)}.bytes()));
    const Answer answer = client.read_answer();  // another route: no hit
    EXPECT_EQ(chat_text(answer), "under the new config");
    EXPECT_EQ(answer.field("x-cache"), "MISS");
}

// So that a change of an upstream's certificates is seen; a new key has nothing to do with it.
TEST(Reload, BeginsConnectionsToUpstreamsAnew) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url(), .workers = 1});
    const auto connections = [&](const char* question) {
        EXPECT_EQ(send(gateway, question).status, 200);
        return upstream.connections();
    };
    EXPECT_EQ(connections("a"), 1U);
    EXPECT_EQ(admin(gateway, "POST", "keys", R"({"name":"dora","plan":"plus"})").status, 201);
    EXPECT_EQ(connections("b"), 1U);
    EXPECT_EQ(admin(gateway, "POST", "reload").status, 200);
    EXPECT_EQ(connections("c"), 2U);
}

TEST(Watching, MetricsAreWellFormed) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url()});
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(ask(gateway.port(), {.key = kAlice, .body = chat_body("x")}).status, 200);
    }
    Answer answer;
    // A request is counted when it has ended, which is a little after its answer.
    EXPECT_TRUE(eventually([&] {
        answer = ask(gateway.port(), {.method = "GET", .path = "/metrics"});
        return answer.body.find("weir_requests_total{status=\"2xx\"} 3") != std::string::npos;
    }));
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(answer.field("content-type").starts_with("text/plain"));
    const std::regex series(
        R"(([a-z_]+)(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? (-?[0-9.e+-]+|\+Inf|NaN))"
    );
    std::set<std::string> typed;
    std::set<std::string> seen;
    std::istringstream lines(answer.body);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("# TYPE ")) {
            const std::string name = line.substr(7, line.find(' ', 7) - 7);
            EXPECT_TRUE(typed.insert(name).second) << line;
        } else if (!line.starts_with("# HELP ")) {
            std::smatch match;
            ASSERT_TRUE(std::regex_match(line, match, series)) << line;
            EXPECT_TRUE(seen.insert(match[1].str() + match[2].str()).second) << line;
            std::string name = match[1];
            for (const char* const end : {"_bucket", "_sum", "_count"}) {
                if (!typed.contains(name) && name.ends_with(end)) {
                    name.resize(name.size() - std::string_view(end).size());
                }
            }
            EXPECT_TRUE(typed.contains(name)) << line;
        }
    }
    for (const char* const line :
         {"weir_cache_requests_total{result=\"hit\"} 2",
          "weir_upstream_calls_total 1",
          "weir_cache_requests_total{result=\"miss\"} 1",
          "weir_ledger_up 1",
          "weir_messages_total{decision=\"admitted\"} 1",
          "weir_requests_total{status=\"2xx\"} 3"}) {
        EXPECT_NE(answer.body.find(std::string("\n") + line + "\n"), std::string::npos) << line;
    }
}

TEST(Watching, HeadOfModelsIsItsHeadOnly) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway(
        {.upstream_url = upstream.url(), .more = "models: {smart: {serve_as: gpt-4}}\n"}
    );
    Client client(gateway.port());
    ASSERT_TRUE(client.send(Ask{.method = "GET", .path = "/v1/models", .key = kAlice}.bytes()));
    const Answer whole = client.read_answer();
    ASSERT_EQ(whole.status, 200);
    ASSERT_TRUE(client.send(Ask{.method = "HEAD", .path = "/v1/models", .key = kAlice}.bytes()));
    const Answer head = client.read_answer(true);
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.field("content-length"), std::to_string(whole.body.size()));
    EXPECT_EQ(head.field("content-type"), whole.field("content-type"));
    // No body stands before the next answer.
    ASSERT_TRUE(client.send(Ask{.key = kAlice, .body = chat_body("x")}.bytes()));
    EXPECT_EQ(chat_text(client.read_answer()), "an answer");
}

TEST(Watching, HealthAndReadiness) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url()});
    const auto get = [&](const char* path) {
        return ask(gateway.port(), {.method = "GET", .path = path});
    };
    EXPECT_EQ(get("/healthz").body, "ok\n");
    EXPECT_EQ(get("/readyz").body, "ready\n");
    EXPECT_EQ(get("/healthz").field("cache-control"), "no-store");
    EXPECT_EQ(ask(gateway.port(), {.path = "/healthz", .body = "{}"}).status, 405);
}

}  // namespace
}  // namespace weir::test
