#include "support/black_hole.hpp"

#include <arpa/inet.h>
#include <sys/select.h>
#include <sys/socket.h>

#include <unistd.h>

namespace weir::test {

namespace {

bool hangs(int socket) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(socket, &set);
    timeval patience{0, 100'000};
    return ::select(socket + 1, nullptr, &set, nullptr, &patience) == 0;
}

}  // namespace

BlackHole::BlackHole(std::uint16_t port) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address_.sin_port = htons(port);
    socklen_t size = sizeof(address_);
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address_), size) != 0) return;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address_), &size);
    ::listen(listener_, 0);
    for (int i = 0; i < 64 && !full_; ++i) {
        const int filler = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        fillers_.push_back(filler);
        ::connect(filler, reinterpret_cast<sockaddr*>(&address_), size);
        full_ = hangs(filler);
    }
}

BlackHole::~BlackHole() {
    for (const int filler : fillers_) ::close(filler);
    ::close(listener_);
}

std::uint16_t BlackHole::port() const {
    return ntohs(address_.sin_port);
}

}  // namespace weir::test
