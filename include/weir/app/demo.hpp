// The demo upstream: a small OpenAI-shaped server inside the binary, on a loopback socket of its
// own, so that a request to it takes the same way as any other. It says what it is; it never calls
// anybody. What it answers is made in demo_answers.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "weir/base/error.hpp"

namespace weir::app {

struct DemoOptions {
    // Between two words of a streamed answer; 0 for tests.
    std::chrono::milliseconds pace{30};
};

class Demo {
public:
    // Listens on 127.0.0.1, any free port, served by a thread of its own.
    [[nodiscard]] static Result<std::unique_ptr<Demo>> start();
    [[nodiscard]] static Result<std::unique_ptr<Demo>> start(DemoOptions options);
    // Ends what is in progress and joins the thread.
    ~Demo();
    Demo(const Demo&) = delete;
    Demo& operator=(const Demo&) = delete;
    [[nodiscard]] std::uint16_t port() const noexcept;

private:
    struct Impl;
    explicit Demo(std::unique_ptr<Impl> impl) noexcept;
    std::unique_ptr<Impl> impl_;
};

}  // namespace weir::app
