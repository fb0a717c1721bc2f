// Bytes of a request body: never zero-filled, with room behind the end for simdjson's over-read,
// and charged to a budget that bounds all bodies in flight together. From malloc while they are
// few; else of pages of their own, which grow without being copied.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "weir/base/error.hpp"

namespace weir {

// How many bytes all Buffers of a process may hold at once. Thread-safe.
class BufferBudget {
public:
    explicit BufferBudget(std::size_t limit_bytes) noexcept : limit_(limit_bytes) {}
    [[nodiscard]] bool take(std::size_t bytes) noexcept;
    void give_back(std::size_t bytes) noexcept {
        used_.fetch_sub(bytes, std::memory_order_relaxed);
    }
    [[nodiscard]] std::size_t used() const noexcept {
        return used_.load(std::memory_order_relaxed);
    }
    void set_limit(std::size_t limit_bytes) noexcept { limit_ = limit_bytes; }

private:
    std::atomic<std::size_t> used_ = 0;
    std::atomic<std::size_t> limit_;
};

// Move-only. Not thread-safe while it is filled; immutable and shareable afterwards.
class Buffer {
public:
    static constexpr std::size_t kPadding = 64;  // >= simdjson::SIMDJSON_PADDING

    Buffer() noexcept = default;
    explicit Buffer(BufferBudget* budget) noexcept : budget_(budget) {}
    Buffer(Buffer&& other) noexcept;
    Buffer& operator=(Buffer&& other) noexcept;
    ~Buffer();

    [[nodiscard]] static Buffer copy_of(std::string_view bytes, BufferBudget* budget = nullptr);

    // Room for `bytes` in all. kOverloaded when the budget does not allow it.
    [[nodiscard]] Result<> reserve(std::size_t bytes);
    // Appends; grows by doubling. kOverloaded when the budget does not allow it.
    [[nodiscard]] Result<> append(std::string_view bytes);
    // Free room behind the contents, to read into; then commit() what was read.
    [[nodiscard]] std::span<char> room() noexcept { return {data_ + size_, capacity_ - size_}; }
    void commit(std::size_t bytes) noexcept { size_ += bytes; }

    [[nodiscard]] std::string_view view() const noexcept { return {data_, size_}; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

private:
    // Of buffers that are at least as large, in bytes.
    static constexpr std::size_t kMapped = 4 << 20;
    [[nodiscard]] static bool is_mapped(std::size_t capacity) noexcept {
        return capacity >= kMapped;
    }
    [[nodiscard]] char* resized(std::size_t capacity) noexcept;

    char* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
    BufferBudget* budget_ = nullptr;
};

}  // namespace weir
