#include "tls.hpp"

#include <arpa/inet.h>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <netinet/in.h>
#include <new>
#include <stdexcept>
#include <sys/socket.h>
#include <vector>

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "system_certificates.hpp"

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

// The same on another session. What that one waits for is what this one waits for.
int below_done(BIO* bio, const TlsStep& step, std::size_t* done) {
    BIO_clear_retry_flags(bio);
    switch (step.kind) {
        case TlsStep::Kind::kDone:
            *done = step.bytes;
            return 1;
        case TlsStep::Kind::kWantRead:
            BIO_set_retry_read(bio);
            return 0;
        case TlsStep::Kind::kWantWrite:
            BIO_set_retry_write(bio);
            return 0;
        default:
            BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
            return 0;
    }
}

int below_write(BIO* bio, const char* data, std::size_t size, std::size_t* done) {
    auto* const below = static_cast<TlsSession*>(BIO_get_data(bio));
    return below_done(bio, below->write({data, size}), done);
}

int below_read(BIO* bio, char* data, std::size_t size, std::size_t* done) {
    auto* const below = static_cast<TlsSession*>(BIO_get_data(bio));
    return below_done(bio, below->read({data, size}), done);
}

const BIO_METHOD* method_of(
    const char* name,
    int (*write)(BIO*, const char*, std::size_t, std::size_t*),
    int (*read)(BIO*, char*, std::size_t, std::size_t*)
) {
    BIO_METHOD* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, name);
    if (made == nullptr) throw std::bad_alloc();
    BIO_meth_set_write_ex(made, write);
    BIO_meth_set_read_ex(made, read);
    BIO_meth_set_ctrl(made, &bio_ctrl);
    return made;
}

BIO* new_bio(const BIO_METHOD* method, void* data) {
    BIO* const bio = BIO_new(method);
    if (bio == nullptr) throw std::bad_alloc();
    BIO_set_data(bio, data);
    BIO_set_init(bio, 1);
    return bio;
}

BIO* bio_on(int socket) {
    static const BIO_METHOD* const method = method_of("weir socket", &bio_write, &bio_read);
    // The slot of a BIO is a pointer; this one is never followed, only cast back.
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    return new_bio(method, reinterpret_cast<void*>(static_cast<std::intptr_t>(socket)));
}

BIO* bio_on(TlsSession& below) {
    static const BIO_METHOD* const method = method_of("weir session", &below_write, &below_read);
    return new_bio(method, &below);
}

std::string last_error() {
    const unsigned long code = ERR_peek_last_error();
    const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
    return reason == nullptr ? "TLS failed" : reason;
}

struct FreeContext {
    void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
};
struct FreeConnection {
    void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
};
struct FreeSession {
    void operator()(SSL_SESSION* session) const noexcept { SSL_SESSION_free(session); }
};
using Resumable = std::unique_ptr<SSL_SESSION, FreeSession>;

// A server gives two tickets with a handshake and one with a resumed one.
constexpr std::size_t kSessionsKept = 8;

bool is_good(const SSL_SESSION* session) {
    const long age_s = static_cast<long>(std::time(nullptr)) - SSL_SESSION_get_time(session);
    return SSL_SESSION_is_resumable(session) == 1 && age_s >= 0 &&
           age_s < SSL_SESSION_get_timeout(session);
}

bool is_address(const std::string& host) {
    in6_addr scratch{};
    return inet_pton(AF_INET, host.c_str(), &scratch) == 1 ||
           inet_pton(AF_INET6, host.c_str(), &scratch) == 1;
}

}  // namespace

struct TlsContext::Impl {
    // Told by OpenSSL, when the peer's ticket came. 1: the session is ours now.
    static int keep(SSL* ssl, SSL_SESSION* session) {
        auto* const self = static_cast<Impl*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
        if (self->sessions.size() >= kSessionsKept) self->sessions.erase(self->sessions.begin());
        self->sessions.emplace_back(session);
        return 1;
    }
    // The newest, or null. A TLS 1.3 ticket is used once (RFC 8446 C.4).
    Resumable take() {
        while (!sessions.empty()) {
            Resumable session = std::move(sessions.back());
            sessions.pop_back();
            if (!is_good(session.get())) continue;
            if (SSL_SESSION_get_protocol_version(session.get()) < TLS1_3_VERSION) {
                SSL_SESSION_up_ref(session.get());
                sessions.emplace_back(session.get());
            }
            return session;
        }
        return nullptr;
    }

    std::unique_ptr<SSL_CTX, FreeContext> context;
    std::vector<Resumable> sessions;  // the newest last
};

struct TlsSession::Impl {
    // Takes `bio`.
    Impl(TlsContext::Impl& context, BIO* bio, const std::string& host);
    std::unique_ptr<SSL, FreeConnection> ssl;
};

TlsContext::TlsContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsContext::~TlsContext() = default;

std::size_t TlsContext::sessions() const noexcept {
    return impl_->sessions.size();
}

Result<std::shared_ptr<TlsContext>> TlsContext::create(const TlsFiles& files) {
    ERR_clear_error();
    auto impl = std::make_unique<Impl>();
    impl->context.reset(SSL_CTX_new(TLS_client_method()));
    SSL_CTX* const context = impl->context.get();
    if (context == nullptr) throw std::bad_alloc();
    SSL_CTX_set_app_data(context, impl.get());
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, &Impl::keep);
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
    // A missing store is not an error here: then nothing verifies.
    trust_system_certificates(*context);
    const auto unreadable = [](std::string_view what, const std::string& file) {
        return fail(
            ErrorCode::kUpstreamConnect,
            fmt::format("cannot read {} {}: {}", what, file, last_error())
        );
    };
    if (!files.ca.empty() && SSL_CTX_load_verify_file(context, files.ca.c_str()) != 1) {
        return unreadable("certificates from the CA file", files.ca);
    }
    if (files.certificate.empty())
        return std::shared_ptr<TlsContext>(new TlsContext(std::move(impl)));
    // A key with a password must not ask for it on the terminal.
    SSL_CTX_set_default_passwd_cb(context, +[](char*, int, int, void*) { return 0; });
    if (SSL_CTX_use_certificate_chain_file(context, files.certificate.c_str()) != 1) {
        return unreadable("the client certificate", files.certificate);
    }
    const std::string& key =
        files.certificate_key.empty() ? files.certificate : files.certificate_key;
    if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
        return unreadable("the client certificate's key", key);
    }
    return std::shared_ptr<TlsContext>(new TlsContext(std::move(impl)));
}

TlsSession::TlsSession(std::shared_ptr<TlsContext> context, int socket, const std::string& host)
    : context_(std::move(context)),
      impl_(std::make_unique<Impl>(*context_->impl_, bio_on(socket), host)) {}

TlsSession::TlsSession(
    std::shared_ptr<TlsContext> context, TlsSession& below, const std::string& host
)
    : context_(std::move(context)),
      impl_(std::make_unique<Impl>(*context_->impl_, bio_on(below), host)) {}

TlsSession::Impl::Impl(TlsContext::Impl& context, BIO* bio, const std::string& host)
    : ssl(SSL_new(context.context.get())) {
    if (ssl == nullptr) {
        BIO_free(bio);
        throw std::bad_alloc();
    }
    SSL_set_bio(ssl.get(), bio, bio);
    // A final dot is the DNS root; certificates and SNI leave it out.
    const std::string name = host.ends_with('.') ? host.substr(0, host.size() - 1) : host;
    bool named = false;
    if (is_address(name)) {
        named = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), name.c_str()) == 1;
    } else {
        SSL_set_hostflags(ssl.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        named = !name.empty() && SSL_set1_host(ssl.get(), name.c_str()) == 1 &&
                SSL_set_tlsext_host_name(ssl.get(), name.c_str()) == 1;
    }
    // Without a name to hold it to, any certificate of any site would do.
    if (!named) throw std::runtime_error("TLS: the host cannot be verified");
    SSL_set_connect_state(ssl.get());
    // One that the peer does not know any more costs a whole handshake, as without it.
    const Resumable session = context.take();
    if (session != nullptr) SSL_set_session(ssl.get(), session.get());
}

TlsSession::~TlsSession() {
    // Without a goodbye OpenSSL would forget the session; but a call that was given up says nothing
    // against it.
    if (verified_ && error_.empty()) {
        SSL_set_shutdown(impl_->ssl.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
}

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
