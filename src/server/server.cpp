#include "weir/server/server.hpp"

#include <future>
#include <latch>
#include <optional>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include "weir/base/log.hpp"
#include "weir/base/mutex.hpp"
#include "weir/server/descriptors.hpp"
#include "weir/server/listener.hpp"

#include "gateway_handler.hpp"

namespace weir::server {

namespace {

constexpr std::chrono::milliseconds kDrainStep{20};
// After the drain time: for error events to go out and flights to settle.
constexpr std::chrono::milliseconds kLastWords{500};

using Guard = asio::executor_work_guard<Executor>;

// Runs a context until it is stopped. A handler that throws is a bug of ours: say so and go on
// serving the others.
void run_until_stopped(asio::io_context& context) {
    while (true) {
        try {
            context.run();
            return;
        } catch (const std::exception& bug) {
            log::error("a handler threw out of its loop", {{"what", std::string_view(bug.what())}});
        }
    }
}

}  // namespace

struct Server::Impl {
    struct Lane {
        Lane(std::uint32_t number, proxy::Shared& shared, Common& common)
            : worker(number, shared),
              handler(worker, common),
              guard(asio::make_work_guard(worker.context)) {}
        proxy::Worker worker;
        GatewayHandler handler;
        std::optional<Guard> guard;
        std::thread thread;
    };

    Impl(proxy::Shared& all, metrics::Registry& numbers, proxy::SnapshotPtr first)
        : shared(all), current(std::move(first)) {
        common.registry = &numbers;
        common.admin_thread = &admin_thread;
        settings->bodies = &shared.bodies;
        apply_limits(*current);
        for (std::uint32_t i = 0; i < current->config->workers; ++i) {
            lanes.push_back(std::make_unique<Lane>(i, shared, common));
            lanes.back()->worker.snapshot = current;
        }
        register_gauges(numbers);
    }

    void apply_limits(const proxy::Snapshot& snapshot) {
        const std::uint32_t wanted = snapshot.config->limits.connections;
        const std::uint32_t fit = connections_that_fit(wanted, descriptors);
        settings->max_connections = fit;
        if (fit < wanted && wanted_connections.exchange(wanted) != wanted) {
            log::warn(
                "limits.connections is more than the process may open: raise its limit of "
                "descriptors (ulimit -n, LimitNOFILE)",
                {{"connections", std::int64_t{wanted}},
                 {"descriptors", static_cast<std::int64_t>(descriptors)},
                 {"in force", std::int64_t{fit}}}
            );
        }
        shared.bodies.set_limit(snapshot.config->limits.bodies_bytes);
    }

    void register_gauges(metrics::Registry& numbers) {
        const auto counted = [this](auto read) {
            return [this, read] { return static_cast<double>(read(*this)); };
        };
        numbers.gauge("weir_connections", "Client connections open.", counted([](Impl& self) {
                          return self.settings->connections.load();
                      }));
        numbers.gauge(
            "weir_connections_refused",
            "Client connections refused because of limits.connections.",
            counted([](Impl& self) { return self.settings->refused_connections.load(); })
        );
        numbers.gauge(
            "weir_accept_failures",
            "Times that a connection could not be accepted, for want of descriptors mostly.",
            counted([](Impl& self) { return self.settings->accept_failures.load(); })
        );
        numbers.gauge(
            "weir_connections_limit",
            "Client connections that are taken: limits.connections, or what the descriptors allow.",
            counted([](Impl& self) { return self.settings->max_connections.load(); })
        );
        numbers.gauge(
            "weir_body_bytes", "Memory of request bodies in flight.", counted([](Impl& self) {
                return self.shared.bodies.used();
            })
        );
        numbers.gauge(
            "weir_backlog_bytes", "Memory of answers in the air.", counted([](Impl& self) {
                return self.shared.backlogs.used();
            })
        );
        numbers.gauge("weir_flights", "Shareable flights in the air.", counted([](Impl& self) {
                          return self.shared.board.size();
                      }));
        numbers.gauge(
            "weir_ledger_up", "1 while the ledger takes charges.", counted([](Impl& self) {
                return self.shared.ledger.healthy() ? 1 : 0;
            })
        );
        numbers.gauge("weir_draining", "1 while the process goes down.", counted([](Impl& self) {
                          return self.common.draining.load() ? 1 : 0;
                      }));
    }

    // Runs `job` on every worker and waits until all did.
    void on_each_worker(const std::function<void(Lane&)>& job) {
        std::latch done(static_cast<std::ptrdiff_t>(lanes.size()));
        for (const auto& lane : lanes) {
            asio::post(lane->worker.context, [&job, &done, target = lane.get()] {
                job(*target);
                done.count_down();
            });
        }
        done.wait();
    }

    [[nodiscard]] bool busy() {
        // A request may have been read and still stand in its worker's queue, behind the question:
        // it is in its handler by the second one.
        return ask_busy() || ask_busy();
    }

    [[nodiscard]] bool ask_busy() {
        std::atomic<std::uint64_t> sum = 0;
        on_each_worker([&](Lane& lane) {
            close_sessions(false);
            sum += lane.worker.exchanges + lane.worker.flights + busy_sessions();
        });
        return sum > 0;
    }

    void stop_threads() {
        if (!started) return;
        started = false;
        // Admin calls wait for the workers, so they end first.
        admin_thread.join();
        // It runs out of work: what a closed listener was accepting has a socket of a worker's
        // context, which must not outlive that.
        control_guard.reset();
        control_thread.join();
        for (const auto& lane : lanes) lane->guard.reset();
        for (const auto& lane : lanes) lane->worker.context.stop();
        for (const auto& lane : lanes) lane->thread.join();
    }

    proxy::Shared& shared;
    asio::thread_pool admin_thread{1};
    Common common;
    std::shared_ptr<SessionSettings> settings = std::make_shared<SessionSettings>();
    asio::io_context control{1};
    std::optional<Guard> control_guard;
    std::thread control_thread;
    std::vector<std::unique_ptr<Lane>> lanes;
    std::vector<std::unique_ptr<Listener>> listeners;
    std::vector<std::string> addresses;
    const std::uint64_t descriptors = raise_descriptor_limit();
    std::atomic<std::uint32_t> wanted_connections = 0;  // told in the log already
    bool started = false;

    mutable Mutex mutex;
    proxy::SnapshotPtr current GUARDED_BY(mutex);
};

Server::Server(proxy::Shared& shared, metrics::Registry& registry, proxy::SnapshotPtr snapshot)
    : impl_(std::make_unique<Impl>(shared, registry, std::move(snapshot))) {}

Server::~Server() {
    if (impl_->started) {
        drain([] { return true; });
    }
}

Result<> Server::start(admin::Admin& admin) {
    Impl& self = *impl_;
    self.common.admin = &admin;
    std::vector<Place> places;
    places.reserve(self.lanes.size());
    for (const auto& lane : self.lanes) places.push_back({&lane->worker.context, &lane->handler});
    for (const config::Listen& address : snapshot()->config->listen) {
        auto listener = Listener::open(self.control, address, places, self.settings);
        if (!listener) return std::unexpected(listener.error());
        const bool v6 = address.host.find(':') != std::string::npos;
        self.addresses.push_back(
            (v6 ? "[" + address.host + "]" : address.host) + ":" +
            std::to_string((*listener)->port())
        );
        self.listeners.push_back(std::move(*listener));
    }
    self.started = true;
    for (const auto& lane : self.lanes) {
        lane->thread = std::thread(run_until_stopped, std::ref(lane->worker.context));
    }
    for (const auto& listener : self.listeners) listener->start();
    self.control_guard.emplace(asio::make_work_guard(self.control));
    self.control_thread = std::thread(run_until_stopped, std::ref(self.control));
    return {};
}

void Server::publish(proxy::SnapshotPtr snapshot) {
    Impl& self = *impl_;
    {
        const MutexLock lock(self.mutex);
        self.current = snapshot;
    }
    self.apply_limits(*snapshot);
    if (!self.started) return;
    self.on_each_worker([&](Impl::Lane& lane) {
        // With another config connections begin anew, and certificates are read from disk again; a
        // key that was made or revoked changes nothing about upstreams.
        if (lane.worker.snapshot->config != snapshot->config) lane.worker.client->close_idle();
        lane.worker.snapshot = snapshot;
        for (const auto& signal : lane.worker.sockets) signal->notify_home();
    });
    // Who waits in line may have a place now.
    self.shared.ledger.caps_changed();
}

proxy::SnapshotPtr Server::snapshot() const {
    const MutexLock lock(impl_->mutex);
    return impl_->current;
}

void Server::drain(const std::function<bool()>& hurry) {
    Impl& self = *impl_;
    if (!self.started) return;
    self.common.draining = true;
    self.settings->draining = true;
    std::promise<void> closed;
    asio::post(self.control, [&] {
        for (const auto& listener : self.listeners) listener->stop();
        // Behind what was accepted before: it is on its way to its worker by then.
        asio::post(self.control, [&] { closed.set_value(); });
    });
    closed.get_future().wait();

    self.on_each_worker([](Impl::Lane& lane) {
        lane.worker.draining = true;
        for (const auto& signal : lane.worker.sockets) signal->notify_home();
    });
    const Deadline deadline = Deadline::in(snapshot()->config->drain);
    while (self.busy() && !deadline.passed() && !hurry()) {
        std::this_thread::sleep_for(kDrainStep);
    }
    // What is still there ends with an error event; then its flights are abandoned, and settle.
    self.on_each_worker([](Impl::Lane& lane) {
        lane.worker.stopping = true;
        for (const auto& signal : lane.worker.waiting) signal->notify_home();
    });
    const Deadline last = Deadline::in(kLastWords);
    while (self.busy() && !last.passed()) std::this_thread::sleep_for(kDrainStep);
    self.on_each_worker([](Impl::Lane& lane) {
        close_sessions(true);
        lane.worker.client->close_idle();
    });
    const Deadline gone = Deadline::in(kLastWords);
    while (self.busy() && !gone.passed()) std::this_thread::sleep_for(kDrainStep);
    self.stop_threads();
}

std::vector<std::string> Server::addresses() const {
    return impl_->addresses;
}

std::uint16_t Server::port() const {
    return impl_->listeners.empty() ? 0 : impl_->listeners.front()->port();
}

}  // namespace weir::server
