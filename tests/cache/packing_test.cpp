#include "packing.hpp"

#include <cstdint>
#include <optional>
#include <random>
#include <string>

#include <gtest/gtest.h>
#include <zstd.h>

#include "cache/flight_tools.hpp"

namespace weir::cache {
namespace {

constexpr std::uint64_t kPlenty = 1 << 20;

std::string text_of(std::size_t size) {
    std::string text;
    while (text.size() < size) text += "data: {\"n\":" + std::to_string(text.size()) + "}\n\n";
    text.resize(size);
    return text;
}

std::string noise_of(std::size_t size, std::mt19937_64& random) {
    std::string noise(size, 0);
    for (char& each : noise) each = static_cast<char>(random());
    return noise;
}

TEST(Packing, UnpacksWhatItPackedOfEverySize) {
    std::mt19937_64 random(testing::seed());
    Packer packer;
    Unpacker unpacker;
    for (const std::size_t size : {0U, 1U, 255U, 256U, 257U, 4096U, 100'000U, 1U << 20}) {
        for (const std::string& bytes : {text_of(size), noise_of(size, random)}) {
            const std::string packed = packer.pack(bytes);
            EXPECT_LE(packed.size(), bytes.size() + 1) << size;
            EXPECT_EQ(unpacker.unpack(packed, kPlenty), bytes) << size;
        }
    }
    EXPECT_LT(packer.pack(text_of(4096)).size(), 2048U);
    EXPECT_EQ(packer.pack(text_of(200)).size(), 201U);  // few bytes stay as they are
}

TEST(Packing, RefusesCutsFlipsAndRubbish) {
    std::mt19937_64 random(testing::seed());
    Packer packer;
    Unpacker unpacker;
    const std::string bytes = text_of(5000);
    const std::string packed = packer.pack(bytes);
    for (std::size_t size = 0; size < packed.size(); ++size) {
        EXPECT_FALSE(unpacker.unpack(std::string_view(packed).substr(0, size), kPlenty)) << size;
    }
    EXPECT_FALSE(unpacker.unpack(packed + '\0', kPlenty));
    for (int i = 0; i < 5000; ++i) {
        std::string damaged = packed;
        for (std::uint64_t more = 1 + random() % 4; more > 0; --more) {
            damaged[random() % damaged.size()] = static_cast<char>(random());
        }
        // What it was is seen by the row's checksum; here only that nothing breaks or grows.
        const std::optional<std::string> found = unpacker.unpack(damaged, kPlenty);
        if (found) EXPECT_LE(found->size(), kPlenty);
        static_cast<void>(unpacker.unpack(noise_of(100, random), kPlenty));
    }
    // It works on behind all that.
    EXPECT_EQ(unpacker.unpack(packed, kPlenty), bytes);
}

TEST(Packing, ABombIsRefusedBeforeItIsUnpacked) {
    Packer packer;
    Unpacker unpacker;
    const std::string bomb = packer.pack(std::string(64 << 20, 'x'));
    EXPECT_LT(bomb.size(), 100'000U);
    EXPECT_FALSE(unpacker.unpack(bomb, (64 << 20) - 1));
    EXPECT_TRUE(unpacker.unpack(bomb, 64 << 20));
    EXPECT_FALSE(unpacker.unpack(packer.pack(std::string(100, 'x')), 99));

    // A frame that does not tell its size, as a stream is made of.
    const std::string bytes = text_of(100'000);
    std::string frame(1 + ZSTD_compressBound(bytes.size()), 1);
    ZSTD_CCtx* const context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    const std::size_t size =
        ZSTD_compress2(context, frame.data() + 1, frame.size() - 1, bytes.data(), bytes.size());
    ZSTD_freeCCtx(context);
    ASSERT_EQ(ZSTD_isError(size), 0U);
    frame.resize(1 + size);
    EXPECT_FALSE(unpacker.unpack(frame, kPlenty));
}

}  // namespace
}  // namespace weir::cache
