// The running gateway: workers, listeners, snapshots, drain.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "weir/admin/admin.hpp"
#include "weir/base/error.hpp"
#include "weir/metrics/metrics.hpp"
#include "weir/proxy/meters.hpp"
#include "weir/proxy/snapshot.hpp"
#include "weir/proxy/worker.hpp"

namespace weir::server {

class Server {
public:
    // `admin` and everything in `shared` outlive the server. Nothing runs yet.
    Server(proxy::Shared& shared, metrics::Registry& registry, proxy::SnapshotPtr snapshot);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // Opens the listeners and starts the threads. kConfig: an address cannot be used.
    [[nodiscard]] Result<> start(admin::Admin& admin);
    // In force on every worker when it returns. Any thread but a worker's.
    void publish(proxy::SnapshotPtr snapshot);
    [[nodiscard]] proxy::SnapshotPtr snapshot() const;
    // Stop accepting, let exchanges finish for the config's drain time, end the rest with an error
    // event, join. `hurry` is asked now and then: true ends the wait at once.
    void drain(const std::function<bool()>& hurry);
    // As bound: "127.0.0.1:8080".
    [[nodiscard]] std::vector<std::string> addresses() const;
    [[nodiscard]] std::uint16_t port() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace weir::server
