#include "weir/http/write.hpp"

#include <array>
#include <cassert>
#include <charconv>
#include <ctime>
#include <stdexcept>

#include <fmt/format.h>

#include "characters.hpp"

namespace weir::http {

namespace {

// Bytes that would end the target early go out percent-encoded.
void append_target(std::string& out, std::string_view target) {
    for (const char c : target) {
        if (c > ' ' && c < 0x7f) {
            out += c;
        } else {
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
}

}  // namespace

std::string write_request_head(
    std::string_view method, std::string_view target, const Fields& fields
) {
    if (!is_token(method) || target.empty()) throw std::logic_error("request line is malformed");
    std::string out;
    out.reserve(method.size() + target.size() + 14 + fields.text().size());
    out += method;
    out += ' ';
    append_target(out, target);
    out += " HTTP/1.1\r\n";
    fields.append_to(out);
    out += "\r\n";
    return out;
}

std::string write_response_head(
    int minor_version,
    int status,
    std::initializer_list<const Fields*> lists,
    std::string_view lines
) {
    const std::string_view reason = reason_phrase(status);
    std::size_t size = 18 + reason.size() + lines.size();
    for (const Fields* const fields : lists) size += fields->text().size();
    std::string out;
    out.reserve(size);
    out += minor_version == 0 ? "HTTP/1.0 " : "HTTP/1.1 ";
    out += std::to_string(status);
    out += ' ';
    out += reason;
    out += "\r\n";
    for (const Fields* const fields : lists) fields->append_to(out);
    out += lines;
    out += "\r\n";
    return out;
}

std::string chunk_head(std::size_t size) {
    std::array<char, 18> digits{};
    char* const end = std::to_chars(digits.data(), digits.data() + digits.size(), size, 16).ptr;
    std::string out(digits.data(), end);
    out += "\r\n";
    return out;
}

void append_chunk(std::string& out, std::string_view bytes) {
    assert(!bytes.empty());     // an empty chunk is the last one
    if (bytes.empty()) return;  // never a false ending, even in a release
    out += chunk_head(bytes.size());
    out += bytes;
    out += "\r\n";
}

std::string_view http_date() {
    static constexpr std::array<const char*, 7> kDays = {
        "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"
    };
    static constexpr std::array<const char*, 12> kMonths = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"
    };
    thread_local std::time_t cached_second = -1;
    thread_local std::string cached;
    const std::time_t now = std::time(nullptr);
    if (now != cached_second) {
        std::tm utc{};
        gmtime_r(&now, &utc);
        cached = fmt::format(
            "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
            kDays[static_cast<std::size_t>(utc.tm_wday)],
            utc.tm_mday,
            kMonths[static_cast<std::size_t>(utc.tm_mon)],
            utc.tm_year + 1900,
            utc.tm_hour,
            utc.tm_min,
            utc.tm_sec
        );
        cached_second = now;
    }
    return cached;
}

}  // namespace weir::http
