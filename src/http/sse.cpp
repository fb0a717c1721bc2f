#include "weir/http/sse.hpp"

#include <algorithm>
#include <cstring>

namespace weir::http {
namespace {

// Finds LF and CR from left to right. Each byte is looked at once for each of them, so a stream
// without CR costs two memchr.
class LineEnds {
public:
    LineEnds(std::string_view text, std::size_t from) noexcept : text_(text) {
        lf_ = find('\n', from);
        cr_ = find('\r', from);
    }
    // The offset of the first one at or behind `from`; text.size(): none.
    [[nodiscard]] std::size_t next(std::size_t from) noexcept {
        if (lf_ < from) lf_ = find('\n', from);
        if (cr_ < from) cr_ = find('\r', from);
        return std::min(lf_, cr_);
    }

private:
    [[nodiscard]] std::size_t find(char c, std::size_t from) const noexcept {
        return std::min(text_.find(c, from), text_.size());
    }
    std::string_view text_;
    std::size_t lf_ = 0;
    std::size_t cr_ = 0;
};

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

Result<> SseSplitter::feed(std::string_view bytes, std::vector<std::string>& out) {
    const auto too_large = [this] {
        failed_ = true;
        return fail(ErrorCode::kTooLarge, "an event of the stream is too long");
    };
    if (failed_) return too_large();
    // Usually nothing is left over, and whole blocks are copied once, straight from the input.
    const bool direct = rest_.empty();
    if (!direct) rest_.append(bytes);
    const std::string_view text = direct ? bytes : std::string_view(rest_);

    std::size_t block = 0;
    std::size_t line = line_;
    std::size_t scanned = scanned_;
    LineEnds ends(text, scanned);
    for (;;) {
        const std::size_t end = ends.next(scanned);
        scanned = end;
        if (end == text.size()) break;
        // A CR at the end of what is here may be half of a CRLF.
        if (text[end] == '\r' && end + 1 == text.size()) break;
        const bool pair = text[end] == '\r' && text[end + 1] == '\n';
        const std::size_t behind = end + (pair ? 2 : 1);
        if (end == line) {
            if (behind - block > limit_) return too_large();
            out.emplace_back(text.substr(block, behind - block));
            block = behind;
        }
        line = scanned = behind;
    }
    if (direct) {
        rest_.assign(text.substr(block));
    } else {
        rest_.erase(0, block);
    }
    line_ = line - block;
    scanned_ = scanned - block;
    if (rest_.size() > limit_) return too_large();
    return {};
}

SseEvent parse_event(std::string_view block) {
    SseEvent event;
    if (block.starts_with(kByteOrderMark)) block.remove_prefix(kByteOrderMark.size());
    LineEnds ends(block, 0);
    std::size_t at = 0;
    while (at < block.size()) {
        const std::size_t end = ends.next(at);
        const std::string_view line = block.substr(at, end - at);
        const bool pair = end + 1 < block.size() && block[end] == '\r' && block[end + 1] == '\n';
        at = end + (pair ? 2 : 1);
        const std::size_t colon = line.find(':');
        const std::string_view name = line.substr(0, colon);
        std::string_view value;
        if (colon != std::string_view::npos) value = line.substr(colon + 1);
        if (value.starts_with(' ')) value.remove_prefix(1);
        if (name == "data") {
            if (event.has_data) event.data += '\n';
            event.data += value;
            event.has_data = true;
        } else if (name == "event") {
            event.event = value;
        }
    }
    return event;
}

}  // namespace weir::http
