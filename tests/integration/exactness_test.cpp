// Promise 1 (exact) and 5 (never paid twice), with real connections racing against the whole
// gateway.
#include <atomic>
#include <latch>
#include <thread>
#include <vector>

#include "tools.hpp"

namespace weir::test {
namespace {

class Exactness : public testing::TestWithParam<std::uint32_t> {};

TEST_P(Exactness, TwoHundredConnectionsRaceForAHundredMessages) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        answer_chat(wire, request, "an answer");
    });
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"gpt-4*\", allow: 100/4h}]",
         .workers = GetParam()}
    );
    std::vector<Ask> requests;
    for (int i = 0; i < 200; ++i) {
        requests.push_back(
            {.key = kAlice,
             .body = chat_body("question " + std::to_string(i), i % 2 == 0),
             .fields = {}}
        );
    }
    const std::vector<Answer> answers = race(gateway.port(), requests);
    int answered = 0;
    int refused = 0;
    for (const Answer& answer : answers) {
        EXPECT_TRUE(answer.complete);
        if (answer.status == 200) {
            ++answered;
            EXPECT_EQ(chat_text(answer), "an answer");
        } else {
            EXPECT_EQ(answer.status, 429) << answer.body;
            EXPECT_EQ(answer.field("x-ratelimit-remaining-requests"), "0");
            EXPECT_EQ(answer.field("x-should-retry"), "false");
            ++refused;
        }
    }
    EXPECT_EQ(answered, 100);
    EXPECT_EQ(refused, 100);
    // Nobody asks for what was refused any more: no flight of it is left behind.
    const Answer metrics = ask(gateway.port(), {.method = "GET", .path = "/metrics"});
    EXPECT_NE(metrics.body.find("\nweir_flights 0\n"), std::string::npos) << metrics.body;
    EXPECT_EQ(upstream.calls(), 100U);
}

TEST_P(Exactness, SeveralKeysEachHaveTheirOwnHundred) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        answer_chat(wire, request, "an answer");
    });
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"gpt-4*\", allow: 20/4h}, {models: \"*\", allow: 30/1h}]",
         .workers = GetParam()}
    );
    std::vector<Ask> requests;
    for (int i = 0; i < 90; ++i) {
        const char* const key = i % 3 == 0 ? kAlice : i % 3 == 1 ? kBob : kCarol;
        requests.push_back({.key = key, .body = chat_body("q" + std::to_string(i))});
    }
    const std::vector<Answer> answers = race(gateway.port(), requests);
    std::vector<int> answered(3);
    for (std::size_t i = 0; i < answers.size(); ++i) answered[i % 3] += answers[i].status == 200;
    EXPECT_EQ(answered, (std::vector<int>{20, 20, 20}));
}

// 50 equal questions at once, streamed and not.
std::vector<Ask> equal_questions(int count) {
    std::vector<Ask> requests;
    for (int i = 0; i < count; ++i) {
        requests.push_back(
            {.key = i % 3 == 0 ? kBob : kAlice,
             .body = chat_body("the same", i % 2 == 0),
             .fields = {}}
        );
    }
    return requests;
}

TEST_P(Exactness, FiftyEqualRequestsShareOneCallAndCountOnce) {
    std::atomic<const TestGateway*> all = nullptr;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        // Until everybody else waits for this very call.
        EXPECT_TRUE(eventually([&] {
            return all.load() != nullptr && metric(*all, "weir_flights_joined_total") == 49;
        }));
        answer_chat(wire, request, "one answer for all of you");
    });
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: 100/4h}]",
         .workers = GetParam()}
    );
    all = &gateway;
    const std::vector<Answer> answers = race(gateway.port(), equal_questions(50));
    int misses = 0;
    for (const Answer& answer : answers) {
        EXPECT_EQ(answer.status, 200) << answer.body;
        EXPECT_TRUE(answer.complete);
        EXPECT_EQ(chat_text(answer), "one answer for all of you");
        misses += answer.field("x-cache") == "MISS";
    }
    EXPECT_EQ(upstream.calls(), 1U);
    EXPECT_EQ(misses, 1);
    int counted = 0;
    for (const char* const key : {kAlice, kBob}) {
        const Answer after = ask(gateway.port(), {.key = key, .body = chat_body("the same")});
        counted += 100 - std::stoi(after.field("x-ratelimit-remaining-requests"));
    }
    EXPECT_EQ(counted, 1);
}

TEST_P(Exactness, TheStarterLeavingDisturbsNobody) {
    std::atomic<bool> go_on = false;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        while (!go_on) std::this_thread::sleep_for(1ms);
        answer_chat(wire, request, "still one answer for all");
    });
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: 100/4h}]",
         .workers = GetParam()}
    );
    Client starter(gateway.port());
    ASSERT_TRUE(starter.send(Ask{.key = kCarol, .body = chat_body("x")}.bytes()));
    // Carol has a scope of her own; alice starts the shared one.
    Client first(gateway.port());
    ASSERT_TRUE(first.send(Ask{.key = kAlice, .body = chat_body("the same", true)}.bytes()));
    ASSERT_TRUE(upstream.wait_for_calls(2));
    std::thread leaver([&] {
        std::this_thread::sleep_for(100ms);
        first.socket().close();
        std::this_thread::sleep_for(100ms);
        go_on = true;
    });
    const std::vector<Answer> answers = race(gateway.port(), equal_questions(49));
    leaver.join();
    for (const Answer& answer : answers) {
        EXPECT_EQ(answer.status, 200) << answer.body;
        EXPECT_EQ(chat_text(answer), "still one answer for all");
    }
    EXPECT_EQ(upstream.calls(), 2U);
    EXPECT_EQ(chat_text(starter.read_answer()), "still one answer for all");
}

TEST_P(Exactness, ARefusedStarterLetsTheNextOneAskForItself) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        answer_chat(wire, request, "paid by who may");
    });
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: 1/4h}]",
         .workers = GetParam()}
    );
    // Alice has spent her message; bob has not. Both ask the same, several times at once.
    const Answer spent = ask(gateway.port(), {.key = kAlice, .body = chat_body("first")});
    ASSERT_EQ(spent.status, 200);
    std::vector<Ask> requests;
    for (int i = 0; i < 20; ++i) {
        requests.push_back({.key = i % 2 == 0 ? kAlice : kBob, .body = chat_body("second")});
    }
    const std::vector<Answer> answers = race(gateway.port(), requests);
    for (std::size_t i = 0; i < answers.size(); ++i) {
        // Alice's own requests get a 429, or the answer if bob's flight or the cache has it.
        if (i % 2 == 0 && answers[i].status == 429) continue;
        EXPECT_EQ(answers[i].status, 200) << answers[i].body;
        EXPECT_EQ(chat_text(answers[i]), "paid by who may");
    }
    EXPECT_EQ(upstream.calls(), 2U);
}

INSTANTIATE_TEST_SUITE_P(Workers, Exactness, testing::Values(1, 4));

}  // namespace
}  // namespace weir::test
