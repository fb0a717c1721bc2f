// Which room answers which path: /v1 the line, /api/admin the admin API, /api/me what a key's
// holder may know, and the few paths that tell how the process is. One per worker.
#pragma once

#include <boost/asio/thread_pool.hpp>

#include "weir/admin/admin.hpp"
#include "weir/base/log.hpp"
#include "weir/proxy/proxy.hpp"
#include "weir/proxy/worker.hpp"
#include "weir/server/handler.hpp"

namespace weir::server {

// What all workers' handlers share; owned by the Server.
struct Common {
    admin::Admin* admin = nullptr;
    asio::thread_pool* admin_thread = nullptr;  // one thread: admin calls may block
    metrics::Registry* registry = nullptr;
    std::atomic<bool> draining = false;
};

class GatewayHandler final : public Handler {
public:
    GatewayHandler(proxy::Worker& worker, Common& common) noexcept
        : worker_(worker), common_(common), proxy_(worker) {}

    [[nodiscard]] Awaitable<> handle(proxy::ClientStream& client) override;
    void answered(const Answered& answer) override;
    [[nodiscard]] const config::Limits& limits() const noexcept override {
        return worker_.snapshot->config->limits;
    }

private:
    [[nodiscard]] Awaitable<> administer(
        proxy::ClientStream& client, Deadline::Clock::time_point begun
    );
    [[nodiscard]] Awaitable<> send(
        proxy::ClientStream& client, Deadline::Clock::time_point begun, http::Response response
    );
    void write_line(const Answered& answer, log::Level level) const;
    [[nodiscard]] http::Response tell_holder(const http::RequestHead& head) const;
    [[nodiscard]] http::Response answer_small(const http::RequestHead& head) const;

    proxy::Worker& worker_;
    Common& common_;
    proxy::Proxy proxy_;
};

}  // namespace weir::server
