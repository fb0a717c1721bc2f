#include "tls.hpp"

#include <arpa/inet.h>
#include <cerrno>
#include <cstdint>
#include <netinet/in.h>
#include <new>
#include <stdexcept>
#include <sys/socket.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace weir::upstream {
namespace {

// A BIO on a socket that it does not own. OpenSSL's own socket BIO writes without MSG_NOSIGNAL,
// so that a peer that left would end the process unless SIGPIPE is ignored everywhere.
int bio_socket(BIO* bio) {
    return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
}

bool would_block() {
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

int bio_write(BIO* bio, const char* data, std::size_t size, std::size_t* done) {
    BIO_clear_retry_flags(bio);
    const ssize_t count = ::send(bio_socket(bio), data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0) {
        if (would_block()) BIO_set_retry_write(bio);
        return 0;
    }
    *done = static_cast<std::size_t>(count);
    return 1;
}

int bio_read(BIO* bio, char* data, std::size_t size, std::size_t* done) {
    BIO_clear_retry_flags(bio);
    const ssize_t count = ::recv(bio_socket(bio), data, size, MSG_DONTWAIT);
    if (count < 0) {
        if (would_block()) BIO_set_retry_read(bio);
        return 0;
    }
    if (count == 0) {
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
        return 0;
    }
    *done = static_cast<std::size_t>(count);
    return 1;
}

long bio_ctrl(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

const BIO_METHOD* socket_method() {
    static const BIO_METHOD* const method = [] {
        BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weir socket");
        if (made == nullptr) throw std::bad_alloc();
        BIO_meth_set_write_ex(made, &bio_write);
        BIO_meth_set_read_ex(made, &bio_read);
        BIO_meth_set_ctrl(made, &bio_ctrl);
        return made;
    }();
    return method;
}

std::string last_error() {
    const unsigned long code = ERR_peek_last_error();
    const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
    return reason == nullptr ? "TLS failed" : reason;
}

struct FreeContext {
    void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
};
struct FreeSession {
    void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
};

bool is_address(const std::string& host) {
    in6_addr scratch{};
    return inet_pton(AF_INET, host.c_str(), &scratch) == 1 ||
           inet_pton(AF_INET6, host.c_str(), &scratch) == 1;
}

}  // namespace

struct TlsContext::Impl {
    std::unique_ptr<SSL_CTX, FreeContext> context;
};

struct TlsSession::Impl {
    std::unique_ptr<SSL, FreeSession> ssl;
};

TlsContext::TlsContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<TlsContext>> TlsContext::create(const std::string& ca_file) {
    ERR_clear_error();
    auto impl = std::make_unique<Impl>();
    impl->context.reset(SSL_CTX_new(TLS_client_method()));
    SSL_CTX* const context = impl->context.get();
    if (context == nullptr) throw std::bad_alloc();
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(
        context,
        SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
            SSL_MODE_RELEASE_BUFFERS
    );
    // "http/1.1": a server that prefers HTTP/2 must not pick it.
    constexpr unsigned char kProtocols[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    SSL_CTX_set_alpn_protos(context, kProtocols, sizeof(kProtocols));
    // Looks at SSL_CERT_FILE and SSL_CERT_DIR too. A missing store is not an error here: then
    // nothing verifies.
    SSL_CTX_set_default_verify_paths(context);
    if (!ca_file.empty() && SSL_CTX_load_verify_file(context, ca_file.c_str()) != 1) {
        return fail(
            ErrorCode::kUpstreamConnect,
            "cannot read certificates from ca_file " + ca_file + ": " + last_error()
        );
    }
    return std::shared_ptr<TlsContext>(new TlsContext(std::move(impl)));
}

TlsSession::TlsSession(std::shared_ptr<TlsContext> context, int socket, const std::string& host)
    : context_(std::move(context)), impl_(std::make_unique<Impl>()) {
    impl_->ssl.reset(SSL_new(context_->impl_->context.get()));
    SSL* const ssl = impl_->ssl.get();
    if (ssl == nullptr) throw std::bad_alloc();
    BIO* const bio = BIO_new(socket_method());
    if (bio == nullptr) throw std::bad_alloc();
    // The slot of a BIO is a pointer; this one is never followed, only cast back.
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(socket)));
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    // A final dot is the DNS root; certificates and SNI leave it out.
    const std::string name = host.ends_with('.') ? host.substr(0, host.size() - 1) : host;
    bool named = false;
    if (is_address(name)) {
        named = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str()) == 1;
    } else {
        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        named = !name.empty() && SSL_set1_host(ssl, name.c_str()) == 1 &&
                SSL_set_tlsext_host_name(ssl, name.c_str()) == 1;
    }
    // Without a name to hold it to, any certificate of any site would do.
    if (!named) throw std::runtime_error("TLS: the host cannot be verified");
    SSL_set_connect_state(ssl);
}

TlsSession::~TlsSession() = default;

TlsStep TlsSession::handshake() {
    ERR_clear_error();
    const int result = SSL_do_handshake(impl_->ssl.get());
    TlsStep step = outcome(result);
    if (step.kind == TlsStep::Kind::kDone) {
        verified_ = SSL_get_verify_result(impl_->ssl.get()) == X509_V_OK;
        if (!verified_) step.kind = TlsStep::Kind::kError;
    }
    if (step.kind == TlsStep::Kind::kError) {
        const long verdict = SSL_get_verify_result(impl_->ssl.get());
        if (verdict != X509_V_OK) error_ = X509_verify_cert_error_string(verdict);
    }
    return step;
}

TlsStep TlsSession::read(std::span<char> into) {
    if (!verified_) return {};
    ERR_clear_error();
    std::size_t bytes = 0;
    const int result = SSL_read_ex(impl_->ssl.get(), into.data(), into.size(), &bytes);
    TlsStep step = outcome(result);
    step.bytes = bytes;
    return step;
}

TlsStep TlsSession::write(std::string_view bytes) {
    if (!verified_) return {};
    ERR_clear_error();
    std::size_t written = 0;
    const int result = SSL_write_ex(impl_->ssl.get(), bytes.data(), bytes.size(), &written);
    TlsStep step = outcome(result);
    step.bytes = written;
    return step;
}

void TlsSession::say_goodbye() noexcept {
    if (!verified_) return;
    ERR_clear_error();
    SSL_shutdown(impl_->ssl.get());
    ERR_clear_error();
}

TlsStep TlsSession::outcome(int result) {
    using enum TlsStep::Kind;
    if (result == 1) return {kDone, 0};
    switch (SSL_get_error(impl_->ssl.get(), result)) {
        case SSL_ERROR_WANT_READ:
            return {kWantRead, 0};
        case SSL_ERROR_WANT_WRITE:
            return {kWantWrite, 0};
        case SSL_ERROR_ZERO_RETURN:
            return {kEnd, 0};
        case SSL_ERROR_SYSCALL:
            error_ = "the connection broke";
            return {kCut, 0};
        default:
            break;
    }
    error_ = last_error();
    const unsigned long code = ERR_peek_last_error();
    if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) return {kCut, 0};
    return {kError, 0};
}

}  // namespace weir::upstream
