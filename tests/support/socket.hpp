// Plain blocking sockets for tests, with deadlines: a peer that can do anything to the wire.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::test {

using namespace std::chrono_literals;

// Owns a descriptor. Reads and writes wait at most `patience`.
class Socket {
public:
    Socket() noexcept = default;
    explicit Socket(int descriptor) noexcept : descriptor_(descriptor) {}
    Socket(Socket&& other) noexcept;
    Socket& operator=(Socket&& other) noexcept;
    ~Socket();

    // To 127.0.0.1.
    [[nodiscard]] static Socket connect(std::uint16_t port);

    // False: the peer is gone, or takes nothing for `patience`.
    bool send(std::string_view bytes);
    // Some bytes; empty: the peer closed, reset, or said nothing for `patience` (see last_read()).
    [[nodiscard]] std::string receive(std::size_t most = 64 << 10);
    enum class Read : std::uint8_t { kBytes, kClosed, kReset, kSilent };
    [[nodiscard]] Read last_read() const noexcept { return last_read_; }
    void set_patience(std::chrono::milliseconds patience) noexcept { patience_ = patience; }
    void shutdown_send() noexcept;
    // A reset instead of a clean end.
    void reset() noexcept;
    void close() noexcept;
    [[nodiscard]] bool open() const noexcept { return descriptor_ >= 0; }
    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

private:
    [[nodiscard]] bool wait(short events) const;
    int descriptor_ = -1;
    std::chrono::milliseconds patience_{20'000};
    Read last_read_ = Read::kBytes;
};

}  // namespace weir::test
