// A server that does what a test tells it, byte by byte: plain blocking sockets, a thread per
// connection. It runs the script once per accepted connection, with the connection's number.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <openssl/ssl.h>

#include "weir/base/mutex.hpp"

namespace weir::test {

// One accepted connection. Every call blocks; after stop() they fail soon.
class Peer {
public:
    Peer(int socket, SSL_CTX* tls);
    ~Peer();
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    // Reads a request with a Content-Length body. False: the client closed before it was whole.
    bool read_request();
    // Only the head, then the body.
    bool read_head();
    bool read_body(std::size_t size);
    // A chunked body, without trailers. False: it broke off, or is not one; body() is what came.
    bool read_chunked();
    [[nodiscard]] const std::string& head() const { return head_; }
    [[nodiscard]] const std::string& body() const { return body_; }
    // Everything that came, also in requests that were not whole.
    [[nodiscard]] std::size_t bytes_seen() const { return bytes_seen_; }
    // Whatever comes next.
    void read_some() { more(); }
    // The value of a field, "" without it.
    [[nodiscard]] std::string field(std::string_view name) const;

    bool send(std::string_view bytes);
    // Waits until the client closes or resets; bytes that come are dropped.
    void wait_for_close();
    // Drops what comes until nothing came for a while. Returns how much it was.
    std::size_t drop_until_quiet();
    void close();  // FIN; with TLS a goodbye first
    void cut();    // FIN without the goodbye
    void reset();  // RST
    [[nodiscard]] bool tls_ready() const { return tls_ready_; }
    // The TLS session of before was resumed.
    [[nodiscard]] bool tls_resumed() const { return ssl_ != nullptr && SSL_session_reused(ssl_); }
    [[nodiscard]] bool tls_has_client_certificate() const;
    // Connects to a port of this host and passes bytes both ways until either side ends.
    void tunnel_to(std::uint16_t port);

private:
    long receive(char* into, std::size_t size);
    bool more();

    int socket_;
    SSL* ssl_ = nullptr;
    bool tls_ready_ = true;
    bool send_failed_ = false;
    std::string pending_;
    std::string head_;
    std::string body_;
    std::size_t bytes_seen_ = 0;
};

class ScriptServer {
public:
    using Script = std::function<void(Peer& peer, int number)>;
    // `tls` is borrowed; null: plain.
    explicit ScriptServer(Script script, SSL_CTX* tls = nullptr, bool v6 = false);
    ~ScriptServer();
    ScriptServer(const ScriptServer&) = delete;
    ScriptServer& operator=(const ScriptServer&) = delete;

    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] int accepted() const { return accepted_; }

private:
    void serve();

    Script script_;
    SSL_CTX* tls_;
    int listener_;
    std::uint16_t port_ = 0;
    std::atomic<int> accepted_ = 0;
    Mutex mutex_;
    bool stopping_ GUARDED_BY(mutex_) = false;
    std::vector<int> open_ GUARDED_BY(mutex_);
    struct Thread {
        std::thread thread;
        std::shared_ptr<std::atomic<bool>> over;
    };
    std::vector<Thread> peers_ GUARDED_BY(mutex_);
    std::thread acceptor_;
};

}  // namespace weir::test
