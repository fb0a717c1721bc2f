// TLS for upstreams, on OpenSSL without Asio: one context per identity and one session per
// connection, whose steps never block and say what they wait for. The socket belongs to the
// caller. A session may also run inside another one (to an upstream, through a proxy that itself
// is spoken to in TLS).
//
// Why not asio::ssl::stream: it holds 68 KiB of buffers per connection whether idle or not, keeps
// bytes where nobody can see whether some are left over (they would reach the next call), and
// compiles for 18 s. Here unread bytes stay in the kernel.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "weir/base/error.hpp"

namespace weir::upstream {

// PEM files; empty: none.
struct TlsFiles {
    std::string ca;               // beside the system's store
    std::string certificate;      // the client's own chain
    std::string certificate_key;  // empty: it is in `certificate`

    friend bool operator==(const TlsFiles&, const TlsFiles&) = default;
};

// What a certificate must satisfy: signed by the system's store or by `files.ca`; TLS 1.2 or newer.
// Keeps what the peer gave to resume sessions, so one context is for one peer. Home worker only.
class TlsContext {
public:
    // Reads the files from disk. kUpstreamConnect: one cannot be read.
    [[nodiscard]] static Result<std::shared_ptr<TlsContext>> create(const TlsFiles& files);
    ~TlsContext();
    TlsContext(const TlsContext&) = delete;
    TlsContext& operator=(const TlsContext&) = delete;

    [[nodiscard]] std::size_t sessions() const noexcept;  // that may be resumed

private:
    friend class TlsSession;
    struct Impl;
    explicit TlsContext(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

// The outcome of one step.
struct TlsStep {
    enum class Kind : std::uint8_t {
        kDone,       // `bytes` were read or written
        kWantRead,   // again when the socket is readable
        kWantWrite,  // again when the socket is writable
        kEnd,        // the peer said close_notify
        kCut,        // the connection ended without it
        kError,
    };
    Kind kind = Kind::kError;
    std::size_t bytes = 0;
};

class TlsSession {
public:
    // `host` is what the certificate must name: a DNS name, sent as SNI, or an IP literal.
    TlsSession(std::shared_ptr<TlsContext> context, int socket, const std::string& host);
    // Inside `below`, which must be verified and outlive it.
    TlsSession(std::shared_ptr<TlsContext> context, TlsSession& below, const std::string& host);
    ~TlsSession();
    TlsSession(const TlsSession&) = delete;
    TlsSession& operator=(const TlsSession&) = delete;

    // kDone: the peer is verified. Nothing can be read or written before.
    [[nodiscard]] TlsStep handshake();
    [[nodiscard]] TlsStep read(std::span<char> into);
    // After kWantWrite the same bytes must be given again, with others behind them at most.
    [[nodiscard]] TlsStep write(std::string_view bytes);
    // Says close_notify if the socket takes it at once.
    void say_goodbye() noexcept;
    // Why the last step was kError; for operators.
    [[nodiscard]] const std::string& error() const noexcept { return error_; }

private:
    struct Impl;
    [[nodiscard]] TlsStep outcome(int result);

    std::shared_ptr<TlsContext> context_;
    std::unique_ptr<Impl> impl_;
    std::string error_;
    bool verified_ = false;
};

}  // namespace weir::upstream
