#include "host.hpp"

#include <future>
#include <stdexcept>

#include <boost/asio/post.hpp>

namespace weir::test {

using namespace std::chrono_literals;

Host::Host(Script script, config::Limits limits)
    : answerer_(std::move(script), limits),
      settings_(std::make_shared<server::SessionSettings>()),
      control_guard_(control_.get_executor()),
      worker_guard_(worker_.get_executor()) {
    config::Listen address;
    address.host = "127.0.0.1";
    address.port = 0;
    auto opened = server::Listener::open(control_, address, {{&worker_, &answerer_}}, settings_);
    if (!opened) throw std::runtime_error(opened.error().detail);
    listener_ = std::move(*opened);
    port_ = listener_->port();
    listener_->start();
}

Host::~Host() {
    if (!worker_thread_.joinable()) {
        listener_->stop();
        control_.poll();
        worker_.poll();
        server::close_sessions(true);
        (void)run_until([&] { return connections() == 0; });
        return;
    }
    std::promise<void> stopped;
    asio::post(control_, [&] {
        listener_->stop();
        stopped.set_value();
    });
    stopped.get_future().wait();
    control_guard_.reset();
    control_thread_.join();
    on_worker([] { server::close_sessions(true); });
    worker_guard_.reset();
    worker_thread_.join();
}

void Host::start_threads() {
    control_thread_ = std::thread([this] { control_.run(); });
    worker_thread_ = std::thread([this] { worker_.run(); });
}

bool Host::run_until(const std::function<bool()>& what) {
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (!what()) {
        if (std::chrono::steady_clock::now() > until) return false;
        if (control_.poll() + worker_.poll() == 0) std::this_thread::sleep_for(1ms);
    }
    return true;
}

void Host::run_listener(std::chrono::milliseconds span) {
    control_.run_for(span);
}

void Host::on_worker(const std::function<void()>& job) {
    std::promise<void> done;
    asio::post(worker_, [&] {
        job();
        done.set_value();
    });
    done.get_future().wait();
}

}  // namespace weir::test
