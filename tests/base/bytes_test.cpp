#include <gtest/gtest.h>

#include "weir/base/buffer.hpp"
#include "weir/base/clock.hpp"
#include "weir/base/crypto.hpp"
#include "weir/base/text.hpp"

namespace weir {
namespace {

TEST(Crypto, KnownDigests) {
    // FIPS 180-2 appendix B, RFC 4231 case 2.
    EXPECT_EQ(
        to_hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    EXPECT_EQ(
        to_hex(hmac_sha256("Jefe", "what do ya want for nothing?")),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    // The key's schedule is kept: the same again, another one, none, and the first once more.
    const auto jefe = hmac_sha256("Jefe", "what do ya want for nothing?");
    EXPECT_EQ(hmac_sha256("Jefe", "what do ya want for nothing?"), jefe);
    EXPECT_EQ(
        to_hex(hmac_sha256("", "")),
        "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"
    );
    EXPECT_EQ(hmac_sha256("", ""), hmac_sha256("", ""));
    EXPECT_NE(hmac_sha256("Jefe", ""), hmac_sha256("", ""));
    EXPECT_EQ(hmac_sha256("Jefe", "what do ya want for nothing?"), jefe);
    Sha256 pieces;
    pieces.update("a");
    pieces.update("bc");
    EXPECT_EQ(pieces.finish(), sha256("abc"));
    pieces.update("abc");
    EXPECT_EQ(pieces.finish(), sha256("abc"));  // reset by finish()
}

TEST(Crypto, TokensAreLongAndDifferent) {
    const std::string a = random_token(40);
    EXPECT_EQ(a.size(), 40U);
    EXPECT_NE(a, random_token(40));
    EXPECT_TRUE(equal_constant_time(a, a));
    EXPECT_FALSE(equal_constant_time(a, a.substr(1)));
}

TEST(Buffer, KeepsWhatItIsGiven) {
    Buffer buffer;
    std::string expected;
    for (int i = 0; i < 2'000; ++i) {
        const std::string piece = std::to_string(i * 7919);
        ASSERT_TRUE(buffer.append(piece));
        expected += piece;
    }
    EXPECT_EQ(buffer.view(), expected);
    Buffer moved = std::move(buffer);
    EXPECT_EQ(moved.view(), expected);
}

// From malloc to pages of its own, and on there; by steps that end around the border.
TEST(Buffer, GrowsBeyondMallocAndKeepsWhatItHolds) {
    constexpr std::size_t kBorder = 4 << 20;
    for (const std::size_t first : {kBorder - 4097, kBorder - 1, kBorder, kBorder + 1}) {
        BufferBudget budget(128 << 20);
        {
            Buffer buffer(&budget);
            std::string expected;
            for (const std::size_t size : {std::size_t{10}, first, 3 * kBorder, 20 * kBorder + 7}) {
                ASSERT_TRUE(buffer.reserve(size));
                EXPECT_EQ(buffer.room().size(), size - expected.size());
                const std::string piece(size - expected.size(), static_cast<char>('a' + size % 26));
                ASSERT_TRUE(buffer.append(piece));
                expected += piece;
                ASSERT_EQ(buffer.view(), expected);
                const std::string_view behind(buffer.view().end(), Buffer::kPadding);
                EXPECT_EQ(behind, std::string(Buffer::kPadding, '\0')) << "simdjson reads it";
            }
            Buffer moved = std::move(buffer);
            Buffer other;
            other = std::move(moved);
            EXPECT_EQ(other.view(), expected);
            EXPECT_EQ(budget.used(), expected.size());
        }
        EXPECT_EQ(budget.used(), 0U);
    }
}

TEST(Buffer, BudgetBoundsAllTogetherAndComesBack) {
    BufferBudget budget(1'000);
    {
        Buffer first(&budget);
        ASSERT_TRUE(first.reserve(600));
        Buffer second(&budget);
        ASSERT_FALSE(second.reserve(500));
        EXPECT_EQ(second.reserve(500).error().code, ErrorCode::kOverloaded);
        ASSERT_TRUE(second.append(std::string(400, 'x')));
        EXPECT_EQ(budget.used(), 1'000U);
        EXPECT_FALSE(second.append("y"));
        EXPECT_EQ(second.size(), 400U);
    }
    EXPECT_EQ(budget.used(), 0U);
}

TEST(Clock, NeverStartsBeforeTheLedger) {
    SystemClock clock;
    const LedgerTime future = clock.now() + std::chrono::hours(1);
    clock.start_at_least(future);
    EXPECT_GE(clock.now(), future);
    clock.start_at_least(future - std::chrono::hours(2));
    EXPECT_GE(clock.now(), future);
}

}  // namespace
}  // namespace weir
