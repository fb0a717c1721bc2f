#include "weir/proxy/worker.hpp"

#include <exception>
#include <utility>

#include <boost/asio/post.hpp>
#include <unistd.h>

#include "model_lists.hpp"

namespace weir::proxy {

namespace {

// This thread comes after the workers where they share a core. Best effort.
void step_back() {
    static_cast<void>(::nice(10));  // of a thread, on Linux (nice(2))
}

}  // namespace

Worker::Worker(std::uint32_t n, Shared& all)
    : number(n),
      shared(all),
      client(std::make_unique<upstream::Client>(context)),
      model_lists(std::make_unique<ModelLists>(context.get_executor(), *client, flights)) {}

Worker::~Worker() {
    if (aside_) aside_->join();
}

Awaitable<> Worker::aside(std::function<void()> work) {
    if (!aside_) {
        aside_ = std::make_unique<asio::thread_pool>(1);
        asio::post(*aside_, &step_back);
    }
    const auto done = Signal::create(context.get_executor());
    std::exception_ptr failure;
    asio::post(*aside_, [&work, &failure, done] {
        try {
            work();
        } catch (...) {
            failure = std::current_exception();
        }
        done->notify();
    });
    co_await done->wait();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace weir::proxy
