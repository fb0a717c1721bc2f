#include "packing.hpp"

#include <zstd.h>

namespace weir::cache {

namespace {

constexpr char kAsItIs = 0;
constexpr char kZstd = 1;
// 2 and 3 take longer and save little more: the figures are in docs/adr/0014-cache-file.md.
constexpr int kLevel = 1;
// Of fewer bytes little is saved, since pages have 4 KiB; and what zstd sets up costs 12 us each.
constexpr std::size_t kFewBytes = 1024;

}  // namespace

void Packer::Free::operator()(ZSTD_CCtx_s* context) const noexcept {
    ZSTD_freeCCtx(context);
}

void Unpacker::Free::operator()(ZSTD_DCtx_s* context) const noexcept {
    ZSTD_freeDCtx(context);
}

Packer::Packer() : context_(ZSTD_createCCtx()) {}
Packer::~Packer() = default;

std::string Packer::pack(std::string_view bytes) {
    std::string packed;
    if (context_ && bytes.size() >= kFewBytes) {
        packed.resize_and_overwrite(
            1 + ZSTD_compressBound(bytes.size()),
            [&](char* out, std::size_t room) -> std::size_t {
                const std::size_t size = ZSTD_compressCCtx(
                    context_.get(), out + 1, room - 1, bytes.data(), bytes.size(), kLevel
                );
                if (ZSTD_isError(size) != 0 || size >= bytes.size()) return 0;
                *out = kZstd;
                return 1 + size;
            }
        );
    }
    if (packed.empty()) {
        packed.reserve(1 + bytes.size());
        packed.push_back(kAsItIs);
        packed.append(bytes);
    }
    return packed;
}

Unpacker::Unpacker() : context_(ZSTD_createDCtx()) {}
Unpacker::~Unpacker() = default;

std::optional<std::string> Unpacker::unpack(std::string_view packed, std::uint64_t limit_bytes) {
    if (packed.empty()) return std::nullopt;
    const char form = packed.front();
    packed.remove_prefix(1);
    if (form == kAsItIs && packed.size() <= limit_bytes) return std::string(packed);
    if (form != kZstd || !context_) return std::nullopt;
    // Not told (which pack() always does) and not a frame at all are numbers past any limit.
    const unsigned long long size = ZSTD_getFrameContentSize(packed.data(), packed.size());
    if (size > limit_bytes) return std::nullopt;
    std::string bytes;
    bytes.resize_and_overwrite(size, [&](char* out, std::size_t room) -> std::size_t {
        const std::size_t done =
            ZSTD_decompressDCtx(context_.get(), out, room, packed.data(), packed.size());
        return ZSTD_isError(done) != 0 ? 0 : done;
    });
    // Two frames, or one that lied about its size.
    if (bytes.size() != size) return std::nullopt;
    return bytes;
}

}  // namespace weir::cache
