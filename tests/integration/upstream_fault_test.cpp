// What a failed upstream looks like to a client (design.md section 2).
#include "tools.hpp"

namespace weir::test {
namespace {

struct Fault {
    const char* name;
    std::function<void(Wire&)> how;
};

void send_and_close(Wire& wire, std::string_view bytes) {
    wire.send(bytes);
    wire.close();
}

// Broken in the head, or in a plain JSON body that is gathered before it is passed on.
std::vector<Fault> faults_before_the_first_byte() {
    return {
        {"reset", [](Wire& wire) { wire.reset(); }},
        {"close", [](Wire& wire) { wire.close(); }},
        {"garbage", [](Wire& wire) { send_and_close(wire, "\x16\x03\x01 what?\r\n\r\n"); }},
        {"half a head", [](Wire& wire) { send_and_close(wire, "HTTP/1.1 200 OK\r\nContent-T"); }},
        {"interim answers for ever",
         [](Wire& wire) {
             for (int i = 0; i < 10'000 && wire.send("HTTP/1.1 102 Processing\r\n\r\n"); ++i) {
             }
             wire.close();
         }},
        {"a length that is no number",
         [](Wire& wire) {
             send_and_close(wire, "HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n0123456789");
         }},
        {"two lengths",
         [](Wire& wire) {
             send_and_close(
                 wire, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} "
             );
         }},
        {"two framings",
         [](Wire& wire) {
             send_and_close(
                 wire,
                 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "2\r\n{}\r\n0\r\n\r\n"
             );
         }},
        {"a huge head",
         [](Wire& wire) {
             wire.send("HTTP/1.1 200 OK\r\n");
             for (int i = 0; i < 50; ++i) {
                 const std::string line = "X-" + std::to_string(i) + ": " + std::string(8000, 'a');
                 if (!wire.send(line + "\r\n")) break;
             }
             wire.send("\r\n");
             wire.close();
         }},
        {"an endless head line",
         [](Wire& wire) {
             wire.send("HTTP/1.1 200 OK\r\nX: ");
             for (int i = 0; i < 1000 && wire.send(std::string(8000, 'a')); ++i) {
             }
             wire.close();
         }},
        {"JSON cut short by the end of the connection",
         [](Wire& wire) {
             send_and_close(
                 wire,
                 "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
                 "{\"choices\":["
             );
         }},
        {"JSON that is none", [](Wire& wire) { wire.json("{\"choices\":[{\"index\":0,\"mess"); }},
        {"a redirect",
         [](Wire& wire) { wire.json("", 302, "Location: http://127.0.0.1:1/v1/x\r\n"); }},
        {"a permanent redirect",
         [](Wire& wire) { wire.json("", 308, "Location: http://127.0.0.1:1/v1/x\r\n"); }},
    };
}

TEST(UpstreamFaults, BeforeTheFirstByteAre502InOpenAisShapeAndCostNothing) {
    for (const Fault& fault : faults_before_the_first_byte()) {
        SCOPED_TRACE(fault.name);
        FakeUpstream upstream([&](Wire& wire, const SeenRequest&) { fault.how(wire); });
        TestGateway gateway(
            {.upstream_url = upstream.url(), .caps = "[{models: \"*\", allow: 9/4h}]", .workers = 1}
        );
        Client client(gateway.port());
        for (const bool stream : {false, true}) {
            ASSERT_TRUE(client.send(Ask{.key = kAlice, .body = chat_body("x", stream)}.bytes()));
            const Answer answer = client.read_answer();
            const auto error = expect_error(answer, 502, "upstream_error");
            EXPECT_EQ(error.value("type", ""), "server_error");
            EXPECT_NE(error.value("message", "").find("'fake'"), std::string::npos) << answer.body;
            EXPECT_TRUE(answer.field("x-request-id").starts_with("req_"));
            EXPECT_EQ(answer.field("x-ratelimit-remaining-requests"), "9");
            EXPECT_FALSE(answer.has("location"));
        }
        EXPECT_EQ(used(gateway, "alice"), 0);
    }
}

TEST(UpstreamFaults, AClosedPortIs502AndItsReturnIsNoticed) {
    FakeUpstream upstream(say_an_answer, FakeUpstream::Begin::kDown);
    TestGateway gateway(
        {.upstream_url = upstream.url(), .caps = "[{models: \"*\", allow: 9/4h}]", .workers = 1}
    );
    const Ask request{.key = kAlice, .body = chat_body("x")};
    for (int i = 0; i < 3; ++i) {
        const auto error = expect_error(ask(gateway.port(), request), 502, "upstream_error");
        EXPECT_NE(error.value("message", "").find("connecting"), std::string::npos);
    }
    EXPECT_EQ(used(gateway, "alice"), 0);
    upstream.come_up();
    const Answer answer = ask(gateway.port(), request);
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(chat_text(answer), "an answer");
    EXPECT_EQ(upstream.calls(), 1U);
    EXPECT_EQ(used(gateway, "alice"), 1);
}

TEST(UpstreamFaults, SilenceIs504AndNamesTheStage) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) { wire.wait_for_close(20s); });
    const auto late = [&](const std::string& url, const char* timeouts) {
        TestGateway gateway({.upstream_url = url, .upstream_more = timeouts});
        const Answer answer = ask(gateway.port(), {.key = kAlice, .body = chat_body("x")});
        const auto error = expect_error(answer, 504, "upstream_timeout");
        EXPECT_EQ(error.value("type", ""), "server_error");
        return error.value("message", "");
    };
    EXPECT_NE(
        late(upstream.url(), ", timeouts: {first_byte: 200ms}").find("did not begin to answer"),
        std::string::npos
    );
    EXPECT_NE(
        late(upstream.url(), ", timeouts: {total: 200ms}").find("did not finish"), std::string::npos
    );
    // It takes the connection and never says a word of TLS.
    const std::string secure = "https" + upstream.url().substr(4);
    EXPECT_NE(
        late(secure, ", timeouts: {connect: 200ms}").find("connecting to it took too long"),
        std::string::npos
    );
}

TEST(UpstreamFaults, APlainBodyThatBreaksOffIsAborted) {
    const std::string part(100'000, 'a');
    const Fault cases[] = {
        {"a length not reached",
         [&](Wire& wire) {
             wire.send(
                 "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 200000\r\n\r\n"
             );
             wire.send(part);
             std::this_thread::sleep_for(20ms);
             wire.close();
         }},
        {"no last chunk",
         [&](Wire& wire) {
             wire.send(
                 "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
             );
             wire.chunk(part);
             std::this_thread::sleep_for(20ms);
             wire.close();
         }},
        {"a reset instead of the end",
         [&](Wire& wire) {
             wire.send("HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n" + part);
             std::this_thread::sleep_for(50ms);
             wire.reset();
         }},
        {"JSON too large to be gathered",
         [&](Wire& wire) {
             wire.send(
                 "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                 "Content-Length: 3000000\r\n\r\n" +
                 std::string(2'000'000, ' ')
             );
             std::this_thread::sleep_for(20ms);
             wire.close();
         }},
    };
    for (const Fault& one : cases) {
        SCOPED_TRACE(one.name);
        FakeUpstream upstream([&](Wire& wire, const SeenRequest&) { one.how(wire); });
        TestGateway gateway(
            {.upstream_url = upstream.url(), .caps = "[{models: \"*\", allow: 9/4h}]"}
        );
        const std::string body = R"({"model":"tts-1","input":"x","voice":"alloy"})";
        const Ask request{.path = "/v1/audio/speech", .key = kAlice, .body = body, .fields = {}};
        const Answer answer = ask(gateway.port(), request);
        EXPECT_EQ(answer.status, 200);
        EXPECT_FALSE(answer.complete);
        EXPECT_EQ(answer.body.find("error"), std::string::npos);
        // HTTP/1.0 has no framing to leave unfinished: a reset says it.
        Client old(gateway.port());
        ASSERT_TRUE(old.send(
            "POST /v1/audio/speech HTTP/1.0\r\nAuthorization: Bearer " + std::string(kAlice) +
            "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body
        ));
        EXPECT_FALSE(old.read_answer().complete);
        EXPECT_TRUE(eventually([&] { return used(gateway, "alice") == 0; }));
    }
}

// Nothing of the answer went out yet, so it can still be told with a status.
TEST(UpstreamFaults, AHeadAloneIsNotYetAnAnswer) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) {
        send_and_close(
            wire,
            "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\nxyz"
            "\r\n"
        );
    });
    TestGateway gateway({.upstream_url = upstream.url(), .workers = 1});
    const Answer answer =
        ask(gateway.port(),
            {.path = "/v1/audio/speech",
             .key = kAlice,
             .body = R"({"model":"tts-1","input":"x","voice":"alloy"})",
             .fields = {}});
    expect_error(answer, 502, "upstream_error");
}

// ---- answers that are errors

class UpstreamStatus : public testing::Test {
protected:
    // What a client sees of that answer.
    Answer through(int status, std::string body, std::string fields = "") {
        FakeUpstream upstream([&](Wire& wire, const SeenRequest&) {
            wire.json(body, status, fields);
        });
        TestGateway gateway(
            {.upstream_url = upstream.url(),
             .caps = "[{models: \"*\", allow: 9/4h}]",
             .retry = "{attempts: 1}"}
        );
        Answer answer = ask(gateway.port(), {.key = kAlice, .body = chat_body("x")});
        EXPECT_EQ(upstream.calls(), 1U);
        EXPECT_EQ(answer.field("x-ratelimit-remaining-requests"), "9") << "refunded";
        EXPECT_EQ(used(gateway, "alice"), 0);
        // Nothing of it is kept.
        const Answer again = ask(gateway.port(), {.key = kAlice, .body = chat_body("x")});
        EXPECT_EQ(again.status, answer.status);
        // Where it asked to be left alone, it is.
        EXPECT_EQ(upstream.calls(), answer.status == 429 ? 1U : 2U);
        return answer;
    }
};

std::string said(std::string_view message, std::string_view code = "null") {
    return R"({"error": {"message": ")" + std::string(message) +
           R"(", "type": "their_type", "param": null, "code": )" + std::string(code) + "}}";
}

TEST_F(UpstreamStatus, ItsOwn4xxReachesTheClientAsItIs) {
    for (const int status : {400, 404, 409, 413, 422}) {
        const std::string body = said("context too long", R"("context_length_exceeded")");
        const Answer answer = through(status, body, "X-Request-Id: their-id\r\n");
        EXPECT_EQ(answer.status, status);
        EXPECT_EQ(answer.body, body);
        EXPECT_EQ(answer.field("x-upstream-request-id"), "their-id");
        EXPECT_TRUE(answer.field("x-request-id").starts_with("req_"));
    }
}

TEST_F(UpstreamStatus, SecretsInItAreTakenOut) {
    for (const int status : {400, 404, 500}) {
        const Answer answer =
            through(status, said("no such thing for " + std::string(kUpstreamKey) + ", sorry"));
        EXPECT_EQ(answer.status, status);
        EXPECT_EQ(answer.body.find(kUpstreamKey), std::string::npos) << answer.body;
        EXPECT_NE(answer.body.find("no such thing for"), std::string::npos);
        EXPECT_NE(answer.body.find(", sorry"), std::string::npos);
    }
}

TEST_F(UpstreamStatus, ItsRefusalOfOurKeyIsOurFault) {
    for (const int status : {401, 403}) {
        const Answer answer =
            through(status, said("Incorrect API key provided: sk-abc", R"("invalid_api_key")"));
        const auto error = expect_error(answer, 502, "upstream_error");
        EXPECT_EQ(answer.body.find("sk-abc"), std::string::npos);
        EXPECT_NE(error.value("message", "").find("'fake'"), std::string::npos);
        EXPECT_EQ(answer.field("x-should-retry"), "false");
    }
}

TEST_F(UpstreamStatus, ItsRateLimitIsPassedOnWithABoundedWait) {
    const struct {
        const char* fields;
        const char* wait;
    } cases[] = {
        {"Retry-After: 3\r\n", "3"},
        {"Retry-After: 2.2\r\n", "3"},
        {"Retry-After: 86400\r\n", "60"},
        {"Retry-After: Wed, 21 Oct 2099 07:28:00 GMT\r\n", "2"},
        {"Retry-After-Ms: 900000\r\n", "2"},
        {"", "2"},
    };
    for (const auto& one : cases) {
        const Answer answer =
            through(429, said("slow down", R"("rate_limit_exceeded")"), one.fields);
        const auto error = expect_error(answer, 429, "rate_limit_exceeded");
        EXPECT_EQ(error.value("type", ""), "requests");
        EXPECT_EQ(answer.field("retry-after"), one.wait) << one.fields;
        EXPECT_FALSE(answer.has("retry-after-ms"));
        EXPECT_FALSE(answer.has("x-should-retry"));
    }
}

TEST_F(UpstreamStatus, AnAccountOutOfMoneyIsOurs) {
    const std::pair<int, std::string> cases[] = {
        {429, said("You exceeded your quota", R"("insufficient_quota")")},
        {402, said("pay")},
    };
    for (const auto& [status, body] : cases) {
        const Answer answer = through(status, body);
        expect_error(answer, 503, "upstream_quota_exhausted");
        EXPECT_EQ(answer.field("x-should-retry"), "false");
    }
}

TEST_F(UpstreamStatus, Its5xxKeepsItsStatus) {
    for (const int status : {500, 502, 503, 529}) {
        const std::string body = said("overloaded", R"("server_overloaded")");
        const Answer answer = through(status, body, "Retry-After: 900\r\n");
        EXPECT_EQ(answer.status, status);
        EXPECT_EQ(answer.body, body);
        EXPECT_EQ(answer.field("retry-after"), "60");
    }
    expect_error(through(500, "<html>nginx</html>"), 500, "upstream_error");
    expect_error(through(504, ""), 504, "upstream_timeout");
}

}  // namespace
}  // namespace weir::test
