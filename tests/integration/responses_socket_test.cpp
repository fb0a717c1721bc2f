// The Responses API over a WebSocket: each response is a message.
#include "socket_tools.hpp"

namespace weir::test {
namespace {

constexpr char kResponses[] = "/v1/responses";

json make(json more, const std::string& model = "gpt-5.5") {
    json message = {{"type", "response.create"}, {"model", model}, {"input", "Say hello."}};
    if (more.is_object()) message.update(more);  // {} is null
    return message;
}

// Answers each response.create by its `input`; remembers what came.
class Answering {
public:
    Answering()
        : upstream_([this](Wire& wire, const SeenRequest& request) {
              WebPeer peer = WebPeer::accept(wire, request);
              while (const auto message = peer.receive()) {
                  const json asked = json::parse(message->bytes);
                  {
                      const std::lock_guard lock(mutex_);
                      asked_.push_back(asked);
                  }
                  if (!answer(peer, asked)) break;
              }
              peer.cut();
              wire.close();
          }) {}

    [[nodiscard]] FakeUpstream& upstream() { return upstream_; }
    [[nodiscard]] std::vector<json> asked() const {
        const std::lock_guard lock(mutex_);
        return asked_;
    }

private:
    bool answer(WebPeer& peer, const json& asked) {
        const std::string id = "resp_" + std::to_string(++made_);
        const auto say = [&](const std::string& type, json more) {
            json event = {{"type", type}};
            if (asked.contains("stream_id")) event["stream_id"] = asked["stream_id"];
            event.update(more);
            return peer.send(event.dump());
        };
        const std::string input = asked.value("input", "");
        if (input == "refuse") {
            return say(
                "error",
                {{"status", 400},
                 {"error",
                  {{"type", "invalid_request_error"},
                   {"code", "odd"},
                   {"message", "no"},
                   {"param", nullptr}}}}
            );
        }
        const bool warm_up = !asked.value("generate", true);
        say("response.created", {{"response", {{"id", id}}}});
        if (input == "break") return false;
        if (!warm_up) say("response.output_text.delta", {{"delta", "hello"}});
        const json usage = {
            {"input_tokens", 10},
            {"output_tokens", warm_up ? 0 : 20},
            {"total_tokens", warm_up ? 10 : 30}
        };
        const bool failed = input == "fail";
        return say(
            failed ? "response.failed" : "response.completed",
            {{"response",
              {{"id", id}, {"status", failed ? "failed" : "completed"}, {"usage", usage}}}}
        );
    }

    int made_ = 0;
    mutable std::mutex mutex_;
    std::vector<json> asked_;
    FakeUpstream upstream_;
};

WebPeer connect(const TestGateway& gateway, const char* key = kAlice) {
    WebPeer peer = WebPeer::connect(gateway.port(), kResponses, {.key = key});
    EXPECT_TRUE(peer.accepted()) << peer.answer().status << peer.answer().body;
    return peer;
}

// The types of the events up to the end of one response.
std::string ask_once(WebPeer& peer, const json& message) {
    EXPECT_TRUE(peer.send(message.dump()));
    std::string types;
    while (true) {
        const json event = parse(peer.receive());
        const std::string type = event.value("type", "none");
        types += (types.empty() ? "" : " ") + type;
        if (type == "error") return types + " " + event["error"].value("code", "");
        if (type == "none" || type == "response.completed" || type == "response.failed") {
            return types;
        }
    }
}

constexpr char kWhole[] = "response.created response.output_text.delta response.completed";

TEST(ResponsesSocket, EachResponseIsAMessageAndARefusalLeavesTheConnectionOpen) {
    Answering answering;
    TestGateway gateway({.upstream_url = answering.upstream().url(), .caps = "[{allow: 2/1h}]"});
    WebPeer peer = connect(gateway);
    EXPECT_EQ(answering.upstream().calls(), 0U) << "no message yet, no model";
    EXPECT_EQ(ask_once(peer, make({})), kWhole);
    EXPECT_EQ(used(gateway, "alice"), 1);
    EXPECT_EQ(ask_once(peer, make({{"input", "refuse"}})), "error odd");
    EXPECT_EQ(
        ask_once(peer, make({{"input", "fail"}})),
        "response.created response.output_text.delta response.failed"
    );
    EXPECT_EQ(ask_once(peer, make({{"generate", false}})), "response.created response.completed");
    EXPECT_EQ(used(gateway, "alice"), 1) << "what failed, or made nothing, costs nothing";
    EXPECT_EQ(ask_once(peer, make({{"stream_id", "lane"}})), kWhole);
    ASSERT_TRUE(peer.send(make({{"stream_id", "lane"}}).dump()));
    const json refused = parse(peer.receive());
    EXPECT_EQ(refused.value("type", ""), "error");
    EXPECT_EQ(refused.value("status", 0), 429);
    EXPECT_EQ(refused.value("stream_id", ""), "lane");
    EXPECT_EQ(refused["error"].value("type", ""), "insufficient_quota");
    EXPECT_EQ(refused["error"].value("code", ""), "insufficient_quota");
    EXPECT_NE(
        refused["error"].value("message", "").find("You have used 2 of 2 messages"),
        std::string::npos
    );
    peer.close(1000);
    EXPECT_EQ(answering.asked().size(), 5U);
    EXPECT_EQ(answering.upstream().calls(), 1U);
    EXPECT_EQ(used(gateway, "alice"), 2);
}

TEST(ResponsesSocket, UsageSettlesTokens) {
    Answering answering;
    TestGateway gateway(
        {.upstream_url = answering.upstream().url(), .caps = "[{allow: 100000 tokens/1h}]"}
    );
    WebPeer peer = connect(gateway);
    EXPECT_EQ(ask_once(peer, make({{"max_output_tokens", 50}})), kWhole);
    EXPECT_EQ(used(gateway, "alice"), 30);
}

TEST(ResponsesSocket, AliasesAndLimitsAreWrittenIntoTheMessage) {
    Answering answering;
    TestGateway gateway(
        {.upstream_url = answering.upstream().url(),
         .more = "models: {smart: {serve_as: gpt-5.5}}\n",
         .plan_more = "    max_output: 100\n"}
    );
    WebPeer peer = connect(gateway);
    EXPECT_EQ(ask_once(peer, make({{"max_output_tokens", 5000}}, "smart")), kWhole);
    ASSERT_EQ(answering.asked().size(), 1U);
    EXPECT_EQ(answering.asked()[0].value("model", ""), "gpt-5.5");
    EXPECT_EQ(answering.asked()[0].value("max_output_tokens", 0), 100);
    EXPECT_EQ(answering.asked()[0].value("type", ""), "response.create");
}

TEST(ResponsesSocket, StoredStateIsClosedButForWhatThisConnectionBrought) {
    Answering answering;
    TestGateway gateway({.upstream_url = answering.upstream().url()});
    WebPeer peer = connect(gateway);
    EXPECT_EQ(ask_once(peer, make({{"previous_response_id", "resp_1"}})), "error endpoint_closed");
    EXPECT_EQ(ask_once(peer, make({})), kWhole);
    EXPECT_EQ(ask_once(peer, make({{"previous_response_id", "resp_1"}})), kWhole);
    EXPECT_EQ(ask_once(peer, make({{"previous_response_id", "resp_9"}})), "error endpoint_closed");
    EXPECT_EQ(
        ask_once(peer, make({{"previous_response_id", "resp_1"}, {"conversation", "conv_1"}})),
        "error endpoint_closed"
    );
    EXPECT_EQ(ask_once(peer, make({{"prompt", {{"id", "pmpt_1"}}}})), "error endpoint_closed");
    WebPeer other = connect(gateway);
    EXPECT_EQ(ask_once(other, make({{"previous_response_id", "resp_1"}})), "error endpoint_closed");
}

TEST(ResponsesSocket, OneConnectionSpeaksToOneUpstream) {
    Answering answering;
    TestGateway gateway(
        {.upstream_url = answering.upstream().url(),
         .upstream_more = ", models: [\"gpt-*\", o3]",
         .plan_more = "    deny: [\"o3\"]\n"}
    );
    WebPeer peer = connect(gateway);
    ASSERT_TRUE(peer.send(R"({"type":"response.cancel"})"));
    EXPECT_EQ(parse(peer.receive()).value("type", ""), "error") << "no upstream yet";
    EXPECT_EQ(ask_once(peer, make({}, "claude")), "error model_not_found");
    EXPECT_EQ(ask_once(peer, make({}, "o3")), "error model_not_allowed");
    EXPECT_EQ(ask_once(peer, make({})), kWhole);
    EXPECT_EQ(ask_once(peer, make({}, "claude")), "error model_not_found");
}

TEST(ResponsesSocket, AnUpstreamThatCannotBeReachedIsToldAsAnEvent) {
    const std::uint16_t gone = [] { return FakeUpstream(say_an_answer).port(); }();
    TestGateway gateway(
        {.upstream_url = "http://127.0.0.1:" + std::to_string(gone) + "/v1",
         .caps = "[{allow: 2/1h}]"}
    );
    WebPeer peer = connect(gateway);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(ask_once(peer, make({})), "error upstream_error");
    EXPECT_EQ(used(gateway, "alice"), 0);
    peer.close(1000);
}

TEST(ResponsesSocket, AnUpstreamThatBreaksOffGivesTheMessageBack) {
    Answering answering;
    TestGateway gateway({.upstream_url = answering.upstream().url(), .caps = "[{allow: 2/1h}]"});
    WebPeer peer = connect(gateway);
    EXPECT_EQ(ask_once(peer, make({{"input", "break"}})), "response.created error upstream_error");
    EXPECT_FALSE(peer.receive());
    EXPECT_EQ(peer.close_code(), 1011);
    EXPECT_TRUE(eventually([&] { return used(gateway, "alice") == 0; }));
}

TEST(ResponsesSocket, AClientThatLeavesPaysForWhatItAsked) {
    Steps asked;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        WebPeer peer = WebPeer::accept(wire, request);
        static_cast<void>(peer.receive());
        asked.pass();
        static_cast<void>(peer.receive());
        wire.close();
    });
    TestGateway gateway({.upstream_url = upstream.url(), .caps = "[{allow: 2/1h}]"});
    {
        WebPeer peer = connect(gateway);
        ASSERT_TRUE(peer.send(make({}).dump()));
        ASSERT_TRUE(asked.wait());
        peer.cut();
    }
    EXPECT_TRUE(eventually([&] { return metric(gateway, "weir_websockets") == 0; }));
    EXPECT_EQ(used(gateway, "alice"), 1);
}

TEST(ResponsesSocket, ARestingConnectionEndsAsADrainBegins) {
    Answering answering;
    TestGateway gateway({.upstream_url = answering.upstream().url(), .more = "drain: 20s\n"});
    WebPeer peer = connect(gateway);
    EXPECT_EQ(ask_once(peer, make({})), kWhole);
    const auto begun = std::chrono::steady_clock::now();
    std::thread stopping([&] { gateway.gateway().drain([] { return false; }); });
    EXPECT_FALSE(peer.receive());
    EXPECT_EQ(peer.close_code(), 1001);
    stopping.join();
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 10s);
}

}  // namespace
}  // namespace weir::test
