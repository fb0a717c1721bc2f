// Heads and chunks as bytes. Pure. Values with CR, LF or NUL never get out: such a field is left
// out.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "weir/http/message.hpp"

namespace weir::http {

[[nodiscard]] std::string write_request_head(
    std::string_view method, std::string_view target, const Fields& fields
);
// One list of fields behind the other, then `lines`: whole ones, of fields that the caller vouches
// for. Adds nothing: framing and connection fields are the caller's.
[[nodiscard]] std::string write_response_head(
    int minor_version,
    int status,
    std::initializer_list<const Fields*> lists,
    std::string_view lines = {}
);
// Appends "<hex>\r\n" + bytes + "\r\n". REQUIRES: bytes is not empty.
void append_chunk(std::string& out, std::string_view bytes);
[[nodiscard]] std::string chunk_head(std::size_t size);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";
// "Mon, 23 Nov 2026 15:16:01 GMT" of now; cached per thread and second.
[[nodiscard]] std::string_view http_date();

}  // namespace weir::http
