// Whether a file of trusted certificates can be used. Private to the room.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace weir::config {

// Why `pem` would not do as `ca`, or nullopt: it has certificates, and each can be read. What else
// stands between them (text, keys) does not matter, as it does not when they are loaded for use.
[[nodiscard]] std::optional<std::string> certificates_fault(std::string_view pem);

}  // namespace weir::config
