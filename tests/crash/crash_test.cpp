// Promise 2 (durable): the real binary under load is killed by SIGKILL at a random moment, again
// and again, on one data directory. What clients were answered is counted, and no more is counted
// than was admitted.
#include <atomic>
#include <cstdio>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "crash/gate.hpp"
#include "support/client.hpp"
#include "support/fake_upstream.hpp"

namespace weir::test {
namespace {

constexpr std::uint64_t kTokens = 8;  // that an answer takes at least

// What clients know, over all rounds.
struct Tally {
    std::atomic<std::uint64_t> sent = 0;  // requests handed to the kernel: none more was admitted
    std::atomic<std::uint64_t> answered = 0;  // of which a byte of an answer with 200 came
    std::atomic<std::uint64_t> refused = 0;
};

// Clients that ask and ask, each question a new one, until the gateway is gone.
std::vector<std::thread> flood(
    std::uint16_t port, int clients, std::atomic<int>& question, Tally& tally
) {
    std::vector<std::thread> threads;
    for (int i = 0; i < clients; ++i) {
        threads.emplace_back([&, port, i] {
            Client client(port);
            while (true) {
                const std::string body = chat_body(
                    "q" + std::to_string(++question), i % 2 == 0, "gpt-4", R"("max_tokens":8)"
                );
                ++tally.sent;
                if (!client.send(Ask{.key = kCarol, .body = body}.bytes())) return;
                Answer answer = client.read_head();
                if (answer.status == 0) return;
                if (answer.status == 200) ++tally.answered;
                if (answer.status == 429) ++tally.refused;
                client.read_body(answer);
                if (!answer.complete) return;
            }
        });
    }
    return threads;
}

// Used so far, as the ledger of the restarted process says.
std::uint64_t counted(std::uint16_t port, std::uint64_t limit) {
    const Answer answer = ask(port, {.method = "GET", .path = "/v1/models", .key = kCarol});
    EXPECT_EQ(answer.status, 200) << answer.body;
    return limit - std::stoull(answer.field("x-ratelimit-remaining-requests"));
}

void answer_any(Wire& wire, const SeenRequest& request) {
    if (request.method == "GET") {
        wire.json(R"({"object":"list","data":[]})");
    } else {
        answer_chat(wire, request, "a short answer");
    }
}

// Kills and restarts; after each start the ledger's count stands between what clients got and sent.
void kill_again_and_again(int times, bool slow_disk) {
    const std::uint64_t run = seed();
    std::printf("seed %llu\n", static_cast<unsigned long long>(run));
    std::mt19937_64 random(run);
    static constexpr std::uint64_t kLimit = 1'000'000;
    FakeUpstream upstream(answer_any);
    Gate gate(
        {.upstream_url = upstream.url(), .caps = "[{models: \"*\", allow: 1000000/1d}]"}, slow_disk
    );
    Tally tally;
    std::atomic<int> question = 0;
    std::uint64_t before = 0;
    for (int round = 0; round <= times; ++round) {
        const std::uint16_t port = gate.start();
        ASSERT_NE(port, 0);
        const std::uint64_t used = counted(port, kLimit);
        ASSERT_GE(used, tally.answered) << "answered and not counted, round " << round;
        ASSERT_LE(used, tally.sent) << "counted and never sent, round " << round;
        ASSERT_GE(used, before) << "forgotten, round " << round;
        before = used;
        if (slow_disk && round == 0) {
            // The disk is slow, then: an answer that waits for its charge takes a sync at least.
            ++tally.sent;
            const auto began = std::chrono::steady_clock::now();
            ASSERT_EQ(ask(port, {.key = kCarol, .body = chat_body("first")}).status, 200);
            ++tally.answered;
            ASSERT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(40));
        }
        if (round < times) {
            std::vector<std::thread> clients = flood(port, 8, question, tally);
            std::this_thread::sleep_for(std::chrono::microseconds(random() % 150'000));
            gate.kill();
            for (std::thread& client : clients) client.join();
        }
    }
    EXPECT_GT(tally.answered, 0U) << "nothing was ever answered: the test tests nothing";
    std::printf(
        "sent %llu, counted %llu, answered %llu\n",
        static_cast<unsigned long long>(tally.sent),
        static_cast<unsigned long long>(before),
        static_cast<unsigned long long>(tally.answered)
    );
    gate.kill();
}

TEST(Crash, AnsweredIsCountedAndNoMoreThanAdmitted) {
    kill_again_and_again(rounds(), false);
}

TEST(Crash, NoAnswerIsSeenBeforeItsChargeIsOnASlowDisk) {
    kill_again_and_again(rounds(), true);
}

// What carol's caps count, in the order of her plan.
std::vector<double> used_by_caps(const Gate& gate, std::uint16_t port) {
    const Answer answer =
        ask(port, {.method = "GET", .path = "/api/admin/keys/carol", .key = gate.admin_token()});
    std::vector<double> used;
    const auto json = nlohmann::json::parse(answer.body, nullptr, false);
    if (!json.is_object()) return used;
    for (const auto& cap : json["caps"]) used.push_back(cap["used"].get<double>());
    return used;
}

TEST(Crash, CapsOfEveryKindCountWhatWasAnswered) {
    std::mt19937_64 random(seed());
    FakeUpstream upstream(answer_any);
    Gate gate(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"*\", allow: 1000000/1d}, {models: \"*\", allow: 1000000/1d fixed}, "
                 "{models: \"*\", allow: 1000000/month}, "
                 "{models: \"*\", allow: 100000000 tokens/1d}, "
                 "{models: \"*\", allow: 100000 usd/1d}, {models: \"*\", allow: 8 at once}]",
         .more = "prices: {gpt-4: {input: 30, output: 60}}\n"
                 "teams: {blue: {caps: [{models: \"*\", allow: 1000000/1d}]}}\n"
                 "caps: [{models: \"*\", allow: 1000000/1d}]\n"}
    );
    Tally tally;
    std::atomic<int> question = 0;
    std::vector<double> before(6);
    for (int round = 0; round <= rounds(); ++round) {
        const std::uint16_t port = gate.start();
        ASSERT_NE(port, 0);
        const std::vector<double> used = used_by_caps(gate, port);
        ASSERT_GE(used.size(), 6U);
        const auto answered = static_cast<double>(tally.answered);
        const auto sent = static_cast<double>(tally.sent);
        for (const std::size_t messages : {0U, 1U}) {
            ASSERT_GE(used[messages], answered) << "cap " << messages << ", round " << round;
            ASSERT_LE(used[messages], sent) << "cap " << messages << ", round " << round;
        }
        ASSERT_LE(used[2], sent);  // a month may have begun meanwhile
        // An answer takes 8 tokens or more, and is reserved some 100 before it says so.
        ASSERT_GE(used[3], kTokens * answered) << "round " << round;
        ASSERT_LE(used[3], 400 * sent) << "round " << round;
        ASSERT_TRUE(answered == 0 || used[4] > 0) << "round " << round;
        ASSERT_EQ(used[5], 0) << "in flight after a start, round " << round;
        for (const std::size_t cap : {0U, 1U}) ASSERT_GE(used[cap], before[cap]) << "forgotten";
        before = used;
        if (round == rounds()) break;
        std::vector<std::thread> clients = flood(port, 8, question, tally);
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 100'000));
        gate.kill();
        for (std::thread& client : clients) client.join();
    }
    EXPECT_GT(tally.answered, 0U) << "nothing was ever answered: the test tests nothing";
    gate.kill();
}

struct SmallCap {
    const char* caps;
    std::uint64_t most;  // answers
};

class CrashOf : public testing::TestWithParam<SmallCap> {};

INSTANTIATE_TEST_SUITE_P(
    Kinds,
    CrashOf,
    testing::Values(
        SmallCap{"[{models: \"*\", allow: 60/4h}]", 60},
        SmallCap{"[{models: \"*\", allow: 60/4h fixed}]", 60},
        SmallCap{"[{models: \"*\", allow: 60/month}]", 60},
        // It may be passed by the one message that reaches it.
        SmallCap{"[{models: \"*\", allow: 1000 tokens/1d}]", 1000 / kTokens + 1}
    )
);

TEST_P(CrashOf, ACapIsNeverPassedAcrossCrashes) {
    std::mt19937_64 random(seed());
    FakeUpstream upstream(answer_any);
    Gate gate({.upstream_url = upstream.url(), .caps = GetParam().caps});
    Tally tally;
    std::atomic<int> question = 0;
    // Kills until the cap is reached, and three more behind it.
    int behind = 0;
    for (int round = 0; behind < 3; ++round) {
        ASSERT_LT(round, 200) << "the cap was never reached: the test tests nothing";
        const std::uint16_t port = gate.start();
        ASSERT_NE(port, 0);
        std::vector<std::thread> clients = flood(port, 4, question, tally);
        // A slow machine gets more time from round to round: the cap has to be reached.
        std::this_thread::sleep_for(
            std::chrono::microseconds(random() % (20'000 + 2'000 * static_cast<unsigned>(round)))
        );
        gate.kill();
        for (std::thread& client : clients) client.join();
        EXPECT_LE(tally.answered, GetParam().most) << "round " << round;
        if (tally.refused > 0) ++behind;
    }
}

}  // namespace
}  // namespace weir::test
