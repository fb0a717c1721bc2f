// Bodies that are passed on as they come, and answers of every kind that come back.
#include <fmt/format.h>

#include "support/script_server.hpp"
#include "tools.hpp"

namespace weir::test {
namespace {

constexpr const char* kOpen = "    endpoints: [files, uploads, stored_responses]\n";

GatewaySetup setup_for(std::uint16_t port, const std::string& limits = "") {
    return {
        .upstream_url = fmt::format("http://127.0.0.1:{}/v1", port),
        .more = limits.empty() ? "" : "limits: {" + limits + "}\n",
        .plan_more = kOpen
    };
}

std::string head_of(const std::string& fields, const std::string& path = "/v1/files") {
    return "POST " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + kAlice +
           "\r\nContent-Type: multipart/form-data; boundary=B\r\n" + fields + "\r\n";
}

constexpr std::string_view kStored =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    "Content-Length: 15\r\n\r\n{\"id\":\"file-1\"}";

TEST(Uploads, ArePassedOnWhileTheyCome) {
    Steps begun;
    std::atomic<bool> whole = false;
    ScriptServer upstream([&](Peer& peer, int) {
        EXPECT_TRUE(peer.read_head());
        EXPECT_EQ(peer.field("content-length"), "200000");
        EXPECT_EQ(peer.field("content-type"), "multipart/form-data; boundary=B");
        EXPECT_TRUE(peer.read_body(1000));
        begun.pass();
        EXPECT_TRUE(peer.read_body(199'000));
        whole = true;
        peer.send(kStored);
        peer.wait_for_close();
    });
    TestGateway gateway(setup_for(upstream.port()));
    Client client(gateway.port());
    ASSERT_TRUE(client.send(head_of("Content-Length: 200000\r\n") + std::string(1000, 'a')));
    ASSERT_TRUE(begun.wait());  // no more was sent yet
    ASSERT_TRUE(client.send(std::string(199'000, 'b')));
    const Answer answer = client.read_answer();
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(answer.body, R"({"id":"file-1"})");
    EXPECT_TRUE(whole);
    EXPECT_FALSE(answer.has("connection")) << "it can be used again";
    ASSERT_TRUE(client.send(Ask{.method = "GET", .path = "/v1/nothing", .key = kAlice}.bytes()));
    EXPECT_EQ(client.read_answer().status, 404);
}

TEST(Uploads, InChunksArePassedOnInChunks) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) { wire.send(kStored); });
    TestGateway gateway(setup_for(upstream.port()));
    std::string body;
    for (int i = 0; i < 100'000; ++i) body += fmt::format("line {}\n", i);
    Client client(gateway.port());
    std::string bytes = head_of("Transfer-Encoding: chunked\r\n");
    for (std::size_t at = 0; at < body.size(); at += 70'001) {
        const std::string part = body.substr(at, 70'001);
        bytes += fmt::format("{:x};ext\r\n{}\r\n", part.size(), part);
    }
    // The next request stands behind it.
    bytes += "0\r\nX-Trailer: 1\r\n\r\n";
    bytes += Ask{.method = "GET", .path = "/v1/files?x=1", .key = kAlice}.bytes();
    ASSERT_TRUE(client.send(bytes));
    EXPECT_EQ(client.read_answer().body, R"({"id":"file-1"})");
    EXPECT_EQ(client.read_answer().body, R"({"id":"file-1"})");
    const auto seen = upstream.seen();
    ASSERT_EQ(seen.size(), 2U);
    EXPECT_EQ(seen[0].body, body);
    EXPECT_EQ(seen[0].field("transfer-encoding"), "chunked");
    EXPECT_FALSE(seen[0].has("x-trailer"));
    EXPECT_EQ(seen[1].target, "/v1/files?x=1");
}

TEST(Uploads, OfNothingAndOfOneByte) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) { wire.send(kStored); });
    TestGateway gateway(setup_for(upstream.port()));
    const std::pair<std::string, std::string> cases[] = {
        {"Content-Length: 0\r\n", ""},
        {"Content-Length: 1\r\n", "a"},
        {"Transfer-Encoding: chunked\r\n", "0\r\n\r\n"},
        {"Transfer-Encoding: chunked\r\n", "1\r\na\r\n0\r\n\r\n"},
    };
    Client client(gateway.port());
    for (const auto& [fields, bytes] : cases) {
        ASSERT_TRUE(client.send(head_of(fields) + bytes));
        EXPECT_EQ(client.read_answer().body, R"({"id":"file-1"})") << fields << bytes;
    }
    const auto seen = upstream.seen();
    ASSERT_EQ(seen.size(), 4U);
    EXPECT_EQ(seen[1].body + seen[3].body + seen[0].body + seen[2].body, "aa");
}

TEST(Uploads, PastTheLimitAreCutOff) {
    std::atomic<int> broken = 0;
    std::atomic<int> whole = 0;
    ScriptServer upstream([&](Peer& peer, int) {
        EXPECT_TRUE(peer.read_head());
        ++(peer.read_chunked() ? whole : broken);
        peer.wait_for_close();
    });
    TestGateway gateway(setup_for(upstream.port(), "body: 64KiB, upload: 256KiB"));
    Client sized(gateway.port());
    ASSERT_TRUE(sized.send(head_of("Content-Length: 262145\r\n")));
    const auto error = expect_error(sized.read_answer(), 413, "request_too_large");
    EXPECT_NE(error.value("message", "").find("limits: upload"), std::string::npos);
    EXPECT_EQ(upstream.accepted(), 0);
    // Nobody said how long this one will be: the upstream must see that it broke.
    Client chunked(gateway.port());
    std::string bytes = head_of("Transfer-Encoding: chunked\r\n");
    for (int i = 0; i < 5; ++i) bytes += "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
    ASSERT_TRUE(chunked.send(bytes + "0\r\n\r\n"));
    expect_error(chunked.read_answer(), 413, "request_too_large");
    EXPECT_TRUE(eventually([&] { return broken == 1; }));
    EXPECT_EQ(whole, 0);
    EXPECT_TRUE(eventually([&] { return metric(gateway, "weir_body_bytes") == 0; }));
}

TEST(Uploads, ThatAreMalformedAreA400AndBreakTheUpstreams) {
    std::atomic<int> broken = 0;
    ScriptServer upstream([&](Peer& peer, int) {
        EXPECT_TRUE(peer.read_head());
        if (!peer.read_chunked()) ++broken;
        peer.wait_for_close();
    });
    TestGateway gateway(setup_for(upstream.port()));
    Client client(gateway.port());
    ASSERT_TRUE(client.send(head_of("Transfer-Encoding: chunked\r\n") + "2\r\nab\r\nxyz\r\n"));
    EXPECT_EQ(client.read_answer().status, 400);
    EXPECT_TRUE(eventually([&] { return broken == 1; }));
}

TEST(Uploads, AreContinuedWhenTheUpstreamTakesThem) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) { wire.send(kStored); });
    TestGateway gateway(setup_for(upstream.port()));
    Client client(gateway.port());
    ASSERT_TRUE(client.send(head_of("Content-Length: 5\r\nExpect: 100-continue\r\n")));
    std::string interim;
    while (interim.find("\r\n\r\n") == std::string::npos) {
        const std::string bytes = client.socket().receive();
        ASSERT_FALSE(bytes.empty());
        interim += bytes;
    }
    EXPECT_EQ(interim, "HTTP/1.1 100 Continue\r\n\r\n");
    ASSERT_TRUE(client.send("hello"));
    EXPECT_EQ(client.read_answer().status, 200);
    EXPECT_EQ(upstream.seen().back().body, "hello");
    EXPECT_FALSE(upstream.seen().back().has("expect"));
    // One that cannot be reached costs no upload.
    FakeUpstream down(say_an_answer, FakeUpstream::Begin::kDown);
    TestGateway other(setup_for(down.port()));
    Client refused(other.port());
    ASSERT_TRUE(refused.send(head_of("Content-Length: 5\r\nExpect: 100-continue\r\n")));
    const Answer answer = refused.read_head();
    EXPECT_EQ(answer.status, 502);
    EXPECT_TRUE(answer.raw_head.starts_with("HTTP/1.1 502")) << answer.raw_head;
}

TEST(Uploads, ThatStallAreCutOff) {
    std::atomic<int> broken = 0;
    ScriptServer upstream([&](Peer& peer, int) {
        EXPECT_TRUE(peer.read_head());
        if (!peer.read_body(1000)) ++broken;
        peer.wait_for_close();
    });
    TestGateway gateway(setup_for(upstream.port(), "body_idle: 300ms"));
    Client client(gateway.port());
    ASSERT_TRUE(client.send(head_of("Content-Length: 1000\r\n") + "abc"));
    expect_error(client.read_answer(), 408, "request_timeout");
    EXPECT_TRUE(eventually([&] { return broken == 1; }));
}

// A slow upstream is not the client's fault.
TEST(Uploads, WaitForASlowUpstream) {
    constexpr std::size_t kBytes = 24 << 20;
    ScriptServer upstream([&](Peer& peer, int) {
        EXPECT_TRUE(peer.read_head());
        std::this_thread::sleep_for(600ms);
        EXPECT_TRUE(peer.read_body(kBytes));
        peer.send(kStored);
        peer.wait_for_close();
    });
    TestGateway gateway(setup_for(upstream.port(), "body_idle: 250ms"));
    Client client(gateway.port());
    ASSERT_TRUE(client.send(
        head_of(fmt::format("Content-Length: {}\r\n", kBytes)) + std::string(kBytes, 'x')
    ));
    EXPECT_EQ(client.read_answer().status, 200);
}

TEST(Uploads, OfAClientThatLeavesEndTheCall) {
    Steps begun;
    std::atomic<int> broken = 0;
    ScriptServer upstream([&](Peer& peer, int number) {
        EXPECT_TRUE(peer.read_head());
        begun.pass();
        if (number == 0) {
            if (!peer.read_body(100'000)) ++broken;
        } else {
            peer.wait_for_close();  // takes nothing: the gateway does not read the client either
            ++broken;
        }
    });
    TestGateway gateway(setup_for(upstream.port()));
    {
        Client client(gateway.port());
        ASSERT_TRUE(client.send(head_of("Content-Length: 100000\r\n") + "abc"));
        ASSERT_TRUE(begun.wait());
    }
    EXPECT_TRUE(eventually([&] { return broken == 1; }));
    {
        Client client(gateway.port());
        ASSERT_TRUE(client.send(head_of("Content-Length: 30000000\r\n")));
        ASSERT_TRUE(begun.wait());
        client.socket().set_patience(500ms);
        client.send(std::string(30'000'000, 'x'));  // as much as fits
        client.socket().reset();
    }
    EXPECT_TRUE(eventually([&] { return broken == 2; }));
    EXPECT_TRUE(eventually([&] { return metric(gateway, "weir_body_bytes") == 0; }));
}

TEST(Uploads, ThatTheUpstreamRefusesEarlyAreToldSoAtOnce) {
    const std::string too_large =
        R"({"error":{"message":"too large","type":"invalid_request_error","param":null,"code":null}})";
    ScriptServer upstream([&](Peer& peer, int) {
        EXPECT_TRUE(peer.read_head());
        peer.send(fmt::format(
            "HTTP/1.1 413 Payload Too Large\r\nContent-Type: application/json\r\n"
            "Content-Length: {}\r\nConnection: close\r\n\r\n{}",
            too_large.size(),
            too_large
        ));
        peer.drop_until_quiet();
    });
    TestGateway gateway(setup_for(upstream.port()));
    // One waits for the answer in the middle of its body, one writes all of it first.
    Client waits(gateway.port());
    ASSERT_TRUE(waits.send(head_of("Content-Length: 50000000\r\n") + "abc"));
    const Answer early = waits.read_answer();
    EXPECT_EQ(early.status, 413);
    EXPECT_EQ(early.body, too_large);
    EXPECT_EQ(early.field("connection"), "close");
    Client writes(gateway.port());
    constexpr std::size_t kBytes = 80 << 20;  // more than is read over for others
    ASSERT_TRUE(writes.send(
        head_of(fmt::format("Content-Length: {}\r\n", kBytes)) + std::string(kBytes, 'x')
    ));
    const Answer late = writes.read_answer();
    EXPECT_EQ(late.status, 413);
    EXPECT_EQ(late.body, too_large);
}

// An answer may begin before the upload has ended.
TEST(Uploads, GoOnWhileTheirAnswerComes) {
    ScriptServer upstream([&](Peer& peer, int) {
        EXPECT_TRUE(peer.read_head());
        EXPECT_TRUE(peer.read_body(3));
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nfir");
        EXPECT_TRUE(peer.read_body(97));
        peer.send("st!");
        peer.wait_for_close();
    });
    TestGateway gateway(setup_for(upstream.port()));
    Client client(gateway.port());
    ASSERT_TRUE(client.send(head_of("Content-Length: 100\r\n") + "abc"));
    Answer answer = client.read_head();
    EXPECT_EQ(answer.status, 200);
    client.read_body(answer, [](const std::string& body) { return body == "fir"; });
    ASSERT_TRUE(client.send(std::string(97, 'x')));
    client.read_body(answer);
    EXPECT_EQ(answer.body, "first!");
    EXPECT_TRUE(answer.complete);
}

TEST(Uploads, OfJsonAreRead) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) { wire.send(kStored); });
    TestGateway gateway(setup_for(upstream.port(), "body: 64KiB"));
    const std::pair<std::string, std::string> json{
        "Content-Type", "application/json; charset=utf-8"
    };
    const auto post = [&](const std::string& body) {
        return ask(
            gateway.port(), {.path = "/v1/uploads", .key = kAlice, .body = body, .fields = {json}}
        );
    };
    EXPECT_EQ(post(R"({"filename":"x","bytes":1})").status, 200);
    EXPECT_EQ(upstream.seen().back().body, R"({"filename":"x","bytes":1})");
    expect_error(post(R"({"conversation":"c"})"), 403, "endpoint_closed");
    expect_error(post("{"), 400, "invalid_json");
    expect_error(post("\"" + std::string(70'000, 'x') + "\""), 413, "request_too_large");
}

// ---- answers

TEST(Answers, OfEveryFramingComeBackAsTheyAre) {
    const std::string bytes = std::string("ID3\0\xff\r\n\r\n", 9) + std::string(300'000, '\x07');
    const auto chunked = [&] {
        return fmt::format("{:x};a=b\r\n{}\r\n0\r\nX-Late: 1\r\n\r\n", bytes.size(), bytes);
    };
    const std::string audio = "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n";
    struct Row {
        std::string name;
        std::string wire;
        bool sized;
    };
    const Row rows[] = {
        {"length", audio + fmt::format("Content-Length: {}\r\n\r\n", bytes.size()) + bytes, true},
        {"chunked", audio + "Transfer-Encoding: chunked\r\n\r\n" + chunked(), false},
        {"until close", audio + "Connection: close\r\n\r\n" + bytes, false},
        {"interim",
         "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + audio +
             fmt::format("Content-Length: {}\r\n\r\n", bytes.size()) + bytes,
         true},
        {"encoded",
         audio + fmt::format("Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bytes.size()) +
             bytes,
         true},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.name);
        ScriptServer upstream([&](Peer& peer, int) {
            EXPECT_TRUE(peer.read_request());
            peer.send(row.wire);
            if (row.name == "until close") {
                peer.close();
            } else {
                peer.wait_for_close();
            }
        });
        TestGateway gateway(setup_for(upstream.port()));
        const Ask asks[] = {
            {.path = "/v1/audio/speech",
             .key = kAlice,
             .body = R"({"model":"tts-1","input":"x","voice":"alloy"})"},
            {.method = "GET", .path = "/v1/files/file-1/content", .key = kAlice},
        };
        for (const Ask& one : asks) {
            const Answer answer = ask(gateway.port(), one);
            EXPECT_EQ(answer.status, 200);
            EXPECT_TRUE(answer.complete);
            EXPECT_TRUE(answer.body == bytes);
            EXPECT_EQ(answer.field("content-type"), "audio/mpeg");
            EXPECT_EQ(answer.has("content-length"), row.sized);
            EXPECT_EQ(answer.field("content-encoding"), row.name == "encoded" ? "gzip" : "");
            EXPECT_FALSE(answer.has("x-late"));
        }
    }
}

TEST(Answers, ThatBreakOffAreNotEnded) {
    for (const char* const framing : {"Content-Length: 1000", "Transfer-Encoding: chunked"}) {
        ScriptServer upstream([&](Peer& peer, int) {
            EXPECT_TRUE(peer.read_request());
            peer.send(fmt::format(
                "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n{}\r\n\r\n5\r\nabcde",
                framing
            ));
            peer.close();
        });
        TestGateway gateway(setup_for(upstream.port()));
        const Answer answer =
            ask(gateway.port(), {.method = "GET", .path = "/v1/files/f/content", .key = kAlice});
        EXPECT_EQ(answer.status, 200);
        EXPECT_FALSE(answer.complete) << framing;
    }
}

TEST(Answers, InPartsOfAFileComeBackAsSuch) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        EXPECT_EQ(request.field("range"), "bytes=2-4");
        wire.send(
            "HTTP/1.1 206 Partial Content\r\nContent-Type: video/mp4\r\nContent-Range: bytes "
            "2-4/9\r\nContent-Disposition: attachment; filename=\"x.mp4\"\r\nContent-Length: "
            "3\r\n\r\ncde"
        );
    });
    TestGateway gateway(setup_for(upstream.port()));
    const Answer answer =
        ask(gateway.port(),
            {.method = "GET",
             .path = "/v1/files/f/content",
             .key = kAlice,
             .fields = {{"Range", "bytes=2-4"}}});
    EXPECT_EQ(answer.status, 206);
    EXPECT_EQ(answer.body, "cde");
    EXPECT_EQ(answer.field("content-range"), "bytes 2-4/9");
    EXPECT_EQ(answer.field("content-disposition"), "attachment; filename=\"x.mp4\"");
}

TEST(Answers, ToAHeadHaveNoBody) {
    ScriptServer upstream([&](Peer& peer, int) {
        while (peer.read_head()) {
            EXPECT_TRUE(peer.head().starts_with("HEAD /v1/files/f "));
            peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 70\r\n\r\n");
        }
    });
    TestGateway gateway(setup_for(upstream.port()));
    Client client(gateway.port());
    for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(client.send(Ask{.method = "HEAD", .path = "/v1/files/f", .key = kAlice}.bytes())
        );
        const Answer answer = client.read_answer(true);
        EXPECT_EQ(answer.status, 200);
        EXPECT_EQ(answer.field("content-type"), "text/plain");
        EXPECT_EQ(answer.field("content-length"), "70");
    }
}

}  // namespace
}  // namespace weir::test
