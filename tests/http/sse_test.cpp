#include "weir/http/sse.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/random_json.hpp"

namespace weir::http {
namespace {

using test::Random;
using testing::ElementsAre;
using testing::IsEmpty;

struct Cut {
    std::vector<std::string> blocks;
    std::string rest;
    friend bool operator==(const Cut&, const Cut&) = default;
};

// Feeds `stream` in the pieces that end at `ends` (and a last one).
Cut cut(std::string_view stream, const std::vector<std::size_t>& ends) {
    SseSplitter splitter;
    Cut out;
    std::size_t from = 0;
    for (const std::size_t end : ends) {
        EXPECT_TRUE(splitter.feed(stream.substr(from, end - from), out.blocks));
        from = end;
    }
    EXPECT_TRUE(splitter.feed(stream.substr(from), out.blocks));
    out.rest = splitter.rest();
    return out;
}

// Blocks by the rule itself, a byte at a time: the other way to compute the same.
Cut cut_slowly(std::string_view stream) {
    Cut out;
    std::string block;
    bool blank = true;
    for (std::size_t i = 0; i < stream.size(); ++i) {
        block += stream[i];
        if (stream[i] != '\r' && stream[i] != '\n') {
            blank = false;
            continue;
        }
        if (stream[i] == '\r') {
            if (i + 1 == stream.size()) break;
            if (stream[i + 1] == '\n') block += stream[++i];
        }
        if (blank) {
            out.blocks.push_back(block);
            block.clear();
        }
        blank = true;
    }
    out.rest = block;
    return out;
}

std::string joined(const Cut& cut) {
    std::string out;
    for (const std::string& block : cut.blocks) out += block;
    return out + cut.rest;
}

const std::string_view kStreams[] = {
    "data: a\n\ndata: b\n\ndata: [DONE]\n\n",
    "data: a\r\n\r\nevent: x\r\ndata: b\r\n\r\n",
    "data: a\r\rdata: b\r\r: c\r\r",
    "\xEF\xBB\xBF"
    "data: a\n\n",
    "data: a\r\n\ndata: b\n\r\ndata: c\r\r\ndata: d\n\r",
    ": ping\n\n\n\n\r\n\r\n\rdata:x\n\ndata: rest",
    "\n\n\n",
    "\r\r\r",
    "\r\n\r\n\r\n",
    "id: 1\nretry: 5\nevent: e\ndata\ndata: y\n\ndata: z\r",
    "",
};

TEST(SseSplitter, CutsAtBlankLinesOfEveryKind) {
    EXPECT_THAT(
        cut("data: a\n\ndata: b\n\n", {}).blocks, ElementsAre("data: a\n\n", "data: b\n\n")
    );
    EXPECT_THAT(cut("a\r\n\r\nb\r\n\r\n", {}).blocks, ElementsAre("a\r\n\r\n", "b\r\n\r\n"));
    EXPECT_THAT(cut("a\r\rb\r\rc", {}).blocks, ElementsAre("a\r\r", "b\r\r"));
    EXPECT_THAT(cut("a\n\r\nb\r\n\nc", {}).blocks, ElementsAre("a\n\r\n", "b\r\n\n"));
    EXPECT_EQ(cut("a\n\nb\n", {}).rest, "b\n");
}

TEST(SseSplitter, GivesABlockAtItsLastByte) {
    SseSplitter splitter;
    std::vector<std::string> blocks;
    ASSERT_TRUE(splitter.feed("data: a\r\n\r", blocks));
    EXPECT_THAT(blocks, IsEmpty());
    ASSERT_TRUE(splitter.feed("\n", blocks));
    EXPECT_THAT(blocks, ElementsAre("data: a\r\n\r\n"));
    EXPECT_EQ(splitter.rest(), "");
}

TEST(SseSplitterProperty, EverySplitPointGivesTheSameBlocks) {
    for (const std::string_view stream : kStreams) {
        const Cut whole = cut_slowly(stream);
        ASSERT_EQ(joined(whole), stream);
        for (std::size_t i = 0; i <= stream.size(); ++i) {
            for (std::size_t j = i; j <= stream.size(); ++j) {
                ASSERT_EQ(cut(stream, {i, j}), whole) << i << ' ' << j << ' ' << stream;
            }
        }
        std::vector<std::size_t> each;
        for (std::size_t i = 0; i < stream.size(); ++i) each.push_back(i);
        ASSERT_EQ(cut(stream, each), whole) << stream;
    }
}

TEST(SseSplitterProperty, RandomStreamsInRandomPieces) {
    Random random("RandomStreamsInRandomPieces");
    constexpr std::string_view kPieces[] = {
        "\n",
        "\r",
        "\r\n",
        "data: ",
        "x",
        "event: y",
        ":",
        " ",
        "{\"a\":1}",
        "\n\n",
        "\r\r\n",
    };
    for (int round = 0; round < 5000; ++round) {
        std::string stream;
        const std::size_t count = random.below(30);
        for (std::size_t i = 0; i < count; ++i) stream += random.pick(kPieces);
        std::vector<std::size_t> ends;
        for (std::size_t i = 0; i < stream.size(); ++i) {
            if (random.one_in(4)) ends.push_back(i);
        }
        ASSERT_EQ(cut(stream, ends), cut_slowly(stream)) << testing::PrintToString(stream);
    }
}

TEST(SseSplitter, RefusesABlockOverItsLimitHoweverItComes) {
    const std::string exact = "data: " + std::string(92, 'x') + "\n\n";
    const std::string over = "data: " + std::string(93, 'x') + "\n\n";
    for (std::size_t i = 0; i <= exact.size(); ++i) {
        SseSplitter fits(100);
        std::vector<std::string> blocks;
        EXPECT_TRUE(fits.feed(exact.substr(0, i), blocks));
        EXPECT_TRUE(fits.feed(exact.substr(i), blocks));
        EXPECT_THAT(blocks, ElementsAre(exact));

        SseSplitter too_long(100);
        blocks.clear();
        const bool first = too_long.feed(over.substr(0, i), blocks).has_value();
        const bool second = too_long.feed(over.substr(i), blocks).has_value();
        EXPECT_FALSE(first && second) << i;
        EXPECT_THAT(blocks, IsEmpty());
        const auto later = too_long.feed("data: y\n\n", blocks);
        ASSERT_FALSE(later);
        EXPECT_EQ(later.error().code, ErrorCode::kTooLarge);
    }
    // Endless data without a line end is held up to the limit only.
    SseSplitter splitter(1000);
    std::vector<std::string> blocks;
    bool good = true;
    for (int i = 0; i < 100 && good; ++i)
        good = splitter.feed("0123456789abcdef", blocks).has_value();
    EXPECT_FALSE(good);
    EXPECT_LT(splitter.rest().size(), 1100U);
}

TEST(SseEvent, ReadsFieldsAsTheStandardSays) {
    const SseEvent event =
        parse_event("event: a\nevent:b\nid: 7\ndata: x\ndata:  y\ndata\n: c\n\n");
    EXPECT_EQ(event.event, "b");
    EXPECT_EQ(event.data, "x\n y\n");
    EXPECT_TRUE(event.has_data);
}

TEST(SseEvent, ReadsEveryLineEnd) {
    for (const std::string_view end : {"\n", "\r", "\r\n"}) {
        const std::string e(end);
        const SseEvent event = parse_event("data: 1" + e + "event: t" + e + "data: 2" + e + e);
        EXPECT_EQ(event.data, "1\n2");
        EXPECT_EQ(event.event, "t");
    }
}

TEST(SseEvent, TakesNothingFromCommentsAndOtherFields) {
    for (const std::string_view block :
         {": ping\n\n", "\n", "retry: 3\n\n", "Data: x\n\n", " data: x\n\n", "database: x\n\n", ""
         }) {
        const SseEvent event = parse_event(block);
        EXPECT_FALSE(event.has_data) << block;
        EXPECT_EQ(event.event, "") << block;
    }
}

TEST(SseEvent, EmptyDataIsData) {
    EXPECT_TRUE(parse_event("data:\n\n").has_data);
    EXPECT_TRUE(parse_event("data\n\n").has_data);
    EXPECT_EQ(parse_event("data: a:b: c\n").data, "a:b: c");
    EXPECT_EQ(
        parse_event("\xEF\xBB\xBF"
                    "data: a\n\n")
            .data,
        "a"
    );
}

}  // namespace
}  // namespace weir::http
