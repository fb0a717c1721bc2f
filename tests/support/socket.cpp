#include "support/socket.hpp"

#include <arpa/inet.h>
#include <cerrno>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <utility>

#include <poll.h>
#include <unistd.h>

namespace weir::test {

Socket::Socket(Socket&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), patience_(other.patience_) {}

Socket& Socket::operator=(Socket&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    patience_ = other.patience_;
    return *this;
}

Socket::~Socket() {
    close();
}

Socket Socket::connect(std::uint16_t port) {
    Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int one = 1;
    ::setsockopt(socket.descriptor_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    // The socket interface's one cast that cannot be avoided.
    if (::connect(
            socket.descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address
        ) != 0) {
        socket.close();
    }
    return socket;
}

bool Socket::wait(short events) const {
    pollfd poll{descriptor_, events, 0};
    int ready = 0;
    do {
        ready = ::poll(&poll, 1, static_cast<int>(patience_.count()));
    } while (ready < 0 && errno == EINTR);
    return ready > 0;
}

bool Socket::send(std::string_view bytes) {
    while (!bytes.empty()) {
        if (descriptor_ < 0 || !wait(POLLOUT)) return false;
        const ssize_t sent =
            ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (sent <= 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
}

std::string Socket::receive(std::size_t most) {
    std::string bytes;
    if (descriptor_ < 0) {
        last_read_ = Read::kClosed;
        return bytes;
    }
    if (!wait(POLLIN)) {
        last_read_ = Read::kSilent;
        return bytes;
    }
    bytes.resize(most);
    const ssize_t got = ::recv(descriptor_, bytes.data(), most, 0);
    last_read_ = got > 0 ? Read::kBytes : got == 0 ? Read::kClosed : Read::kReset;
    bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return bytes;
}

void Socket::shutdown_send() noexcept {
    ::shutdown(descriptor_, SHUT_WR);
}

void Socket::reset() noexcept {
    const linger hard{1, 0};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close();
}

void Socket::close() noexcept {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
}

}  // namespace weir::test
