// Whether files of certificates and their keys can be used. Private to the room.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace weir::config {

// Why `pem` would not do as `ca` or `certificate`, or nullopt: it has certificates, and each can be
// read. What else stands between them (text, keys) does not matter, as it does not when they are
// loaded for use.
[[nodiscard]] std::optional<std::string> certificates_fault(std::string_view pem);

// Why `key` would not do as `certificate_key` beside the certificates in `pem`: it holds no private
// key that can be read without a password, or that of another certificate. nullopt: it does.
[[nodiscard]] std::optional<std::string> certificate_key_fault(
    std::string_view key, std::string_view pem
);

}  // namespace weir::config
