// Idle connections of one identity: last in, first out, bounded, each for a limited time. Also
// keeps the TLS contexts that its connections share. Home worker only; shared by the client and the
// calls that use it.
//
// The identity is all that makes a connection what it is, and all that tells the upstream who
// calls: host, port, TLS with its files, proxy, key, configured headers.
//
// An upstream closes what was idle for a while. Asking on such a connection fails, so it is dropped
// before: by what the upstream says (Keep-Alive: timeout=N), and by what was seen.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "weir/config/config.hpp"

#include "connection.hpp"
#include "resolver.hpp"

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
    // Where its connections go: the proxy, if there is one. Without the brackets of IPv6.
    [[nodiscard]] const std::string& dialled() const noexcept { return dialled_; }
    [[nodiscard]] std::uint16_t dialled_port() const noexcept {
        return proxy_ ? proxy_->port : port_;
    }

    // A connection that was alive a moment ago, or null. Those to addresses that are not among
    // `current` are closed; null: nobody knows.
    [[nodiscard]] std::shared_ptr<Connection> take(const Addresses* current);
    // REQUIRES: its answer, which had these fields, was read to the end and it is not to be closed.
    void put(std::shared_ptr<Connection> connection, const http::Fields& fields);
    // The peer had closed one that was idle for so long: from now on they are dropped earlier.
    void found_closed(std::chrono::steady_clock::duration idle);
    void close_idle() noexcept;
    // No connection is taken back any more.
    void retire() noexcept;
    [[nodiscard]] std::size_t idle() const noexcept { return idle_.size(); }
    // Made at first use; a failure is not kept.
    [[nodiscard]] Result<std::shared_ptr<TlsContext>> tls_context();
    // To the proxy.
    [[nodiscard]] Result<std::shared_ptr<TlsContext>> proxy_tls_context();

private:
    void deadline_passed(Connection& connection) override;
    void some_written() override {}
    void all_written() override {}
    void write_failed() override {}
    void source_awaited() override {}
    void source_failed(Error) override {}

    // How long one may be idle.
    [[nodiscard]] std::chrono::milliseconds idle_time() const noexcept;

    std::string host_;
    std::uint16_t port_;
    bool tls_;
    TlsFiles files_;
    std::optional<config::HttpProxy> proxy_;
    config::Kind kind_;
    std::string key_;
    std::vector<config::ExtraField> headers_;
    std::string dialled_;
    std::size_t bound_;
    std::chrono::milliseconds idle_time_;
    std::chrono::milliseconds learned_{0};  // 0: nothing
    Deadline learned_until_;
    bool retired_ = false;
    std::vector<std::shared_ptr<Connection>> idle_;
    std::shared_ptr<TlsContext> tls_context_;
    std::shared_ptr<TlsContext> proxy_tls_context_;
};

}  // namespace weir::upstream
