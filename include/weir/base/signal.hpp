// A wake-up call for one coroutine. Anybody may notify(), from any thread; one coroutine on the
// home worker waits. Notifications are not counted: after a wake-up look at the state that changed.
// Where most calls never come, a function in the coroutine's place costs less.
//
// Ownership: shared, since a notify() from another thread may still be on its way when the waiter
// is gone. A waiter never blocks another one: use one Signal per waiting coroutine.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "weir/base/awaitable.hpp"
#include "weir/base/deadline.hpp"

namespace weir {

class Signal : public std::enable_shared_from_this<Signal> {
public:
    [[nodiscard]] static std::shared_ptr<Signal> create(Executor home);
    // Nobody waits: each notification, or several together, calls it on the home worker, never from
    // inside notify().
    [[nodiscard]] static std::shared_ptr<Signal> create(
        Executor home, std::function<void()> on_notify
    );

    // Wakes the waiter, now or at its next wait(). Thread-safe, never blocks, and no more than a
    // notify_home() where that is possible.
    void notify();
    // As notify(), but only on the home worker: no post, no atomic.
    void notify_home();
    // Returns true when notified, false when `deadline` passed first. Home worker only.
    [[nodiscard]] Awaitable<bool> wait(Deadline deadline = Deadline::never());
    [[nodiscard]] Executor home() const noexcept { return home_; }

    Signal(Executor home, std::function<void()> on_notify);

private:
    void post();

    Executor home_;
    const std::function<void()> on_notify_;
    Timer timer_;
    bool set_ = false;                  // home worker only
    bool waiting_ = false;              // home worker only
    std::atomic<bool> posted_ = false;  // a post is on its way home
};

}  // namespace weir
