// Promise 4 (never wrong from the cache): the real binary is killed by SIGKILL while it stores,
// again and again, on one cache.db. After each restart every answer is the right one for its
// question.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "crash/gate.hpp"
#include "support/client.hpp"
#include "support/fake_upstream.hpp"

namespace weir::test {
namespace {

// What the upstream says to that question, and to no other.
std::string answer_to(const std::string& question) {
    std::mt19937_64 random(std::hash<std::string>()(question));
    std::string text = "to " + question + ": ";
    // Small and large ones, of which some take many pages.
    for (std::uint64_t left = random() % 20'000; left > 0; --left) {
        text += "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[random() % 64];
    }
    return text;
}

void answer_the_question(Wire& wire, const SeenRequest& request) {
    const auto body = nlohmann::json::parse(request.body);
    answer_chat(wire, request, answer_to(body["messages"][0]["content"].get<std::string>()));
}

std::string question(int number) {
    return "question " + std::to_string(number);
}

// Clients that ask one new question after the other until the gateway is gone.
std::vector<std::thread> flood(std::uint16_t port, std::atomic<int>& number) {
    std::vector<std::thread> threads;
    threads.reserve(6);
    for (int i = 0; i < 6; ++i) {
        threads.emplace_back([&number, port] {
            Client client(port);
            for (;;) {
                const int mine = number++;
                const Ask request{.key = kCarol, .body = chat_body(question(mine), mine % 2 == 0)};
                if (!client.send(request.bytes())) return;
                const Answer answer = client.read_answer();
                if (!answer.complete) return;
                EXPECT_EQ(answer.status, 200) << answer.body;
                EXPECT_EQ(chat_text(answer), answer_to(question(mine)));
            }
        });
    }
    return threads;
}

TEST(CacheCrash, WhatIsFoundAfterAKillIsTheRightAnswer) {
    const std::uint64_t run = seed();
    std::printf("seed %llu\n", static_cast<unsigned long long>(run));
    std::mt19937_64 random(run);
    FakeUpstream upstream(answer_the_question);
    Gate gate({.upstream_url = upstream.url(), .cache = "{ttl: 1h, memory: 0, max_size: 8MiB}"});
    std::atomic<int> number = 0;
    int hits = 0;
    int misses = 0;
    for (int round = 0; round <= rounds(); ++round) {
        const std::uint16_t port = gate.start();
        ASSERT_NE(port, 0);
        const int before = number;
        // The newest ones, which were being stored, and some of all.
        for (int i = 0; i < std::min(before, 60); ++i) {
            const int asked = i < 40 ? before - 1 - i
                                     : static_cast<int>(random() % static_cast<unsigned>(before));
            if (asked < 0) break;
            const Answer answer =
                ask(port, {.key = kCarol, .body = chat_body(question(asked), random() % 2 == 0)});
            ASSERT_EQ(answer.status, 200) << answer.body;
            ASSERT_TRUE(answer.complete);
            ASSERT_EQ(chat_text(answer), answer_to(question(asked))) << "round " << round;
            ++(answer.field("x-cache") == "HIT" ? hits : misses);
        }
        if (round == rounds()) break;
        std::vector<std::thread> clients = flood(port, number);
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 150'000));
        gate.kill();
        for (std::thread& client : clients) client.join();
    }
    std::printf("asked %d, found %d of %d\n", number.load(), hits, hits + misses);
    EXPECT_GT(hits, 0) << "nothing was ever kept: the test tests nothing";
    gate.kill();
}

}  // namespace
}  // namespace weir::test
