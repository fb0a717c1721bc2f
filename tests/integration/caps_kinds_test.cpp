// Every kind of cap over the wire, and what a spent one does besides refusing: another model, a
// line, a warning.
#include <future>
#include <thread>

#include "tools.hpp"

namespace weir::test {
namespace {

using nlohmann::json;

// Says "an answer" that took 7 tokens of input, 2 of them cached, and 3 of output; names the model
// that it was asked for.
void say_with_usage(Wire& wire, const SeenRequest& request) {
    const json asked = json::parse(request.body);
    const json usage = {
        {"prompt_tokens", 7},
        {"completion_tokens", 3},
        {"total_tokens", 10},
        {"prompt_tokens_details", {{"cached_tokens", 2}}}
    };
    if (!asked.value("stream", false)) {
        const json answer = {
            {"id", "chatcmpl-1"},
            {"object", "chat.completion"},
            {"created", 1},
            {"model", asked["model"]},
            {"choices",
             json::array(
                 {{{"index", 0},
                   {"message", {{"role", "assistant"}, {"content", "an answer"}}},
                   {"finish_reason", "stop"}}}
             )},
            {"usage", usage}
        };
        wire.json(answer.dump());
        return;
    }
    wire.begin_stream();
    wire.event(chat_chunk("an answer"));
    wire.event(chat_chunk("", "stop"));
    if (asked.contains("stream_options") && asked["stream_options"].value("include_usage", false)) {
        const json last = {
            {"id", "chatcmpl-1"},
            {"object", "chat.completion.chunk"},
            {"created", 1},
            {"model", asked["model"]},
            {"choices", json::array()},
            {"usage", usage}
        };
        wire.event(last.dump());
    }
    wire.event("[DONE]");
    wire.last_chunk();
}

TEST(CapKinds, ATokenCapCountsWhatTheAnswerSaysStreamedOrNot) {
    FakeUpstream upstream(say_with_usage);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: 100000 tokens/1d}]",
         .cache = "{enabled: false}"}
    );
    for (const bool stream : {false, true}) {
        const Answer answer = send(gateway, "q", "gpt-4", kAlice, stream);
        EXPECT_EQ(answer.status, 200);
        EXPECT_EQ(answer.field("x-ratelimit-limit-tokens"), "100000");
        EXPECT_FALSE(answer.has("x-ratelimit-limit-requests"));
        EXPECT_EQ(chat_text(answer), "an answer");
        // Asked for by us only: the client does not see it.
        if (stream) EXPECT_EQ(count(answer.body, "\"usage\":{"), 0U) << answer.body;
    }
    EXPECT_TRUE(eventually([&] { return used(gateway, "alice") == 20; })) << used(gateway, "alice");
}

TEST(CapKinds, AMessageThatDoesNotFitGoesAloneAndIsTheLast) {
    FakeUpstream upstream(say_with_usage);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: 15 tokens/1d}]",
         .cache = "{enabled: false}"}
    );
    EXPECT_EQ(send(gateway, "a").status, 200);
    EXPECT_TRUE(eventually([&] { return used(gateway, "alice") == 10; }));
    EXPECT_EQ(send(gateway, "b").status, 200);
    EXPECT_TRUE(eventually([&] { return used(gateway, "alice") == 20; }));
    const Answer refused = send(gateway, "c");
    const json error = expect_error(refused, 429, "insufficient_quota");
    EXPECT_TRUE(error.value("message", "").starts_with("You have used 20 of 15 tokens in 1 day."))
        << error;
    EXPECT_EQ(refused.field("x-should-retry"), "false");
    EXPECT_EQ(refused.field("x-ratelimit-remaining-tokens"), "0");
}

TEST(CapKinds, WhatIsOnlyReservedRefusesForASecond) {
    Steps go;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        EXPECT_TRUE(go.wait());
        say_with_usage(wire, request);
    });
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: 20000 tokens/1d}]",
         .cache = "{enabled: false}"}
    );
    auto first = std::async(std::launch::async, [&] { return send(gateway, "a"); });
    ASSERT_TRUE(upstream.wait_for_calls(1));
    const Answer second = send(gateway, "b");
    const json error = expect_error(second, 429, "rate_limit_exceeded");
    EXPECT_EQ(error.value("type", ""), "requests");
    EXPECT_EQ(second.field("retry-after"), "1");
    EXPECT_FALSE(second.has("x-should-retry"));
    go.pass(2);
    EXPECT_EQ(first.get().status, 200);
    EXPECT_TRUE(eventually([&] { return used(gateway, "alice") == 10; }));
    EXPECT_EQ(send(gateway, "c").status, 200);
}

TEST(CapKinds, AMoneyCapNeedsAPriceAndCountsByIt) {
    FakeUpstream upstream(say_with_usage);
    const GatewaySetup setup{
        .upstream_url = upstream.url(),
        .caps = "[{models: \"*\", allow: 5 usd/30d}]",
        .more = "prices: {gpt-4: {input: 30, cached_input: 15, output: 60}}\n",
        .cache = "{enabled: false}"
    };
    TestGateway gateway(setup);
    EXPECT_EQ(send(gateway, "a").status, 200);
    // 5 x 30 + 2 x 15 + 3 x 60 millionths of a dollar.
    EXPECT_TRUE(eventually([&] {
        const Answer shown = admin(gateway, "GET", "keys/alice");
        return json::parse(shown.body)["caps"][0]["used"].dump() == "0.00036" ||
               used(gateway, "alice") == 360'000;
    })) << admin(gateway, "GET", "keys/alice").body;
    const Answer unknown = send(gateway, "a", "somebodys-own-model");
    const json error = expect_error(unknown, 403, "model_not_priced");
    EXPECT_NE(error.value("message", "").find("prices"), std::string::npos) << error;
    EXPECT_EQ(upstream.calls(), 1U);
}

TEST(CapKinds, ASpentCapLetsAnotherModelAnswer) {
    FakeUpstream upstream(say_with_usage);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"gpt-4*\", allow: 1/4h, then: gpt-3.5-turbo}, "
                 "{models: \"gpt-3.5*\", allow: 2/4h, then: o1-mini}, "
                 "{models: \"o1*\", allow: 1/1h}]",
         .cache = "{enabled: false}"}
    );
    EXPECT_FALSE(send(gateway, "a").has("x-weir-fallback"));
    for (const bool stream : {false, true}) {
        const Answer fallen = send(gateway, "b", "gpt-4", kAlice, stream);
        EXPECT_EQ(fallen.status, 200) << fallen.body;
        EXPECT_EQ(fallen.field("x-weir-fallback"), R"(gpt-4 -> gpt-3.5-turbo; cap="gpt-4* 1/4h")");
        EXPECT_EQ(chat_text(fallen), "an answer");
        EXPECT_EQ(json::parse(upstream.seen().back().body)["model"], "gpt-3.5-turbo");
        if (!stream) EXPECT_EQ(json::parse(fallen.body)["model"], "gpt-3.5-turbo");
    }
    // Its own cap is used up as well: the next in the chain.
    const Answer third = send(gateway, "c");
    EXPECT_EQ(third.status, 200);
    EXPECT_EQ(third.field("x-weir-fallback"), R"(gpt-4 -> o1-mini; cap="gpt-3.5* 2/4h")");
    const Answer refused = send(gateway, "d");
    const json error = expect_error(refused, 429, "insufficient_quota");
    // The first cap, with the shortest wait of all.
    EXPECT_TRUE(error.value("message", "")
                    .starts_with("You have used 1 of 1 message for gpt-4* in 4 hours.")
    ) << error;
    EXPECT_LE(std::stoi(refused.field("retry-after")), 3600);
    EXPECT_FALSE(refused.has("x-weir-fallback"));
    EXPECT_EQ(upstream.calls(), 4U);
}

TEST(CapKinds, WhatAnotherModelAnsweredIsStoredUnderThatModel) {
    FakeUpstream upstream(say_with_usage);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"gpt-4*\", allow: 1/4h, then: small}]",
         .more = "models: {small: {serve_as: small-1}}\n",
         .upstream_more = ", models: [\"gpt-4\", \"small-1\"]"}
    );
    EXPECT_EQ(send(gateway, "a").status, 200);
    const Answer fallen = send(gateway, "b");
    EXPECT_EQ(fallen.status, 200);
    EXPECT_EQ(fallen.field("x-weir-fallback"), R"(gpt-4 -> small; cap="gpt-4* 1/4h")");
    EXPECT_EQ(json::parse(upstream.seen().back().body)["model"], "small-1");
    // What was answered is stored under the body that was served.
    const Answer hit = send(gateway, "b", "small");
    EXPECT_EQ(hit.field("x-cache"), "HIT");
}

TEST(CapKinds, TeamsAndEverybodyShareWhatIsTheirs) {
    FakeUpstream upstream(say_with_usage);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .more = "teams: {red: {caps: [{models: \"*\", allow: 3/4h}]}}\n"
                 "caps: [{models: \"*\", allow: 4/4h}]\n",
         .cache = "{enabled: false}"}
    );
    EXPECT_EQ(send(gateway, "a", "gpt-4", kAlice).status, 200);
    EXPECT_EQ(send(gateway, "b", "gpt-4", kBob).status, 200);
    const Answer third = send(gateway, "c", "gpt-4", kAlice);
    EXPECT_EQ(third.status, 200);
    EXPECT_EQ(
        third.field("ratelimit-policy"), R"("team * 3/4h";q=3;w=14400, "all * 4/4h";q=4;w=14400)"
    );
    const Answer team = send(gateway, "d", "gpt-4", kBob);
    EXPECT_TRUE(expect_error(team, 429, "insufficient_quota")
                    .value("message", "")
                    .starts_with("Your team red has used 3 of 3 messages in 4 hours.")
    ) << team.body;
    EXPECT_EQ(send(gateway, "e", "gpt-4", kCarol).status, 200);
    const Answer all = send(gateway, "f", "gpt-4", kCarol);
    EXPECT_TRUE(expect_error(all, 429, "insufficient_quota")
                    .value("message", "")
                    .starts_with("All keys of this gateway together have used 4 of 4 messages")
    ) << all.body;
}

TEST(CapKinds, AtOnceWithoutALineRefusesAndWithOneWaits) {
    Steps go;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        EXPECT_TRUE(go.wait());
        say_with_usage(wire, request);
    });
    const GatewaySetup strict{
        .upstream_url = upstream.url(),
        .caps = "[{models: \"*\", allow: 1 at once}]",
        .cache = "{enabled: false}"
    };
    TestGateway gateway(strict);
    auto first = std::async(std::launch::async, [&] { return send(gateway, "a"); });
    ASSERT_TRUE(upstream.wait_for_calls(1));
    const Answer refused = send(gateway, "b");
    EXPECT_EQ(expect_error(refused, 429, "rate_limit_exceeded").value("type", ""), "requests");
    EXPECT_FALSE(refused.has("x-should-retry"));
    EXPECT_GE(std::stoi(refused.field("retry-after")), 1);
    EXPECT_EQ(send(gateway, "b", "gpt-4", kAlice).status, 429);

    GatewaySetup patient = strict;
    patient.caps = "[{models: \"*\", allow: 1 at once, queue: 30s}]";
    ASSERT_TRUE(gateway.reload(patient));
    auto second = std::async(std::launch::async, [&] { return send(gateway, "c"); });
    EXPECT_TRUE(eventually([&] { return metric(gateway, "weir_messages_queued_total") == 1; }));
    EXPECT_EQ(upstream.calls(), 1U);
    go.pass(1);
    EXPECT_EQ(first.get().status, 200);
    ASSERT_TRUE(upstream.wait_for_calls(2));
    go.pass(1);
    EXPECT_EQ(second.get().status, 200);

    // One that waits for too long, and one that leaves.
    patient.caps = "[{models: \"*\", allow: 1 at once, queue: 1s}]";
    ASSERT_TRUE(gateway.reload(patient));
    auto third = std::async(std::launch::async, [&] { return send(gateway, "d"); });
    ASSERT_TRUE(upstream.wait_for_calls(3));
    {
        Client leaver(gateway.port());
        ASSERT_TRUE(leaver.send(Ask{.key = kAlice, .body = chat_body("leaves"), .fields = {}}.bytes(
        )));
        EXPECT_TRUE(eventually([&] { return metric(gateway, "weir_messages_queued_total") == 2; }));
    }
    const Answer late = send(gateway, "e");
    expect_error(late, 429, "rate_limit_exceeded");
    EXPECT_FALSE(late.has("x-should-retry"));
    go.pass(1);
    EXPECT_EQ(third.get().status, 200);
    EXPECT_EQ(upstream.calls(), 3U);
    go.pass(1);
    EXPECT_EQ(send(gateway, "f").status, 200);
}

TEST(CapKinds, AtOnceFreesWhenClientsLeaveAndUpstreamsFail) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        if (request.body.find("breaks") != std::string::npos) {
            wire.reset();
        } else if (request.body.find("refuses") != std::string::npos) {
            wire.json(R"({"error":{"message":"no","type":"invalid_request_error"}})", 400);
        } else if (request.body.find("hangs") != std::string::npos) {
            EXPECT_TRUE(wire.wait_for_close(20s));
        } else {
            say_with_usage(wire, request);
        }
    });
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: 1 at once}]",
         .cache = "{enabled: false}"}
    );
    EXPECT_EQ(send(gateway, "breaks").status, 502);
    EXPECT_EQ(send(gateway, "refuses").status, 400);
    {
        Client leaver(gateway.port());
        ASSERT_TRUE(leaver.send(Ask{.key = kAlice, .body = chat_body("hangs"), .fields = {}}.bytes()
        ));
        ASSERT_TRUE(upstream.wait_for_calls(3));
        EXPECT_EQ(send(gateway, "meanwhile").status, 429);
    }
    EXPECT_TRUE(eventually([&] { return used(gateway, "alice") == 0; }));
    EXPECT_EQ(send(gateway, "after").status, 200);
}

TEST(CapKinds, AWarningAdmitsAndTells) {
    FakeUpstream upstream(say_with_usage);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: 1/4h, mode: warn}, {models: \"*\", allow: 5/1d}]",
         .cache = "{enabled: false}"}
    );
    EXPECT_FALSE(send(gateway, "a").has("x-weir-notice"));
    const Answer second = send(gateway, "b");
    EXPECT_EQ(second.status, 200);
    EXPECT_EQ(second.field("x-weir-notice"), "* 1/4h: 2 of 1 message used, only a warning");
    EXPECT_EQ(second.field("x-ratelimit-limit-requests"), "5");
    EXPECT_EQ(metric(gateway, "weir_messages_warned_total"), 1);
    EXPECT_EQ(send(gateway, "c").status, 200);
    // From 80 % on.
    EXPECT_NE(
        send(gateway, "d").field("x-weir-notice").find("* 5/1d: 4 of 5 messages used"),
        std::string::npos
    );
}

TEST(CapKinds, HitsAndFollowersCountIfTheConfigSaysSo) {
    FakeUpstream upstream(say_with_usage);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: 3/4h}]",
         .cache = "{ttl: 1h, hits: counted}"}
    );
    EXPECT_EQ(send(gateway, "a").field("x-cache"), "MISS");
    for (const std::string left : {"1", "0"}) {
        const Answer hit = send(gateway, "a");
        EXPECT_EQ(hit.field("x-cache"), "HIT");
        EXPECT_EQ(hit.field("x-ratelimit-remaining-requests"), left);
    }
    expect_error(send(gateway, "a"), 429, "insufficient_quota");
    EXPECT_EQ(used(gateway, "alice"), 3);
    EXPECT_EQ(upstream.calls(), 1U);
}

TEST(CapKinds, InputsAndSizesAreThePlansToAllow) {
    FakeUpstream upstream(say_with_usage);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .plan_more = "    inputs: [text]\n    max_input: 2KiB\n    max_output: 100\n"}
    );
    const std::string picture =
        R"({"model":"gpt-4","messages":[{"role":"user","content":[{"type":"text","text":"?"},)"
        R"({"type":"image_url","image_url":{"url":"https://example.org/a.png"}}]}]})";
    const Answer image = ask(gateway.port(), {.key = kAlice, .body = picture, .fields = {}});
    EXPECT_NE(
        expect_error(image, 403, "input_not_allowed").value("message", "").find("plus"),
        std::string::npos
    );
    const std::string response =
        R"({"model":"gpt-4","input":[{"role":"user","content":[{"type":"input_audio"}]}]})";
    expect_error(
        ask(gateway.port(),
            {.path = "/v1/responses", .key = kAlice, .body = response, .fields = {}}),
        403,
        "input_not_allowed"
    );
    EXPECT_EQ(send(gateway, std::string(3000, 'x')).status, 413);
    EXPECT_EQ(upstream.calls(), 0U);
    // The output is held to the plan's limit, whatever the client says.
    EXPECT_EQ(send(gateway, "none").status, 200);
    EXPECT_EQ(json::parse(upstream.seen().back().body)["max_tokens"], 100);
    EXPECT_EQ(send(gateway, "more", "gpt-4", kAlice, false, R"("max_tokens":5000)").status, 200);
    EXPECT_EQ(json::parse(upstream.seen().back().body)["max_tokens"], 100);
    EXPECT_EQ(send(gateway, "less", "gpt-4", kAlice, false, R"("max_tokens":7)").status, 200);
    EXPECT_EQ(json::parse(upstream.seen().back().body)["max_tokens"], 7);
}

TEST(CapKinds, AModelsOutputLimitIsPutInWhereTokensCount) {
    FakeUpstream upstream(say_with_usage);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"gpt-4*\", allow: 100000 tokens/1d}]",
         .more = "models: {gpt-4: {max_output: 77}, o1: {max_output: 77}}\n",
         .cache = "{enabled: false}"}
    );
    EXPECT_EQ(send(gateway, "a").status, 200);
    EXPECT_EQ(json::parse(upstream.seen().back().body)["max_tokens"], 77);
    EXPECT_EQ(send(gateway, "b", "o1").status, 200);  // no cap on tokens covers it
    EXPECT_FALSE(json::parse(upstream.seen().back().body).contains("max_tokens"));
}

TEST(CapKinds, AReloadKeepsWhatWasUsed) {
    FakeUpstream upstream(say_with_usage);
    GatewaySetup setup{
        .upstream_url = upstream.url(),
        .caps = "[{models: \"*\", allow: 3/4h}]",
        .cache = "{enabled: false}"
    };
    TestGateway gateway(setup);
    EXPECT_EQ(send(gateway, "a").status, 200);
    EXPECT_EQ(send(gateway, "b").status, 200);
    setup.caps = "[{models: \"*\", allow: 2/1d fixed}]";
    ASSERT_TRUE(gateway.reload(setup));
    EXPECT_EQ(send(gateway, "c").status, 429);
    setup.caps = "[{models: \"*\", allow: 3/week}]";
    ASSERT_TRUE(gateway.reload(setup));
    EXPECT_EQ(send(gateway, "d").status, 200);
    EXPECT_EQ(send(gateway, "e").status, 429);
    // A cap of the team sees what its keys used before it was there.
    setup.caps = "[]";
    setup.more = "teams: {red: {caps: [{models: \"*\", allow: 3/4h}]}}\n";
    ASSERT_TRUE(gateway.reload(setup));
    EXPECT_EQ(send(gateway, "f", "gpt-4", kBob).status, 429);
}

}  // namespace
}  // namespace weir::test
