#include "support/certificates.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <vector>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

namespace weir::test {
namespace {

struct FreeKey {
    void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
};
struct FreeCertificate {
    void operator()(X509* certificate) const noexcept { X509_free(certificate); }
};
using Key = std::unique_ptr<EVP_PKEY, FreeKey>;
using Certificate = std::unique_ptr<X509, FreeCertificate>;

void must(bool ok) {
    if (!ok) throw std::runtime_error("cannot make certificates");
}

Key new_key() {
    Key key(EVP_EC_gen("P-256"));
    must(key != nullptr);
    return key;
}

void add_extension(X509* to, X509* issuer, int id, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str());
    must(extension != nullptr && X509_add_ext(to, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

Certificate new_certificate(const std::string& name, EVP_PKEY* key, long from_s, long until_s) {
    static std::atomic<long> serial = 1;
    Certificate made(X509_new());
    X509_set_version(made.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), serial++);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), from_s);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), until_s);
    X509_set_pubkey(made.get(), key);
    X509_NAME_add_entry_by_txt(
        X509_get_subject_name(made.get()),
        "CN",
        MBSTRING_ASC,
        reinterpret_cast<const unsigned char*>(name.c_str()),
        -1,
        -1,
        0
    );
    return made;
}

std::string write_file(const std::function<bool(std::FILE*)>& write) {
    const char* const folder = std::getenv("TMPDIR");
    std::string path = std::string(folder != nullptr ? folder : "/tmp") + "/weir_test_pem_XXXXXX";
    const int file = ::mkstemp(path.data());
    must(file >= 0);
    std::FILE* const out = ::fdopen(file, "w");
    must(out != nullptr && write(out));
    std::fclose(out);
    return path;
}

}  // namespace

struct Certificates::Impl {
    Key key = new_key();
    Certificate ca;
    std::string file;
    std::vector<std::string> others;
};

Certificates::Certificates() : impl_(std::make_unique<Impl>()) {
    impl_->ca = new_certificate("Test CA", impl_->key.get(), -7200, 7200);
    X509* const ca = impl_->ca.get();
    X509_set_issuer_name(ca, X509_get_subject_name(ca));
    add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(ca, ca, NID_key_usage, "critical,keyCertSign");
    add_extension(ca, ca, NID_subject_key_identifier, "hash");
    must(X509_sign(ca, impl_->key.get(), EVP_sha256()) > 0);

    impl_->file = write_file([ca](std::FILE* out) { return PEM_write_X509(out, ca) == 1; });
}

Certificates::~Certificates() {
    ::unlink(impl_->file.c_str());
    for (const std::string& file : impl_->others) ::unlink(file.c_str());
}

const std::string& Certificates::ca_file() const {
    return impl_->file;
}

ServerTls Certificates::server(const Wanted& wanted) const {
    const Key key = new_key();
    const Certificate made =
        new_certificate("server", key.get(), wanted.valid_from_s, wanted.valid_until_s);
    X509* const issuer = wanted.signed_by_ca ? impl_->ca.get() : made.get();
    X509_set_issuer_name(made.get(), X509_get_subject_name(issuer));
    add_extension(made.get(), issuer, NID_subject_alt_name, wanted.names);
    must(
        X509_sign(made.get(), wanted.signed_by_ca ? impl_->key.get() : key.get(), EVP_sha256()) > 0
    );
    ServerTls context(SSL_CTX_new(TLS_server_method()));
    must(context != nullptr);
    must(SSL_CTX_use_certificate(context.get(), made.get()) == 1);
    must(SSL_CTX_use_PrivateKey(context.get(), key.get()) == 1);
    return context;
}

ServerTls Certificates::server_that_asks(const Wanted& wanted) const {
    ServerTls context = server(wanted);
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    must(SSL_CTX_load_verify_file(context.get(), impl_->file.c_str()) == 1);
    // Without it a session of a client with a certificate is not resumed.
    must(
        SSL_CTX_set_session_id_context(
            context.get(), reinterpret_cast<const unsigned char*>("t"), 1
        ) == 1
    );
    return context;
}

Certificates::ClientFiles Certificates::client() const {
    const Key key = new_key();
    const Certificate made = new_certificate("client", key.get(), -3600, 3600);
    X509_set_issuer_name(made.get(), X509_get_subject_name(impl_->ca.get()));
    must(X509_sign(made.get(), impl_->key.get(), EVP_sha256()) > 0);
    ClientFiles files{
        write_file([&](std::FILE* out) { return PEM_write_X509(out, made.get()) == 1; }),
        write_file([&](std::FILE* out) {
            return PEM_write_PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1;
        }),
    };
    impl_->others.push_back(files.certificate);
    impl_->others.push_back(files.key);
    return files;
}

}  // namespace weir::test
