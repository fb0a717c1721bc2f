// Makes the canonical form of a JSON text while it is walked in its own order. Pure; private to the
// room.
//
// The form, each part readable without looking ahead, so that no two values share one:
//   object  {  (key value)...  }   keys as strings, sorted by their decoded bytes
//   array   [  value...  ]
//   string  "  length (LEB128)  decoded bytes
//           #  length (LEB128)  SHA-256 of the decoded bytes, past kLongestWhole bytes
//   number  its text  ,
//   literal t  f  n
//
// What is written first stands in the text's order. Objects whose keys were not sorted and long
// plain strings are remembered beside it, and one pass at the end puts all in its place, so each
// byte is copied at most twice however deep the objects nest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "json_text.hpp"

namespace weir::http::json {

class CanonicalWriter {
public:
    // Longer strings (pictures, sounds, whole books) stand in the form by their digest, so that a
    // form is small however large its body is.
    static constexpr std::size_t kLongestWhole = std::size_t{16} << 10;

    // A stretch of what was written.
    struct Range {
        std::uint32_t begin = 0;
        std::uint32_t end = 0;
    };

    void clear() noexcept;
    [[nodiscard]] std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(size_); }
    void mark(char tag) {
        *room(1) = tag;
        ++size_;
    }
    void string(const ScannedString& string);
    void number(std::string_view text) {
        char* out = room(text.size() + 1);
        std::memcpy(out, text.data(), text.size());
        out[text.size()] = ',';
        size_ += text.size() + 1;
    }
    // The stretch from `begin` to here is to stand in the order of `sorted`, which covers it.
    void reorder(std::uint32_t begin, std::span<const Range> sorted);
    [[nodiscard]] std::string finish();
    // Gives memory back that a huge body needed.
    void shrink();

private:
    // Bytes of the text that belong at `at`.
    struct Insert {
        std::uint32_t at;
        const char* text;
        std::size_t length;
    };
    struct Reorder {
        std::uint32_t begin;
        std::uint32_t end;
        std::size_t first;  // in ranges_
        std::size_t count;
    };
    // Where the next `bytes` bytes go. A plain array: std::string would check and fill each byte.
    [[nodiscard]] char* room(std::size_t bytes) {
        if (capacity_ - size_ < bytes) grow(bytes);
        return flat_.get() + size_;
    }
    void grow(std::size_t bytes);
    void emit(std::string& out, Range range) const;
    void emit_plain(std::string& out, Range range) const;

    std::unique_ptr<char[]> flat_;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
    std::vector<Insert> inserts_;  // sorted by `at`
    std::vector<Reorder> reorders_;
    std::vector<Range> ranges_;
    std::size_t inserted_bytes_ = 0;
};

}  // namespace weir::http::json
