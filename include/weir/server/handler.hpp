// Who answers the requests of a listener: the gateway, or the demo upstream. One per worker.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "weir/base/awaitable.hpp"
#include "weir/base/deadline.hpp"
#include "weir/config/config.hpp"
#include "weir/proxy/client_stream.hpp"

namespace weir::server {

// An answer for the log and the meters.
struct Answered {
    std::string_view id;            // its x-request-id
    const http::RequestHead& head;  // empty if it was refused
    Deadline::Clock::time_point begun;
    int status = 0;
    std::string_view error;  // its code; empty: none
    std::uint64_t bytes_out = 0;
    bool sent = false;  // false: the client left before its end
};

class Handler {
public:
    virtual ~Handler() = default;
    // Answers one request whose head was read. The session goes on with the next one afterwards if
    // the body was read and the answer finished; exceptions are bugs and become a 500.
    [[nodiscard]] virtual Awaitable<> handle(proxy::ClientStream& client) = 0;
    // The session answered by itself: the head was refused, or handle() threw.
    virtual void answered(const Answered&) {}
    // What a connection and a request may take; asked at each request, so that a reload changes it.
    [[nodiscard]] virtual const config::Limits& limits() const noexcept = 0;
};

}  // namespace weir::server
