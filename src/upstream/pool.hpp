// Idle connections of one identity (host, port, TLS, ca_file, key): last in, first out, bounded,
// each for a limited time. Also keeps the TLS context that its connections share. Home worker
// only; shared by the client and the calls that use it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "weir/config/config.hpp"

#include "connection.hpp"

namespace weir::upstream {

class Pool final : private Connection::Owner {
public:
    Pool(
        const config::Upstream& upstream,
        std::string_view key,
        std::size_t bound,
        std::chrono::milliseconds idle_time
    );
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    [[nodiscard]] bool is_for(const config::Upstream& upstream, std::size_t key) const noexcept;
    // A connection that was alive a moment ago, or null.
    [[nodiscard]] std::shared_ptr<Connection> take();
    // REQUIRES: its answer was read to the end and it is not to be closed.
    void put(std::shared_ptr<Connection> connection);
    void close_idle() noexcept;
    // No connection is taken back any more.
    void retire() noexcept;
    [[nodiscard]] std::size_t idle() const noexcept { return idle_.size(); }
    // Made at first use; a failure is not kept.
    [[nodiscard]] Result<std::shared_ptr<TlsContext>> tls_context();

private:
    void deadline_passed(Connection& connection) override;
    void some_written() override {}
    void all_written() override {}
    void write_failed() override {}
    void source_awaited() override {}
    void source_failed(Error) override {}

    std::string host_;
    std::uint16_t port_;
    bool tls_;
    std::string ca_file_;
    std::string key_;
    std::size_t bound_;
    std::chrono::milliseconds idle_time_;
    bool retired_ = false;
    std::vector<std::shared_ptr<Connection>> idle_;
    std::shared_ptr<TlsContext> tls_context_;
};

}  // namespace weir::upstream
