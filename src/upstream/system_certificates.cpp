#include "system_certificates.hpp"

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <new>
#include <string>
#include <system_error>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "weir/base/mutex.hpp"

namespace weir::upstream {
namespace {

struct FreeStore {
    void operator()(X509_STORE* store) const noexcept { X509_STORE_free(store); }
};
struct FreeCertificates {
    void operator()(STACK_OF(X509) * certificates) const noexcept {
        sk_X509_pop_free(certificates, &X509_free);
    }
};
using Certificates = std::shared_ptr<STACK_OF(X509)>;

Certificates parse(const std::string& file) {
    const std::unique_ptr<X509_STORE, FreeStore> store(X509_STORE_new());
    if (store == nullptr) throw std::bad_alloc();
    // What it cannot read it leaves out.
    static_cast<void>(X509_STORE_load_file(store.get(), file.c_str()));
    ERR_clear_error();
    STACK_OF(X509)* const all = X509_STORE_get1_all_certs(store.get());
    if (all == nullptr) throw std::bad_alloc();
    return {all, FreeCertificates()};
}

class Parsed {
public:
    Certificates certificates() {
        const char* const named = ::secure_getenv(X509_get_default_cert_file_env());
        const std::string file = named != nullptr ? named : X509_get_default_cert_file();
        std::error_code none;
        const auto written_at = std::filesystem::last_write_time(file, none);
        const MutexLock lock(mutex_);
        if (certificates_ == nullptr || file != file_ || written_at != written_at_) {
            certificates_ = parse(file);
            file_ = file;
            written_at_ = written_at;
        }
        return certificates_;
    }

private:
    Mutex mutex_;
    Certificates certificates_ GUARDED_BY(mutex_);
    std::string file_ GUARDED_BY(mutex_);
    std::filesystem::file_time_type written_at_ GUARDED_BY(mutex_);
};

}  // namespace

void trust_system_certificates(SSL_CTX& context) {
    static Parsed parsed;
    const Certificates certificates = parsed.certificates();
    X509_STORE* const store = SSL_CTX_get_cert_store(&context);
    for (int i = 0; i < sk_X509_num(certificates.get()); ++i) {
        X509_STORE_add_cert(store, sk_X509_value(certificates.get(), i));
    }
    SSL_CTX_set_default_verify_dir(&context);
    ERR_clear_error();
}

}  // namespace weir::upstream
