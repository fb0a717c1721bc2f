// The tokens of JSON text (RFC 8259): strings and numbers, checked to the last byte. Pure; private
// to the room. All of it may read up to kOverRead bytes behind `end`, which Buffer's padding gives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "weir/base/crypto.hpp"

namespace weir::http::json {

inline constexpr std::size_t kOverRead = 16;

enum class StringError : std::uint8_t { kNone, kUnclosed, kControlByte, kBadEscape };

// A string literal, as scan_string() found it.
struct ScannedString {
    const char* text = nullptr;      // behind the opening quote
    std::size_t raw_length = 0;      // up to the closing quote
    std::size_t decoded_length = 0;  // in UTF-8
    bool escaped = false;            // has a backslash
    // An escape names half a surrogate pair. Decoded as three bytes, as if it were a character
    // (WTF-8), so that different strings stay different.
    bool lone_surrogate = false;
    StringError error = StringError::kNone;
    const char* error_at = nullptr;
};

// `p` stands behind the opening quote. False: out.error says why. UTF-8 is checked elsewhere.
[[nodiscard]] bool scan_string(const char* p, const char* end, ScannedString& out) noexcept;

// Writes the meaning of a string that scan_string() found right to `out`, which has room for
// decoded_length + kDecodeSlack bytes. Returns the end of what was written.
inline constexpr std::size_t kDecodeSlack = 16;
[[nodiscard]] char* decode(char* out, const ScannedString& string) noexcept;
void append_decoded(std::string& out, const ScannedString& string);
// The SHA-256 of its meaning; the memory for that does not grow with the string.
[[nodiscard]] Digest digest_decoded(const ScannedString& string);

// The first byte behind the number that starts at `p`; nullptr: not a number of the grammar.
[[nodiscard]] const char* scan_number(const char* p, const char* end) noexcept;

// The offset of the first byte that is not UTF-8; text.size() if there is none.
[[nodiscard]] std::size_t first_bad_utf8(std::string_view text) noexcept;

}  // namespace weir::http::json
