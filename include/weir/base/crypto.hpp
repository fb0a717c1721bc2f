// Hashing and randomness, from OpenSSL. Thread-safe. A failure of the library is a bug and throws.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace weir {

using Digest = std::array<std::uint8_t, 32>;

// SHA-256 in pieces. One per thread and use; reset by finish().
class Sha256 {
public:
    Sha256();
    ~Sha256();
    Sha256(const Sha256&) = delete;
    Sha256& operator=(const Sha256&) = delete;
    void update(std::string_view bytes);
    [[nodiscard]] Digest finish();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

[[nodiscard]] Digest sha256(std::string_view bytes);
[[nodiscard]] Digest hmac_sha256(std::string_view key, std::string_view bytes);
// Takes the same time whatever the contents; the lengths may show.
[[nodiscard]] bool equal_constant_time(std::string_view a, std::string_view b) noexcept;
// From the system's generator.
void random_bytes(void* out, std::size_t size);
// `length` characters of [A-Za-z0-9], about 5.95 bits each.
[[nodiscard]] std::string random_token(std::size_t length);

}  // namespace weir
