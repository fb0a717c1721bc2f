// The Asio types that every coroutine of Weir uses. A worker is a thread with an io_context of its
// own and a coroutine never leaves its worker, so the concrete executor is enough: no strands, no
// type-erased executors.
//
// House rules for coroutines (docs/adr/0005-coroutine-subset.md): named functions, parameters by
// value or references to what the awaiting frame owns, no lock held across co_await, no capturing
// lambda coroutines, co_spawn only Awaitable<void> and always with a handler that logs.
#pragma once

#include <chrono>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/wait_traits.hpp>

namespace weir {

namespace asio = boost::asio;
using SysError = boost::system::error_code;

using Executor = asio::io_context::executor_type;
template <class T = void>
using Awaitable = asio::awaitable<T, Executor>;
using TcpSocket = asio::basic_stream_socket<asio::ip::tcp, Executor>;
using Timer = asio::basic_waitable_timer<
    std::chrono::steady_clock,
    asio::wait_traits<std::chrono::steady_clock>,
    Executor>;

// Completion token: `auto [ec, n] = co_await socket.async_read_some(buffer, kAwait);` Never throws.
inline constexpr auto kAwait = asio::as_tuple(asio::use_awaitable_t<Executor>{});

}  // namespace weir
