// Promise 9 (bounded): every limit has a clear error, and the gateway goes on.
#include "tools.hpp"

namespace weir::test {
namespace {

// All bytes until the gateway closes.
std::string read_to_close(Client& client) {
    std::string raw;
    while (true) {
        const std::string bytes = client.socket().receive();
        if (bytes.empty()) break;
        raw += bytes;
    }
    EXPECT_EQ(client.socket().last_read(), Socket::Read::kClosed);
    return raw;
}

std::string post_head(const std::string& fields) {
    return "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " +
           std::string(kAlice) + "\r\n" + fields + "\r\n";
}

class Limits : public testing::Test {
protected:
    FakeUpstream upstream_{say_an_answer};
    TestGateway gateway_{
        {.upstream_url = upstream_.url(),
         .more =
             "limits: {head: 4KiB, body: 64KiB, bodies: 128KiB, head_time: 1s, body_idle: 500ms, "
             "keep_alive: 1s}\n"}
    };
    void expect_alive() {
        const Answer answer = ask(gateway_.port(), {.key = kAlice, .body = chat_body("alive")});
        EXPECT_EQ(chat_text(answer), "an answer") << answer.raw_head << answer.body;
        EXPECT_TRUE(eventually([&] { return metric(gateway_, "weir_body_bytes") == 0; }));
    }
};

TEST_F(Limits, AHeadTooLargeIs431) {
    const std::string heads[] = {
        post_head("X-Long: " + std::string(5000, 'a') + "\r\n"),
        "GET / HTTP/1.1\r\nX: " + std::string(5000, 'a'),  // it will not end
    };
    for (const std::string& head : heads) {
        Client client(gateway_.port());
        ASSERT_TRUE(client.send(head));
        const Answer answer = client.read_answer();
        expect_error(answer, 431, "request_head_too_large");
        EXPECT_EQ(answer.field("connection"), "close");
    }
    Client target(gateway_.port());
    ASSERT_TRUE(target.send("GET /" + std::string(5000, 'a')));
    expect_error(target.read_answer(), 414, "");
    expect_alive();
}

TEST_F(Limits, ABodyTooLargeIs413ByItsDeclaredLengthAtOnce) {
    Client client(gateway_.port());
    ASSERT_TRUE(client.send(post_head("Content-Length: 65537\r\n")));
    const Answer answer = client.read_answer();  // no byte of the body was sent
    expect_error(answer, 413, "request_too_large");
    EXPECT_EQ(answer.field("connection"), "close");
    expect_alive();
}

TEST_F(Limits, AChunkedBodyTooLargeIs413) {
    Client client(gateway_.port());
    std::string bytes = post_head("Transfer-Encoding: chunked\r\n");
    for (int i = 0; i < 17; ++i) bytes += "1000\r\n" + std::string(4096, ' ') + "\r\n";
    ASSERT_TRUE(client.send(bytes));
    expect_error(client.read_answer(), 413, "request_too_large");
    Client fits(gateway_.port());
    const std::string body = chat_body("chunked");
    std::string chunked = post_head("Transfer-Encoding: chunked\r\n");
    for (const char byte : body) chunked += "1;x=y\r\n" + std::string(1, byte) + "\r\n";
    ASSERT_TRUE(fits.send(chunked + "0\r\nX-Trailer: 1\r\n\r\n"));
    EXPECT_EQ(chat_text(fits.read_answer()), "an answer");
    EXPECT_EQ(upstream_.seen().back().body, body);
    EXPECT_FALSE(upstream_.seen().back().has("x-trailer"));
    expect_alive();
}

// Most clients write their whole body before they read: the answer must still be there then.
TEST(EarlyRefusals, AreReadByClientsThatWriteEverythingFirst) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url(), .more = "limits: {body: 1MiB}\n"});
    const std::string upload(8 << 20, 'a');
    const std::string chunked_upload = "800000\r\n" + upload + "\r\n0\r\n\r\n";
    const std::string sized = "Content-Length: " + std::to_string(upload.size()) + "\r\n\r\n";
    const std::string chunked = "Transfer-Encoding: chunked\r\n\r\n";
    const std::string post = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n";
    const std::string key = "Authorization: Bearer " + std::string(kAlice) + "\r\n";
    const std::string files = "POST /v1/files HTTP/1.1\r\nHost: x\r\n" + key;
    const struct {
        std::string bytes;
        int status;
        const char* code;
    } rows[] = {
        {post + sized + upload, 401, "invalid_api_key"},
        {post + chunked + chunked_upload, 401, "invalid_api_key"},
        {post + key + sized + upload, 413, "request_too_large"},
        {post + key + chunked + chunked_upload, 413, "request_too_large"},
        {files + sized + upload, 403, "endpoint_closed"},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.bytes.substr(0, row.bytes.find("\r\n\r\n")));
        Client client(gateway.port());
        ASSERT_TRUE(client.send(row.bytes));
        const Answer answer = client.read_answer();
        expect_error(answer, row.status, row.code);
        EXPECT_EQ(answer.field("connection"), "close");
        EXPECT_TRUE(client.socket().receive().empty());
        EXPECT_EQ(client.socket().last_read(), Socket::Read::kClosed);
    }
    EXPECT_EQ(upstream.calls(), 0U);
}

TEST(EarlyRefusals, OutsideV1NoBodyIsAskedFor) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url()});
    const std::string large = chat_body(std::string(70'000, 'a'));
    const struct {
        Ask request;
        int status;
        const char* code;
    } rows[] = {
        // The base URL without its /v1: the answer says so.
        {{.path = "/chat/completions", .key = kAlice, .body = large}, 404, "not_found"},
        {{.path = "/healthz", .body = large}, 405, "method_not_allowed"},
        {{.path = "/api/admin/keys", .body = large}, 401, "missing_admin_token"},
        {{.path = "/api/admin/keys", .key = kAlice, .body = large}, 401, "invalid_admin_token"},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.request.path);
        const Answer whole = ask(gateway.port(), row.request);
        const auto error = expect_error(whole, row.status, row.code);
        if (row.status == 404) {
            EXPECT_NE(error.value("message", "").find("/v1"), std::string::npos) << error;
        }
        // Nor does waiting for leave to send one help.
        Client client(gateway.port());
        Ask waits = row.request;
        waits.fields = {{"Expect", "100-continue"}};
        const std::string bytes = waits.bytes();
        ASSERT_TRUE(client.send(bytes.substr(0, bytes.size() - large.size())));
        const std::string raw = client.socket().receive();
        EXPECT_TRUE(raw.starts_with("HTTP/1.1 " + std::to_string(row.status))) << raw;
    }
    // With the token it is.
    Client administrator(gateway.port());
    const std::string call =
        Ask{.path = "/api/admin/keys",
            .key = gateway.admin_token(),
            .body = R"({"name":"dora","plan":"plus"})",
            .fields = {{"Expect", "100-continue"}}
        }.bytes();
    ASSERT_TRUE(administrator.send(call.substr(0, call.find("\r\n\r\n") + 4)));
    EXPECT_TRUE(administrator.socket().receive().starts_with("HTTP/1.1 100 "));
    ASSERT_TRUE(administrator.send(call.substr(call.find("\r\n\r\n") + 4)));
    EXPECT_EQ(administrator.read_answer().status, 201);
}

TEST_F(Limits, ASlowHeadIs408) {
    Client client(gateway_.port());
    ASSERT_TRUE(client.send("POST /v1/chat/comp"));
    expect_error(client.read_answer(), 408, "request_timeout");
    // Dripping does not prolong it.
    Client drip(gateway_.port());
    std::thread dripper([&] {
        for (int i = 0; i < 100 && drip.send("x"); ++i) std::this_thread::sleep_for(50ms);
    });
    const std::string raw = read_to_close(drip);
    dripper.join();
    EXPECT_TRUE(raw.starts_with("HTTP/1.1 408 ")) << raw;
    // Who says nothing at all is closed without a word.
    Client silent(gateway_.port());
    EXPECT_EQ(read_to_close(silent), "");
    expect_alive();
}

TEST_F(Limits, ASlowBodyIs408) {
    for (const char* const framing :
         {"Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"}) {
        Client client(gateway_.port());
        ASSERT_TRUE(client.send(post_head(framing) + "5\r\n{\"a\":"));
        expect_error(client.read_answer(), 408, "request_timeout");
    }
    expect_alive();
}

TEST_F(Limits, AnIdleConnectionIsClosedWithoutAWord) {
    Client client(gateway_.port());
    ASSERT_TRUE(client.send(Ask{.key = kAlice, .body = chat_body("x")}.bytes()));
    EXPECT_EQ(client.read_answer().status, 200);
    EXPECT_EQ(read_to_close(client), "");
}

TEST(Bodies, TogetherTheyFitTheirBudget) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway(
        {.upstream_url = upstream.url(), .more = "limits: {body: 256KiB, bodies: 256KiB}\n"}
    );
    const std::string body = chat_body(std::string(200 << 10, 'a'));
    const std::string bytes = post_head("Content-Length: " + std::to_string(body.size()) + "\r\n");
    Client first(gateway.port());
    ASSERT_TRUE(first.send(bytes + body.substr(0, body.size() - 1)));
    ASSERT_TRUE(eventually([&] { return metric(gateway, "weir_body_bytes") >= 200 << 10; }));
    Client second(gateway.port());
    ASSERT_TRUE(second.send(bytes + body));
    const Answer refused = second.read_answer();
    expect_error(refused, 503, "overloaded");
    EXPECT_EQ(refused.field("retry-after"), "1");
    ASSERT_TRUE(first.send(body.substr(body.size() - 1)));
    EXPECT_EQ(chat_text(first.read_answer()), "an answer");
    EXPECT_TRUE(eventually([&] { return metric(gateway, "weir_body_bytes") == 0; }));
    EXPECT_EQ(ask(gateway.port(), {.key = kAlice, .body = body}).status, 200);
}

TEST(ConnectionLimit, OneTooManyGets503AndTheOthersGoOn) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url(), .more = "limits: {connections: 4}\n"});
    std::vector<Client> clients;
    for (int i = 0; i < 4; ++i) {
        Client& client = clients.emplace_back(gateway.port());
        ASSERT_TRUE(client.send(Ask{.method = "GET", .path = "/healthz"}.bytes()));
        EXPECT_EQ(client.read_answer().status, 200);
    }
    Client fifth(gateway.port());
    const Answer refused = fifth.read_answer();  // unasked
    expect_error(refused, 503, "overloaded");
    EXPECT_EQ(refused.field("retry-after"), "1");
    ASSERT_TRUE(clients[0].send(Ask{.key = kAlice, .body = chat_body("x")}.bytes()));
    EXPECT_EQ(chat_text(clients[0].read_answer()), "an answer");
    clients.pop_back();
    EXPECT_TRUE(eventually([&] {
        return ask(gateway.port(), {.method = "GET", .path = "/healthz"}).status == 200;
    }));
}

// ---- framing that two readers could take for different requests

TEST(Framing, WhatIsAmbiguousIsRefusedAndTheConnectionClosed) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url(), .workers = 1});
    const std::string key = "Authorization: Bearer " + std::string(kAlice) + "\r\n";
    const std::string hidden = Ask{.key = kAlice, .body = chat_body("smuggled")}.bytes();
    const std::string post = "POST /v1/chat/completions HTTP/1.1\r\n";
    const std::string rows[] = {
        post + "Host: x\r\n" + key +
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        post + "Host: x\r\n" + key +
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        post + "Host: x\r\n" + key + "Transfer-Encoding: gzip\r\n\r\n",
        post + "Host: x\r\n" + key + "Transfer-Encoding: identity\r\n\r\n",
        post + "Host: x\r\n" + key + "Transfer-Encoding: chunked, gzip\r\n\r\n",
        post + "Host: x\r\n" + key + "Transfer-Encoding: gzip, chunked\r\n\r\n",
        post + "Host: x\r\n" + key + "Transfer-Encoding: xchunked\r\n\r\n",
        post + "Host: x\r\n" + key + "Transfer-Encoding:\r\n\r\n",
        post + "Host: x\r\n" + key + "Transfer-Encoding : chunked\r\n\r\n",
        post + "Host: x\r\n" + key +
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        post + "Host: x\r\n" + key + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
        post + "Host: x\r\n" + key + "Content-Length: 0, 0\r\n\r\n",
        post + "Host: x\r\n" + key + "Content-Length: +2\r\n\r\n",
        post + "Host: x\r\n" + key + "Content-Length: -1\r\n\r\n",
        post + "Host: x\r\n" + key + "Content-Length: 0x2\r\n\r\n",
        post + "Host: x\r\n" + key + "Content-Length: 99999999999999999999\r\n\r\n",
        post + "Host: x\r\nHost: y\r\n" + key + "\r\n",
        post + key + "Content-Length: 0\r\n\r\n",
        post + "Host: x\r\n" + key + "X: a\r\n folded\r\n\r\n",
        post + "Host: x\r\n" + key + "X: a\nContent-Length: 0\r\n\r\n",
        post + "Host: x\r\n" + key + "X: a\rb\r\n\r\n",
        post + "Host: x\r\n" + key + std::string("X: a\0b\r\n\r\n", 10),
        post + "Host: x\r\n" + key + key + "\r\n",
        "POST /v1/chat/completions HTTP/1.0\r\n" + key +
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        post + "Host: x\r\n" + key + "Transfer-Encoding: chunked\r\n\r\n5\n{\"a\":\r\n0\r\n\r\n",
        post + "Host: x\r\n" + key + "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        post + "Host: x\r\n" + key + "Transfer-Encoding: chunked\r\n\r\n3\r\n{}  \r\n0\r\n\r\n",
        "POST  /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + key + "\r\n",
        "POST http://x/v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + key + "\r\n",
        "\x16\x03\x01\x02\r\n\r\n",
    };
    for (const std::string& row : rows) {
        SCOPED_TRACE(row);
        Client client(gateway.port());
        ASSERT_TRUE(client.send(row + hidden));
        const std::string raw = read_to_close(client);
        EXPECT_TRUE(raw.starts_with("HTTP/1.1 400 ")) << raw;
        EXPECT_EQ(count(raw, "HTTP/1.1 "), 1U) << raw;
        EXPECT_NE(raw.find("\"error\":{\"message\":"), std::string::npos);
    }
    EXPECT_EQ(upstream.calls(), 0U);
}

TEST(Framing, OtherRefusalsHaveTheirOwnStatus) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url(), .workers = 1});
    const struct {
        const char* bytes;
        int status;
        const char* code;
    } rows[] = {
        {"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"},
        {"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"},
        {"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"},
        {"get / HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"},
        {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 400, ""},
        {"GET / HTTP/1.1\r\nHost: x\r\nExpect: more\r\n\r\n", 417, ""},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.bytes);
        Client client(gateway.port());
        ASSERT_TRUE(client.send(row.bytes));
        const Answer answer = client.read_answer();
        const auto error = expect_error(answer, row.status, row.code);
        EXPECT_EQ(error.value("type", ""), "invalid_request_error");
        EXPECT_EQ(answer.has("allow"), row.status == 405);
        EXPECT_EQ(answer.field("connection"), "close");
    }
}

// ---- bodies that are not what the API takes

TEST(BadJson, Is400AndTheConnectionStaysUsable) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway(
        {.upstream_url = upstream.url(), .caps = "[{models: \"*\", allow: 9/4h}]", .workers = 1}
    );
    const std::string deep(100'000, '[');
    const std::string bodies[] = {
        "",
        " ",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{\"model\":\"gpt-4\",\"messages\":[}",
        "{\"model\":\"gpt-4\",\"messages\":[],}",
        "{'model':'gpt-4'}",
        "{\"model\":\"gpt-4\",\"messages\":[]} x",
        "{\"model\":\"gpt-4\",\"messages\":[],\"n\":01}",
        "{\"model\":\"gpt-4\",\"messages\":[],\"n\":NaN}",
        "{\"model\":\"gpt-4\",\"model\":\"gpt-3\",\"messages\":[]}",
        "{\"model\":\"gpt-4\",\"messages\":[],\"a\":{\"b\":1,\"\\u0062\":2}}",
        "{\"model\":\"gpt-4\",\"messages\":[],\"x\":" + deep,
        "{\"model\":\"gpt-4\",\"x\":" + std::string(70, '[') + std::string(70, ']') + "}",
        "{\"model\":\"gpt-4\",\"messages\":[\"\xff\"]}",
        "{\"model\":\"gpt-4\",\"messages\":[\"\xc0\xaf\"]}",
        "{\"model\":\"gpt-4\",\"messages\":[\"\xed\xa0\x80\"]}",
        "{\"model\":\"gpt-4\",\"messages\":[\"a\nb\"]}",
        "{\"model\":7,\"messages\":[]}",
        "{\"model\":\"gpt-4\",\"messages\":[],\"stream\":\"yes\"}",
        "{\"messages\":[]}",
        std::string("{\"model\":\"gpt-4\"}\0", 18),
    };
    Client client(gateway.port());
    for (const std::string& body : bodies) {
        SCOPED_TRACE(body.substr(0, 100));
        ASSERT_TRUE(client.send(Ask{.key = kAlice, .body = body}.bytes()));
        const Answer answer = client.read_answer();
        const auto json = nlohmann::json::parse(answer.body, nullptr, false);
        ASSERT_TRUE(json.is_object()) << answer.raw_head << answer.body;
        const auto code = json["error"]["code"];
        const auto error =
            expect_error(answer, 400, code.is_string() ? code.get<std::string>() : "");
        EXPECT_EQ(error.value("type", ""), "invalid_request_error");
        EXPECT_FALSE(answer.has("connection"));
        EXPECT_TRUE(answer.field("x-request-id").starts_with("req_"));
    }
    EXPECT_EQ(upstream.calls(), 0U);
    EXPECT_EQ(used(gateway, "alice"), 0);
    ASSERT_TRUE(client.send(Ask{.key = kAlice, .body = chat_body("x")}.bytes()));
    EXPECT_EQ(chat_text(client.read_answer()), "an answer");
}

TEST(BadJson, OtherRefusalsKeepTheConnectionAsWell) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .workers = 1,
         .plan_more = "    models: [\"gpt-*\"]\n    deny: [\"gpt-4-32k*\"]\n"}
    );
    Client client(gateway.port());
    const auto send = [&](const Ask& request) {
        EXPECT_TRUE(client.send(request.bytes()));
        return client.read_answer();
    };
    const std::string fine = chat_body("x");
    expect_error(send({.key = "nobody-knows-this-key", .body = fine}), 401, "invalid_api_key");
    expect_error(send({.body = fine}), 401, "invalid_api_key");
    expect_error(send({.path = "/v1/nothing", .key = kAlice, .body = fine}), 404, "not_found");
    expect_error(send({.method = "PUT", .key = kAlice}), 405, "method_not_allowed");
    expect_error(send({.path = "/v1/files", .key = kAlice, .body = fine}), 403, "endpoint_closed");
    expect_error(
        send({.path = "/v1/organization/users", .key = kAlice, .body = fine}),
        403,
        "endpoint_closed"
    );
    expect_error(
        send({.key = kAlice, .body = chat_body("x", false, "o1")}), 403, "model_not_allowed"
    );
    expect_error(
        send({.key = kAlice, .body = chat_body("x", false, "GPT-4-32K-0613")}),
        403,
        "model_not_allowed"
    );
    expect_error(
        send({.key = kAlice, .body = fine, .fields = {{"Content-Encoding", "gzip"}}}),
        415,
        "unsupported_encoding"
    );
    EXPECT_EQ(send({.path = "/nothing", .body = fine}).status, 404);
    EXPECT_EQ(upstream.calls(), 0U);
    EXPECT_EQ(chat_text(send({.key = kAlice, .body = fine})), "an answer");
}

}  // namespace
}  // namespace weir::test
