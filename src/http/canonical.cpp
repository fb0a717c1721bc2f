#include "canonical.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace weir::http::json {
namespace {

// Shorter ones cost less to copy twice than to remember.
constexpr std::size_t kLongString = 512;
// What is kept for the next body of this thread.
constexpr std::size_t kKeepBytes = 256 * 1024;

template <class T>
void shrink_vector(std::vector<T>& list) {
    if (list.capacity() * sizeof(T) > kKeepBytes) std::vector<T>().swap(list);
}

}  // namespace

void CanonicalWriter::clear() noexcept {
    size_ = 0;
    inserts_.clear();
    reorders_.clear();
    ranges_.clear();
    inserted_bytes_ = 0;
}

void CanonicalWriter::shrink() {
    if (capacity_ > kKeepBytes) {
        flat_.reset();
        size_ = capacity_ = 0;
    }
    shrink_vector(inserts_);
    shrink_vector(reorders_);
    shrink_vector(ranges_);
}

void CanonicalWriter::grow(std::size_t bytes) {
    const std::size_t capacity = std::max({size_ + bytes, capacity_ * 2, std::size_t{4096}});
    auto bigger = std::make_unique_for_overwrite<char[]>(capacity);
    if (size_ > 0) std::memcpy(bigger.get(), flat_.get(), size_);
    flat_ = std::move(bigger);
    capacity_ = capacity;
}

void CanonicalWriter::string(const ScannedString& string) {
    constexpr std::size_t kHead = 11;  // the tag and the longest LEB128 length
    const bool digested = string.decoded_length > kLongestWhole;
    const bool outside = !digested && !string.escaped && string.raw_length >= kLongString;
    const std::size_t inside = digested  ? sizeof(Digest)
                               : outside ? 0
                                         : string.decoded_length + kDecodeSlack;
    char* const start = room(kHead + inside);
    char* out = start;
    *out++ = digested ? '#' : '"';
    std::size_t length = string.decoded_length;
    while (length >= 0x80) {
        *out++ = static_cast<char>(0x80 | (length & 0x7F));
        length >>= 7;
    }
    *out++ = static_cast<char>(length);
    if (digested) {
        const Digest digest = digest_decoded(string);
        std::memcpy(out, digest.data(), digest.size());
        out += digest.size();
    } else if (!outside) {
        out = decode(out, string);
    }
    size_ += static_cast<std::size_t>(out - start);
    if (outside) {
        inserts_.push_back({size(), string.text, string.raw_length});
        inserted_bytes_ += string.raw_length;
    }
}

void CanonicalWriter::reorder(std::uint32_t begin, std::span<const Range> sorted) {
    reorders_.push_back({begin, size(), ranges_.size(), sorted.size()});
    ranges_.insert(ranges_.end(), sorted.begin(), sorted.end());
}

std::string CanonicalWriter::finish() {
    // Written when each object closed, so an inner one stands before its outer one. Each begins at
    // a place of its own, just behind its tag.
    std::ranges::sort(reorders_, {}, &Reorder::begin);
    std::string out;
    out.reserve(size_ + inserted_bytes_);
    emit(out, {0, size()});
    return out;
}

void CanonicalWriter::emit(std::string& out, Range range) const {
    while (range.begin < range.end) {
        // Strictly behind: an object whose first member starts this range is the one in work.
        const auto next = std::ranges::upper_bound(reorders_, range.begin, {}, &Reorder::begin);
        if (next == reorders_.end() || next->begin >= range.end) break;
        emit_plain(out, {range.begin, next->begin});
        for (std::size_t i = 0; i < next->count; ++i) emit(out, ranges_[next->first + i]);
        range.begin = next->end;
    }
    emit_plain(out, range);
}

void CanonicalWriter::emit_plain(std::string& out, Range range) const {
    // An insert stands behind its string's length, so one at range.begin belongs to what is before.
    auto next = std::ranges::upper_bound(inserts_, range.begin, {}, &Insert::at);
    for (; next != inserts_.end() && next->at <= range.end; ++next) {
        out.append(flat_.get() + range.begin, next->at - range.begin);
        out.append(next->text, next->length);
        range.begin = next->at;
    }
    if (range.begin < range.end) out.append(flat_.get() + range.begin, range.end - range.begin);
}

}  // namespace weir::http::json
