#include "weir/base/buffer.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace weir {

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
    std::free(data_);
    if (budget_ != nullptr) budget_->give_back(capacity_);
}

Buffer Buffer::copy_of(std::string_view bytes, BufferBudget* budget) {
    Buffer copy(budget);
    if (!copy.append(bytes)) throw std::bad_alloc();
    return copy;
}

Result<> Buffer::reserve(std::size_t bytes) {
    if (bytes <= capacity_ && data_ != nullptr) return {};
    const std::size_t more = bytes - capacity_;
    if (budget_ != nullptr && !budget_->take(more)) {
        return fail(ErrorCode::kOverloaded, "the bodies in flight hold all the memory they may");
    }
    // The padding is behind every buffer and small: it is not charged.
    void* grown = std::realloc(data_, bytes + kPadding);
    if (grown == nullptr) {
        if (budget_ != nullptr) budget_->give_back(more);
        return fail(ErrorCode::kOverloaded, "out of memory");
    }
    data_ = static_cast<char*>(grown);
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
