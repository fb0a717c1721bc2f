// GET /v1/models over the whole gateway; what it is made of is tested in tests/proxy.
#include <vector>

#include "tools.hpp"

namespace weir::test {
namespace {

Ask list_for(const char* key) {
    return {.method = "GET", .path = "/v1/models", .key = key};
}

std::vector<std::string> ids_of(const Answer& answer) {
    EXPECT_EQ(answer.status, 200) << answer.body;
    const auto json = nlohmann::json::parse(answer.body, nullptr, false);
    std::vector<std::string> ids;
    if (!json.is_object() || !json.contains("data")) return {"?"};
    for (const auto& model : json["data"]) ids.push_back(model["id"]);
    return ids;
}

TEST(Models, AListThatNestsTooDeepHarmsNobody) {
    const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        if (request.method == "GET") {
            wire.json(R"({"data":[{"id":"a","more":)" + deep + "}," + deep + "]}");
        } else {
            answer_chat(wire, request, "still here");
        }
    });
    TestGateway gateway({.upstream_url = upstream.url(), .workers = 1});
    EXPECT_EQ(ids_of(ask(gateway.port(), list_for(kAlice))), std::vector<std::string>{});
    const Answer chat = ask(gateway.port(), {.key = kAlice, .body = chat_body("x")});
    EXPECT_EQ(chat_text(chat), "still here");
}

TEST(Models, ShowsOpenAIsMembersOfWhatTheKeyMayUse) {
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        wire.json(
            R"({"data":[{"id":"gpt-4","created":7,"owned_by":"them","told":")" +
            request.field("authorization") + R"("},{"id":"secret-one"}]})"
        );
    });
    TestGateway gateway({.upstream_url = upstream.url(), .plan_more = "    deny: [\"secret*\"]\n"});
    const Answer all = ask(gateway.port(), list_for(kAlice));
    const std::string model = R"({"id":"gpt-4","object":"model","created":7,"owned_by":"them"})";
    EXPECT_EQ(all.body, R"({"object":"list","data":[)" + model + "]}");
    Ask one = list_for(kAlice);
    one.path += "/gpt-4";
    EXPECT_EQ(ask(gateway.port(), one).body, model);
    one.path = "/v1/models/secret-one";
    expect_error(ask(gateway.port(), one), 404, "model_not_found");
}

TEST(Models, EachUpstreamIsListedWithWhatItServes) {
    FakeUpstream open([](Wire& wire, const SeenRequest&) {
        wire.json(R"({"data":[{"id":"gpt-4"},{"id":"claude-of-others"},{"id":"llama"}]})");
    });
    FakeUpstream messages([](Wire& wire, const SeenRequest&) {
        wire.json(R"({"data":[{"type":"model","id":"claude-a","display_name":"A",)"
                  R"("created_at":"1970-01-01T00:01:00Z"}]})");
    });
    // The third answers nothing; what the config itself says of it is shown all the same.
    TestGateway gateway(
        {.upstream_url = open.url(),
         .upstream_more = ", models: [\"gpt-*\"]}\n  - {name: claude, kind: anthropic, url: \"" +
                          messages.url() +
                          "\"}\n  - {name: azure, kind: azure, url: \"http://127.0.0.1:9\", "
                          "deployments: {mine: d}"}
    );
    EXPECT_EQ(
        ask(gateway.port(), list_for(kAlice)).body,
        R"({"object":"list","data":[{"id":"claude-a","object":"model","created":60,)"
        R"("owned_by":"claude"},{"id":"gpt-4","object":"model","created":0,"owned_by":"fake"},)"
        R"({"id":"mine","object":"model","created":0,"owned_by":"azure"}]})"
    );
    EXPECT_EQ(messages.seen()[0].target, "/v1/models?limit=1000");
}

TEST(Models, AClientThatLeavesIsNotWaitedFor) {
    Steps closed;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest&) {
        // Well under the patience that the gateway has with a list.
        if (wire.wait_for_close(5s)) closed.pass();
    });
    TestGateway gateway({.upstream_url = upstream.url(), .workers = 1});
    Client client(gateway.port());
    ASSERT_TRUE(client.send(list_for(kAlice).bytes()));
    ASSERT_TRUE(upstream.wait_for_calls(1));
    client.socket().close();
    EXPECT_TRUE(eventually([&] { return metric(gateway, "weir_clients_gone_total") == 1; }));
    EXPECT_TRUE(closed.wait());
}

}  // namespace
}  // namespace weir::test
