// TLS beyond the first handshake: sessions that are resumed, and certificates of our own.
#include "call_fixture.hpp"
#include "support/certificates.hpp"

namespace weir::test {
namespace {

using upstream::Call;

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
constexpr std::string_view kLast =
    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";

const Certificates& certificates() {
    static const Certificates made;
    return made;
}

class SessionTest : public CallTest {
protected:
    // Each call has a connection of its own.
    [[nodiscard]] ScriptServer::Script once() {
        return [this](Peer& peer, int) {
            if (!peer.read_request()) return;
            if (peer.tls_resumed()) ++resumed;
            if (peer.tls_has_client_certificate()) ++certified;
            peer.send(kLast);
            peer.close();
            peer.wait_for_close();
        };
    }
    [[nodiscard]] static std::shared_ptr<config::Upstream> secure(const ScriptServer& server) {
        const auto out = at("https://localhost:" + std::to_string(server.port()));
        out->ca_file = certificates().ca_file();
        return out;
    }
    std::atomic<int> resumed = 0;
    std::atomic<int> certified = 0;
    ServerTls right = certificates().server({.names = "DNS:localhost"});
};

TEST_F(SessionTest, ANewConnectionResumesTheSessionOfAnOldOne) {
    for (const int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
        SSL_CTX_set_max_proto_version(right.get(), version);
        resumed = 0;
        ScriptServer server(once(), right.get());
        const auto upstream = secure(server);
        for (int i = 0; i < 5; ++i) {
            const Outcome out = fetch(upstream, post("{}"));
            ASSERT_TRUE(out.ok()) << out.error->detail;
        }
        EXPECT_EQ(server.accepted(), 5);
        EXPECT_EQ(resumed, 4) << version;
    }
}

TEST_F(SessionTest, ACallThatWasGivenUpLeavesItsSessionGood) {
    ScriptServer server(
        [&](Peer& peer, int number) {
            if (!peer.read_request()) return;
            if (peer.tls_resumed()) ++resumed;
            peer.send(number == 0 ? "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart" : kOk);
            peer.wait_for_close();
        },
        right.get()
    );
    const auto upstream = secure(server);
    {
        Outcome out;
        const std::unique_ptr<Call> call = client.call(upstream);
        on_read = [&] { call->cancel(); };
        begin(*call, post("{}"), out);
        run_until([&] { return out.done; });
        on_read = nullptr;
    }
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    EXPECT_EQ(resumed, 1);
}

// Sessions belong to an identity: who says another key, or trusts another CA, begins anew.
TEST_F(SessionTest, SessionsAreNotShared) {
    ScriptServer server(once(), right.get());
    const auto upstream = secure(server);
    const auto other = std::make_shared<config::Upstream>(*upstream);
    other->keys = {"sk-other"};
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    ASSERT_TRUE(fetch(other, post("{}")).ok());
    EXPECT_EQ(resumed, 0);
    client.close_idle();
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    EXPECT_EQ(resumed, 0) << "after a reload the stores are read again";
}

TEST_F(SessionTest, AServerThatForgotTheSessionIsStillReached) {
    std::shared_ptr<config::Upstream> upstream;
    ScriptServer server(once(), right.get());
    upstream = secure(server);
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    unsigned char keys[80] = {1};
    const long size = SSL_CTX_set_tlsext_ticket_keys(right.get(), nullptr, 0);
    ASSERT_EQ(SSL_CTX_set_tlsext_ticket_keys(right.get(), keys, size), 1);
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    EXPECT_EQ(resumed, 1) << "the last one";
}

TEST_F(SessionTest, AClientCertificateIsShownToWhoAsks) {
    const ServerTls asks = certificates().server_that_asks({.names = "DNS:localhost"});
    const Certificates::ClientFiles files = certificates().client();
    ScriptServer server(once(), asks.get());
    const auto upstream = secure(server);
    const Outcome without = fetch(upstream, post("{}"));
    EXPECT_FALSE(without.ok());
    EXPECT_EQ(certified, 0);
    const auto ours = std::make_shared<config::Upstream>(*upstream);
    ours->certificate_file = files.certificate;
    ours->certificate_key_file = files.key;
    for (int i = 0; i < 2; ++i) {
        const Outcome out = fetch(ours, post("{}"));
        ASSERT_TRUE(out.ok()) << out.error->detail;
    }
    EXPECT_EQ(certified, 2);
    EXPECT_EQ(resumed, 1);
}

TEST_F(SessionTest, AConnectionWithAnotherCertificateIsNotUsed) {
    const Certificates::ClientFiles files = certificates().client();
    ScriptServer server(
        [](Peer& peer, int) {
            while (peer.read_request()) peer.send(kOk);
        },
        right.get()
    );
    const auto upstream = secure(server);
    const auto ours = std::make_shared<config::Upstream>(*upstream);
    ours->certificate_file = files.certificate;
    ours->certificate_key_file = files.key;
    for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(fetch(upstream, post("{}")).ok());
        ASSERT_TRUE(fetch(ours, post("{}")).ok());
    }
    EXPECT_EQ(server.accepted(), 2);
}

TEST_F(SessionTest, FilesThatCannotBeReadAreConnectErrorsThatNameThem) {
    const Certificates::ClientFiles files = certificates().client();
    const Certificates::ClientFiles others = certificates().client();
    ScriptServer server(once(), right.get());
    struct Case {
        std::string certificate;
        std::string key;
        std::string named;
    };
    const Case cases[] = {
        {"/nowhere/certificate.pem", files.key, "/nowhere/certificate.pem"},
        {files.certificate, "/nowhere/key.pem", "/nowhere/key.pem"},
        {files.certificate, others.key, others.key},
        {files.key, files.key, files.key},
    };
    for (const auto& [certificate, key, named] : cases) {
        const auto upstream = secure(server);
        upstream->certificate_file = certificate;
        upstream->certificate_key_file = key;
        const Outcome out = fetch(upstream, post("{}"));
        EXPECT_EQ(out.code(), ErrorCode::kUpstreamConnect);
        EXPECT_EQ(out.stage, Call::Stage::kTls);
        EXPECT_NE(out.error->detail.find(named), std::string::npos) << out.error->detail;
    }
}

// The handshake has a time of its own.
TEST_F(SessionTest, AHandshakeThatHangsIsATlsTimeout) {
    ScriptServer server([](Peer& peer, int) { peer.wait_for_close(); });
    const auto upstream = secure(server);
    upstream->timeouts.tls = 60ms;
    const Outcome out = fetch(upstream, post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamTimeout);
    EXPECT_EQ(out.stage, Call::Stage::kTls);
    EXPECT_NE(out.error->detail.find("TLS"), std::string::npos) << out.error->detail;
    EXPECT_FALSE(out.written);
}

}  // namespace
}  // namespace weir::test
