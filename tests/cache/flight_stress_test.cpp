// Several workers at once; for ThreadSanitizer above all.
#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "weir/cache/flight.hpp"

#include "cache/flight_tools.hpp"

namespace weir::cache {
namespace {

using testing::rethrow;
using Kind = Subscription::Next::Kind;

constexpr std::size_t kWorkers = 4;
constexpr std::size_t kListeners = 50;
constexpr std::size_t kChunks = 2000;

std::string chunk_text(std::size_t number) {
    return std::to_string(number) + std::string(number % 97, '.') + "\n";
}

std::string whole_text() {
    std::string all;
    for (std::size_t i = 0; i < kChunks; ++i) all += chunk_text(i);
    return all;
}

struct Scene {
    explicit Scene(Flight::Options options) : flight(std::make_shared<Flight>(options)) {}

    std::shared_ptr<Flight> flight;
    std::array<asio::io_context, kWorkers + 1> contexts;
    std::atomic<int> took_off = 0;
    std::atomic<int> refusals_told = 0;
    std::atomic<int> whole = 0;
    std::atomic<int> abandoned_seen = 0;

    void run() {
        std::vector<std::thread> threads;
        for (asio::io_context& context : contexts) {
            threads.emplace_back([&context] { context.run(); });
        }
        for (std::thread& thread : threads) thread.join();
    }
};

Awaitable<void> produce(Scene& scene) {
    const auto signal = Signal::create(scene.contexts[kWorkers].get_executor());
    scene.flight->set_producer(signal);
    scene.flight->publish_head({});
    for (std::size_t number = 0; number < kChunks;) {
        while (scene.flight->congested()) co_await signal->wait();
        std::vector<Chunk> chunks;
        for (std::size_t i = 0; i < 3 && number < kChunks; ++i) {
            chunks.push_back({chunk_text(number++), false});
        }
        if (!scene.flight->publish(std::move(chunks))) {
            scene.abandoned_seen.fetch_add(1);
            break;
        }
    }
    scene.flight->end({true, std::nullopt});
}

// Leaves after `leave_after` bytes. `refuse`: as the starter it gives up.
Awaitable<void> listen(
    Scene& scene,
    std::shared_ptr<Signal> signal,
    std::optional<Subscription> sub,
    std::size_t leave_after,
    bool refuse,
    bool starter
) {
    std::string got;
    for (;;) {
        if (starter) {
            starter = false;
            if (refuse) {
                scene.flight->give_up_asking(sub->id());
                co_return;
            }
            scene.flight->take_off();
            asio::co_spawn(scene.contexts[kWorkers].get_executor(), produce(scene), rethrow);
            // Last: it lets the producer's worker go once it has nothing to do.
            scene.took_off.fetch_add(1);
        }
        const Subscription::Next next = sub->next();
        if (next.kind == Kind::kNothingYet) {
            co_await signal->wait();
        } else if (next.kind == Kind::kRefused) {
            scene.refusals_told.fetch_add(1);
            starter = true;
        } else if (next.kind == Kind::kChunks) {
            got += testing::joined(next.chunks);
            if (got.size() >= leave_after) co_return;
        } else if (next.kind == Kind::kEnd) {
            EXPECT_TRUE(next.end.clean);
            EXPECT_EQ(got, whole_text());
            scene.whole.fetch_add(1);
            co_return;
        }
    }
}

void add_listener(Scene& scene, std::size_t number, std::size_t leave_after, bool refuse) {
    const Executor home = scene.contexts[number % kWorkers].get_executor();
    const auto signal = Signal::create(home);
    asio::co_spawn(
        home,
        listen(scene, signal, scene.flight->subscribe(signal), leave_after, refuse, number == 0),
        rethrow
    );
}

// The producer's worker must not end before somebody took off.
using Guard = asio::executor_work_guard<Executor>;

TEST(FlightStress, EverybodyWhoStaysGetsAllWhenTheFirstOneLeaves) {
    for (const std::uint64_t backlog : {1U << 20, 4096U}) {
        Scene scene({backlog, 2000, nullptr});
        for (std::size_t i = 0; i < kListeners; ++i) {
            const std::size_t leave_after = i == 0 ? 1 : i % 7 == 3 ? 5000 : SIZE_MAX;
            add_listener(scene, i, leave_after, false);
        }
        std::optional<Guard> guard(scene.contexts[kWorkers].get_executor());
        std::thread unguard([&] {
            while (scene.took_off == 0) std::this_thread::yield();
            guard.reset();
        });
        scene.run();
        unguard.join();
        EXPECT_EQ(scene.took_off, 1);
        EXPECT_EQ(scene.whole, static_cast<int>(kListeners) - 1 - 7);
        EXPECT_EQ(scene.abandoned_seen, 0);
        EXPECT_EQ(scene.flight->subscribers(), 0U);
    }
}

TEST(FlightStress, QuestionTravelsThroughTheRefusedToExactlyOneStarter) {
    for (int round = 0; round < 20; ++round) {
        Scene scene({1 << 20, 1 << 20, nullptr});
        for (std::size_t i = 0; i < kListeners; ++i) {
            add_listener(scene, i, SIZE_MAX, i < kListeners - 5);
        }
        std::optional<Guard> guard(scene.contexts[kWorkers].get_executor());
        std::thread unguard([&] {
            while (scene.took_off == 0) std::this_thread::yield();
            guard.reset();
        });
        scene.run();
        unguard.join();
        EXPECT_EQ(scene.took_off, 1);
        EXPECT_EQ(scene.refusals_told, static_cast<int>(kListeners) - 5);
        EXPECT_EQ(scene.whole, 5);
    }
}

TEST(FlightStress, ProducerLearnsThatEverybodyLeft) {
    for (int round = 0; round < 20; ++round) {
        Scene scene({1 << 20, 1000, nullptr});
        for (std::size_t i = 0; i < kListeners; ++i) add_listener(scene, i, 1 + i * 10, false);
        std::optional<Guard> guard(scene.contexts[kWorkers].get_executor());
        std::thread unguard([&] {
            while (scene.took_off == 0) std::this_thread::yield();
            guard.reset();
        });
        scene.run();
        unguard.join();
        EXPECT_EQ(scene.abandoned_seen, 1);
        EXPECT_TRUE(scene.flight->abandoned());
        EXPECT_EQ(scene.whole, 0);
    }
}

}  // namespace
}  // namespace weir::cache
