#include "client_certificate.hpp"

#include <memory>
#include <stdexcept>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

namespace weir::config::testing {
namespace {

struct Free {
    void operator()(BIO* bio) const noexcept { BIO_free(bio); }
    void operator()(X509* certificate) const noexcept { X509_free(certificate); }
    void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
};

void must(bool ok) {
    if (!ok) throw std::runtime_error("cannot make a certificate");
}

std::string text_of(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<std::size_t>(size)};
}

}  // namespace

ClientCertificate make_client_certificate() {
    const std::unique_ptr<EVP_PKEY, Free> key(EVP_EC_gen("P-256"));
    const std::unique_ptr<X509, Free> certificate(X509_new());
    must(key && certificate);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
    must(X509_set_pubkey(certificate.get(), key.get()) == 1);
    must(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0);
    const std::unique_ptr<BIO, Free> certificate_text(BIO_new(BIO_s_mem()));
    const std::unique_ptr<BIO, Free> key_text(BIO_new(BIO_s_mem()));
    must(certificate_text && key_text);
    must(PEM_write_bio_X509(certificate_text.get(), certificate.get()) == 1);
    must(
        PEM_write_bio_PrivateKey(
            key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr
        ) == 1
    );
    return {text_of(certificate_text.get()), text_of(key_text.get())};
}

}  // namespace weir::config::testing
