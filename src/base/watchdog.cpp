#include "weir/base/watchdog.hpp"

#include <utility>

namespace weir {

// Shared with the timer's handler, which may still be queued when the Watchdog is gone.
struct Watchdog::State : std::enable_shared_from_this<Watchdog::State> {
    State(Executor home, std::function<void()> callback)
        : timer(home), on_expiry(std::move(callback)) {}

    void arm() {
        armed = true;
        armed_for = target;
        timer.expires_at(target.at());
        timer.async_wait([self = shared_from_this()](SysError error) { self->fired(error); });
    }

    void fired(SysError error) {
        // Cancelled by expires_at(): the newer wait will come.
        if (stopped || error == asio::error::operation_aborted) return;
        armed = false;
        if (target.is_never()) return;
        if (!target.passed()) {
            arm();
            return;
        }
        target = Deadline::never();
        expired = true;
        on_expiry();
    }

    Timer timer;
    std::function<void()> on_expiry;
    Deadline target;
    Deadline armed_for;
    bool armed = false;
    bool stopped = false;
    bool expired = false;
};

Watchdog::Watchdog(Executor home, std::function<void()> on_expiry)
    : state_(std::make_shared<State>(home, std::move(on_expiry))) {}

Watchdog::~Watchdog() {
    state_->stopped = true;
    state_->timer.cancel();
}

void Watchdog::set(Deadline deadline) {
    State& state = *state_;
    state.target = deadline;
    if (deadline.is_never()) return;  // an armed timer finds nothing to do and rests
    if (!state.armed || deadline.at() < state.armed_for.at()) state.arm();
}

bool Watchdog::expired() const noexcept {
    return state_->expired;
}

}  // namespace weir
