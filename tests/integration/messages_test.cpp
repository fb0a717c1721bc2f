// Anthropic's API: /v1/messages and what belongs to it, as its SDK sees it.
#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tools.hpp"

namespace weir::test {
namespace {

using Json = nlohmann::json;

constexpr char kMessages[] = "/v1/messages";
constexpr char kModel[] = "claude-sonnet-4-5";

std::string message_body(std::string_view content, bool stream = false, std::string more = "") {
    const std::string begin = R"({"model":")" + std::string(kModel) + R"(","max_tokens":100)";
    if (stream) more += R"(,"stream":true)";
    return begin + more + R"(,"messages":[{"role":"user","content":)" + Json(content).dump() +
           "}]}";
}

// As Anthropic's SDK asks.
Ask request(std::string body, std::string path = kMessages) {
    return {
        .path = std::move(path),
        .key = {},
        .body = std::move(body),
        .fields = {{"x-api-key", kAlice}, {"anthropic-version", "2023-06-01"}}
    };
}

Answer message(
    const TestGateway& gateway,
    std::string_view content,
    bool stream = false,
    const std::string& more = ""
) {
    return ask(gateway.port(), request(message_body(content, stream, more)));
}

std::string event_of(const Json& event) {
    return "event: " + event["type"].get<std::string>() + "\ndata: " + event.dump() + "\n\n";
}

Json begun_message() {
    return {
        {"id", "msg_1"},
        {"type", "message"},
        {"role", "assistant"},
        {"model", kModel},
        {"content", Json::array()},
        {"stop_reason", nullptr},
        {"stop_sequence", nullptr},
        {"usage", {{"input_tokens", 3}, {"cache_read_input_tokens", 40}, {"output_tokens", 1}}}
    };
}

// The events up to the text of a message.
std::vector<std::string> beginning(std::string_view content) {
    return {
        event_of({{"type", "message_start"}, {"message", begun_message()}}),
        event_of(
            {{"type", "content_block_start"},
             {"index", 0},
             {"content_block", {{"type", "text"}, {"text", ""}}}}
        ),
        event_of({{"type", "ping"}}),
        event_of(
            {{"type", "content_block_delta"},
             {"index", 0},
             {"delta", {{"type", "text_delta"}, {"text", content}}}}
        ),
    };
}

std::vector<std::string> ending() {
    return {
        event_of({{"type", "content_block_stop"}, {"index", 0}}),
        event_of(
            {{"type", "message_delta"},
             {"delta", {{"stop_reason", "end_turn"}, {"stop_sequence", nullptr}}},
             {"usage", {{"output_tokens", 7}}}}
        ),
        event_of({{"type", "message_stop"}}),
    };
}

Json whole_message(std::string_view content) {
    Json whole = begun_message();
    whole["content"] = Json::array({{{"type", "text"}, {"text", content}}});
    whole["stop_reason"] = "end_turn";
    whole["usage"]["output_tokens"] = 7;
    return whole;
}

void say_a_message(Wire& wire, const SeenRequest& request) {
    if (request.body.find(R"("stream":true)") == std::string::npos) {
        wire.json(whole_message("an answer").dump());
        return;
    }
    wire.begin_stream();
    for (const auto& events : {beginning("an answer"), ending()}) {
        for (const std::string& event : events) wire.chunk(event);
    }
    wire.last_chunk();
}

GatewaySetup setup(const FakeUpstream& upstream, std::string caps = "[]") {
    return {
        .upstream_url = upstream.url(),
        .caps = std::move(caps),
        .upstream_more = ", kind: anthropic"
    };
}

// What its SDK makes of the events of a stream, up to the first error.
struct Read {
    std::string text;
    std::string stop_reason;
    std::string error;
    bool stopped = false;
};
Read read_stream(const std::string& body) {
    Read read;
    for (std::size_t at = body.find("data: "); at != std::string::npos;
         at = body.find("data: ", at + 1)) {
        const std::string data = body.substr(at + 6, body.find('\n', at) - at - 6);
        const Json event = Json::parse(data, nullptr, false);
        if (!event.is_object()) {
            ADD_FAILURE() << "not an event: " << data;
            continue;
        }
        const std::string type = event.value("type", "");
        if (type == "content_block_delta") read.text += event["delta"].value("text", "");
        if (type == "message_delta") read.stop_reason = event["delta"].value("stop_reason", "");
        if (type == "message_stop") read.stopped = true;
        if (type == "error") read.error = event["error"].value("type", "");
    }
    return read;
}

// The error object of a refusal, after a look at its shape.
Json expect_refusal(const Answer& answer, int status, std::string_view type) {
    EXPECT_EQ(answer.status, status) << answer.raw_head << answer.body;
    EXPECT_TRUE(answer.complete);
    const Json json = parsed(answer);
    EXPECT_EQ(json.value("type", ""), "error") << answer.body;
    const Json error = json.value("error", Json::object());
    EXPECT_EQ(error.value("type", ""), type) << answer.body;
    EXPECT_FALSE(error.value("message", "").empty()) << answer.body;
    EXPECT_EQ(error.size(), 2U) << answer.body;
    EXPECT_EQ(answer.field("request-id"), answer.field("x-request-id")) << answer.raw_head;
    EXPECT_EQ(answer.body.find(kUpstreamKey), std::string::npos);
    EXPECT_EQ(answer.body.find("127.0.0.1"), std::string::npos) << answer.body;
    return error;
}

TEST(Messages, PassAsTheyAre) {
    FakeUpstream upstream(say_a_message);
    TestGateway gateway(setup(upstream));
    const std::string body = message_body("plain");
    const Answer plain = ask(gateway.port(), request(body));
    ASSERT_EQ(plain.status, 200) << plain.body;
    EXPECT_EQ(plain.body, whole_message("an answer").dump());
    EXPECT_TRUE(plain.field("request-id").starts_with("req_"));
    EXPECT_EQ(plain.field("request-id"), plain.field("x-request-id"));

    const Answer streamed = message(gateway, "streamed", true);
    ASSERT_EQ(streamed.status, 200);
    std::string all;
    for (const auto& events : {beginning("an answer"), ending()}) {
        for (const std::string& event : events) all += event;
    }
    EXPECT_EQ(streamed.body, all);
    EXPECT_TRUE(streamed.complete);

    const auto seen = upstream.seen();
    ASSERT_EQ(seen.size(), 2U);
    EXPECT_EQ(seen[0].target, kMessages);
    EXPECT_EQ(seen[0].body, body);
    EXPECT_EQ(seen[0].field("anthropic-version"), "2023-06-01");
    for (const SeenRequest& one : seen) {
        for (const auto& [name, value] : one.fields) {
            EXPECT_EQ(value.find(kAlice), std::string::npos) << name;
        }
    }
}

TEST(Messages, ABearerKeyIsAsGood) {
    FakeUpstream upstream(say_a_message);
    TestGateway gateway(setup(upstream));
    const Answer answer = ask(
        gateway.port(),
        {.path = "/v1/messages?beta=true", .key = kAlice, .body = message_body("x"), .fields = {}}
    );
    EXPECT_EQ(answer.status, 200) << answer.body;
    ASSERT_EQ(upstream.calls(), 1U);
    EXPECT_EQ(upstream.seen()[0].target, "/v1/messages?beta=true");
}

TEST(Messages, StreamAndPlainServeEachOther) {
    FakeUpstream upstream(say_a_message);
    TestGateway gateway(setup(upstream));
    // Each kind asked first once.
    for (const bool stream : {true, false}) {
        const std::string question = stream ? "streamed first" : "plain first";
        EXPECT_EQ(message(gateway, question, stream).field("x-cache"), "MISS");
        const Answer plain = message(gateway, question, false);
        EXPECT_EQ(plain.field("x-cache"), "HIT");
        EXPECT_EQ(plain.field("content-type"), "application/json");
        EXPECT_EQ(parsed(plain), whole_message("an answer"));
        EXPECT_EQ(plain.field("x-weir-saved-tokens"), "50");
        const Answer streamed = message(gateway, question, true);
        EXPECT_EQ(streamed.field("x-cache"), "HIT");
        const Read read = read_stream(streamed.body);
        EXPECT_EQ(read.text, "an answer");
        EXPECT_EQ(read.stop_reason, "end_turn");
        EXPECT_TRUE(read.stopped);
    }
    EXPECT_EQ(upstream.calls(), 2U);
}

TEST(Messages, EqualOnesShareOneCall) {
    Steps go;
    FakeUpstream upstream([&go](Wire& wire, const SeenRequest&) {
        wire.begin_stream();
        for (const std::string& event : beginning("shared")) wire.chunk(event);
        EXPECT_TRUE(go.wait());
        for (const std::string& event : ending()) wire.chunk(event);
        wire.last_chunk();
    });
    TestGateway gateway(setup(upstream));
    Client first(gateway.port());
    ASSERT_TRUE(first.send(request(message_body("x", true)).bytes()));
    Answer streamed = first.read_head();
    Client second(gateway.port());
    ASSERT_TRUE(second.send(request(message_body("x")).bytes()));
    ASSERT_TRUE(eventually([&] { return metric(gateway, "weir_flights_joined_total") == 1; }));
    go.pass();
    first.read_body(streamed);
    EXPECT_EQ(read_stream(streamed.body).text, "shared");
    const Answer plain = second.read_answer();
    EXPECT_EQ(plain.field("x-weir-flight"), "joined") << plain.raw_head;
    EXPECT_EQ(parsed(plain), whole_message("shared"));
    EXPECT_EQ(upstream.calls(), 1U);
}

TEST(Messages, WhatActsOrIsCutShortIsNotKept) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        Json whole = whole_message("an answer");
        if (request.body.find("paused") != std::string::npos) whole["stop_reason"] = "pause_turn";
        if (request.body.find("refused") != std::string::npos) whole["stop_reason"] = "refusal";
        if (request.body.find("limited") != std::string::npos) whole["stop_reason"] = "max_tokens";
        wire.json(whole.dump());
    });
    TestGateway gateway(setup(upstream));
    struct Row {
        const char* content;
        const char* more;
        const char* first;
        const char* second;
    };
    for (const Row& row : {
             Row{"limited", "", "MISS", "HIT"},
             Row{"paused", "", "MISS", "MISS"},
             Row{"refused", "", "MISS", "MISS"},
             Row{"searches",
                 R"(,"tools":[{"type":"web_search_20250305","name":"web_search"}])",
                 "BYPASS",
                 "BYPASS"},
             Row{"remote", R"(,"mcp_servers":[{"type":"url","url":"u"}])", "BYPASS", "BYPASS"},
             Row{"client's tools",
                 R"(,"tools":[{"type":"bash_20250124","name":"bash"},{"name":"f","input_schema":{}}])",
                 "MISS",
                 "HIT"},
         }) {
        EXPECT_EQ(message(gateway, row.content, false, row.more).field("x-cache"), row.first)
            << row.content;
        EXPECT_EQ(message(gateway, row.content, false, row.more).field("x-cache"), row.second)
            << row.content;
    }
    // A version is a part of the question.
    Ask other = request(message_body("limited"));
    other.fields[1].second = "2099-01-01";
    EXPECT_EQ(ask(gateway.port(), other).field("x-cache"), "MISS");
}

TEST(Messages, ASpentCapSpeaksAnthropicsLanguage) {
    FakeUpstream upstream(say_a_message);
    TestGateway gateway(setup(
        upstream, "[{models: \"claude-*\", allow: 1/4h}, {models: \"*\", allow: 1000000 tokens/1d}]"
    ));
    const Answer first = message(gateway, "one");
    ASSERT_EQ(first.status, 200) << first.body;
    EXPECT_EQ(first.field("anthropic-ratelimit-requests-limit"), "1");
    EXPECT_EQ(first.field("anthropic-ratelimit-requests-remaining"), "0");
    const std::string reset = first.field("anthropic-ratelimit-requests-reset");
    EXPECT_EQ(reset.size(), 20U) << reset;
    EXPECT_TRUE(reset.ends_with("Z")) << reset;
    EXPECT_EQ(first.field("anthropic-ratelimit-tokens-limit"), "1000000");
    EXPECT_TRUE(first.has("ratelimit-policy"));
    EXPECT_FALSE(first.has("x-ratelimit-limit-requests"));

    const Answer second = message(gateway, "two");
    const Json error = expect_refusal(second, 429, "rate_limit_error");
    EXPECT_NE(error["message"].get<std::string>().find("1 of 1 message"), std::string::npos);
    EXPECT_EQ(second.field("x-should-retry"), "false");
    EXPECT_GT(std::stoi(second.field("retry-after")), 4 * 3600 - 60);
    EXPECT_EQ(parsed(second)["request_id"], second.field("request-id"));
    EXPECT_EQ(second.field("anthropic-ratelimit-requests-remaining"), "0");
    // What the answer took: also what came out of the upstream's cache. The message that is gone
    // took 3 + 40 + 7.
    EXPECT_EQ(second.field("anthropic-ratelimit-tokens-remaining"), "999950");
    EXPECT_EQ(upstream.calls(), 1U);
}

TEST(Messages, AnotherModelAnswersWhenACapIsUsedUp) {
    FakeUpstream upstream(say_a_message);
    TestGateway gateway(
        setup(upstream, "[{models: \"claude-sonnet-*\", allow: 1/4h, then: claude-haiku-4-5}]")
    );
    EXPECT_EQ(message(gateway, "one").status, 200);
    const Answer second = message(gateway, "two", true);
    EXPECT_EQ(second.status, 200) << second.body;
    EXPECT_NE(second.field("x-weir-fallback").find("-> claude-haiku-4-5"), std::string::npos);
    const auto seen = upstream.seen();
    ASSERT_EQ(seen.size(), 2U);
    EXPECT_EQ(Json::parse(seen[1].body)["model"], "claude-haiku-4-5");
}

TEST(Messages, APlansLimitBoundsTheAnswer) {
    FakeUpstream upstream(say_a_message);
    GatewaySetup with_limit = setup(upstream);
    with_limit.plan_more = "    max_output: 10\n    inputs: [text]\n";
    TestGateway gateway(with_limit);
    EXPECT_EQ(message(gateway, "x").status, 200);
    EXPECT_EQ(Json::parse(upstream.seen().at(0).body)["max_tokens"], 10);
    const std::string picture =
        R"({"model":"claude","max_tokens":9,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]}]})";
    expect_refusal(ask(gateway.port(), request(picture)), 403, "permission_error");
    const std::string document =
        R"({"model":"claude","max_tokens":9,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"url","url":"https://x/a.pdf"}}]}]})";
    expect_refusal(ask(gateway.port(), request(document)), 403, "permission_error");
    EXPECT_EQ(upstream.calls(), 1U);
}

TEST(Messages, RefusalsHaveAnthropicsShape) {
    FakeUpstream upstream(say_a_message);
    GatewaySetup narrow = setup(upstream);
    narrow.plan_more = "    deny: [\"claude-opus*\"]\n";
    narrow.more = "limits: {body: 4KiB}\n";
    TestGateway gateway(narrow);
    const std::uint16_t port = gateway.port();

    Ask none = request(message_body("x"));
    none.fields.clear();
    expect_refusal(ask(port, none), 401, "authentication_error");
    Ask wrong = request(message_body("x"));
    wrong.fields[0].second = "sk-nobody-0123456789";
    const Answer unknown = ask(port, wrong);
    expect_refusal(unknown, 401, "authentication_error");
    EXPECT_EQ(unknown.body.find("sk-nobody"), std::string::npos);

    expect_refusal(ask(port, request("{\"model\":")), 400, "invalid_request_error");
    expect_refusal(ask(port, request(R"({"max_tokens":1})")), 400, "invalid_request_error");
    expect_refusal(
        ask(port, request(R"({"model":"claude-opus-4","max_tokens":1})")), 403, "permission_error"
    );
    expect_refusal(ask(port, request("{}", "/v1/messages/batches")), 403, "permission_error");
    expect_refusal(ask(port, request("{}", "/v1/messages/nothing")), 404, "not_found_error");
    Ask get = request("");
    get.method = "GET";
    expect_refusal(ask(port, get), 405, "invalid_request_error");
    expect_refusal(
        ask(port, request(message_body(std::string(5000, 'x')))), 413, "request_too_large"
    );
    const std::string file =
        R"({"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"file","file_id":"file_1"}}]}]})";
    expect_refusal(ask(port, request(file)), 403, "permission_error");
    expect_refusal(
        ask(port, request(R"({"model":"m","max_tokens":1,"container":"c_1","messages":[]})")),
        403,
        "permission_error"
    );
    EXPECT_EQ(upstream.calls(), 0U);
}

TEST(Messages, OnlyUpstreamsOfTheirKindServeThem) {
    FakeUpstream openai(say_an_answer);
    TestGateway gateway({.upstream_url = openai.url()});
    const Json error = expect_refusal(message(gateway, "x"), 404, "not_found_error");
    EXPECT_NE(error["message"].get<std::string>().find("kind: anthropic"), std::string::npos);
    EXPECT_EQ(openai.calls(), 0U);

    FakeUpstream anthropic(say_a_message);
    TestGateway other(setup(anthropic));
    expect_error(send(other, "x", kModel), 404, "model_not_found");
    EXPECT_EQ(anthropic.calls(), 0U);
}

TEST(Messages, TheModelsOfTheirUpstreamsAreListed) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) {
        wire.json(
            R"({"data":[{"type":"model","id":"claude-x","created_at":"1970-01-02T00:00:00Z"}]})"
        );
    });
    TestGateway gateway(setup(upstream));
    const Answer listed =
        ask(gateway.port(),
            {.method = "GET", .path = "/v1/models", .key = kAlice, .body = {}, .fields = {}});
    const Json expected = {
        {"id", "claude-x"}, {"object", "model"}, {"created", 86'400}, {"owned_by", "fake"}
    };
    EXPECT_EQ(parsed(listed)["data"], Json::array({expected}));
    EXPECT_EQ(upstream.seen().at(0).target, "/v1/models?limit=1000");
}

TEST(Messages, WhatTheUpstreamRefusesIsTold) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        const int status = Json::parse(request.body)["max_tokens"].get<int>();
        const std::string_view type = status == 400   ? "invalid_request_error"
                                      : status == 429 ? "rate_limit_error"
                                      : status == 401 ? "authentication_error"
                                                      : "overloaded_error";
        const Json body = {
            {"type", "error"},
            {"error", {{"type", type}, {"message", "key upstream-secret-key-1234"}}},
            {"request_id", "req_theirs"}
        };
        wire.json(
            body.dump(),
            status,
            "request-id: req_theirs\r\nanthropic-ratelimit-requests-remaining: 0\r\n"
        );
    });
    GatewaySetup once = setup(upstream, "[{models: \"*\", allow: 9/4h}]");
    once.retry = "{attempts: 1}";
    TestGateway gateway(once);
    const auto refused = [&](int status) {
        return ask(
            gateway.port(),
            request(
                R"({"model":"claude","messages":[],"max_tokens":)" + std::to_string(status) + "}"
            )
        );
    };
    const Answer bad = refused(400);
    expect_refusal(bad, 400, "invalid_request_error");
    EXPECT_EQ(parsed(bad)["request_id"], "req_theirs");
    EXPECT_EQ(bad.field("x-upstream-request-id"), "req_theirs");
    const Answer key = refused(401);
    expect_refusal(key, 502, "api_error");
    expect_refusal(refused(529), 529, "overloaded_error");
    expect_refusal(refused(429), 429, "rate_limit_error");  // and is left alone from then on
    // Nothing of it was counted, and the upstream's numbers are not the client's.
    EXPECT_EQ(key.field("anthropic-ratelimit-requests-remaining"), "9");
}

TEST(Messages, AStreamThatBreaksOffEndsInAnErrorEvent) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        wire.begin_stream();
        for (const std::string& event : beginning("half")) wire.chunk(event);
        if (request.body.find("fails") != std::string::npos) {
            wire.chunk(event_of(
                {{"type", "error"},
                 {"error", {{"type", "overloaded_error"}, {"message", "Overloaded"}}}}
            ));
            wire.last_chunk();
        } else if (request.body.find("clean") != std::string::npos) {
            wire.last_chunk();
        } else {
            wire.reset();
        }
    });
    TestGateway gateway(setup(upstream, "[{models: \"*\", allow: 9/4h}]"));
    for (const char* const how : {"clean", "reset"}) {
        const Answer broken = message(gateway, how, true);
        EXPECT_EQ(broken.status, 200);
        EXPECT_TRUE(broken.complete);
        const Read read = read_stream(broken.body);
        EXPECT_EQ(read.text, "half");
        EXPECT_FALSE(read.stopped);
        EXPECT_EQ(read.error, "api_error") << broken.body;
        EXPECT_NE(broken.body.find("event: error\ndata: {\"type\":\"error\""), std::string::npos);
        EXPECT_EQ(message(gateway, how, true).field("x-cache"), "MISS");  // nothing was kept
    }
    EXPECT_EQ(read_stream(message(gateway, "fails", true).body).error, "overloaded_error");
    EXPECT_EQ(used(gateway, "alice"), 0);
}

TEST(Messages, CountingIsFree) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) {
        wire.json(R"({"input_tokens":14})");
    });
    TestGateway gateway(setup(upstream, "[{models: \"*\", allow: 1/4h}]"));
    for (int i = 0; i < 3; ++i) {
        const Answer counted =
            ask(gateway.port(),
                request(R"({"model":"claude","messages":[]})", "/v1/messages/count_tokens"));
        EXPECT_EQ(counted.status, 200) << counted.body;
        EXPECT_EQ(counted.body, R"({"input_tokens":14})");
        EXPECT_FALSE(counted.has("x-cache"));
    }
    EXPECT_EQ(upstream.calls(), 3U);
    EXPECT_EQ(upstream.seen()[0].target, "/v1/messages/count_tokens");
    EXPECT_EQ(used(gateway, "alice"), 0);
}

TEST(Messages, TheDemoAnswersThemToo) {
    TestGateway gateway({});
    const Answer plain = message(gateway, "What is a weir?");
    ASSERT_EQ(plain.status, 200) << plain.body;
    const std::string text = parsed(plain)["content"][0]["text"];
    EXPECT_NE(text.find("What is a weir?"), std::string::npos);
    const Answer streamed = message(gateway, "And streamed?", true);
    const Read read = read_stream(streamed.body);
    EXPECT_NE(read.text.find("And streamed?"), std::string::npos);
    EXPECT_EQ(read.stop_reason, "end_turn");
    EXPECT_TRUE(read.stopped);
    expect_refusal(
        ask(gateway.port(), request(R"({"model":"claude","messages":[]})")),
        400,
        "invalid_request_error"
    );
}

}  // namespace
}  // namespace weir::test
