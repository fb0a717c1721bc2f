// Reads one answer that is an event stream, without I/O: HTTP framing, events, and their stamps.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "histogram.hpp"
#include "wire.hpp"

namespace weir::bench {

// What all the answers brought.
struct Tally {
    std::uint64_t events = 0;
    Histogram delays;
};

class StreamReader {
public:
    // Takes bytes that came at `now`. False: fault() says why the answer is not a good one.
    [[nodiscard]] bool consume(std::string_view data, std::int64_t now, Tally& tally);
    [[nodiscard]] bool whole() const { return phase_ == Phase::kWhole; }
    [[nodiscard]] bool last() const { return last_; }  // it said connection: close
    [[nodiscard]] bool had_event() const { return had_event_; }
    [[nodiscard]] const std::string& fault() const { return fault_; }

private:
    static constexpr std::string_view kDone = "data: [DONE]";

    // kSize to kTrailer are the parts of a chunked body.
    enum class Phase : std::uint8_t {
        kHead,
        kLength,
        kSize,
        kSizeRest,
        kData,
        kDataEnd,
        kTrailer,
        kWhole
    };

    void read_head(std::string_view head);
    void parse_framing(char c);
    void scan(std::string_view data, std::int64_t now, Tally& tally);
    void scan_stamps(std::string_view data, std::int64_t now, Tally& tally);
    void end();

    Phase phase_ = Phase::kHead;
    bool last_ = false;
    bool had_event_ = false;
    bool in_event_ = false;
    bool done_ = false;         // [DONE] came
    std::size_t line_ = 0;      // bytes of the line so far
    std::size_t done_at_ = 0;   // bytes of it that are like kDone
    std::size_t stamp_at_ = 0;  // bytes of a stamp so far
    std::int64_t stamp_ = 0;
    std::uint64_t left_ = 0;  // of the chunk or the body
    std::string head_;        // while it is not whole
    std::string fault_;
};

inline bool StreamReader::consume(std::string_view data, std::int64_t now, Tally& tally) {
    while (!data.empty() && fault_.empty()) {
        if (phase_ == Phase::kWhole) {
            fault_ = "bytes after the end of an answer";
        } else if (phase_ == Phase::kHead) {
            const std::size_t before = head_.size();
            head_.append(data);
            const std::size_t end_of_head = head_.find("\r\n\r\n");
            if (end_of_head == std::string::npos) return true;
            data.remove_prefix(end_of_head + 4 - before);
            read_head(std::string_view(head_).substr(0, end_of_head));
            std::string{}.swap(head_);
        } else if (phase_ == Phase::kData || phase_ == Phase::kLength) {
            const std::size_t size = std::min<std::uint64_t>(left_, data.size());
            scan(data.substr(0, size), now, tally);
            data.remove_prefix(size);
            left_ -= size;
            if (left_ > 0) return true;
            if (phase_ == Phase::kData) {
                phase_ = Phase::kDataEnd;
            } else {
                end();
            }
        } else {
            parse_framing(data.front());
            data.remove_prefix(1);
        }
    }
    return fault_.empty();
}

inline void StreamReader::read_head(std::string_view head) {
    if (!head.starts_with("HTTP/1.1 200")) {
        fault_ = head.substr(0, head.find("\r\n"));
        return;
    }
    Fields fields;
    if (!read_fields(head, fields, [](std::string_view) {})) fault_ = "content-length is no number";
    last_ = fields.last;
    left_ = fields.length;
    phase_ = fields.chunked ? Phase::kSize : Phase::kLength;
    if (!fields.chunked && left_ == 0) fault_ = "an answer without a body";
}

// One byte between the data of chunks.
inline void StreamReader::parse_framing(char c) {
    if (phase_ == Phase::kSize) {
        std::uint64_t digit = 0;
        if (parse_number({&c, 1}, digit, 16)) {
            left_ = left_ * 16 + digit;
            return;
        }
        phase_ = Phase::kSizeRest;
    }
    if (phase_ == Phase::kTrailer) {
        if (c == '\n' && line_ == 0) return end();
        line_ = c == '\n' ? 0 : line_ + (c == '\r' ? 0 : 1);
    } else if (c == '\n' && phase_ == Phase::kDataEnd) {
        phase_ = Phase::kSize;
    } else if (c == '\n') {
        phase_ = left_ > 0 ? Phase::kData : Phase::kTrailer;
        if (left_ == 0) line_ = 0;
    }
}

// Lines of events; any of them may come in pieces.
inline void StreamReader::scan(std::string_view data, std::int64_t now, Tally& tally) {
    while (!data.empty()) {
        const std::size_t end_of_line = data.find('\n');
        const std::string_view part = data.substr(0, end_of_line);
        if (line_ == done_at_ && done_at_ < kDone.size()) {
            const std::string_view rest = kDone.substr(done_at_, part.size());
            if (part.starts_with(rest)) done_at_ += rest.size();
        }
        line_ += part.size();
        scan_stamps(part, now, tally);
        if (end_of_line == std::string_view::npos) return;
        data.remove_prefix(end_of_line + 1);
        if (line_ > 0) {
            in_event_ = true;
            done_ = done_ || (done_at_ == kDone.size() && line_ == kDone.size());
        } else if (in_event_) {
            ++tally.events;
            had_event_ = true;
            in_event_ = false;
        }
        line_ = done_at_ = stamp_at_ = 0;
    }
}

inline void StreamReader::scan_stamps(std::string_view data, std::int64_t now, Tally& tally) {
    while (!data.empty()) {
        if (stamp_at_ == 0) {
            const std::size_t mark = data.find('@');
            if (mark == std::string_view::npos) return;
            data.remove_prefix(mark + 1);
            stamp_at_ = 1;
            stamp_ = 0;
            continue;
        }
        const char c = data.front();
        if (stamp_at_ <= kStampDigits && c >= '0' && c <= '9') {
            stamp_ = stamp_ * 10 + (c - '0');
            ++stamp_at_;
            data.remove_prefix(1);
            continue;
        }
        if (stamp_at_ > kStampDigits && c == '@') {
            tally.delays.add(now - stamp_);
            data.remove_prefix(1);
        }
        stamp_at_ = 0;
    }
}

inline void StreamReader::end() {
    phase_ = Phase::kWhole;
    if (!done_) fault_ = "the stream ended without [DONE]";
}

}  // namespace weir::bench
