#include "weir/base/signal.hpp"

#include <utility>

#include <boost/asio/post.hpp>

namespace weir {

std::shared_ptr<Signal> Signal::create(Executor home) {
    return std::make_shared<Signal>(home, nullptr);
}

std::shared_ptr<Signal> Signal::create(Executor home, std::function<void()> on_notify) {
    return std::make_shared<Signal>(home, std::move(on_notify));
}

Signal::Signal(Executor home, std::function<void()> on_notify)
    : home_(home), on_notify_(std::move(on_notify)), timer_(home) {}

void Signal::notify() {
    if (home_.running_in_this_thread()) {
        notify_home();
    } else {
        post();
    }
}

void Signal::post() {
    if (posted_.exchange(true, std::memory_order_acq_rel)) return;  // one on its way is enough
    asio::post(home_, [self = shared_from_this()] {
        self->posted_.store(false, std::memory_order_release);
        if (self->on_notify_) {
            self->on_notify_();
        } else {
            self->notify_home();
        }
    });
}

void Signal::notify_home() {
    if (on_notify_) return post();
    set_ = true;
    if (waiting_) timer_.cancel();
}

Awaitable<bool> Signal::wait(Deadline deadline) {
    // The last other owner may go while we are suspended.
    const auto self = shared_from_this();
    if (!set_) {
        timer_.expires_at(deadline.at());
        waiting_ = true;
        co_await timer_.async_wait(kAwait);
        waiting_ = false;
    }
    const bool notified = set_;
    set_ = false;
    co_return notified;
}

}  // namespace weir
