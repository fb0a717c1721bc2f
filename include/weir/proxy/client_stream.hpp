// The client's side of one exchange, as the line sees it: a request whose head was read and
// checked, a body to read, an answer to write. The server's session implements it on a socket. Home
// worker only.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/base/awaitable.hpp"
#include "weir/base/buffer.hpp"
#include "weir/base/byte_stream.hpp"
#include "weir/base/signal.hpp"
#include "weir/http/error_body.hpp"
#include "weir/http/message.hpp"
#include "weir/upstream/client.hpp"

namespace weir::proxy {

// A request's body that is passed on as it comes. It is shared with the upstream call and may
// outlive the exchange; then next() gives an error.
class IncomingBody : public upstream::BodySource {
public:
    // How long it will be, if the client said so.
    [[nodiscard]] virtual std::optional<std::uint64_t> size() const noexcept = 0;
    [[nodiscard]] virtual std::uint64_t bytes_read() const noexcept = 0;
    // Why next() gave an error, to tell the client: too large, too slow, cut, malformed.
    [[nodiscard]] virtual const std::optional<http::ApiError>& fault() const noexcept = 0;
};

class ClientStream {
public:
    virtual ~ClientStream() = default;

    [[nodiscard]] virtual const http::RequestHead& head() const noexcept = 0;
    // The request's id; every answer carries it as x-request-id, unless it sets another one.
    [[nodiscard]] virtual const std::string& id() const noexcept = 0;

    // The whole body, within `limit_bytes` and the budget of all bodies; answers Expect:
    // 100-continue first. The error is what to tell the client; the connection closes behind that
    // answer.
    [[nodiscard]] virtual Awaitable<std::expected<Buffer, http::ApiError>> read_body(
        std::uint64_t limit_bytes
    ) = 0;

    // In place of read_body(): the body in pieces, with constant memory. Nothing is read, nor is
    // Expect: 100-continue answered, before it is asked for its first piece. May be read while the
    // answer is written. Error: the client said that it will be longer than the limit.
    [[nodiscard]] virtual std::expected<std::shared_ptr<IncomingBody>, http::ApiError> open_body(
        std::uint64_t limit_bytes
    ) = 0;

    // From now on `signal` is notified when the client leaves; gone() tells. Replaces an earlier
    // watch.
    virtual void watch(std::shared_ptr<Signal> signal) = 0;
    [[nodiscard]] virtual bool gone() const noexcept = 0;

    // Every answer to this request has these fields, too, whatever it will be.
    virtual void answer_with(http::Fields fields) = 0;

    // A whole answer; takes the place of one that was begun, if nothing of it went out. False: the
    // client is gone.
    [[nodiscard]] virtual Awaitable<bool> send(const http::Response& response) = 0;

    // An answer in pieces: begin() keeps the head, which goes out with the first write() or
    // flush(), in one system call with it. Without `content_length` the body is chunked (or ends
    // with the connection for HTTP/1.0). Exactly one of finish() and abort() ends it.
    virtual void begin(
        int status, http::Fields fields, std::optional<std::uint64_t> content_length
    ) = 0;
    [[nodiscard]] virtual Awaitable<bool> write(const std::vector<std::string_view>& pieces) = 0;
    [[nodiscard]] virtual Awaitable<bool> flush() = 0;
    [[nodiscard]] virtual Awaitable<bool> finish() = 0;
    // The answer cannot be completed: closes so that the client sees that it broke.
    virtual void abort() noexcept = 0;
    // The connection itself, with what was read of it behind the request, for another protocol to
    // be spoken on it. Of this interface only head() and id() are to be used afterwards, and the
    // connection is closed by whoever took it. REQUIRES: nothing of an answer went out.
    [[nodiscard]] virtual std::shared_ptr<ByteStream> take_over() = 0;
    [[nodiscard]] virtual bool begun() const noexcept = 0;  // some byte of an answer went out
    [[nodiscard]] virtual std::uint64_t bytes_sent() const noexcept = 0;
};

}  // namespace weir::proxy
