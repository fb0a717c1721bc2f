// The table "What counts" of docs/caps.md, a row at a time: messages and tokens behind each ending.
// Its last rows need a process of their own: PastItsTimeStreamsEndWithAnErrorEvent (drain_test),
// Crash.* (tests/crash) and Storage.* (storage_test).
#include <functional>

#include "tools.hpp"

namespace weir::test {
namespace {

using nlohmann::json;

constexpr int kTokens = 10;  // that an answer of the upstream tells

struct Used {
    int messages = 0;
    int tokens = 0;
};

Used used_by_alice(const TestGateway& gateway) {
    const Answer answer = admin(gateway, "GET", "keys/alice");
    const auto shown = json::parse(answer.body, nullptr, false);
    if (!shown.is_object() || shown["caps"].size() < 2) return {-1, -1};
    return {shown["caps"][0]["used"].get<int>(), shown["caps"][1]["used"].get<int>()};
}

// Does what the question says.
void obey(Wire& wire, const SeenRequest& request) {
    const auto says = [&request](std::string_view what) {
        return request.body.find(what) != std::string::npos;
    };
    const json usage = {{"prompt_tokens", 6}, {"completion_tokens", 4}, {"total_tokens", kTokens}};
    const bool stream = says("\"stream\":true");
    if (says("be silent")) {
        EXPECT_TRUE(wire.wait_for_close(20s));
    } else if (says("hang up")) {
        wire.reset();
    } else if (says("no such thing")) {
        wire.json(R"({"error":{"message":"no","type":"invalid_request_error"}})", 400);
    } else if (says("fail")) {
        wire.json(R"({"error":{"message":"sorry","type":"server_error"}})", 500);
    } else if (stream) {
        wire.begin_stream();
        wire.event(chat_chunk("an answer"));
        if (says("break off")) {
            wire.reset();
            return;
        }
        if (says("say an error")) {
            wire.event(R"({"error":{"message":"sorry","type":"server_error"}})");
            wire.last_chunk();
            return;
        }
        wire.event(chat_chunk("", "stop"));
        json last = json::parse(chat_chunk(""));
        last["choices"] = json::array();
        last["usage"] = usage;
        if (!says("keep it to yourself")) wire.event(last.dump());
        wire.event("[DONE]");
        wire.last_chunk();
    } else {
        json answer = {
            {"id", "chatcmpl-1"},
            {"object", "chat.completion"},
            {"created", 1},
            {"model", "gpt-4"},
            {"choices",
             json::array(
                 {{{"index", 0},
                   {"message", {{"role", "assistant"}, {"content", "an answer"}}},
                   {"finish_reason", "stop"}}}
             )}
        };
        if (!says("keep it to yourself")) answer["usage"] = usage;
        wire.json(answer.dump());
    }
}

struct Row {
    const char* name;
    std::function<void(const TestGateway&, const FakeUpstream&)> act;
    int messages;
    int tokens;  // -1: what was reserved
};

std::function<void(const TestGateway&, const FakeUpstream&)> asking(
    const char* what, bool stream, int status
) {
    return [=](const TestGateway& gateway, const FakeUpstream&) {
        const Answer answer =
            ask(gateway.port(), {.key = kAlice, .body = chat_body(what, stream), .fields = {}});
        EXPECT_EQ(answer.status, status) << what << ": " << answer.body;
    };
}

// Leaves when the upstream has the request, or before it is whole.
void leave(const TestGateway& gateway, const FakeUpstream& upstream) {
    const std::size_t before = upstream.calls();
    Client client(gateway.port());
    ASSERT_TRUE(client.send(Ask{.key = kAlice, .body = chat_body("be silent"), .fields = {}}.bytes()
    ));
    ASSERT_TRUE(upstream.wait_for_calls(before + 1));
}

void leave_early(const TestGateway& gateway, const FakeUpstream&) {
    Client client(gateway.port());
    const std::string whole =
        Ask{.key = kAlice, .body = chat_body("half of it"), .fields = {}}.bytes();
    ASSERT_TRUE(client.send(whole.substr(0, whole.size() - 5)));
}

TEST(Counting, IsAsTheTableSays) {
    FakeUpstream upstream(obey);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: 1000/4h}, {models: \"*\", allow: 100000000 tokens/1d}]",
         .plan_more = "    deny: [secret-model]\n"}
    );
    const Row rows[] = {
        {"ran to its end", asking("a", false, 200), 1, kTokens},
        {"ran to its end, streamed", asking("b", true, 200), 1, kTokens},
        {"without usage", asking("keep it to yourself", false, 200), 1, -1},
        {"without usage, streamed", asking("keep it to yourself!", true, 200), 1, -1},
        {"refused by the config",
         [](const TestGateway& to, const FakeUpstream&) {
             const std::string body = chat_body("c", false, "secret-model");
             EXPECT_EQ(ask(to.port(), {.key = kAlice, .body = body, .fields = {}}).status, 403);
         },
         0,
         0},
        {"malformed",
         [](const TestGateway& to, const FakeUpstream&) {
             EXPECT_EQ(ask(to.port(), {.key = kAlice, .body = "{", .fields = {}}).status, 400);
         },
         0,
         0},
        {"from the cache", asking("a", false, 200), 0, 0},
        {"from the cache, crossed", asking("b", false, 200), 0, 0},
        {"the upstream hangs up", asking("hang up", false, 502), 0, 0},
        {"the upstream says 4xx", asking("no such thing", true, 400), 0, 0},
        {"the upstream says 5xx", asking("fail", false, 500), 0, 0},
        {"breaks off in the middle", asking("break off", true, 200), 0, 0},
        {"says in the middle that it failed", asking("say an error", true, 200), 0, 0},
        {"the client left before", leave_early, 0, 0},
        {"the client left later", leave, 1, -1},
        {"free",
         [](const TestGateway& to, const FakeUpstream&) {
             const Answer answer =
                 ask(to.port(),
                     {.path = "/v1/moderations",
                      .key = kAlice,
                      .body = R"({"input":"be good"})",
                      .fields = {}});
             EXPECT_EQ(answer.status, 200);
         },
         0,
         0},
    };
    Used before = used_by_alice(gateway);
    for (const Row& row : rows) {
        row.act(gateway, upstream);
        const auto as_told = [&] {
            const Used now = used_by_alice(gateway);
            const int tokens = now.tokens - before.tokens;
            // What is reserved is more than 16,384 for the output alone.
            const bool right = row.tokens >= 0 ? tokens == row.tokens : tokens > 16'384;
            return now.messages - before.messages == row.messages && right &&
                   metric(gateway, "weir_flights") == 0;
        };
        EXPECT_TRUE(eventually(as_told))
            << row.name << ": " << used_by_alice(gateway).messages - before.messages
            << " messages, " << used_by_alice(gateway).tokens - before.tokens << " tokens";
        before = used_by_alice(gateway);
    }
}

}  // namespace
}  // namespace weir::test
