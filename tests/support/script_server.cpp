#include "support/script_server.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <csignal>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdexcept>
#include <sys/select.h>
#include <sys/socket.h>

#include <unistd.h>

#include "weir/base/text.hpp"

namespace weir::test {

Peer::Peer(int socket, SSL_CTX* tls) : socket_(socket) {
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (tls == nullptr) return;
    ssl_ = SSL_new(tls);
    SSL_set_fd(ssl_, socket_);
    tls_ready_ = SSL_accept(ssl_) == 1;
}

Peer::~Peer() {
    if (ssl_ != nullptr) SSL_free(ssl_);
    ::close(socket_);
}

long Peer::receive(char* into, std::size_t size) {
    if (!tls_ready_) return 0;
    if (ssl_ != nullptr) return SSL_read(ssl_, into, static_cast<int>(size));
    return ::recv(socket_, into, size, 0);
}

bool Peer::more() {
    char buffer[16384];
    const long count = receive(buffer, sizeof(buffer));
    if (count <= 0) return false;
    bytes_seen_ += static_cast<std::size_t>(count);
    pending_.append(buffer, static_cast<std::size_t>(count));
    return true;
}

bool Peer::read_head() {
    head_.clear();
    body_.clear();
    std::size_t end = 0;
    while ((end = pending_.find("\r\n\r\n")) == std::string::npos) {
        if (!more()) return false;
    }
    head_ = pending_.substr(0, end + 4);
    pending_.erase(0, end + 4);
    return true;
}

bool Peer::read_request() {
    if (!read_head()) return false;
    std::size_t length = 0;
    const std::string text = field("content-length");
    std::from_chars(text.data(), text.data() + text.size(), length);
    return read_body(length);
}

bool Peer::read_body(std::size_t size) {
    while (pending_.size() < size) {
        if (!more()) return false;
    }
    body_ = pending_.substr(0, size);
    pending_.erase(0, size);
    return true;
}

bool Peer::read_chunked() {
    body_.clear();
    for (;;) {
        std::size_t end = 0;
        while ((end = pending_.find("\r\n")) == std::string::npos) {
            if (!more()) return false;
        }
        std::size_t size = 0;
        const auto [at, error] = std::from_chars(pending_.data(), pending_.data() + end, size, 16);
        if (error != std::errc{} || at != pending_.data() + end) return false;
        pending_.erase(0, end + 2);
        while (pending_.size() < size + 2) {
            if (!more()) return false;
        }
        body_.append(pending_, 0, size);
        if (pending_.compare(size, 2, "\r\n") != 0) return false;
        pending_.erase(0, size + 2);
        if (size == 0) return true;
    }
}

bool Peer::tls_has_client_certificate() const {
    return ssl_ != nullptr && SSL_get0_peer_certificate(ssl_) != nullptr;
}

void Peer::tunnel_to(std::uint16_t port) {
    const int other = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    bool open = ::connect(other, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    char buffer[16384];
    while (open) {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(socket_, &set);
        FD_SET(other, &set);
        // Under TLS what was read already does not show on the socket.
        timeval at_once{0, 0};
        const bool pending = ssl_ != nullptr && SSL_pending(ssl_) > 0;
        ::select(
            std::max(socket_, other) + 1, &set, nullptr, nullptr, pending ? &at_once : nullptr
        );
        if (pending || FD_ISSET(socket_, &set)) {
            const long count = receive(buffer, sizeof(buffer));
            open = count > 0 &&
                   ::send(other, buffer, static_cast<std::size_t>(count), MSG_NOSIGNAL) == count;
        }
        if (open && FD_ISSET(other, &set)) {
            const ssize_t count = ::recv(other, buffer, sizeof(buffer), 0);
            open = count > 0 && send({buffer, static_cast<std::size_t>(count)});
        }
    }
    ::close(other);
}

std::string Peer::field(std::string_view name) const {
    std::string_view rest = head_;
    while (!rest.empty()) {
        const std::string_view line = rest.substr(0, rest.find("\r\n"));
        rest.remove_prefix(std::min(line.size() + 2, rest.size()));
        const std::size_t colon = line.find(':');
        if (colon != std::string_view::npos && iequals(line.substr(0, colon), name)) {
            return std::string(trim(line.substr(colon + 1)));
        }
    }
    return {};
}

bool Peer::send(std::string_view bytes) {
    while (!bytes.empty() && !send_failed_) {
        const long count = ssl_ != nullptr
                               ? SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()))
                               : ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (count <= 0) {
            send_failed_ = true;
        } else {
            bytes.remove_prefix(static_cast<std::size_t>(count));
        }
    }
    return !send_failed_;
}

void Peer::wait_for_close() {
    char buffer[16384];
    for (;;) {
        const long count = receive(buffer, sizeof(buffer));
        if (count <= 0) return;
        bytes_seen_ += static_cast<std::size_t>(count);
    }
}

std::size_t Peer::drop_until_quiet() {
    const timeval patience{0, 200'000};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    const std::size_t before = bytes_seen_;
    wait_for_close();
    return bytes_seen_ - before;
}

void Peer::close() {
    if (ssl_ != nullptr && tls_ready_) SSL_shutdown(ssl_);
    cut();
}

void Peer::cut() {
    ::shutdown(socket_, SHUT_WR);
}

void Peer::reset() {
    // The descriptor stays ours (its number must not be used again yet); a connect to nowhere
    // resets it at once.
    sockaddr nowhere{};
    nowhere.sa_family = AF_UNSPEC;
    ::connect(socket_, &nowhere, sizeof(nowhere));
}

ScriptServer::ScriptServer(Script script, SSL_CTX* tls, bool v6)
    : script_(std::move(script)), tls_(tls) {
    listener_ = ::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed = 0;
    socklen_t size = 0;
    if (v6) {
        sockaddr_in6 address{};
        address.sin6_family = AF_INET6;
        address.sin6_addr = in6addr_loopback;
        size = sizeof(address);
        failed = ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
        port_ = ntohs(address.sin6_port);
    } else {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        size = sizeof(address);
        failed = ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
        port_ = ntohs(address.sin_port);
    }
    if (failed != 0 || ::listen(listener_, 64) != 0) throw std::runtime_error("cannot listen");
    acceptor_ = std::thread([this] { serve(); });
}

ScriptServer::~ScriptServer() {
    {
        const MutexLock lock(mutex_);
        stopping_ = true;
        for (const int socket : open_) ::shutdown(socket, SHUT_RDWR);
    }
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
    std::vector<Thread> peers;
    {
        const MutexLock lock(mutex_);
        peers.swap(peers_);
    }
    for (Thread& peer : peers) peer.thread.join();
}

void ScriptServer::serve() {
    // SSL_write on a closed connection signals. Blocked here and in the peers' threads only: the
    // client has to do without.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    for (;;) {
        const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (socket < 0) return;
        const int number = accepted_++;
        const MutexLock lock(mutex_);
        if (stopping_) {
            ::close(socket);
            return;
        }
        // Their stacks are kept until they are joined.
        std::erase_if(peers_, [](Thread& peer) {
            const bool over = *peer.over;
            if (over) peer.thread.join();
            return over;
        });
        open_.push_back(socket);
        auto over = std::make_shared<std::atomic<bool>>(false);
        std::thread thread([this, socket, number, over] {
            {
                Peer peer(socket, tls_);
                script_(peer, number);
                // Out of the list before the number is free for somebody else's socket.
                const MutexLock closing(mutex_);
                std::erase(open_, socket);
            }
            *over = true;
        });
        peers_.push_back({std::move(thread), std::move(over)});
    }
}

}  // namespace weir::test
