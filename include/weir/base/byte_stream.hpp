// A connection's bytes, both ways, whatever carries them (TCP, TLS): for a protocol that takes a
// whole connection over. One read and one write may be under way at once; neither completes inside
// the call that starts it. Home worker only. Shared, since an operation of the kernel may still be
// coming back when nobody wants it any more.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/buffer.hpp>

#include "weir/base/awaitable.hpp"

namespace weir {

class ByteStream {
public:
    using Done = asio::any_completion_handler<void(SysError, std::size_t)>;

    virtual ~ByteStream() = default;
    [[nodiscard]] virtual Executor home() const noexcept = 0;
    // Some bytes, at least one. asio::error::eof: the peer closed, and said so if it speaks TLS.
    virtual void read_some(asio::mutable_buffer into, Done done) = 0;
    // At least one byte. The bytes are the caller's until `done`.
    virtual void write_some(std::span<const asio::const_buffer> from, Done done) = 0;
    // Nothing more is sent; the peer is told so.
    virtual void finish_sending() noexcept = 0;
    // At once; what is under way ends with an error soon.
    virtual void close() noexcept = 0;
};

// On a connected socket. `before`: bytes that were read from it already.
[[nodiscard]] std::shared_ptr<ByteStream> make_tcp_stream(
    TcpSocket socket, std::string before = {}
);

}  // namespace weir
