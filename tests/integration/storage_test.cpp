// Promises 2 and 9 when the disk fails under the whole gateway: closed, clear, and over by itself.
#include "sqlite/faulty_vfs.hpp"
#include "tools.hpp"

namespace weir::test {
namespace {

using weir::testing::FaultyVfs;

class Storage : public ::testing::Test {
protected:
    Storage() { FaultyVfs::instance().heal(); }  // before a file is opened
    ~Storage() override { FaultyVfs::instance().heal(); }
    static constexpr const char* kCaps = "[{models: \"*\", allow: 9/4h}]";
};

TEST_F(Storage, AChargeThatFailsIsToldWhileTheUpstreamIsStillSilent) {
    std::atomic<bool> closed = false;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        if (request.body.find("silent") == std::string::npos) {
            return say_an_answer(wire, request);
        }
        closed = wire.wait_for_close(20s);
    });
    TestGateway gateway({.upstream_url = upstream.url(), .caps = kCaps});
    FaultyVfs::instance().fail_syncs = -1;
    FaultyVfs::instance().sync_takes = 50ms;  // long enough for the request to be at the upstream
    expect_error(
        ask(gateway.port(), {.key = kAlice, .body = chat_body("silent", true)}),
        503,
        "storage_unavailable"
    );
    EXPECT_TRUE(eventually([&] { return closed.load(); })) << "the upstream call went on, unpaid";
    const std::size_t before = upstream.calls();
    const Answer refused = ask(gateway.port(), {.key = kAlice, .body = chat_body("x")});
    expect_error(refused, 503, "storage_unavailable");
    EXPECT_EQ(refused.field("retry-after"), "5");
    EXPECT_EQ(upstream.calls(), before) << "sent on without a charge";
    const Answer health = ask(gateway.port(), {.method = "GET", .path = "/healthz"});
    EXPECT_EQ(health.status, 200);
    EXPECT_NE(health.body.find("degraded"), std::string::npos) << health.body;
    EXPECT_EQ(ask(gateway.port(), {.method = "GET", .path = "/readyz"}).status, 503);

    FaultyVfs::instance().heal();
    ASSERT_TRUE(eventually([&] {
        return ask(gateway.port(), {.method = "GET", .path = "/readyz"}).status == 200;
    }));
    EXPECT_EQ(used(gateway, "alice"), 0);
    EXPECT_EQ(ask(gateway.port(), {.key = kAlice, .body = chat_body("y")}).status, 200);
    EXPECT_EQ(used(gateway, "alice"), 1);
}

TEST_F(Storage, AnAnswerThatComesBeforeItsChargeFailsIsNotShown) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url(), .caps = kCaps});
    for (const bool stream : {false, true}) {
        FaultyVfs::instance().fail_syncs = 1;
        const Answer answer = ask(gateway.port(), {.key = kAlice, .body = chat_body("x", stream)});
        expect_error(answer, 503, "storage_unavailable");
        EXPECT_EQ(answer.body.find("an answer"), std::string::npos);
        ASSERT_TRUE(eventually([&] {
            return ask(gateway.port(), {.method = "GET", .path = "/readyz"}).status == 200;
        }));
        EXPECT_EQ(used(gateway, "alice"), 0);
    }
    // Nor was it kept for the next one.
    const Answer again = ask(gateway.port(), {.key = kAlice, .body = chat_body("x")});
    EXPECT_EQ(again.status, 200);
    EXPECT_EQ(again.field("x-cache"), "MISS");
}

}  // namespace
}  // namespace weir::test
