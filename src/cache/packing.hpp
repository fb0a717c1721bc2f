// The bytes of a row, compressed where that is worth it. Not thread-safe: a Packer and an Unpacker
// belong to one thread each and keep what zstd needs from one row to the next.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace weir::cache {

class Packer {
public:
    Packer();
    ~Packer();
    Packer(const Packer&) = delete;
    Packer& operator=(const Packer&) = delete;

    // One byte that tells the form, then a zstd frame, or the bytes as they are where those are
    // few or do not shrink.
    [[nodiscard]] std::string pack(std::string_view bytes);

private:
    struct Free {
        void operator()(ZSTD_CCtx_s* context) const noexcept;
    };
    std::unique_ptr<ZSTD_CCtx_s, Free> context_;
};

class Unpacker {
public:
    Unpacker();
    ~Unpacker();
    Unpacker(const Unpacker&) = delete;
    Unpacker& operator=(const Unpacker&) = delete;

    // nullopt: pack() did not make that, or it is larger than `limit_bytes`. Any input is safe, and
    // takes no more memory than it says it will, which is no more than the limit.
    [[nodiscard]] std::optional<std::string> unpack(
        std::string_view packed, std::uint64_t limit_bytes
    );

private:
    struct Free {
        void operator()(ZSTD_DCtx_s* context) const noexcept;
    };
    std::unique_ptr<ZSTD_DCtx_s, Free> context_;
};

}  // namespace weir::cache
