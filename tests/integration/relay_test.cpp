// Requests and answers as they pass: framing of every kind, header hygiene, bytes untouched.
#include "tools.hpp"

namespace weir::test {
namespace {

constexpr char kSpeech[] = R"({"model":"tts-1","input":"x","voice":"alloy"})";

TEST(Relay, PassesOnAnyContentHoweverItIsFramed) {
    std::string bytes;
    for (int i = 0; i < 300'000; ++i) bytes += static_cast<char>(i * 7 + i / 256);
    const std::string head = "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n";
    const std::function<void(Wire&)> framings[] = {
        [&](Wire& wire) {
            wire.send(
                head + "Content-Length: " + std::to_string(bytes.size()) + "\r\n\r\n" + bytes
            );
        },
        [&](Wire& wire) {
            wire.send(head + "Transfer-Encoding: chunked\r\n\r\n");
            for (std::size_t at = 0; at < bytes.size(); at += 7001) {
                wire.chunk(bytes.substr(at, 7001));
            }
            wire.last_chunk();
        },
        [&](Wire& wire) {
            wire.send(head + "\r\n" + bytes);
            wire.close();
        },
    };
    for (const auto& framing : framings) {
        FakeUpstream upstream([&](Wire& wire, const SeenRequest&) { framing(wire); });
        TestGateway gateway({.upstream_url = upstream.url()});
        const Answer answer =
            ask(gateway.port(),
                {.path = "/v1/audio/speech", .key = kAlice, .body = kSpeech, .fields = {}});
        EXPECT_EQ(answer.status, 200);
        EXPECT_TRUE(answer.complete);
        EXPECT_EQ(answer.field("content-type"), "audio/mpeg");
        EXPECT_EQ(answer.body, bytes);
        EXPECT_FALSE(answer.has("x-cache"));
    }
}

TEST(Relay, PassesOnOther2xx) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        if (request.body.find("none") != std::string::npos) {
            wire.send("HTTP/1.1 204 No Content\r\n\r\n");
        } else {
            wire.json(R"({"id":"x"})", 202);
        }
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    Client client(gateway.port());
    const auto send = [&](const char* input) {
        const std::string body = R"({"model":"tts-1","voice":"a","input":")" + std::string(input);
        EXPECT_TRUE(client.send(Ask{
            .path = "/v1/audio/speech", .key = kAlice, .body = body + "\"}", .fields = {}
        }.bytes()));
        return client.read_answer();
    };
    for (int i = 0; i < 2; ++i) {
        const Answer none = send("none");
        EXPECT_EQ(none.status, 204);
        EXPECT_FALSE(none.has("content-length"));
        EXPECT_FALSE(none.has("transfer-encoding"));
        const Answer accepted = send("some");
        EXPECT_EQ(accepted.status, 202);
        EXPECT_EQ(accepted.body, R"({"id":"x"})");
    }
}

TEST(Relay, PassesBytesOnUnchanged) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway(
        {.upstream_url = upstream.url(), .more = "models: {smart: {serve_as: gpt-4-0613}}\n"}
    );
    const auto sent_for = [&](const std::string& body, const char* control = "max-age=9") {
        const std::size_t before = upstream.calls();
        const Answer answer =
            ask(gateway.port(),
                {.key = kAlice, .body = body, .fields = {{"Cache-Control", control}}});
        EXPECT_EQ(answer.status, 200) << answer.body;
        const auto seen = upstream.seen();
        EXPECT_EQ(seen.size(), before + 1);
        EXPECT_EQ(seen.back().target, "/v1/chat/completions");
        EXPECT_EQ(seen.back().field("content-length"), std::to_string(seen.back().body.size()));
        return seen.back().body;
    };
    // Odd spacing, escapes, numbers as they were written.
    const std::string odd =
        "\n { \"messages\" :[\t{\"role\":\"user\",\"content\":\"h\\u00e9 \\/ \u00e9\"} ],\r\n"
        "\"temperature\":1.00,\"x_own\":[1e2,{}],\"model\" : \"gpt-4\" }  ";
    EXPECT_EQ(sent_for(odd), odd);
    // An alias changes the model and nothing else.
    std::string alias = odd;
    alias.replace(alias.find("\"gpt-4\""), 7, "\"smart\"");
    std::string served = odd;
    served.replace(served.find("\"gpt-4\""), 7, "\"gpt-4-0613\"");
    EXPECT_EQ(sent_for(alias), served);
    // A stream that is not for the cache still has to say what it used.
    const std::string stream = chat_body("unchanged", true);
    std::string told = stream;
    told.insert(1, R"("stream_options":{"include_usage":true},)");
    EXPECT_EQ(sent_for(stream, "no-store"), told);
}

TEST(Relay, AsksForUsageOfStreamsAndTakesItOutForWhoDidNot) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url()});
    const Answer plain = ask(gateway.port(), {.key = kAlice, .body = chat_body("a", true)});
    const auto asked = nlohmann::json::parse(upstream.seen().at(0).body);
    EXPECT_EQ(asked["stream_options"]["include_usage"], true);
    EXPECT_EQ(plain.body.find("prompt_tokens"), std::string::npos) << plain.body;
    EXPECT_EQ(chat_text(plain), "an answer");
    EXPECT_TRUE(plain.body.ends_with("data: [DONE]\n\n"));
    const std::string wants = R"("stream_options":{"include_usage":true})";
    const std::string body = chat_body("b", true, "gpt-4", wants);
    const Answer with = ask(gateway.port(), {.key = kAlice, .body = body});
    EXPECT_EQ(upstream.seen().at(1).body, body);
    EXPECT_EQ(count(with.body, "prompt_tokens"), 1U);
}

TEST(Hygiene, NothingOfTheClientsReachesTheUpstream) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url()});
    const Answer answer =
        ask(gateway.port(),
            {.path = "/v1/chat/completions?a=1&b=%20",
             .key = kAlice,
             .body = chat_body("x"),
             .fields = {
                 {"Cookie", "session=1"},
                 {"OpenAI-Organization", "org-1"},
                 {"OpenAI-Project", "proj-1"},
                 {"X-Forwarded-For", "10.0.0.1"},
                 {"X-Forwarded-Host", "evil.test"},
                 {"X-Real-Ip", "10.0.0.1"},
                 {"Forwarded", "for=10.0.0.1"},
                 {"Via", "1.1 x"},
                 {"Proxy-Authorization", "Basic eDp5"},
                 {"Referer", "http://intranet.test/"},
                 {"Origin", "http://intranet.test"},
                 {"Accept-Encoding", "gzip, br"},
                 {"Accept-Language", "*"},
                 {"Connection", "keep-alive, OpenAI-Beta"},
                 {"OpenAI-Beta", "dropped-by-connection"},
                 {"TE", "trailers"},
                 {"X-Request-Id", "chosen-by-client"},
                 {"User-Agent", "tester/1"},
                 {"X-Stainless-Lang", "none"},
                 {"Idempotency-Key", "idem-1"},
             }});
    EXPECT_EQ(answer.status, 200) << answer.body;
    const SeenRequest seen = upstream.seen().at(0);
    EXPECT_EQ(seen.target, "/v1/chat/completions?a=1&b=%20");
    for (const auto& [name, value] : seen.fields) {
        EXPECT_EQ(value.find(kAlice), std::string::npos) << name;
    }
    for (const char* const name :
         {"cookie",
          "openai-organization",
          "openai-project",
          "x-forwarded-for",
          "x-forwarded-host",
          "x-real-ip",
          "forwarded",
          "via",
          "proxy-authorization",
          "referer",
          "origin",
          "accept-language",
          "openai-beta",
          "te",
          "x-api-key"}) {
        EXPECT_FALSE(seen.has(name)) << name;
    }
    EXPECT_EQ(seen.field("authorization"), std::string("Bearer ") + kUpstreamKey);
    EXPECT_EQ(seen.field("host"), "127.0.0.1:" + std::to_string(upstream.port()));
    EXPECT_EQ(seen.field("accept-encoding"), "identity");
    EXPECT_EQ(seen.field("user-agent"), "tester/1");
    EXPECT_EQ(seen.field("x-stainless-lang"), "none");
    EXPECT_EQ(seen.field("idempotency-key"), "idem-1");
    EXPECT_EQ(seen.field("x-request-id"), answer.field("x-request-id"));
}

TEST(Hygiene, TheKeyMayComeInOtherHeadersAndGoesNowhereElse) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url()});
    for (const char* const name : {"X-Api-Key", "Api-Key"}) {
        const Answer answer =
            ask(gateway.port(), {.body = chat_body(name), .fields = {{name, kAlice}}});
        EXPECT_EQ(answer.status, 200) << name << answer.body;
        const SeenRequest seen = upstream.seen().back();
        for (const auto& [field, value] : seen.fields) {
            EXPECT_EQ(value.find(kAlice), std::string::npos) << field;
        }
    }
}

TEST(Hygiene, NothingOfTheUpstreamsReachesTheClient) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        const std::string fields =
            "Set-Cookie: __cf=1\r\nServer: theirs\r\nVia: 1.1 x\r\nAlt-Svc: h3\r\nX-Powered-By: y"
            "\r\nAccess-Control-Allow-Origin: *\r\nStrict-Transport-Security: max-age=1\r\n"
            "OpenAI-Organization: their-org\r\nX-RateLimit-Limit-Requests: 77\r\nX-Cache: HIT\r\n"
            "X-Should-Retry: true\r\nKeep-Alive: timeout=5\r\nX-Request-Id: their-id\r\n"
            "OpenAI-Processing-Ms: 12\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
        if (request.body.find("fail") != std::string::npos) {
            wire.json(
                R"({"error":{"message":"m","type":"t","param":null,"code":null}})", 400, fields
            );
        } else {
            wire.json(R"({"choices":[]})", 200, fields);
        }
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    for (const char* const content : {"work", "fail"}) {
        const Answer answer = ask(gateway.port(), {.key = kAlice, .body = chat_body(content)});
        for (const char* const name :
             {"set-cookie",
              "server",
              "via",
              "alt-svc",
              "x-powered-by",
              "access-control-allow-origin",
              "strict-transport-security",
              "openai-organization",
              "x-ratelimit-limit-requests",
              "x-should-retry",
              "keep-alive"}) {
            EXPECT_FALSE(answer.has(name)) << name << "\n" << answer.raw_head;
        }
        EXPECT_EQ(answer.field("x-upstream-request-id"), "their-id");
        EXPECT_EQ(answer.field("openai-processing-ms"), "12");
        EXPECT_TRUE(answer.field("x-request-id").starts_with("req_"));
        EXPECT_EQ(count(answer.raw_head, "x-request-id: "), 1U);
        EXPECT_EQ(answer.field("x-cache"), "MISS");
        EXPECT_EQ(answer.raw_head.find("1970"), std::string::npos);
        EXPECT_TRUE(answer.has("date"));
    }
}

// ---- connections of clients

TEST(Connections, AreKeptAndReused) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        const auto json = nlohmann::json::parse(request.body);
        answer_chat(wire, request, json["messages"][0]["content"].get<std::string>());
    });
    TestGateway gateway({.upstream_url = upstream.url(), .workers = 1});
    Client client(gateway.port());
    for (int i = 0; i < 20; ++i) {
        const std::string word = "word" + std::to_string(i);
        const Ask one{.key = kAlice, .body = chat_body(word, i % 2 == 1), .fields = {}};
        ASSERT_TRUE(client.send(one.bytes()));
        const Answer answer = client.read_answer();
        EXPECT_EQ(chat_text(answer), word);
        EXPECT_FALSE(answer.has("connection"));
    }
    EXPECT_EQ(upstream.connections(), 1U);
    // Many at once, before the first answer.
    std::string all;
    for (int i = 0; i < 30; ++i) {
        all += Ask{.key = kAlice, .body = chat_body("p" + std::to_string(i), i % 3 == 0)}.bytes();
    }
    ASSERT_TRUE(client.send(all));
    for (int i = 0; i < 30; ++i) {
        EXPECT_EQ(chat_text(client.read_answer()), "p" + std::to_string(i));
    }
    // A byte at a time.
    const std::string slow = Ask{.key = kAlice, .body = chat_body("bytes")}.bytes();
    for (const char byte : slow) ASSERT_TRUE(client.send(std::string_view(&byte, 1)));
    EXPECT_EQ(chat_text(client.read_answer()), "bytes");
    EXPECT_EQ(upstream.connections(), 1U);
}

TEST(Connections, AnUpstreamConnectionThatDiedIsReplacedUnseen) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        answer_chat(wire, request, "fine");
        wire.close();  // without a word in the head
    });
    TestGateway gateway({.upstream_url = upstream.url(), .workers = 1});
    Client client(gateway.port());
    for (int i = 0; i < 50; ++i) {
        ASSERT_TRUE(
            client.send(Ask{.key = kAlice, .body = chat_body("q" + std::to_string(i))}.bytes())
        );
        const Answer answer = client.read_answer();
        EXPECT_EQ(chat_text(answer), "fine") << i << answer.body;
    }
    EXPECT_EQ(upstream.calls(), 50U);
}

TEST(Connections, HeadIsAnsweredWithoutABody) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url()});
    Client client(gateway.port());
    for (const auto& [path, status] : {std::pair{"/healthz", 200}, {"/v1/nothing", 404}}) {
        ASSERT_TRUE(client.send(Ask{.method = "HEAD", .path = path, .key = kAlice}.bytes()));
        const Answer answer = client.read_answer(true);
        EXPECT_EQ(answer.status, status);
        EXPECT_NE(answer.field("content-length"), "0");
    }
    ASSERT_TRUE(client.send(Ask{.method = "GET", .path = "/healthz"}.bytes()));
    EXPECT_EQ(client.read_answer().body, "ok\n");  // nothing was left over
}

TEST(Connections, OldClientsGetAnswersThatTheyCanRead) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url()});
    const auto old = [](const std::string& body, const char* more) {
        return "POST /v1/chat/completions HTTP/1.0\r\nAuthorization: Bearer " +
               std::string(kAlice) + "\r\n" + more +
               "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    };
    {
        Client client(gateway.port());
        ASSERT_TRUE(client.send(old(chat_body("x"), "")));
        const Answer answer = client.read_answer();
        EXPECT_EQ(chat_text(answer), "an answer");
        EXPECT_EQ(answer.field("connection"), "close");
        EXPECT_TRUE(client.socket().receive().empty());
        EXPECT_EQ(client.socket().last_read(), Socket::Read::kClosed);
    }
    {
        Client client(gateway.port());
        ASSERT_TRUE(client.send(old(chat_body("y", true), "Connection: keep-alive\r\n")));
        const Answer answer = client.read_answer();  // its end is the connection's
        EXPECT_FALSE(answer.has("transfer-encoding"));
        EXPECT_FALSE(answer.has("content-length"));
        EXPECT_TRUE(answer.complete);
        EXPECT_EQ(chat_text(answer), "an answer");
        EXPECT_TRUE(answer.body.ends_with("data: [DONE]\n\n")) << answer.body;
    }
    {
        Client client(gateway.port());
        for (int i = 0; i < 3; ++i) {
            ASSERT_TRUE(client.send(old(chat_body("z"), "Connection: keep-alive\r\n")));
            const Answer answer = client.read_answer();
            EXPECT_EQ(chat_text(answer), "an answer");
            EXPECT_EQ(answer.field("connection"), "keep-alive");
        }
    }
}

std::string read_raw_head(Client& client) {
    std::string raw;
    while (raw.find("\r\n\r\n") == std::string::npos) {
        const std::string bytes = client.socket().receive();
        if (bytes.empty()) break;
        raw += bytes;
    }
    return raw;
}

TEST(Connections, ABodyIsAskedForOnlyIfItIsWanted) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url(), .more = "limits: {body: 64KiB}\n"});
    const std::string body = chat_body("x");
    const auto head = [](std::size_t size, const std::string& key) {
        return "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key +
               "\r\nExpect: 100-continue\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n";
    };
    Client welcome(gateway.port());
    for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(welcome.send(head(body.size(), kAlice)));
        ASSERT_EQ(read_raw_head(welcome), "HTTP/1.1 100 Continue\r\n\r\n");
        ASSERT_TRUE(welcome.send(body));
        EXPECT_EQ(chat_text(welcome.read_answer()), "an answer");
    }
    // Who sends it at once needs no leave.
    ASSERT_TRUE(welcome.send(head(body.size(), kAlice) + body));
    EXPECT_TRUE(read_raw_head(welcome).starts_with("HTTP/1.1 200 "));
    Client unknown(gateway.port());
    ASSERT_TRUE(unknown.send(head(body.size(), "nobody-knows-this-key")));
    EXPECT_TRUE(read_raw_head(unknown).starts_with("HTTP/1.1 401 "));
    Client large(gateway.port());
    ASSERT_TRUE(large.send(head(65 << 10, kAlice)));
    EXPECT_TRUE(read_raw_head(large).starts_with("HTTP/1.1 413 "));
}

}  // namespace
}  // namespace weir::test
