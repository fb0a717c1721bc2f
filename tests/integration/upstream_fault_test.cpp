// What the fault matrix (fault_matrix_test.cpp) does not show of a failed upstream.
#include "tools.hpp"

namespace weir::test {
namespace {

TEST(UpstreamFaults, ThatItIsBackIsNoticed) {
    FakeUpstream upstream(say_an_answer, FakeUpstream::Begin::kDown);
    TestGateway gateway(
        {.upstream_url = upstream.url(), .caps = "[{models: \"*\", allow: 9/4h}]", .workers = 1}
    );
    const Ask request{.key = kAlice, .body = chat_body("x")};
    Client client(gateway.port());
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(client.send(request.bytes()));
        expect_error(client.read_answer(), 502, "upstream_error");
    }
    EXPECT_EQ(used(gateway, "alice"), 0);
    upstream.come_up();
    ASSERT_TRUE(client.send(request.bytes()));
    const Answer answer = client.read_answer();
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(chat_text(answer), "an answer");
    EXPECT_EQ(upstream.calls(), 1U);
    EXPECT_EQ(used(gateway, "alice"), 1);
}

// HTTP/1.0 has no framing to leave unfinished: a reset says it.
TEST(UpstreamFaults, ABodyThatBreaksOffIsAResetToAnOldClient) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) {
        wire.send("HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 200000\r\n\r\n");
        wire.send(std::string(100'000, 'a'));
        std::this_thread::sleep_for(20ms);
        wire.close();
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    const std::string body = R"({"model":"tts-1","input":"x","voice":"alloy"})";
    Client old(gateway.port());
    ASSERT_TRUE(old.send(
        "POST /v1/audio/speech HTTP/1.0\r\nAuthorization: Bearer " + std::string(kAlice) +
        "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body
    ));
    const Answer answer = old.read_answer();
    EXPECT_EQ(answer.status, 200);
    EXPECT_FALSE(answer.complete);
}

}  // namespace
}  // namespace weir::test
