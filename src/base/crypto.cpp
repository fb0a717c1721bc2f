#include "weir/base/crypto.hpp"

#include <stdexcept>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

namespace weir {

namespace {

void require(bool worked) {
    if (!worked) throw std::runtime_error("OpenSSL failed");
}

// Fetched once: a fetch per digest costs a quarter of hashing 1 KB.
const EVP_MD* sha256_method() {
    static const EVP_MD* const method = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    return method;
}

}  // namespace

struct Sha256::Impl {
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    bool begun = false;
    Impl() = default;
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl() { EVP_MD_CTX_free(context); }
    void begin() {
        if (begun) return;
        require(EVP_DigestInit_ex2(context, sha256_method(), nullptr) == 1);
        begun = true;
    }
};

Sha256::Sha256() : impl_(std::make_unique<Impl>()) {}
Sha256::~Sha256() = default;

void Sha256::update(std::string_view bytes) {
    impl_->begin();
    require(EVP_DigestUpdate(impl_->context, bytes.data(), bytes.size()) == 1);
}

Digest Sha256::finish() {
    impl_->begin();
    Digest digest;
    unsigned size = 0;
    require(EVP_DigestFinal_ex(impl_->context, digest.data(), &size) == 1);
    impl_->begun = false;
    return digest;
}

Digest sha256(std::string_view bytes) {
    thread_local Sha256 hasher;
    hasher.update(bytes);
    return hasher.finish();
}

Digest hmac_sha256(std::string_view key, std::string_view bytes) {
    Digest digest;
    unsigned size = 0;
    // HMAC() asks for the key's size as an int and for bytes as unsigned char.
    const auto* const data = reinterpret_cast<const unsigned char*>(bytes.data());
    require(
        HMAC(
            sha256_method(),
            key.data(),
            static_cast<int>(key.size()),
            data,
            bytes.size(),
            digest.data(),
            &size
        ) != nullptr
    );
    return digest;
}

bool equal_constant_time(std::string_view a, std::string_view b) noexcept {
    return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

void random_bytes(void* out, std::size_t size) {
    require(RAND_bytes(static_cast<unsigned char*>(out), static_cast<int>(size)) == 1);
}

std::string random_token(std::size_t length) {
    static constexpr std::string_view kAlphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    std::string token;
    token.reserve(length);
    while (token.size() < length) {
        std::array<std::uint8_t, 64> bytes;
        random_bytes(bytes.data(), bytes.size());
        for (const std::uint8_t byte : bytes) {
            // 248 = 4 * 62: what is above would favour the first letters.
            if (byte < 248 && token.size() < length) token += kAlphabet[byte % kAlphabet.size()];
        }
    }
    return token;
}

}  // namespace weir
