#include "certificates.hpp"

#include <memory>
#include <new>

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

namespace weir::config {
namespace {

struct Free {
    void operator()(BIO* bio) const noexcept { BIO_free(bio); }
    void operator()(X509* certificate) const noexcept { X509_free(certificate); }
    void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
};

// Without it OpenSSL would ask for the password of an encrypted block on the terminal.
int no_password(char*, int, int, void*) noexcept {
    return -1;
}

std::unique_ptr<BIO, Free> reader_of(std::string_view pem) {
    std::unique_ptr<BIO, Free> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    if (!bio) throw std::bad_alloc();
    return bio;
}

}  // namespace

std::optional<std::string> certificates_fault(std::string_view pem) {
    const auto bio = reader_of(pem);
    ERR_clear_error();
    for (int count = 0;; ++count) {
        // _AUX takes CERTIFICATE and TRUSTED CERTIFICATE, as SSL_CTX_load_verify_file does.
        const std::unique_ptr<X509, Free> certificate(
            PEM_read_bio_X509_AUX(bio.get(), nullptr, no_password, nullptr)
        );
        if (certificate) continue;
        const unsigned long why = ERR_peek_last_error();
        ERR_clear_error();
        const bool end =
            ERR_GET_LIB(why) == ERR_LIB_PEM && ERR_GET_REASON(why) == PEM_R_NO_START_LINE;
        if (!end) return fmt::format("certificate {} cannot be read", count + 1);
        if (count == 0) return "no certificate";
        return std::nullopt;
    }
}

std::optional<std::string> certificate_key_fault(std::string_view key, std::string_view pem) {
    const auto key_bio = reader_of(key);
    const std::unique_ptr<EVP_PKEY, Free> private_key(
        PEM_read_bio_PrivateKey(key_bio.get(), nullptr, no_password, nullptr)
    );
    if (!private_key) {
        ERR_clear_error();
        return "no private key that can be read without a password";
    }
    const auto bio = reader_of(pem);
    // The client's own certificate is the first one of its chain.
    const std::unique_ptr<X509, Free> certificate(
        PEM_read_bio_X509_AUX(bio.get(), nullptr, no_password, nullptr)
    );
    const bool fits =
        certificate && X509_check_private_key(certificate.get(), private_key.get()) == 1;
    ERR_clear_error();
    if (!fits) return "the key of another certificate";
    return std::nullopt;
}

}  // namespace weir::config
