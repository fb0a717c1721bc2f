// TLS: who is talked to, and that nobody else ever sees a byte of a request.
#include <cstdlib>
#include <random>

#include "call_fixture.hpp"
#include "support/certificates.hpp"

namespace weir::test {
namespace {

using upstream::Call;

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

const Certificates& certificates() {
    static const Certificates made;
    return made;
}

class TlsTest : public CallTest {
protected:
    using CallTest::CallTest;
    [[nodiscard]] static std::shared_ptr<config::Upstream> secure(
        const ScriptServer& server, const std::string& host = "localhost"
    ) {
        const auto out = at("https://" + host + ":" + std::to_string(server.port()));
        out->ca_file = certificates().ca_file();
        out->keys = {"sk-secret-of-the-upstream"};
        return out;
    }
    static void answer_all(Peer& peer, int) {
        while (peer.read_request()) peer.send(kOk);
    }
    ServerTls right = certificates().server({.names = "DNS:localhost,IP:127.0.0.1"});
};

TEST_F(TlsTest, CallsAndKeepsAVerifiedConnection) {
    ScriptServer server(&answer_all, right.get());
    for (int i = 0; i < 3; ++i) {
        const Outcome out = fetch(secure(server), post("{}"));
        ASSERT_TRUE(out.ok()) << out.error->detail;
        EXPECT_EQ(out.body, "ok");
    }
    EXPECT_EQ(server.accepted(), 1);
    ASSERT_TRUE(fetch(secure(server, "127.0.0.1"), post("{}")).ok()) << "by its address";
}

TEST_F(TlsTest, SendsTheServerNameOnlyIfItIsOne) {
    std::vector<std::string> asked;
    SSL_CTX_set_tlsext_servername_callback(
        right.get(),
        +[](SSL* ssl, int*, void* into) {
            const char* const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
            static_cast<std::vector<std::string>*>(into)->emplace_back(
                name == nullptr ? "-" : name
            );
            return SSL_TLSEXT_ERR_OK;
        }
    );
    SSL_CTX_set_tlsext_servername_arg(right.get(), &asked);
    ScriptServer server(&answer_all, right.get());
    ASSERT_TRUE(fetch(secure(server, "localhost"), post("{}")).ok());
    ASSERT_TRUE(fetch(secure(server, "127.0.0.1"), post("{}")).ok());
    EXPECT_EQ(asked, (std::vector<std::string>{"localhost", "-"}));
}

// Not one byte of a request, which holds the key, is sent to somebody who is not the upstream.
TEST_F(TlsTest, AWrongCertificateGetsNoByteOfTheRequest) {
    struct Case {
        const char* what;
        const char* host;
        Certificates::Wanted wanted;
    };
    const Case cases[] = {
        {"another host", "localhost", {.names = "DNS:other.example"}},
        {"an address for a name", "localhost", {.names = "IP:127.0.0.1"}},
        {"a name for an address", "127.0.0.1", {.names = "DNS:localhost,DNS:127.0.0.1"}},
        {"another address", "127.0.0.1", {.names = "IP:127.0.0.9"}},
        {"the right name as a part", "localhost", {.names = "DNS:xlocalhost,DNS:localhost.example"}
        },
        {"expired",
         "localhost",
         {.names = "DNS:localhost", .valid_from_s = -7200, .valid_until_s = -3600}},
        {"not yet valid",
         "localhost",
         {.names = "DNS:localhost", .valid_from_s = 3600, .valid_until_s = 7200}},
        {"self-signed", "localhost", {.names = "DNS:localhost", .signed_by_ca = false}},
    };
    for (const auto& [what, host, wanted] : cases) {
        const ServerTls tls = certificates().server(wanted);
        std::atomic<std::size_t> seen = 0;
        std::atomic<int> served = 0;
        {
            ScriptServer server(
                [&](Peer& peer, int) {
                    peer.wait_for_close();
                    seen += peer.bytes_seen();
                    ++served;
                },
                tls.get()
            );
            const Outcome out = fetch(secure(server, host), post("{}"));
            ASSERT_FALSE(out.ok()) << what;
            EXPECT_EQ(out.code(), ErrorCode::kUpstreamConnect) << what;
            EXPECT_EQ(out.stage, Call::Stage::kTls) << what;
            EXPECT_FALSE(out.written) << what;
            EXPECT_EQ(out.error->detail.find("sk-secret"), std::string::npos);
            run_until([&] { return served == 1; });
        }
        EXPECT_EQ(seen, 0U) << what;
    }
    EXPECT_EQ(client.stats().idle, 0U);
}

TEST_F(TlsTest, TrustsOnlyTheSystemWithoutACaFile) {
    ScriptServer server(&answer_all, right.get());
    const auto upstream = secure(server);
    upstream->ca_file.clear();
    const Outcome out = fetch(upstream, post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamConnect);
    EXPECT_EQ(out.stage, Call::Stage::kTls);
}

TEST_F(TlsTest, TheEnvironmentMayNameTheSystemsStore) {
    ::setenv("SSL_CERT_FILE", certificates().ca_file().c_str(), 1);
    ScriptServer server(&answer_all, right.get());
    const auto upstream = secure(server);
    upstream->ca_file.clear();
    const Outcome out = fetch(upstream, post("{}"));
    ::unsetenv("SSL_CERT_FILE");
    EXPECT_TRUE(out.ok());
}

TEST_F(TlsTest, AMissingCaFileIsAConnectError) {
    ScriptServer server(&answer_all, right.get());
    const auto upstream = secure(server);
    upstream->ca_file = "/nonexistent/ca.pem";
    const Outcome out = fetch(upstream, post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamConnect);
    EXPECT_NE(out.error->detail.find("CA file"), std::string::npos) << out.error->detail;
}

TEST_F(TlsTest, RefusesOldVersions) {
    SSL_CTX_set_security_level(right.get(), 0);
    SSL_CTX_set_min_proto_version(right.get(), TLS1_VERSION);
    SSL_CTX_set_max_proto_version(right.get(), TLS1_1_VERSION);
    ScriptServer server([](Peer& peer, int) { peer.wait_for_close(); }, right.get());
    const Outcome out = fetch(secure(server), post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamConnect);
    EXPECT_EQ(out.stage, Call::Stage::kTls);
}

TEST_F(TlsTest, WorksWithTls12) {
    SSL_CTX_set_max_proto_version(right.get(), TLS1_2_VERSION);
    ScriptServer server(&answer_all, right.get());
    ASSERT_TRUE(fetch(secure(server), post("{}")).ok());
    ASSERT_TRUE(fetch(secure(server), post("{}")).ok());
    EXPECT_EQ(server.accepted(), 1);
}

TEST_F(TlsTest, APlainServerIsATlsError) {
    ScriptServer server([](Peer& peer, int) {
        peer.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        peer.wait_for_close();
    });
    const Outcome out = fetch(secure(server), post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamConnect);
    EXPECT_EQ(out.stage, Call::Stage::kTls);
}

TEST_F(TlsTest, AStalledHandshakeTimesOutAndCanBeCancelled) {
    ScriptServer server([](Peer& peer, int) { peer.wait_for_close(); });  // plain: says nothing
    const auto upstream = secure(server);
    upstream->timeouts.tls = 60ms;
    const Outcome late = fetch(upstream, post("{}"));
    EXPECT_EQ(late.code(), ErrorCode::kUpstreamTimeout);
    EXPECT_EQ(late.stage, Call::Stage::kTls);

    Outcome out;
    const std::unique_ptr<Call> call = client.call(secure(server));
    begin(*call, post("{}"), out);
    run_until([&] { return call->stage() == Call::Stage::kTls; });
    const auto began = std::chrono::steady_clock::now();
    call->cancel();
    run_until([&] { return out.done; });
    EXPECT_LT(std::chrono::steady_clock::now() - began, 100ms);
    EXPECT_EQ(out.code(), ErrorCode::kCancelled);
}

TEST_F(TlsTest, ACloseDelimitedBodyNeedsAGoodbye) {
    ScriptServer server(
        [](Peer& peer, int number) {
            ASSERT_TRUE(peer.read_request());
            peer.send("HTTP/1.1 200 OK\r\n\r\nall of it");
            if (number == 0) {
                peer.close();
            } else {
                peer.cut();
            }
            peer.wait_for_close();
        },
        right.get()
    );
    const Outcome whole = fetch(secure(server), post("{}"));
    EXPECT_TRUE(whole.ok());
    EXPECT_EQ(whole.body, "all of it");
    const Outcome cut = fetch(secure(server), post("{}"));
    EXPECT_EQ(cut.code(), ErrorCode::kUpstreamClosed) << "anybody on the way could have cut it";
    EXPECT_EQ(cut.body, "all of it");
}

TEST_F(TlsTest, ACutBehindAWholeAnswerDoesNoHarm) {
    ScriptServer server(
        [](Peer& peer, int) {
            ASSERT_TRUE(peer.read_request());
            peer.send(kOk);
            peer.cut();
            peer.wait_for_close();
        },
        right.get()
    );
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(fetch(secure(server), post("{}")).ok());
}

TEST_F(TlsTest, StrayBytesNeverReachTheNextCall) {
    for (const bool together : {true, false}) {
        std::atomic<bool> sent = false;
        ScriptServer server(
            [&](Peer& peer, int number) {
                ASSERT_TRUE(peer.read_request());
                const std::string stray = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nSTRAY";
                peer.send(number == 0 && together ? std::string(kOk) + stray : std::string(kOk));
                if (number == 0 && !together) peer.send(stray);
                sent = true;
                sent.notify_one();
                peer.wait_for_close();
            },
            right.get()
        );
        ASSERT_TRUE(fetch(secure(server), post("{}")).ok());
        sent.wait(false);
        worker.restart();
        worker.run_for(20ms);
        const Outcome out = fetch(secure(server), post("{}"));
        ASSERT_TRUE(out.ok());
        EXPECT_EQ(out.body, "ok");
        EXPECT_EQ(server.accepted(), 2);
    }
}

class PatientTlsTest : public TlsTest {
protected:
    PatientTlsTest() : TlsTest({.stale_grace = 20s, .stale_at_most = 20s}) {}
};

TEST_F(PatientTlsTest, AStaleConnectionIsReplacedUnseen) {
    ScriptServer server(
        [](Peer& peer, int number) {
            ASSERT_TRUE(peer.read_request());
            peer.send(kOk);
            if (!peer.read_request() || number == 0) return;
            peer.send(kOk);
            peer.wait_for_close();
        },
        right.get()
    );
    ASSERT_TRUE(fetch(secure(server), post("{}")).ok());
    ASSERT_TRUE(fetch(secure(server), post("{}")).ok());
    EXPECT_EQ(client.stats().replaced, 1U);
}

TEST_F(TlsTest, TenMegabytesArriveIntactBothWays) {
    std::mt19937_64 random(11);
    std::string body(10 << 20, '\0');
    for (char& c : body) c = static_cast<char>(random());
    ScriptServer server(
        [&](Peer& peer, int) {
            ASSERT_TRUE(peer.read_request());
            EXPECT_TRUE(peer.body() == body);
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n");
            peer.send(body);
            peer.wait_for_close();
        },
        right.get()
    );
    const Outcome out = fetch(secure(server), post(body));
    ASSERT_TRUE(out.ok()) << out.error->detail;
    EXPECT_TRUE(out.body == body);
    EXPECT_EQ(client.stats().idle, 1U);
}

// Writing on a connection that is gone must be an error, not the signal that ends the process.
TEST_F(TlsTest, AServerThatLeavesUnderALongRequestDoesNoHarm) {
    const std::string body(32 << 20, 'x');
    ScriptServer server(
        [&](Peer& peer, int number) {
            ASSERT_TRUE(peer.read_head());
            if (number % 2 == 0) peer.reset();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbegun");
        },
        right.get()
    );
    for (int i = 0; i < 10; ++i) {
        const Outcome out = fetch(secure(server), post(body));
        // The reset may overtake the answer; what comes is never half of one.
        if (out.ok()) {
            EXPECT_EQ(out.body, "begun");
        } else {
            EXPECT_EQ(out.code(), ErrorCode::kUpstreamClosed);
        }
        EXPECT_FALSE(out.written);
    }
    EXPECT_EQ(client.stats().idle, 0U);
}

TEST_F(TlsTest, AnEarlyErrorAnswerIsDelivered) {
    const std::string body(32 << 20, 'x');
    std::atomic<bool> ended = false;
    ScriptServer server(
        [&](Peer& peer, int) {
            ASSERT_TRUE(peer.read_head());
            peer.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
            ended.wait(false);
        },
        right.get()
    );
    const Outcome out = fetch(secure(server), post(body));
    ended = true;
    ended.notify_one();
    ASSERT_TRUE(out.ok()) << out.error->detail;
    EXPECT_EQ(out.status, 413);
    EXPECT_EQ(out.body, "big");
    EXPECT_FALSE(out.written);
    EXPECT_EQ(client.stats().idle, 0U);
}

}  // namespace
}  // namespace weir::test
