// Signal and Watchdog on a real loop, and Signal across threads.
#include <exception>
#include <thread>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <gtest/gtest.h>

#include "weir/base/signal.hpp"
#include "weir/base/watchdog.hpp"

namespace weir {
namespace {

using namespace std::chrono_literals;

void rethrow(std::exception_ptr bug) {
    if (bug) std::rethrow_exception(bug);
}

Awaitable<> count_wakes(
    std::shared_ptr<Signal> signal, std::atomic<int>& sent, int until, int& wakes
) {
    while (sent < until) {
        co_await signal->wait();
        ++wakes;
    }
}

TEST(Signal, NoNotificationIsLostAcrossThreads) {
    asio::io_context context(1);
    const auto signal = Signal::create(context.get_executor());
    std::atomic<int> sent = 0;
    int wakes = 0;
    static constexpr int kCount = 20'000;
    asio::co_spawn(context, count_wakes(signal, sent, kCount, wakes), rethrow);
    std::thread notifier;
    // Behind the waiter's first step, so that it waits before the first notification is sent.
    asio::post(context, [&] {
        notifier = std::thread([&] {
            for (int i = 0; i < kCount; ++i) {
                ++sent;
                signal->notify();
            }
        });
    });
    context.run();  // ends only if the last notification wakes the waiter
    notifier.join();
    EXPECT_GE(wakes, 1);
    EXPECT_LE(wakes, kCount);
}

Awaitable<> wait_once(std::shared_ptr<Signal> signal, Deadline deadline, bool& notified) {
    notified = co_await signal->wait(deadline);
}

TEST(Signal, ADeadlineEndsTheWait) {
    asio::io_context context(1);
    const auto signal = Signal::create(context.get_executor());
    bool notified = true;
    asio::co_spawn(context, wait_once(signal, Deadline::in(5ms), notified), rethrow);
    context.run();
    EXPECT_FALSE(notified);
}

TEST(Signal, ANotificationBeforeTheWaitCounts) {
    asio::io_context context(1);
    const auto signal = Signal::create(context.get_executor());
    signal->notify_home();
    bool notified = false;
    asio::co_spawn(context, wait_once(signal, Deadline::in(10s), notified), rethrow);
    context.run();
    EXPECT_TRUE(notified);
}

TEST(Watchdog, FiresOnceAtTheLastDeadlineSet) {
    asio::io_context context(1);
    int fired = 0;
    Watchdog watchdog(context.get_executor(), [&] { ++fired; });
    watchdog.set(Deadline::in(1ms));
    watchdog.set(Deadline::in(30ms));
    const auto begun = Deadline::Clock::now();
    context.run();
    EXPECT_EQ(fired, 1);
    EXPECT_TRUE(watchdog.expired());
    EXPECT_GE(Deadline::Clock::now() - begun, 29ms);
}

TEST(Watchdog, ASoonerDeadlineIsKept) {
    asio::io_context context(1);
    int fired = 0;
    Watchdog watchdog(context.get_executor(), [&] { ++fired; });
    watchdog.set(Deadline::in(1h));
    watchdog.set(Deadline::in(1ms));
    context.run_for(5s);
    EXPECT_EQ(fired, 1);
}

TEST(Watchdog, NeverRestsAndDestructionIsQuiet) {
    asio::io_context context(1);
    int fired = 0;
    {
        Watchdog watchdog(context.get_executor(), [&] { ++fired; });
        watchdog.set(Deadline::in(1ms));
        watchdog.set(Deadline::never());
        context.run();
        context.restart();
        watchdog.set(Deadline::in(1ms));
    }
    context.run();
    EXPECT_EQ(fired, 0);
}

}  // namespace
}  // namespace weir
