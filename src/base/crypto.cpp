#include "weir/base/crypto.hpp"

#include <stdexcept>
#include <string>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
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

// Keeps the schedule of the last key: making it, and fetching the algorithms, is more work than the
// rest (measured: 21,000 of 24,000 instructions for a short text).
class Hmac {
public:
    Hmac() = default;
    Hmac(const Hmac&) = delete;
    Hmac& operator=(const Hmac&) = delete;
    ~Hmac() {
        EVP_MAC_CTX_free(context_);
        OPENSSL_cleanse(key_.data(), key_.size());
    }

    Digest of(std::string_view key, std::string_view bytes) {
        begin(key);
        // EVP_MAC_update asks for unsigned char.
        const auto* const data = reinterpret_cast<const unsigned char*>(bytes.data());
        Digest digest;
        std::size_t size = 0;
        require(EVP_MAC_update(context_, data, bytes.size()) == 1);
        require(EVP_MAC_final(context_, digest.data(), &size, digest.size()) == 1);
        return digest;
    }

private:
    void begin(std::string_view key) {
        if (known_ && key == key_) {
            require(EVP_MAC_init(context_, nullptr, 0, nullptr) == 1);
            return;
        }
        static EVP_MAC* const method = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
        if (context_ == nullptr) context_ = EVP_MAC_CTX_new(method);
        char name[] = "SHA256";
        const OSSL_PARAM parameters[] = {
            OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
            OSSL_PARAM_construct_end()
        };
        // No key at all would mean "as before".
        const char* const data = key.empty() ? "" : key.data();
        require(
            EVP_MAC_init(
                context_, reinterpret_cast<const unsigned char*>(data), key.size(), parameters
            ) == 1
        );
        OPENSSL_cleanse(key_.data(), key_.size());
        key_ = key;
        known_ = true;
    }

    EVP_MAC_CTX* context_ = nullptr;
    std::string key_;
    bool known_ = false;
};

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
    // A key is nearly always that of the call before.
    thread_local Hmac hmac;
    return hmac.of(key, bytes);
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
