#include "weir/proxy/stored_responses.hpp"

#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace weir::proxy {
namespace {

TEST(StoredResponses, AreFoundByThoseWhoWereGivenThem) {
    StoredResponses responses;
    responses.add("resp_1", 1, {"openai", 2});
    EXPECT_EQ(responses.find("resp_1", 1), (Pin{"openai", 2}));
    EXPECT_FALSE(responses.find("resp_1", 2));
    EXPECT_FALSE(responses.find("resp_2", 1));
    responses.share("resp_1", 2);
    EXPECT_EQ(responses.find("resp_1", 2), (Pin{"openai", 2}));
    responses.share("resp_2", 2);  // nobody knows where it is
    EXPECT_FALSE(responses.find("resp_2", 2));
    responses.add("", 1, {"openai", 0});
    EXPECT_FALSE(responses.find("", 1));
    const std::string longest(StoredResponses::kLongestId, 'x');
    responses.add(longest, 1, {"openai", 0});
    responses.add(longest + "x", 1, {"openai", 0});
    EXPECT_TRUE(responses.find(longest, 1));
    EXPECT_FALSE(responses.find(longest + "x", 1));
}

TEST(StoredResponses, AreForgottenInTheOrderOfTheirComing) {
    StoredResponses responses(3);
    responses.add("a", 1, {"u", 0});
    responses.add("a", 1, {"u", 1});  // the same pair
    responses.add("b", 1, {"u", 0});
    responses.share("b", 2);
    EXPECT_EQ(responses.find("a", 1), (Pin{"u", 1}));
    responses.add("c", 1, {"u", 0});
    EXPECT_FALSE(responses.find("a", 1));
    EXPECT_TRUE(responses.find("b", 2));
    responses.add("d", 1, {"u", 0});  // takes both of b
    EXPECT_FALSE(responses.find("b", 1));
    EXPECT_FALSE(responses.find("b", 2));
    EXPECT_TRUE(responses.find("c", 1));
    EXPECT_TRUE(responses.find("d", 1));
}

TEST(StoredResponses, AreNotedFromManyThreads) {
    StoredResponses responses(1000);
    std::vector<std::thread> threads;
    threads.reserve(4);
    for (quota::AccountId account = 1; account <= 4; ++account) {
        threads.emplace_back([&responses, account] {
            for (int i = 0; i < 5000; ++i) {
                const std::string id = std::to_string(i % 1500);
                responses.add(id, account, {"u", account});
                responses.share(id, account + 10);
                (void)responses.find(id, account);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    std::size_t kept = 0;
    for (int i = 0; i < 1500; ++i) {
        for (quota::AccountId account = 1; account <= 14; ++account) {
            if (responses.find(std::to_string(i), account)) ++kept;
        }
    }
    EXPECT_LE(kept, 1000U);
    EXPECT_GT(kept, 900U);
}

}  // namespace
}  // namespace weir::proxy
