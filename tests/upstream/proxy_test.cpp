// Through an HTTP proxy: the tunnel, what the proxy may say, and who sees what.
#include "call_fixture.hpp"
#include "support/black_hole.hpp"
#include "support/certificates.hpp"

namespace weir::test {
namespace {

using upstream::Call;

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
constexpr std::string_view kTunnel = "HTTP/1.1 200 Connection established\r\n\r\n";

const Certificates& certificates() {
    static const Certificates made;
    return made;
}

// A proxy that makes any tunnel, whatever the host, to this host.
class Proxy {
public:
    explicit Proxy(SSL_CTX* tls = nullptr)
        : server_([this](Peer& peer, int) { serve(peer); }, tls) {}

    [[nodiscard]] config::HttpProxy config(bool tls = false) const {
        return {.tls = tls, .host = "localhost", .port = server_.port(), .credentials = {}};
    }
    [[nodiscard]] int accepted() const { return server_.accepted(); }
    // Of the first tunnel.
    std::string request_line;
    std::string host;
    std::string authorization;

private:
    void serve(Peer& peer) {
        if (!peer.read_head()) return;
        const std::string& head = peer.head();
        request_line = head.substr(0, head.find("\r\n"));
        host = peer.field("host");
        authorization = peer.field("proxy-authorization");
        const std::size_t colon = request_line.find(' ', 8) - 1;
        const std::size_t begin = request_line.rfind(':', colon) + 1;
        const int port = std::stoi(request_line.substr(begin));
        peer.send(kTunnel);
        peer.tunnel_to(static_cast<std::uint16_t>(port));
    }

    ScriptServer server_;
};

class ProxyTest : public CallTest {
protected:
    static void answer_all(Peer& peer, int) {
        while (peer.read_request()) peer.send(kOk);
    }
    [[nodiscard]] static std::shared_ptr<config::Upstream> secure(
        const ScriptServer& server, const std::string& host = "localhost"
    ) {
        const auto out = at("https://" + host + ":" + std::to_string(server.port()));
        out->ca_file = certificates().ca_file();
        out->keys = {"sk-secret-of-the-upstream"};
        return out;
    }
    // The outcome of a call through a proxy that answers so.
    Outcome fetch_through(std::string answer) {
        ScriptServer proxy([answer = std::move(answer)](Peer& peer, int) {
            if (!peer.read_head()) return;
            peer.send(answer);
            peer.close();
            peer.wait_for_close();
        });
        const auto upstream = at("http://upstream.test:8080");
        upstream->proxy = config::HttpProxy{
            .host = "127.0.0.1", .port = proxy.port(), .credentials = "user:pass-word"
        };
        return fetch(upstream, post("{}"));
    }
    ServerTls right = certificates().server({.names = "DNS:localhost,DNS:upstream.test"});
};

TEST_F(ProxyTest, ATunnelLeadsToAnHttpsUpstream) {
    ScriptServer server(&answer_all, right.get());
    Proxy proxy;
    // Nobody but the proxy needs to know where this is.
    const auto upstream = secure(server, "upstream.test");
    upstream->proxy = proxy.config();
    upstream->proxy->credentials = "user:pass-word";
    for (int i = 0; i < 3; ++i) {
        const Outcome out = fetch(upstream, post("{}"));
        ASSERT_TRUE(out.ok()) << out.error->detail;
        EXPECT_EQ(out.body, "ok");
        EXPECT_TRUE(out.written);
    }
    EXPECT_EQ(proxy.accepted(), 1) << "the tunnel is pooled";
    const std::string where = "upstream.test:" + std::to_string(server.port());
    EXPECT_EQ(proxy.request_line, "CONNECT " + where + " HTTP/1.1");
    EXPECT_EQ(proxy.host, where);
    EXPECT_EQ(proxy.authorization, "Basic dXNlcjpwYXNzLXdvcmQ=");
}

TEST_F(ProxyTest, ATunnelLeadsToAnHttpUpstream) {
    std::string authorization;
    ScriptServer server([&](Peer& peer, int number) {
        ASSERT_TRUE(peer.read_request());
        authorization = peer.field("proxy-authorization");
        peer.send(kOk);
        answer_all(peer, number);
    });
    Proxy proxy;
    const auto upstream = at(server);
    upstream->proxy = proxy.config();
    upstream->proxy->credentials = "user:pass-word";
    ASSERT_TRUE(fetch(upstream, post("{}")).ok());
    EXPECT_EQ(proxy.accepted(), 1);
    EXPECT_EQ(authorization, "") << "it is the proxy's alone";
}

// TLS to the proxy, and TLS to the upstream inside it.
TEST_F(ProxyTest, AProxyMayItselfSpeakTls) {
    const ServerTls outer = certificates().server({.names = "DNS:localhost"});
    const std::string body(3 << 20, 'x');
    for (const bool inner : {true, false}) {
        ScriptServer server(
            [&](Peer& peer, int) {
                while (peer.read_request()) {
                    EXPECT_TRUE(peer.body() == body);
                    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 3145728\r\n\r\n");
                    peer.send(peer.body());
                }
            },
            inner ? right.get() : nullptr
        );
        Proxy proxy(outer.get());
        const auto upstream = secure(server, "upstream.test");
        upstream->tls = inner;
        upstream->proxy = proxy.config(true);
        for (int i = 0; i < 2; ++i) {
            const Outcome out = fetch(upstream, post(body));
            ASSERT_TRUE(out.ok()) << out.error->detail;
            EXPECT_TRUE(out.body == body);
        }
        EXPECT_EQ(proxy.accepted(), 1);
        EXPECT_EQ(client.stats().idle, 1U);
        client.close_idle();
    }
}

TEST_F(ProxyTest, AProxyThatIsNotTheOneNamedLearnsNothing) {
    const ServerTls wrong = certificates().server({.names = "DNS:other.example"});
    ScriptServer server(&answer_all, right.get());
    std::atomic<std::size_t> seen = 0;
    std::atomic<bool> ended = false;
    ScriptServer proxy(
        [&](Peer& peer, int) {
            peer.wait_for_close();
            seen = peer.bytes_seen();
            ended = true;
        },
        wrong.get()
    );
    const auto upstream = secure(server);
    upstream->proxy = config::HttpProxy{
        .tls = true, .host = "localhost", .port = proxy.port(), .credentials = "user:pass-word"
    };
    const Outcome out = fetch(upstream, post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamConnect);
    EXPECT_EQ(out.stage, Call::Stage::kConnect);
    EXPECT_NE(out.error->detail.find("the proxy"), std::string::npos) << out.error->detail;
    run_until([&] { return ended.load(); });
    EXPECT_EQ(seen, 0U);
}

// A proxy that answers in the upstream's place gets no byte of the request.
TEST_F(ProxyTest, AnUpstreamInsideATunnelIsVerified) {
    const ServerTls wrong = certificates().server({.names = "DNS:proxy.example"});
    ScriptServer impostor(&answer_all, wrong.get());
    Proxy proxy;
    const auto upstream = secure(impostor);
    upstream->proxy = proxy.config();
    const Outcome out = fetch(upstream, post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamConnect);
    EXPECT_EQ(out.stage, Call::Stage::kTls);
    EXPECT_FALSE(out.written);
}

TEST_F(ProxyTest, ARefusalNamesTheProxyAndItsStatus) {
    for (const int status : {301, 403, 407, 502}) {
        const Outcome out = fetch_through(
            "HTTP/1.1 " + std::to_string(status) +
            " No\r\nContent-Length: 4\r\nx-hint: user:pass-word\r\n\r\nnope"
        );
        EXPECT_EQ(out.code(), ErrorCode::kUpstreamConnect) << status;
        EXPECT_EQ(out.stage, Call::Stage::kConnect);
        const std::string& detail = out.error->detail;
        EXPECT_NE(detail.find("the proxy"), std::string::npos) << detail;
        EXPECT_NE(detail.find(std::to_string(status)), std::string::npos) << detail;
        EXPECT_EQ(detail.find("pass-word"), std::string::npos) << detail;
        EXPECT_FALSE(out.written);
    }
    EXPECT_EQ(client.stats().idle, 0U);
    EXPECT_EQ(client.stats().active, 0U);
}

TEST_F(ProxyTest, WhatIsNotATunnelIsAConnectError) {
    for (const char* answer :
         {"", "HTTP/1.", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"}) {
        const Outcome out = fetch_through(answer);
        EXPECT_EQ(out.code(), ErrorCode::kUpstreamConnect) << answer;
        EXPECT_NE(out.error->detail.find("the proxy"), std::string::npos) << out.error->detail;
        EXPECT_FALSE(out.written);
    }
}

// Old ones answer so, and some say how long nothing is.
TEST_F(ProxyTest, ATunnelMayBeAnnouncedInOldWays) {
    for (const char* tunnel :
         {"HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n",
          "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}) {
        ScriptServer proxy([&](Peer& peer, int) {
            ASSERT_TRUE(peer.read_head());
            peer.send(tunnel);
            ASSERT_TRUE(peer.read_request());
            peer.send(kOk);
            peer.wait_for_close();
        });
        const auto upstream = at("http://upstream.test");
        upstream->proxy =
            config::HttpProxy{.host = "127.0.0.1", .port = proxy.port(), .credentials = {}};
        EXPECT_TRUE(fetch(upstream, post("{}")).ok());
    }
}

TEST_F(ProxyTest, AProxyThatSaysNothingIsAConnectTimeout) {
    ScriptServer proxy([](Peer& peer, int) { peer.wait_for_close(); });
    const auto upstream = at("http://upstream.test");
    upstream->proxy =
        config::HttpProxy{.host = "127.0.0.1", .port = proxy.port(), .credentials = {}};
    upstream->timeouts.connect = 60ms;
    const Outcome out = fetch(upstream, post("{}"));
    EXPECT_EQ(out.code(), ErrorCode::kUpstreamTimeout);
    EXPECT_EQ(out.stage, Call::Stage::kConnect);
    EXPECT_FALSE(out.written);
}

TEST_F(ProxyTest, CancelWhileTheTunnelIsMadeEndsTheCall) {
    std::atomic<bool> asked = false;
    std::atomic<bool> closed = false;
    ScriptServer proxy([&](Peer& peer, int) {
        asked = peer.read_head();
        peer.wait_for_close();
        closed = true;
    });
    const auto upstream = at("http://upstream.test");
    upstream->proxy =
        config::HttpProxy{.host = "127.0.0.1", .port = proxy.port(), .credentials = {}};
    Outcome out;
    const std::unique_ptr<Call> call = client.call(upstream);
    begin(*call, post("{}"), out);
    run_until([&] { return asked.load(); });
    call->cancel();
    run_until([&] { return out.done && closed; });
    EXPECT_EQ(out.code(), ErrorCode::kCancelled);
    EXPECT_EQ(client.stats().active, 0U);
}

TEST_F(ProxyTest, WithAndWithoutAProxyAreNotTheSame) {
    ScriptServer server(&answer_all);
    Proxy proxy;
    const auto direct = at(server);
    const auto through = std::make_shared<config::Upstream>(*direct);
    through->proxy = proxy.config();
    const auto as_another = std::make_shared<config::Upstream>(*through);
    as_another->proxy->credentials = "other:user";
    for (int i = 0; i < 2; ++i) {
        for (const auto& upstream : {direct, through, as_another}) {
            ASSERT_TRUE(fetch(upstream, post("{}")).ok());
        }
    }
    EXPECT_EQ(server.accepted(), 3);
    EXPECT_EQ(proxy.accepted(), 2);
}

}  // namespace
}  // namespace weir::test
