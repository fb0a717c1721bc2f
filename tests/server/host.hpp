// Sessions behind a listener whose requests are answered by the test's own coroutine. Either the
// test's thread turns the loops itself (run_until), so that it decides what the kernel holds when
// something happens, or threads of its own do (start_threads).
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>

#include "weir/server/listener.hpp"

namespace weir::test {

// A named coroutine function, or something that calls one.
using Script = std::function<Awaitable<>(proxy::ClientStream&)>;

class Host {
public:
    explicit Host(Script script, config::Limits limits = {});
    ~Host();
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;

    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] server::SessionSettings& settings() noexcept { return *settings_; }
    [[nodiscard]] std::uint32_t connections() const { return settings_->connections.load(); }

    // Not behind run_until(): sessions live on the thread that they began on.
    void start_threads();
    // Turns the loops on this thread until `what` holds. False after 20 s.
    [[nodiscard]] bool run_until(const std::function<bool()>& what);
    // Only the listener's, for about that long.
    void run_listener(std::chrono::milliseconds span);
    // On this thread; before start_threads().
    void stop_listening() { listener_->stop(); }
    // Runs `job` where the sessions are, and waits for it.
    void on_worker(const std::function<void()>& job);

    struct Told {
        std::string id;
        std::string path;
        int status = 0;
        std::string error;
        bool sent = false;
    };
    // What sessions answered by themselves.
    [[nodiscard]] std::vector<Told> told() const { return answerer_.told(); }

private:
    class Answerer final : public server::Handler {
    public:
        Answerer(Script script, config::Limits limits)
            : script_(std::move(script)), limits_(limits) {}
        [[nodiscard]] Awaitable<> handle(proxy::ClientStream& client) override {
            co_await script_(client);
        }
        void answered(const server::Answered& answer) override {
            const std::scoped_lock lock(mutex_);
            told_.push_back(
                {std::string(answer.id),
                 std::string(answer.head.path()),
                 answer.status,
                 std::string(answer.error),
                 answer.sent}
            );
        }
        [[nodiscard]] std::vector<Told> told() const {
            const std::scoped_lock lock(mutex_);
            return told_;
        }
        [[nodiscard]] const config::Limits& limits() const noexcept override { return limits_; }

    private:
        Script script_;
        config::Limits limits_;
        mutable std::mutex mutex_;
        std::vector<Told> told_;
    };
    using Guard = boost::asio::executor_work_guard<Executor>;

    Answerer answerer_;
    std::shared_ptr<server::SessionSettings> settings_;
    asio::io_context control_{1};
    asio::io_context worker_{1};
    std::unique_ptr<server::Listener> listener_;
    std::uint16_t port_ = 0;
    std::optional<Guard> control_guard_;
    std::optional<Guard> worker_guard_;
    std::thread control_thread_;
    std::thread worker_thread_;
};

}  // namespace weir::test
