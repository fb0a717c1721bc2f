// Realtime sessions of which each response is a message.
#include "socket_tools.hpp"

namespace weir::test {
namespace {

using namespace nlohmann::literals;

// Answers each response.create; begins one by itself when it hears something; says what it was
// told.
class Speaking {
public:
    Speaking()
        : upstream_([this](Wire& wire, const SeenRequest& request) {
              WebPeer peer = WebPeer::accept(wire, request);
              while (const auto message = peer.receive()) {
                  const json heard = json::parse(message->bytes);
                  {
                      const std::lock_guard lock(mutex_);
                      heard_.push_back(heard);
                  }
                  answer(peer, heard);
              }
              wire.close();
          }) {}
    [[nodiscard]] FakeUpstream& upstream() { return upstream_; }
    [[nodiscard]] std::vector<json> heard() const {
        const std::lock_guard lock(mutex_);
        return heard_;
    }

private:
    void answer(WebPeer& peer, const json& heard) {
        const std::string type = heard.value("type", "");
        const std::string what = heard.value("/response/instructions"_json_pointer, "");
        const bool asked = type == "response.create";
        if (asked && what == "refuse") {
            const json error = {
                {"type", "error"},
                {"error", {{"message", "no"}, {"event_id", heard.value("event_id", json())}}}
            };
            static_cast<void>(peer.send(error.dump()));
            return;
        }
        if (!asked && type != "input_audio_buffer.commit") return;
        const std::string id = "resp_" + std::to_string(++made_);
        const auto say = [&](const std::string& event, json more) {
            json out = {{"type", event}};
            out.update(more);
            static_cast<void>(peer.send(out.dump()));
        };
        say("response.created", {{"response", {{"id", id}}}});
        say("response.output_text.delta", {{"response_id", id}, {"delta", "hello"}});
        const json usage = {{"input_tokens", 10}, {"output_tokens", 20}, {"total_tokens", 30}};
        say("response.done",
            {{"response",
              {{"id", id}, {"status", what == "fail" ? "failed" : "completed"}, {"usage", usage}}}}
        );
    }

    int made_ = 0;
    mutable std::mutex mutex_;
    std::vector<json> heard_;
    FakeUpstream upstream_;
};

// The types of `count` events.
std::string types(WebPeer& peer, int count) {
    std::string all;
    for (int i = 0; i < count; ++i) {
        all += (i > 0 ? " " : "") + parse(peer.receive()).value("type", "none");
    }
    return all;
}

constexpr char kSpoken[] = "response.created response.output_text.delta response.done";

std::string create(const std::string& instructions, const std::string& id = "") {
    json event = {{"type", "response.create"}, {"response", {{"instructions", instructions}}}};
    if (!id.empty()) event["event_id"] = id;
    return event.dump();
}

TEST(RealtimeByResponse, EachResponseIsAMessage) {
    Speaking speaking;
    TestGateway gateway(
        {.upstream_url = speaking.upstream().url(),
         .caps = "[{allow: 2/1h}]",
         .more = "realtime: {count: response}\n"}
    );
    WebPeer peer = open(gateway);
    EXPECT_EQ(used(gateway, "alice"), 0) << "a session alone is none";
    ASSERT_TRUE(peer.send(create("speak")));
    EXPECT_EQ(types(peer, 3), kSpoken);
    EXPECT_EQ(used(gateway, "alice"), 1);
    ASSERT_TRUE(peer.send(create("fail")));
    EXPECT_EQ(types(peer, 3), kSpoken);
    for (const char* const id : {"mine", ""}) {
        ASSERT_TRUE(peer.send(create("refuse", id)));
        EXPECT_EQ(types(peer, 1), "error");
    }
    EXPECT_EQ(used(gateway, "alice"), 1) << "what failed costs nothing";
    ASSERT_TRUE(peer.send(create("speak")));
    EXPECT_EQ(types(peer, 3), kSpoken);
    ASSERT_TRUE(peer.send(create("speak", "mine")));
    const json error = expect_error_event(peer.receive(), "insufficient_quota");
    EXPECT_EQ(error.value("event_id", ""), "mine");
    EXPECT_EQ(used(gateway, "alice"), 2);
    EXPECT_EQ(speaking.heard().size(), 5U) << "what was refused did not go on";
    peer.close(1000);
}

TEST(RealtimeByResponse, OneThatTheUpstreamBeginsIsAMessageToo) {
    Speaking speaking;
    TestGateway gateway(
        {.upstream_url = speaking.upstream().url(),
         .caps = "[{allow: 1/1h}]",
         .more = "realtime: {count: response}\n"}
    );
    WebPeer peer = open(gateway);
    ASSERT_TRUE(peer.send(event("input_audio_buffer.commit")));
    EXPECT_EQ(types(peer, 3), kSpoken);
    EXPECT_EQ(used(gateway, "alice"), 1);
    ASSERT_TRUE(peer.send(event("input_audio_buffer.commit")));
    expect_error_event(peer.receive(), "insufficient_quota");
    EXPECT_TRUE(eventually([&] { return speaking.heard().size() == 3; }));
    EXPECT_EQ(
        speaking.heard().back(), json::parse(R"({"type":"response.cancel","response_id":"resp_2"})")
    );
    // Nothing of it was shown.
    ASSERT_TRUE(peer.send(create("refuse")));
    expect_error_event(peer.receive(), "insufficient_quota");
    EXPECT_EQ(used(gateway, "alice"), 1);
    peer.close(1000);
}

TEST(RealtimeByResponse, TokensAreSettledByEach) {
    Speaking speaking;
    TestGateway gateway(
        {.upstream_url = speaking.upstream().url(),
         .caps = "[{allow: 100000 tokens/1h}, {allow: 1 at once}]",
         .more = "realtime: {count: response}\n"}
    );
    WebPeer peer = open(gateway);
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(peer.send(create("speak")));
        EXPECT_EQ(types(peer, 3), kSpoken) << "its place is given back";
    }
    EXPECT_EQ(used(gateway, "alice"), 90);
    peer.close(1000);
}

TEST(RealtimeByResponse, ATranscriptionIsAMessageAsAWhole) {
    FakeUpstream upstream(echo_plain);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*transcribe\", allow: 1/1h}]",
         .more = "realtime: {count: response}\n"}
    );
    const char* const target = "/v1/realtime?intent=transcription";
    WebPeer::connect(gateway.port(), target, {.key = kAlice}).close(1000);
    EXPECT_EQ(upstream.seen().front().target, target);
    EXPECT_TRUE(eventually([&] { return metric(gateway, "weir_websockets") == 0; }));
    EXPECT_EQ(used(gateway, "alice"), 1);
    expect_error(
        WebPeer::connect(gateway.port(), target, {.key = kAlice}).answer(),
        429,
        "insufficient_quota"
    );
}

}  // namespace
}  // namespace weir::test
