// ${NAME}, ${NAME:-default} and ${file:PATH} in a value. Private to the room.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "weir/config/load.hpp"

namespace weir::config {

struct Expanded {
    std::string text;
    bool replaced = false;  // something came from outside of the file: may be a secret
};

struct ExpandFault {
    std::string message;  // never holds a value
    std::string hint;
};

// What comes in is not looked at again, so a value may hold "${". A variable that is set but empty
// takes the default, as in a shell; without one it gives the empty text.
[[nodiscard]] std::expected<Expanded, ExpandFault> expand(
    std::string_view text, const Sources& sources
);

}  // namespace weir::config
