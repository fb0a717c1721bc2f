// What a call says about itself: credentials by the upstream's kind, configured headers, framing.
#include "call_fixture.hpp"

namespace weir::test {
namespace {

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

class HeadTest : public CallTest {
protected:
    struct Sent {
        std::string authorization, api_key, x_api_key, version, custom, length, coding, host;
        std::string head;
    };
    // The head that reached the upstream; its bytes behind the body are none.
    Sent send(upstream::CallRequest request, const std::function<void(config::Upstream&)>& change) {
        Sent sent;
        ScriptServer server([&](Peer& peer, int) {
            ASSERT_TRUE(peer.read_request());
            sent = {
                peer.field("authorization"),
                peer.field("api-key"),
                peer.field("x-api-key"),
                peer.field("anthropic-version"),
                peer.field("x-custom"),
                peer.field("content-length"),
                peer.field("transfer-encoding"),
                peer.field("host"),
                peer.head(),
            };
            peer.send(kOk);
            peer.wait_for_close();
        });
        const auto upstream = at(server);
        change(*upstream);
        const Outcome out = fetch(upstream, std::move(request));
        EXPECT_TRUE(out.ok());
        EXPECT_EQ(sent.host, "127.0.0.1:" + std::to_string(server.port()));
        return sent;
    }
    [[nodiscard]] static upstream::CallRequest from_a_client() {
        upstream::CallRequest request = post("{}");
        for (const char* name : {"Authorization", "API-Key", "X-Api-Key", "Proxy-Authorization"}) {
            request.fields.add(name, "of-the-client");
        }
        return request;
    }
};

TEST_F(HeadTest, EachKindIsToldTheKeyInItsWay) {
    const auto of_kind = [&](config::Kind kind) {
        return send(from_a_client(), [&](config::Upstream& upstream) {
            upstream.kind = kind;
            upstream.keys = {"sk-ours"};
        });
    };
    const Sent openai = of_kind(config::Kind::kOpenAi);
    EXPECT_EQ(openai.authorization, "Bearer sk-ours");
    EXPECT_EQ(openai.api_key + openai.x_api_key + openai.version, "");
    const Sent azure = of_kind(config::Kind::kAzure);
    EXPECT_EQ(azure.api_key, "sk-ours");
    EXPECT_EQ(azure.authorization + azure.x_api_key + azure.version, "");
    const Sent anthropic = of_kind(config::Kind::kAnthropic);
    EXPECT_EQ(anthropic.x_api_key, "sk-ours");
    EXPECT_EQ(anthropic.authorization + anthropic.api_key, "");
    EXPECT_EQ(anthropic.version, "2023-06-01");
    for (const Sent& sent : {openai, azure, anthropic}) {
        EXPECT_EQ(sent.head.find("of-the-client"), std::string::npos) << sent.head;
    }
}

TEST_F(HeadTest, TheVersionThatTheClientAsksForIsKept) {
    upstream::CallRequest request = post("{}");
    request.fields.add("Anthropic-Version", "2099-01-01");
    const Sent sent = send(std::move(request), [](config::Upstream& upstream) {
        upstream.kind = config::Kind::kAnthropic;
    });
    EXPECT_EQ(sent.version, "2099-01-01");
    EXPECT_EQ(sent.x_api_key, "") << "there is no key";
}

TEST_F(HeadTest, ConfiguredHeadersAreSetOverTheClients) {
    upstream::CallRequest request = from_a_client();
    request.fields.add("X-Custom", "of-the-client");
    request.fields.add("x-custom", "of-the-client, too");
    const Sent sent = send(std::move(request), [](config::Upstream& upstream) {
        upstream.keys = {"sk-ours"};
        upstream.headers = {{"x-custom", "ours"}, {"anthropic-version", "2024-01-01"}};
    });
    EXPECT_EQ(sent.custom, "ours");
    EXPECT_EQ(sent.version, "2024-01-01");
    EXPECT_EQ(sent.authorization, "Bearer sk-ours");
    EXPECT_EQ(sent.head.find("of-the-client"), std::string::npos) << sent.head;
}

TEST_F(HeadTest, CredentialsAmongTheHeadersStandInForTheKey) {
    for (const config::Kind kind :
         {config::Kind::kOpenAi, config::Kind::kAzure, config::Kind::kAnthropic}) {
        const Sent sent = send(from_a_client(), [&](config::Upstream& upstream) {
            upstream.kind = kind;
            upstream.keys = {"sk-ours"};
            upstream.headers = {{"Authorization", "Custom token"}};
        });
        EXPECT_EQ(sent.authorization, "Custom token");
        EXPECT_EQ(sent.head.find("sk-ours"), std::string::npos) << sent.head;
    }
}

// The config refuses them; here they must do no harm either.
TEST_F(HeadTest, HeadersOfTheConnectionAreNotSet) {
    const Sent sent = send(post("{}"), [](config::Upstream& upstream) {
        upstream.headers = {
            {"Content-Length", "9990000"},
            {"transfer-encoding", "chunked"},
            {"Connection", "close"},
            {"Keep-Alive", "timeout=1"},
            {"Proxy-Connection", "close"},
            {"TE", "trailers"},
            {"Trailer", "x"},
            {"Upgrade", "h2c"},
            {"Expect", "100-continue"},
            {"HOST", "other.example"},
            {"x-custom", "a\r\nx-split: yes"},
            {"x bad", "name"},
        };
    });
    EXPECT_EQ(sent.length, "2");
    EXPECT_EQ(sent.coding, "");
    for (const char* bad :
         {"9990000", "lose", "imeout", "railer", "h2c", "100-", "other", "split", "bad"}) {
        EXPECT_EQ(sent.head.find(bad), std::string::npos) << sent.head;
    }
}

TEST_F(HeadTest, ABodyIsFramedAndNoBodyIsNot) {
    const auto nothing = [](config::Upstream&) {};
    for (const char* method : {"GET", "DELETE", "OPTIONS"}) {
        EXPECT_EQ(send({method, "/v1/x", {}, {}}, nothing).length, "") << method;
        EXPECT_EQ(send({method, "/v1/x", {}, "body"}, nothing).length, "4") << method;
    }
    for (const char* method : {"POST", "PUT", "PATCH"}) {
        EXPECT_EQ(send({method, "/v1/x", {}, {}}, nothing).length, "0") << method;
    }
    EXPECT_EQ(send({"GET", "/v1/x", {}, {}}, nothing).coding, "");
}

}  // namespace
}  // namespace weir::test
