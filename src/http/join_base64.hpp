// Pure.
#pragma once

#include <string>

namespace weir::http {

// Several base64 texts in a row, each with its own padding, as the one text of all their bytes. A
// text without padding inside, or that is not base64, stays as it is.
[[nodiscard]] std::string join_base64(std::string texts);

}  // namespace weir::http
