// Gets one connection to an upstream, ready for a request: addresses, the race between them, the
// tunnel through a proxy, TLS. Home worker only; belongs to the call that waits for it.
//
// The race is that of RFC 8305: the next address is tried when the one before has failed, or has
// not answered for a while; the first to connect wins and the others are closed.
#pragma once

#include <memory>
#include <string>

#include "weir/upstream/client.hpp"

#include "client_state.hpp"
#include "connection.hpp"

namespace weir::upstream {

class Dial final : private Connection::Owner {
public:
    Dial(
        std::shared_ptr<ClientState> client,
        std::shared_ptr<const config::Upstream> upstream,
        std::shared_ptr<Pool> pool
    );
    ~Dial();
    Dial(const Dial&) = delete;
    Dial& operator=(const Dial&) = delete;

    // kUpstreamConnect, or kUpstreamTimeout: not by `total`, or within the upstream's times. To be
    // called once. The connection has no owner.
    [[nodiscard]] Awaitable<Result<std::shared_ptr<Connection>>> connect(Deadline total);
    // connect() ends soon, with any error.
    void cancel() noexcept;
    // Where it is: kResolve, kConnect (the proxy's tunnel too) or kTls.
    [[nodiscard]] Call::Stage stage() const noexcept { return stage_; }

private:
    struct Race;

    [[nodiscard]] Awaitable<Result<>> race();
    [[nodiscard]] Awaitable<Result<>> open_tunnel();
    [[nodiscard]] Awaitable<Result<>> secure();
    void look_up();
    // What the lookup brought, as far as it is new. False: there is no address at all.
    [[nodiscard]] bool take_addresses();
    void try_next();
    [[nodiscard]] std::unexpected<Error> timed_out() const;
    [[nodiscard]] std::unexpected<Error> failed(std::string what) const;

    void deadline_passed(Connection& connection) override;
    void some_written() override {}
    void all_written() override {}
    void write_failed() override {}
    void source_awaited() override {}
    void source_failed(Error) override {}

    std::shared_ptr<ClientState> client_;
    std::shared_ptr<const config::Upstream> upstream_;
    std::shared_ptr<Pool> pool_;
    std::shared_ptr<Race> race_;
    std::shared_ptr<Connection> connection_;          // that won
    std::shared_ptr<const Resolver::Ticket> ticket_;  // while it may bring addresses
    Addresses addresses_;                             // in order of trial
    std::size_t tried_ = 0;                           // of them
    Deadline total_;
    Deadline connect_by_;
    Call::Stage stage_ = Call::Stage::kResolve;
    bool cancelled_ = false;
    bool too_late_ = false;
};

}  // namespace weir::upstream
