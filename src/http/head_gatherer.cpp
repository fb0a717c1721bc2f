#include "head_gatherer.hpp"

#include <algorithm>

#include "characters.hpp"

namespace weir::http {

namespace {
// A head that came in pieces leaves at most this much behind for the next one.
constexpr std::size_t kKeptCapacity = 4096;
}  // namespace

HeadGatherer::Found HeadGatherer::refuse(int status, std::string_view text) noexcept {
    fault_ = {status, text};
    return Found::kFault;
}

HeadGatherer::Found HeadGatherer::take(std::string_view bytes, std::size_t& used) {
    const std::size_t kept_before = kept_.size();
    std::string_view text = bytes;
    if (kept_before > 0) {
        // Never more than can belong to a head within the limit (scan() refuses at that point).
        const std::size_t most = 2 * empty_lines_ + limit_ + 2;
        kept_.append(bytes.substr(0, most - std::min(most, kept_before)));
        text = kept_;
    }
    const Found found = scan(text);
    started_ = text.size() > start_;
    used = bytes.size();
    if (found == Found::kWhole) {
        used = at_ - kept_before;
        head_ = text.substr(start_, at_ - start_);
    } else if (found == Found::kMore && kept_before == 0) {
        kept_.assign(bytes);
    }
    return found;
}

HeadGatherer::Found HeadGatherer::scan(std::string_view text) {
    for (;;) {
        const std::size_t stop = std::min(text.size(), start_ + limit_);
        if (at_ >= stop) break;
        if (line_start_ && is_text_char(text[at_])) {
            if (lines_ > 0 && (text[at_] == ' ' || text[at_] == '\t')) {
                return refuse(400, "A header line is folded over two lines.");
            }
            line_start_ = false;
        }
        while (at_ < stop && is_text_char(text[at_])) ++at_;
        if (at_ == stop) break;
        if (text[at_] == '\n') return refuse(400, "A line of the head ends without CR.");
        if (text[at_] != '\r') return refuse(400, "The head has a control byte.");
        if (at_ + 1 == stop) break;
        if (text[at_ + 1] != '\n') return refuse(400, "The head has a CR without LF.");
        const std::size_t line_end = at_;
        at_ += 2;
        if (line_start_) {
            if (lines_ > 0) return Found::kWhole;
            if (++empty_ > empty_lines_) return refuse(400, "Empty lines stand before the head.");
            start_ = at_;
            continue;
        }
        line_start_ = true;
        if (++lines_ == 1) {
            const auto fault = check_first_line_(text.substr(start_, line_end - start_));
            if (fault) return refuse(fault->status, fault->text);
        }
    }
    if (text.size() >= start_ + limit_) {
        return lines_ == 0 ? refuse(414, "The request line is longer than the limit.")
                           : refuse(431, "The head is larger than the limit.");
    }
    return Found::kMore;
}

void HeadGatherer::reset() noexcept {
    kept_.clear();
    if (kept_.capacity() > kKeptCapacity) std::string().swap(kept_);
    head_ = {};
    start_ = at_ = lines_ = empty_ = 0;
    line_start_ = true;
    started_ = false;
    fault_ = {};
}

}  // namespace weir::http
