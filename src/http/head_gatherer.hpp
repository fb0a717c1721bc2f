// Cuts one head out of a connection's bytes and checks it byte by byte, before any parser sees it:
// no control bytes, lines end with CRLF, no folded lines, bounded. Every verdict falls at a fixed
// byte of the input, so it does not depend on how the input is cut. Private to the room.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace weir::http {

// Why a message is refused. `text` has static storage.
struct Fault {
    int status = 400;
    std::string_view text;
};

class HeadGatherer {
public:
    // Judges the first line, without its CRLF.
    using LineCheck = std::optional<Fault> (*)(std::string_view line);

    HeadGatherer(std::size_t limit_bytes, std::size_t empty_lines, LineCheck check_first_line)
        : limit_(limit_bytes), empty_lines_(empty_lines), check_first_line_(check_first_line) {}

    enum class Found { kMore, kWhole, kFault };
    // Takes bytes; `used` is all of them, or on kWhole those up to the head's end.
    [[nodiscard]] Found take(std::string_view bytes, std::size_t& used);
    // The head with its final empty line. Points into the bytes given to take(), or inside.
    [[nodiscard]] std::string_view text() const noexcept { return head_; }
    [[nodiscard]] const Fault& fault() const noexcept { return fault_; }
    [[nodiscard]] bool started() const noexcept { return started_; }
    void reset() noexcept;

private:
    Found scan(std::string_view text);
    Found refuse(int status, std::string_view text) noexcept;

    std::size_t limit_;
    std::size_t empty_lines_;
    LineCheck check_first_line_;
    std::string kept_;        // a head cut by a read
    std::string_view head_;   // once whole
    std::size_t start_ = 0;   // of the head, behind empty lines
    std::size_t at_ = 0;      // scanned up to here
    std::size_t lines_ = 0;   // whole ones
    std::size_t empty_ = 0;   // empty lines before the head
    bool line_start_ = true;  // at_ is at the start of a line
    bool started_ = false;
    Fault fault_;
};

}  // namespace weir::http
