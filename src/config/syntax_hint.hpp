// What to write instead, where YAML itself does not parse. Private to the room.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "weir/config/load.hpp"

namespace weir::config {

// The lines of a text, found in constant time. Views into the text.
class Lines {
public:
    explicit Lines(std::string_view text);
    // Line `number` (1-based) without its end; empty past the last.
    [[nodiscard]] std::string_view operator[](int number) const noexcept;

private:
    std::string_view text_;
    std::vector<std::size_t> starts_;
};

// Where yaml-cpp stopped, and what it was in. Places are 1-based; 0: none.
struct SyntaxError {
    std::string message;
    int line = 0;
    int column = 0;
    int open_line = 0;  // the innermost [ or { that is open
    int open_column = 0;
    int last_line = 0;  // the last value or key that was read whole
    int last_column = 0;
};

inline constexpr std::string_view kOpenQuote =
    "a quoted text that begins here has no end on its line";

// The fault for people: yaml-cpp's words in ours, the place where the mistake is (it often tells
// the place where it noticed), and how to write it.
[[nodiscard]] Fault explain_syntax(
    const SyntaxError& error, const Lines& lines, const std::string& file
);

}  // namespace weir::config
