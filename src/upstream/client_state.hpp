// What the calls of one client share. Home worker only.
#pragma once

#include <memory>
#include <vector>

#include "weir/upstream/client.hpp"

#include "pool.hpp"
#include "resolver.hpp"

namespace weir::upstream {

struct ClientState {
    ClientState(asio::io_context& worker, const ClientOptions& given);

    [[nodiscard]] std::shared_ptr<Pool> pool_for(const config::Upstream& upstream, std::size_t key);
    // Closes what is idle and forgets pools that nobody uses: after a reload their identity may be
    // gone for good, or their CA file may have changed.
    void close_idle();
    // The client goes away: nothing is pooled any more, and lookups end.
    void stop();

    Executor home;
    ClientOptions options;
    Resolver resolver;
    std::vector<std::shared_ptr<Pool>> pools;  // as many as there are upstreams: a few
    bool stopped = false;
    std::size_t active = 0;
    std::uint64_t connects = 0;
    std::uint64_t reused = 0;
    std::uint64_t replaced = 0;
};

}  // namespace weir::upstream
