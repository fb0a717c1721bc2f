// A lazy timer for one connection: moving the deadline is a store, not a timer operation, so it can
// be set before every read and write. When the deadline passes, `on_expiry` runs once on the
// worker. Home worker only; the callback must not outlive what it captures: destroy or stop()
// first.
#pragma once

#include <functional>
#include <memory>

#include "weir/base/awaitable.hpp"
#include "weir/base/deadline.hpp"

namespace weir {

class Watchdog {
public:
    Watchdog(Executor home, std::function<void()> on_expiry);
    ~Watchdog();
    Watchdog(const Watchdog&) = delete;
    Watchdog& operator=(const Watchdog&) = delete;

    // Replaces the deadline; Deadline::never() rests.
    void set(Deadline deadline);
    [[nodiscard]] bool expired() const noexcept;

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace weir
