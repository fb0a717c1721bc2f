#include "weir/upstream/client.hpp"

#include <algorithm>
#include <utility>

#include "call.hpp"
#include "channel_made.hpp"
#include "client_state.hpp"

namespace weir::upstream {
namespace {

// More identities than a config has; past it unused ones are forgotten.
constexpr std::size_t kPoolsKept = 64;

}  // namespace

std::chrono::microseconds stale_window(
    const ClientOptions& options, std::chrono::microseconds round_trip
) noexcept {
    // Two of them, since the kernel's figure is a mean.
    return std::min<std::chrono::microseconds>(
        2 * round_trip + options.stale_grace, options.stale_at_most
    );
}

ClientState::ClientState(asio::io_context& worker, const ClientOptions& given)
    : home(worker.get_executor()),
      options(given),
      resolver(home, given.lookup ? given.lookup : Lookup(&lookup_with_system), given.resolve_ttl) {
}

std::shared_ptr<Pool> ClientState::pool_for(const config::Upstream& upstream, std::size_t key) {
    for (const std::shared_ptr<Pool>& pool : pools) {
        if (pool->is_for(upstream, key)) return pool;
    }
    if (pools.size() >= kPoolsKept) {
        std::erase_if(pools, [](const std::shared_ptr<Pool>& pool) {
            return pool.use_count() == 1 && pool->idle() == 0;
        });
    }
    auto pool = std::make_shared<Pool>(
        upstream, upstream.key_at(key), options.idle_per_identity, options.idle_time
    );
    if (stopped) {
        pool->retire();
    } else {
        pools.push_back(pool);
    }
    return pool;
}

void ClientState::close_idle() {
    // Calls that use a pool now keep it to their end; what they give back is closed then.
    for (const std::shared_ptr<Pool>& pool : pools) pool->retire();
    pools.clear();
}

void ClientState::stop() {
    stopped = true;
    close_idle();
    resolver.stop();
}

struct Client::Impl : ClientState {
    using ClientState::ClientState;
};

Client::Client(asio::io_context& worker, ClientOptions options)
    : impl_(std::make_shared<Impl>(worker, options)) {}

Client::~Client() {
    impl_->stop();
}

std::unique_ptr<Call> Client::call(
    std::shared_ptr<const config::Upstream> upstream, std::size_t key
) {
    return std::make_unique<PooledCall>(impl_, std::move(upstream), key);
}

std::unique_ptr<Channel> Client::channel(
    std::shared_ptr<const config::Upstream> upstream, std::size_t key
) {
    return make_channel(impl_, std::move(upstream), key);
}

void Client::close_idle() {
    impl_->close_idle();
}

Client::Stats Client::stats() const noexcept {
    Stats stats;
    for (const std::shared_ptr<Pool>& pool : impl_->pools) stats.idle += pool->idle();
    stats.active = impl_->active;
    stats.connects = impl_->connects;
    stats.reused = impl_->reused;
    stats.replaced = impl_->replaced;
    return stats;
}

}  // namespace weir::upstream
