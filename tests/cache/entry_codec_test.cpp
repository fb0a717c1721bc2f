#include "entry_codec.hpp"

#include <optional>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "cache/flight_tools.hpp"

namespace weir::cache {
namespace {

Entry sample() {
    Entry entry;
    entry.key_text = "the question";
    entry.stream = true;
    entry.parts = {"one", "", std::string("t\0o", 3)};
    entry.content_type = "text/event-stream";
    entry.status = 206;
    entry.model = "m";
    entry.owner = "alice";
    entry.usage = http::Usage{.input = 7, .cached_input = 3, .output = 9};
    entry.times_ms = {0, 20, 4'000'000'000};
    entry.stored_at_s = 5;
    entry.expires_at_s = -1;
    return entry;
}

TEST(EntryCodec, DecodesWhatItEncoded) {
    const std::optional<Entry> decoded = decode_entry(encode_entry(sample()));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->key_text, "the question");
    EXPECT_EQ(decoded->parts, sample().parts);
    EXPECT_EQ(decoded->content_type, "text/event-stream");
    EXPECT_EQ(decoded->status, 206);
    EXPECT_EQ(decoded->model, "m");
    EXPECT_EQ(decoded->owner, "alice");
    EXPECT_EQ(decoded->usage, sample().usage);
    EXPECT_EQ(decoded->times_ms, sample().times_ms);
    EXPECT_EQ(decoded->stored_at_s, 5);
    EXPECT_EQ(decoded->expires_at_s, -1);
    EXPECT_TRUE(decoded->stream);
}

TEST(EntryCodec, RefusesEveryCutAndAnythingBehindTheEnd) {
    const std::string bytes = encode_entry(sample());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        EXPECT_FALSE(decode_entry(std::string_view(bytes).substr(0, size))) << size;
    }
    EXPECT_FALSE(decode_entry(bytes + '\0'));
}

TEST(EntryCodec, SurvivesRubbishAndTheChecksumSeesEveryFlip) {
    std::mt19937_64 random(testing::seed());
    const std::string good = encode_entry(sample());
    for (int i = 0; i < 5000; ++i) {
        std::string bytes = good;
        const std::size_t at = random() % bytes.size();
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
        EXPECT_NE(checksum(bytes), checksum(good));
        for (std::uint64_t more = random() % 4; more > 0; --more) {
            bytes[random() % bytes.size()] = static_cast<char>(random());
        }
        if (const std::optional<Entry> decoded = decode_entry(bytes)) {
            EXPECT_LE(decoded->parts.size(), bytes.size());
        }
    }
}

}  // namespace
}  // namespace weir::cache
