// A connection to an upstream for a protocol that takes it over (WebSocket): resolved, connected
// and secured as those of calls, but of nobody's pool. Home worker only.
#pragma once

#include <memory>

#include "weir/base/awaitable.hpp"
#include "weir/base/byte_stream.hpp"
#include "weir/base/error.hpp"
#include "weir/config/config.hpp"
#include "weir/http/message.hpp"
#include "weir/upstream/client.hpp"

namespace weir::upstream {

// Gets one connection. Destroying it closes what was not handed out; REQUIRES then: nobody awaits
// run() (cancel() ends it).
class Channel {
public:
    virtual ~Channel() = default;
    // Once. Errors as Call::start()'s; stage() says where.
    [[nodiscard]] virtual Awaitable<Result<std::shared_ptr<ByteStream>>> run() = 0;
    virtual void cancel() noexcept = 0;
    [[nodiscard]] virtual Call::Stage stage() const noexcept = 0;
};

// What a call would say of itself beside the caller's fields: credentials and the upstream's own
// fields; and the Host.
void add_own_fields(http::Fields& fields, const config::Upstream& upstream, std::size_t key);
[[nodiscard]] std::string host_of(const config::Upstream& upstream);

}  // namespace weir::upstream
