// Small tools for tests of flights: signals that are looked at step by step.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "weir/base/awaitable.hpp"
#include "weir/base/deadline.hpp"
#include "weir/base/signal.hpp"
#include "weir/cache/flight.hpp"

namespace weir::cache::testing {

inline Awaitable<void> look_at(std::shared_ptr<Signal> signal, bool& woken) {
    woken = co_await signal->wait(Deadline::in(std::chrono::nanoseconds(0)));
}

inline void rethrow(std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
}

// A worker that is stepped by hand.
class Bench {
public:
    std::shared_ptr<Signal> signal() { return Signal::create(context_.get_executor()); }
    // Whether it was notified since the last time somebody asked.
    bool woken(const std::shared_ptr<Signal>& signal) {
        bool woken = false;
        asio::co_spawn(context_.get_executor(), look_at(signal, woken), rethrow);
        context_.restart();
        context_.run();
        return woken;
    }

private:
    asio::io_context context_{1};
};

inline std::vector<Chunk> chunks_of(std::initializer_list<std::string> texts) {
    std::vector<Chunk> chunks;
    for (const std::string& text : texts) chunks.push_back({text, false});
    return chunks;
}

inline std::string joined(const std::vector<ChunkPtr>& chunks) {
    std::string all;
    for (const ChunkPtr& chunk : chunks) all += chunk->bytes;
    return all;
}

// From the environment, so that a failure can be seen again; printed for that.
inline std::uint64_t seed() {
    const char* const given = std::getenv("WEIR_TEST_SEED");
    const std::uint64_t seed =
        given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    std::cout << "WEIR_TEST_SEED=" << seed << '\n';
    return seed;
}

}  // namespace weir::cache::testing
