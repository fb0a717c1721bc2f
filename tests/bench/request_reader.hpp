// Reads the requests of one connection, without I/O. A body is not stored, but for its beginning.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "wire.hpp"

namespace weir::bench {

constexpr std::size_t kHeadBytes = 64UL * 1024;
constexpr std::size_t kKeptBytes = 2048;

class RequestReader {
public:
    // Takes bytes up to the end of a request. How many it used: the others are to come again, with
    // more after them. nullopt: this is no HTTP.
    std::optional<std::size_t> consume(std::string_view data);
    void begin() { phase_ = Phase::kHead, fresh_ = true; }  // after a whole one
    [[nodiscard]] bool at_start() const { return fresh_; }
    [[nodiscard]] bool whole() const { return phase_ == Phase::kWhole; }
    [[nodiscard]] bool last() const { return last_; }  // it said connection: close
    [[nodiscard]] bool takes_continue() { return std::exchange(expects_, false); }
    // The first "model" in what was kept of the body, or "".
    [[nodiscard]] std::string_view model() const;

private:
    enum class Phase : std::uint8_t {
        kHead,
        kBody,
        kChunkSize,
        kChunk,
        kChunkEnd,
        kTrailer,
        kWhole
    };
    bool read_head(std::string_view head);

    Phase phase_ = Phase::kHead;
    bool fresh_ = true;  // no byte of it was looked at
    bool last_ = false;
    bool expects_ = false;
    std::uint64_t left_ = 0;  // of the body or the chunk
    std::string kept_;        // the body's beginning
};

inline std::optional<std::size_t> RequestReader::consume(std::string_view data) {
    std::size_t at = 0;
    fresh_ = false;
    while (phase_ != Phase::kWhole) {
        const std::string_view rest = data.substr(at);
        if (phase_ == Phase::kBody || phase_ == Phase::kChunk) {
            const std::size_t size = std::min<std::uint64_t>(left_, rest.size());
            if (kept_.size() < kKeptBytes) {
                kept_.append(rest.substr(0, std::min(size, kKeptBytes - kept_.size())));
            }
            at += size;
            left_ -= size;
            if (left_ > 0) return at;
            phase_ = phase_ == Phase::kBody ? Phase::kWhole : Phase::kChunkEnd;
            continue;
        }
        const std::string_view mark = phase_ == Phase::kHead ? "\r\n\r\n" : "\r\n";
        const std::size_t end = rest.find(mark);
        if (end == std::string_view::npos) {
            return rest.size() > kHeadBytes ? std::nullopt : std::optional(at);
        }
        const std::string_view line = rest.substr(0, end);
        at += end + mark.size();
        if (phase_ == Phase::kHead) {
            if (!read_head(line)) return std::nullopt;
        } else if (phase_ == Phase::kChunkSize) {
            const auto [stop, error] = std::from_chars(line.begin(), line.end(), left_, 16);
            if (error != std::errc{}) return std::nullopt;
            phase_ = left_ > 0 ? Phase::kChunk : Phase::kTrailer;
        } else if (phase_ == Phase::kChunkEnd) {
            phase_ = Phase::kChunkSize;
        } else if (line.empty()) {
            phase_ = Phase::kWhole;
        }
    }
    return at;
}

inline bool RequestReader::read_head(std::string_view head) {
    kept_.clear();
    Fields fields;
    const auto expects = [this](std::string_view line) {
        std::string_view value;
        expects_ = expects_ || field_is(line, "expect:", value);
    };
    if (!read_fields(head, fields, expects)) return false;
    last_ = last_ || fields.last;
    left_ = fields.length;
    phase_ = fields.chunked ? Phase::kChunkSize : left_ > 0 ? Phase::kBody : Phase::kWhole;
    return true;
}

inline std::string_view RequestReader::model() const {
    static constexpr std::string_view kName = R"("model")";
    const std::size_t name = kept_.find(kName);
    if (name == std::string_view::npos) return {};
    const std::size_t begin = kept_.find_first_not_of(" :\n\r\t", name + kName.size());
    if (begin == std::string_view::npos || kept_[begin] != '"') return {};
    const std::size_t end = kept_.find_first_of("\"\\", begin + 1);
    if (end == std::string_view::npos || kept_[end] != '"') return {};
    return std::string_view(kept_).substr(begin + 1, end - begin - 1);
}

}  // namespace weir::bench
