// Calls to upstreams for one worker: resolving, connecting (TLS verified against the system's store
// and the configured CA, with SNI), a LIFO pool of idle connections per upstream, one call at a
// time on a connection. Home worker only.
//
// A pooled connection that turns out dead before a byte of the answer came, and at once (see
// stale_window), is replaced once by a fresh one, unseen by the caller. A connection is pooled
// again only if its answer was read to the end, it said keep-alive, nothing was left over and the
// call was not cancelled; idle ones are dropped before the upstream does (see pool.hpp). Redirects
// are not followed; proxies of the environment are not asked.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/ip/address.hpp>

#include "weir/base/awaitable.hpp"
#include "weir/base/deadline.hpp"
#include "weir/base/error.hpp"
#include "weir/config/config.hpp"
#include "weir/http/message.hpp"

namespace weir::upstream {

// A request's body that is passed on as it comes. Home worker only. Shared, since the call may end
// while next() waits: it is then told by stop(), and let go of when next() came back.
class BodySource {
public:
    virtual ~BodySource() = default;
    // The next bytes, good until the next call or until the source is let go of; none: the body's
    // clean end. An error ends the call with that error's code, so that the upstream sees that the
    // body broke. Asked only when the bytes before have gone out; may wait. Not asked again after
    // its end, an error, or stop(), nor once it gave as much as was told.
    [[nodiscard]] virtual Awaitable<Result<std::string_view>> next() = 0;
    // Nobody wants the rest (the upstream refused it, the call ended): a next() that waits should
    // come back soon, with anything. Called at most once, never when it was sent whole.
    virtual void stop() noexcept {}
};

// What to send. REQUIRES: the bytes of `body` live until the call ends.
struct CallRequest {
    std::string method;
    std::string target;   // path and query on the upstream: base path included
    http::Fields fields;  // without Host, Content-Length, Connection and credentials: put in here
    std::string_view body;
    std::shared_ptr<BodySource> source = {};         // in place of `body`
    std::optional<std::uint64_t> source_bytes = {};  // how long it is; nullopt: sent in chunks
    Deadline deadline = {};  // beside the upstream's `total`, the earlier one holds
};

struct CallTimes {
    std::chrono::microseconds connect{0};     // 0: a pooled connection
    std::chrono::microseconds first_byte{0};  // from start to the answer's head
};

// One call. cancel() may be called at any time on the home worker, also while start() or read()
// wait; they then end with kCancelled. Destroying it closes the connection unless the answer was
// read to its end; REQUIRES then: nobody awaits start() or read() (cancel() ends them).
class Call {
public:
    virtual ~Call() = default;
    // Sends the request and reads the answer's head. Errors: kUpstreamConnect, kUpstreamClosed,
    // kUpstreamProtocol, kUpstreamTimeout, kCancelled, or the code that the source gave; `stage()`
    // says where. A source is asked only on a connection that was made for it, never twice.
    [[nodiscard]] virtual Awaitable<Result<>> start(CallRequest request) = 0;
    [[nodiscard]] virtual const http::ResponseHead& head() const noexcept = 0;
    // Body bytes as they come, framing taken off, appended to `out` (cleared first). False: the
    // clean end of the answer. kUpstreamClosed: it broke off. A request that is still being sent
    // goes on meanwhile, unless the answer's status is 300 or more.
    [[nodiscard]] virtual Awaitable<Result<bool>> read(std::string& out) = 0;
    virtual void cancel() noexcept = 0;
    // The request was written whole: from here on a client that leaves is charged.
    [[nodiscard]] virtual bool request_written() const noexcept = 0;
    enum class Stage : std::uint8_t { kResolve, kConnect, kTls, kWrite, kFirstByte, kBody };
    [[nodiscard]] virtual Stage stage() const noexcept = 0;
    [[nodiscard]] virtual CallTimes times() const noexcept = 0;
};

class Channel;

struct ClientOptions {
    std::size_t idle_per_identity = 256;  // connections kept, past it they are closed
    std::chrono::milliseconds idle_time{60'000};
    std::chrono::milliseconds resolve_ttl{30'000};
    // What stale_window() allows on top of the round trips, and in all.
    std::chrono::milliseconds stale_grace{50};
    std::chrono::milliseconds stale_at_most{250};
    // A host's addresses. Blocks; called on threads of its own, at most 4 at once. Empty: the
    // system's resolver.
    std::function<Result<std::vector<asio::ip::address>>(const std::string& host)> lookup = {};
};

// How long after the whole request was written a pooled connection may die and still count as one
// that was stale before. That shows within a round trip (the close was on its way, or is the answer
// to the request); one that dies later may have read the request, and sending it again could be
// paid twice. `round_trip`: as the kernel measured it; 0: not known.
[[nodiscard]] std::chrono::microseconds stale_window(
    const ClientOptions& options, std::chrono::microseconds round_trip
) noexcept;

// Destroy it before its io_context, on the worker or when the worker has stopped. Calls may outlive
// it; their connections are then closed when they end.
class Client {
public:
    explicit Client(asio::io_context& worker, ClientOptions options = {});
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // `upstream` is kept until the call ends; `key`: the number of the key that it sends.
    // Connections are shared between upstreams only if host, port, TLS settings, proxy, kind, key
    // and headers are equal.
    [[nodiscard]] std::unique_ptr<Call> call(
        std::shared_ptr<const config::Upstream> upstream, std::size_t key = 0
    );
    // A connection for a protocol that takes it over (see channel.hpp).
    [[nodiscard]] std::unique_ptr<Channel> channel(
        std::shared_ptr<const config::Upstream> upstream, std::size_t key = 0
    );
    // Closes idle connections, and those in use when their call ends (shutdown, reload). TLS
    // stores are read from disk again at the next connect.
    void close_idle();
    struct Stats {
        std::size_t idle = 0;
        std::size_t active = 0;
        std::uint64_t connects = 0;
        std::uint64_t reused = 0;
        std::uint64_t replaced = 0;
    };
    [[nodiscard]] Stats stats() const noexcept;

private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace weir::upstream
