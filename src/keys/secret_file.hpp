// A small file that holds a secret: made once, whole or not at all, mode 0600.
#pragma once

#include <string>
#include <string_view>

#include "weir/base/error.hpp"

namespace weir::keys {

// kNotFound: it is not there.
[[nodiscard]] Result<std::string> read_secret_file(const std::string& path);
// Writes a file beside it, syncs it, and gives it its name only if nobody else has it: kConflict
// then. The directory is synced as well.
[[nodiscard]] Result<> make_secret_file(const std::string& path, std::string_view contents);

}  // namespace weir::keys
