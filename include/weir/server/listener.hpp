// Accepting connections and serving each with a Session on one of some workers' contexts.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "weir/base/awaitable.hpp"
#include "weir/base/buffer.hpp"
#include "weir/base/error.hpp"
#include "weir/config/config.hpp"
#include "weir/server/handler.hpp"

namespace weir::server {

// What all sessions of some listeners share; used from every worker.
struct SessionSettings {
    BufferBudget* bodies = nullptr;  // may be null (the demo upstream)
    std::atomic<std::uint32_t> connections = 0;
    std::atomic<std::uint32_t> max_connections = 8192;
    std::atomic<std::uint64_t> refused_connections = 0;
    std::atomic<std::uint64_t> accept_failures = 0;
    std::atomic<bool> draining = false;  // answers say Connection: close; idle ones close
    // From then on a body must keep a pace of 16 KiB/s, however short its pauses are. Constant once
    // a listener was started, like those below.
    std::chrono::milliseconds slow_body_after{30'000};
    // How long a connection that was answered and will be closed is read on, so that a client that
    // still sends its body gets to the answer: between two reads, and in all (as nginx does).
    std::chrono::milliseconds linger_idle{5'000};
    std::chrono::milliseconds linger{30'000};
};

// A client's connection in the count; leaves it when it is destroyed. Moves with the socket.
class ConnectionSlot {
public:
    // nullopt: limits.connections are open. From any thread.
    [[nodiscard]] static std::optional<ConnectionSlot> take(
        const std::shared_ptr<SessionSettings>& settings
    );
    ~ConnectionSlot();
    ConnectionSlot(ConnectionSlot&& other) noexcept = default;
    ConnectionSlot& operator=(ConnectionSlot&&) = delete;

private:
    explicit ConnectionSlot(std::shared_ptr<SessionSettings> settings) noexcept
        : settings_(std::move(settings)) {}
    std::shared_ptr<SessionSettings> settings_;  // null: moved away
};

// One place where sessions run: a worker's context and its handler. Both outlive the sessions.
struct Place {
    asio::io_context* context = nullptr;
    Handler* handler = nullptr;
};

// Serves a connected socket until it closes. Call on the place's worker.
void start_session(
    TcpSocket socket,
    ConnectionSlot slot,
    Handler& handler,
    std::shared_ptr<SessionSettings> settings
);
// On one worker: ends every session that waits for a request and has no byte of one, and with `all`
// every other one too.
void close_sessions(bool all);
// On one worker: sessions that read a request, handle one, or have bytes of one to read. What was
// answered and only lingers is not among them.
[[nodiscard]] std::size_t busy_sessions();

// Accepts on one address and deals connections out to places in turn. Runs on `control`.
class Listener {
public:
    // Port 0 takes any free one. kConfig: the address cannot be used (says why).
    [[nodiscard]] static Result<std::unique_ptr<Listener>> open(
        asio::io_context& control,
        const config::Listen& address,
        std::vector<Place> places,
        std::shared_ptr<SessionSettings> settings
    );
    ~Listener();
    void start();
    // No new connections; those that the kernel has accepted by now are still served. On the
    // control thread.
    void stop();
    [[nodiscard]] std::uint16_t port() const noexcept;

private:
    struct Impl;
    explicit Listener(std::shared_ptr<Impl> impl) noexcept;
    std::shared_ptr<Impl> impl_;
};

}  // namespace weir::server
