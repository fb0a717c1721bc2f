// Server-sent events as bytes and as meaning (WHATWG HTML, 9.2). Pure. The splitter gives the
// original bytes of whole events, whatever the cuts of the input; nothing is normalised.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "weir/base/error.hpp"

namespace weir::http {

// Cuts a stream into blocks that end with a blank line (LF, CRLF or CR). A block may be an event,
// or only comments, or nothing but its blank line. Blocks longer than `limit` are kTooLarge, and
// so is every feed() afterwards. A blank line that is a CR at the end of the input may yet become
// CRLF, so its block waits for the next byte; streams with LF or CRLF never wait.
class SseSplitter {
public:
    explicit SseSplitter(std::size_t limit_bytes = 16 << 20) : limit_(limit_bytes) {}
    // Appends to `out` the bytes of each block that is now whole, its blank line included.
    [[nodiscard]] Result<> feed(std::string_view bytes, std::vector<std::string>& out);
    // What came behind the last whole block (a stream that ends without a blank line).
    [[nodiscard]] const std::string& rest() const noexcept { return rest_; }

private:
    std::size_t limit_;
    std::string rest_;
    std::size_t line_ = 0;     // where in rest_ its last line starts
    std::size_t scanned_ = 0;  // no line of rest_ ends before here
    bool failed_ = false;
};

// The parts of one block that matter. `data` joins several data lines by LF. A byte order mark
// before the first line is skipped, since a stream may start with one.
struct SseEvent {
    std::string event;
    std::string data;
    bool has_data = false;
};
[[nodiscard]] SseEvent parse_event(std::string_view block);

}  // namespace weir::http
