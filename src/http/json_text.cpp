#include "json_text.hpp"

#include <array>
#include <bit>
#include <cstring>

namespace weir::http::json {
namespace {

// 16 bytes at once, with the vector types that clang and g++ share; SSE2 or NEON come out.
using Lane = unsigned char __attribute__((vector_size(16)));

// The first byte at or behind `p` that cannot simply stand in a string: a quote, a backslash or a
// control byte. May be behind `end`, at most kOverRead bytes.
const char* find_special(const char* p, const char* end) noexcept {
    while (p < end) {
        Lane lane;
        std::memcpy(&lane, p, sizeof(lane));
        const auto hit = (lane == '"') | (lane == '\\') | (lane < 0x20);
        const auto words = std::bit_cast<std::array<std::uint64_t, 2>>(hit);
        if constexpr (std::endian::native == std::endian::little) {
            if (words[0] != 0) return p + std::countr_zero(words[0]) / 8;
            if (words[1] != 0) return p + 8 + std::countr_zero(words[1]) / 8;
        } else {
            if (words[0] != 0) return p + std::countl_zero(words[0]) / 8;
            if (words[1] != 0) return p + 8 + std::countl_zero(words[1]) / 8;
        }
        p += sizeof(lane);
    }
    return p;
}

int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// The four hex digits at `p`; -1: they are not.
int hex4(const char* p, const char* end) noexcept {
    if (end - p < 4) return -1;
    int value = 0;
    for (int i = 0; i < 4; ++i) {
        const int digit = hex_digit(p[i]);
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

constexpr bool is_high(int unit) noexcept {
    return unit >= 0xD800 && unit <= 0xDBFF;
}
constexpr bool is_low(int unit) noexcept {
    return unit >= 0xDC00 && unit <= 0xDFFF;
}

// The low half behind a high one, if `p` stands at its escape; -1: it does not.
int low_half(const char* p, const char* end) noexcept {
    if (end - p < 6 || p[0] != '\\' || p[1] != 'u') return -1;
    const int unit = hex4(p + 2, end);
    return is_low(unit) ? unit : -1;
}

char* put_code_point(char* out, unsigned code) noexcept {
    const auto put = [&out](unsigned byte) { *out++ = static_cast<char>(byte); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0 | (code >> 6));
        put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        put(0xE0 | (code >> 12));
        put(0x80 | ((code >> 6) & 0x3F));
        put(0x80 | (code & 0x3F));
    } else {
        put(0xF0 | (code >> 18));
        put(0x80 | ((code >> 12) & 0x3F));
        put(0x80 | ((code >> 6) & 0x3F));
        put(0x80 | (code & 0x3F));
    }
    return out;
}

char simple_escape(char c) noexcept {
    switch (c) {
        case 'b':
            return '\b';
        case 'f':
            return '\f';
        case 'n':
            return '\n';
        case 'r':
            return '\r';
        case 't':
            return '\t';
        case '"':
        case '\\':
        case '/':
            return c;
        default:
            return '\0';
    }
}

// Takes the \u escape at `p` (its backslash) into account. Returns what stands behind it; nullptr:
// it is not an escape.
const char* scan_escape(const char* p, const char* end, ScannedString& out) noexcept {
    if (end - p < 6 || p[1] != 'u') return nullptr;
    const int unit = hex4(p + 2, end);
    if (unit < 0) return nullptr;
    p += 6;
    if (is_high(unit) && low_half(p, end) >= 0) {
        out.decoded_length += 4;
        return p + 6;
    }
    if (is_high(unit) || is_low(unit)) out.lone_surrogate = true;
    out.decoded_length += unit < 0x80 ? 1U : unit < 0x800 ? 2U : 3U;
    return p;
}

constexpr std::ptrdiff_t kLongestEscape = 12;  // a surrogate pair

// Of the escape at `p`, which scan_string() found right.
std::ptrdiff_t escape_length(const char* p, const char* end) noexcept {
    if (p[1] != 'u') return 2;
    const bool pair = is_high(hex4(p + 2, end)) && low_half(p + 6, end) >= 0;
    return pair ? kLongestEscape : 6;
}

const char* next_backslash(const char* p, const char* end) noexcept {
    const void* const found = std::memchr(p, '\\', static_cast<std::size_t>(end - p));
    return found != nullptr ? static_cast<const char*>(found) : end;
}

bool is_digit(const char* p, const char* end) noexcept {
    return p < end && *p >= '0' && *p <= '9';
}

}  // namespace

bool scan_string(const char* p, const char* end, ScannedString& out) noexcept {
    out.text = p;
    out.escaped = out.lone_surrogate = false;
    out.decoded_length = 0;
    out.error = StringError::kNone;
    const auto wrong = [&out](StringError error, const char* at) {
        out.error = error;
        out.error_at = at;
        return false;
    };
    std::size_t plain = 0;
    for (;;) {
        const char* special = find_special(p, end);
        if (special >= end) return wrong(StringError::kUnclosed, end);
        plain += static_cast<std::size_t>(special - p);
        p = special;
        if (*p == '"') {
            out.raw_length = static_cast<std::size_t>(p - out.text);
            out.decoded_length += plain;
            return true;
        }
        if (*p != '\\') return wrong(StringError::kControlByte, p);
        out.escaped = true;
        if (end - p >= 2 && simple_escape(p[1]) != '\0') {
            ++plain;
            p += 2;
            continue;
        }
        p = scan_escape(p, end, out);
        if (p == nullptr) return wrong(StringError::kBadEscape, special);
    }
}

char* decode(char* out, const ScannedString& string) noexcept {
    const char* p = string.text;
    const char* const end = p + string.raw_length;
    while (p < end) {
        // 16 bytes at once; what is copied too much is written over or left behind the end.
        const char* const special = string.escaped ? find_special(p, end) : end;
        const char* const backslash = special < end ? special : end;
        const auto plain = static_cast<std::size_t>(backslash - p);
        if (plain <= 2 * kDecodeSlack) {
            for (std::size_t i = 0; i < plain; i += kDecodeSlack) {
                std::memcpy(out + i, p + i, kDecodeSlack);
            }
        } else {
            std::memcpy(out, p, plain);
        }
        out += plain;
        p = backslash;
        if (p == end) break;
        if (p[1] != 'u') {
            *out++ = simple_escape(p[1]);
            p += 2;
            continue;
        }
        const int unit = hex4(p + 2, end);
        p += 6;
        const int low = is_high(unit) ? low_half(p, end) : -1;
        if (low >= 0) {
            out = put_code_point(
                out,
                0x10000U + ((static_cast<unsigned>(unit) - 0xD800U) << 10) +
                    (static_cast<unsigned>(low) - 0xDC00U)
            );
            p += 6;
        } else {
            out = put_code_point(out, static_cast<unsigned>(unit));
        }
    }
    return out;
}

void append_decoded(std::string& out, const ScannedString& string) {
    if (!string.escaped) {
        out.append(string.text, string.raw_length);
        return;
    }
    const std::size_t before = out.size();
    out.resize(before + string.decoded_length + kDecodeSlack);
    const char* const end = decode(out.data() + before, string);
    out.resize(static_cast<std::size_t>(end - out.data()));
}

Digest digest_decoded(const ScannedString& string) {
    if (!string.escaped) return sha256({string.text, string.raw_length});
    constexpr std::ptrdiff_t kPiece = 16 << 10;
    // No escape means more bytes than it has itself.
    std::array<char, kPiece + kLongestEscape + kDecodeSlack> meaning;
    Sha256 hash;
    const char* p = string.text;
    const char* const end = p + string.raw_length;
    while (p < end) {
        // A piece ends where no escape is in work.
        const char* const from = p;
        const char* const enough = end - from > kPiece ? from + kPiece : end;
        while (p < enough) p = *p == '\\' ? p + escape_length(p, end) : next_backslash(p, enough);
        ScannedString piece;
        piece.text = from;
        piece.raw_length = static_cast<std::size_t>(p - from);
        piece.escaped = true;
        const char* const behind = decode(meaning.data(), piece);
        hash.update({meaning.data(), behind});
    }
    return hash.finish();
}

const char* scan_number(const char* p, const char* end) noexcept {
    if (p < end && *p == '-') ++p;
    if (!is_digit(p, end)) return nullptr;
    if (*p == '0') {
        ++p;
    } else {
        while (is_digit(p, end)) ++p;
    }
    if (p < end && *p == '.') {
        ++p;
        if (!is_digit(p, end)) return nullptr;
        while (is_digit(p, end)) ++p;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        ++p;
        if (p < end && (*p == '+' || *p == '-')) ++p;
        if (!is_digit(p, end)) return nullptr;
        while (is_digit(p, end)) ++p;
    }
    return p;
}

std::size_t first_bad_utf8(std::string_view text) noexcept {
    const auto byte = [text](std::size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
    };
    const auto tail = [&byte](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
    std::size_t i = 0;
    while (i < text.size()) {
        const unsigned c = byte(i);
        const unsigned next = byte(i + 1);
        if (c < 0x80) {
            i += 1;
        } else if (c >= 0xC2 && c <= 0xDF && tail(i + 1)) {
            i += 2;
        } else if (c >= 0xE0 && c <= 0xEF && tail(i + 1) && tail(i + 2) &&
                   !(c == 0xE0 && next < 0xA0) && !(c == 0xED && next > 0x9F)) {
            i += 3;
        } else if (c >= 0xF0 && c <= 0xF4 && tail(i + 1) && tail(i + 2) && tail(i + 3) &&
                   !(c == 0xF0 && next < 0x90) && !(c == 0xF4 && next > 0x8F)) {
            i += 4;
        } else {
            return i;
        }
    }
    return text.size();
}

}  // namespace weir::http::json
