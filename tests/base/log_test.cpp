#include "weir/base/log.hpp"

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace weir::log {
namespace {

std::size_t count(const std::string& text, std::string_view word) {
    std::size_t found = 0;
    for (std::size_t at = text.find(word); at != std::string::npos;
         at = text.find(word, at + word.size())) {
        ++found;
    }
    return found;
}

TEST(Log, EveryLineOfEveryThreadIsThereOnceStopped) {
    testing::internal::CaptureStderr();
    start({.level = Level::kInfo, .format = Format::kJson});
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([i] {
            for (std::int64_t n = 0; n < 1'000; ++n)
                info("counted", {{"thread", std::int64_t(i)}, {"n", n}});
        });
    }
    for (std::thread& thread : threads) thread.join();
    debug("not wanted");
    stop();
    info("after the end");
    const std::string text = testing::internal::GetCapturedStderr();
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4'000);
    EXPECT_EQ(count(text, R"("event":"counted")"), 4'000U);
    EXPECT_NE(text.find(R"("thread":3,"n":999})"), std::string::npos);
}

TEST(Log, NoValueMakesASecondLine) {
    testing::internal::CaptureStderr();
    start({.level = Level::kInfo, .format = Format::kText});
    warn("odd", {{"value", std::string_view("a\nb\x1b[31m")}});
    stop();
    const std::string text = testing::internal::GetCapturedStderr();
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
    EXPECT_NE(text.find(R"(value="a\nb\u001b[31m")"), std::string::npos) << text;
}

TEST(Log, AFullQueueDropsAndCounts) {
    testing::internal::CaptureStderr();
    start({.level = Level::kInfo, .format = Format::kText});
    // More than fits, faster than it is gathered.
    const std::string line(1 << 20, 'x');
    for (int i = 0; i < 64; ++i) write_line(Level::kInfo, line);
    stop();
    const std::string text = testing::internal::GetCapturedStderr();
    EXPECT_NE(text.find("log lines dropped lines="), std::string::npos);
    EXPECT_GE(count(text, line), 3U);
}

}  // namespace
}  // namespace weir::log
