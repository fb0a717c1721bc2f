// Who answers the requests of a listener: the gateway, or the demo upstream. One per worker.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "weir/base/awaitable.hpp"
#include "weir/config/config.hpp"
#include "weir/proxy/client_stream.hpp"

namespace weir::server {

class Handler {
public:
    virtual ~Handler() = default;
    // Answers one request whose head was read. The session goes on with the next one afterwards if
    // the body was read and the answer finished; exceptions are bugs and become a 500.
    [[nodiscard]] virtual Awaitable<> handle(proxy::ClientStream& client) = 0;
    // What a connection and a request may take; asked at each request, so that a reload changes it.
    [[nodiscard]] virtual const config::Limits& limits() const noexcept = 0;
};

}  // namespace weir::server
