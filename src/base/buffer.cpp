#include "weir/base/buffer.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sys/mman.h>
#include <utility>

namespace weir {

namespace {

// Whole pages for so many bytes and the padding.
std::size_t pages_for(std::size_t capacity) noexcept {
    constexpr std::size_t kPage = 4096;
    return (capacity + Buffer::kPadding + kPage - 1) / kPage * kPage;
}

}  // namespace

bool BufferBudget::take(std::size_t bytes) noexcept {
    const std::size_t limit = limit_.load(std::memory_order_relaxed);
    std::size_t used = used_.load(std::memory_order_relaxed);
    do {
        if (bytes > limit || used > limit - bytes) return false;
    } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
    return true;
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)),
      budget_(other.budget_) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
    if (this != &other) {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(capacity_, other.capacity_);
        std::swap(budget_, other.budget_);
    }
    return *this;
}

Buffer::~Buffer() {
    if (!is_mapped(capacity_)) {
        std::free(data_);
    } else {
        ::munmap(data_, pages_for(capacity_));
    }
    if (budget_ != nullptr) budget_->give_back(capacity_);
}

Buffer Buffer::copy_of(std::string_view bytes, BufferBudget* budget) {
    Buffer copy(budget);
    if (!copy.append(bytes)) throw std::bad_alloc();
    return copy;
}

// The contents in room for so many, or nullptr; nothing has changed then. REQUIRES: it grows.
char* Buffer::resized(std::size_t capacity) noexcept {
    if (!is_mapped(capacity)) {
        return static_cast<char*>(std::realloc(data_, capacity + kPadding));
    }
    const std::size_t bytes = pages_for(capacity);
    void* const mapped =
        is_mapped(capacity_)
            ? ::mremap(data_, pages_for(capacity_), bytes, MREMAP_MAYMOVE)
            : ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    // Large pages where there are some: 2 MiB at once are found and cleared ten times faster than
    // 512 pages one by one. Without them it works as well.
    static_cast<void>(::madvise(mapped, bytes, MADV_HUGEPAGE));
    if (!is_mapped(capacity_)) {
        if (size_ > 0) std::memcpy(mapped, data_, size_);
        std::free(data_);
    }
    return static_cast<char*>(mapped);
}

Result<> Buffer::reserve(std::size_t bytes) {
    if (bytes <= capacity_ && data_ != nullptr) return {};
    const std::size_t more = bytes - capacity_;
    if (budget_ != nullptr && !budget_->take(more)) {
        return fail(ErrorCode::kOverloaded, "the bodies in flight hold all the memory they may");
    }
    // The padding is behind every buffer and small: it is not charged.
    char* const grown = resized(bytes);
    if (grown == nullptr) {
        if (budget_ != nullptr) budget_->give_back(more);
        return fail(ErrorCode::kOverloaded, "out of memory");
    }
    data_ = grown;
    capacity_ = bytes;
    // simdjson reads the padding, so it must be defined; it is rewritten by whoever appends.
    std::memset(data_ + capacity_, 0, kPadding);
    return {};
}

Result<> Buffer::append(std::string_view bytes) {
    if (bytes.size() > capacity_ - size_) {
        const std::size_t wanted = size_ + bytes.size();
        auto grown = reserve(std::max(wanted, capacity_ * 2));
        if (!grown) grown = reserve(wanted);  // the doubling may be what the budget lacks
        if (!grown) return grown;
    } else if (data_ == nullptr) {
        if (auto made = reserve(bytes.size()); !made) return made;
    }
    if (!bytes.empty()) std::memcpy(data_ + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
    return {};
}

}  // namespace weir
