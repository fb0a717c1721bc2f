// What answers say of the tokens that they took.
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "weir/http/answer.hpp"
#include "weir/http/sse.hpp"

#include "http/random_json.hpp"

namespace weir::http {

void PrintTo(const Usage& usage, std::ostream* out) {
    *out << usage.input << " in (" << usage.cached_input << " cached), " << usage.output << " out";
}

namespace {

using test::Random;

std::optional<Usage> of_stream(Shape shape, const std::vector<std::string_view>& data) {
    StreamWatch watch(shape, 1, false);
    for (const std::string_view one : data) watch.see("data: " + std::string(one) + "\n\n");
    return watch.usage();
}

std::optional<Usage> of_json(Shape shape, std::string_view body) {
    std::optional<Usage> usage = Usage{1, 1, 1};  // must not be left
    (void)judge_json(shape, body, false, &usage);
    return usage;
}

struct Case {
    std::string_view usage;
    std::optional<Usage> expected;
};
const Case kCases[] = {
    {R"({"prompt_tokens":9,"completion_tokens":12,"total_tokens":21})", Usage{9, 0, 12}},
    {R"({"prompt_tokens":9,"completion_tokens":0,"prompt_tokens_details":{"cached_tokens":4}})",
     Usage{9, 4, 0}},
    {R"({"prompt_tokens":9,"completion_tokens":1,"prompt_cache_hit_tokens":5,"prompt_cache_miss_tokens":4})",
     Usage{9, 5, 1}},
    {R"({"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":null})", Usage{9, 0, 1}},
    // A vendor's mixture: there the prompt's tokens are all of them.
    {R"({"prompt_tokens":9,"completion_tokens":1,"cache_read_input_tokens":5})", Usage{9, 0, 1}},
    {R"({"input_tokens":36,"output_tokens":87,"input_tokens_details":{"cached_tokens":6}})",
     Usage{36, 6, 87}},
    {R"({"input_tokens":2,"cache_read_input_tokens":30,"cache_creation_input_tokens":4,"output_tokens":5})",
     Usage{36, 30, 5}},
    {R"({"input_tokens":2,"cache_read_input_tokens":null,"output_tokens":5})", Usage{2, 0, 5}},
    // Embeddings.
    {R"({"prompt_tokens":8,"total_tokens":8})", Usage{8, 0, 0}},
    {R"({"total_tokens":8})", Usage{8, 0, 0}},
    {R"({"completion_tokens":3,"total_tokens":8})", Usage{5, 0, 3}},
    {R"({"completion_tokens":3})", Usage{0, 0, 3}},
    {R"({"prompt_tokens":4,"prompt_tokens_details":{"cached_tokens":9}})", Usage{4, 4, 0}},
    // Numbers that are none.
    {R"({"prompt_tokens":-9,"completion_tokens":12})", Usage{0, 0, 12}},
    {R"({"prompt_tokens":9.0,"completion_tokens":12})", Usage{0, 0, 12}},
    {R"({"prompt_tokens":"9","completion_tokens":12})", Usage{0, 0, 12}},
    {R"({"prompt_tokens":1099511627776,"completion_tokens":1})", Usage{1099511627776, 0, 1}},
    {R"({"prompt_tokens":1099511627777,"completion_tokens":1})", Usage{0, 0, 1}},
    {R"({"prompt_tokens":18446744073709551615})", std::nullopt},
    {R"({"prompt_tokens":-1,"completion_tokens":-1,"total_tokens":-2})", std::nullopt},
    {R"({"type":"duration","seconds":7})", std::nullopt},
    {"{}", std::nullopt},
    {"null", std::nullopt},
    {"[]", std::nullopt},
    {"7", std::nullopt},
};

TEST(Usage, IsReadInEverySpelling) {
    for (const Case& one : kCases) {
        const std::string usage(one.usage);
        const std::string tail = R"("usage":)" + usage + "}";
        EXPECT_EQ(of_json(Shape::kChat, R"({"choices":[],)" + tail), one.expected) << usage;
        EXPECT_EQ(of_json(Shape::kCompletion, "{" + tail), one.expected) << usage;
        EXPECT_EQ(of_json(Shape::kEmbedding, R"({"data":[1],)" + tail), one.expected) << usage;
        EXPECT_EQ(of_json(Shape::kResponse, R"({"status":"completed",)" + tail), one.expected)
            << usage;
        EXPECT_EQ(of_json(Shape::kMessage, R"({"type":"message",)" + tail), one.expected) << usage;
        EXPECT_EQ(of_stream(Shape::kChat, {R"({"choices":[],)" + tail}), one.expected) << usage;
        EXPECT_EQ(of_stream(Shape::kOther, {"{" + tail}), one.expected) << usage;
        EXPECT_EQ(of_stream(Shape::kMessage, {R"({"type":"message_delta",)" + tail}), one.expected)
            << usage;
        EXPECT_EQ(
            of_stream(
                Shape::kResponse, {R"({"type":"response.completed","response":{)" + tail + "}"}
            ),
            one.expected
        ) << usage;
    }
    EXPECT_EQ((Usage{9, 4, 12}.total()), 21U);
    EXPECT_EQ(of_json(Shape::kChat, "{"), std::nullopt);
    EXPECT_EQ(of_json(Shape::kChat, "[]"), std::nullopt);
}

TEST(Usage, OfAStreamIsTheLastOne) {
    const std::string_view first = R"({"choices":[],"usage":{"prompt_tokens":1}})";
    const std::string_view second = R"({"choices":[],"usage":{"prompt_tokens":2}})";
    const std::string_view none = R"({"choices":[],"usage":null})";
    EXPECT_EQ(of_stream(Shape::kChat, {first, second, none, "[DONE]"}), (Usage{2, 0, 0}));
    EXPECT_EQ(of_stream(Shape::kChat, {none, "[DONE]"}), std::nullopt);
    EXPECT_EQ(of_stream(Shape::kChat, {}), std::nullopt);
}

TEST(Usage, IsNotLostInAChunkThatLooksOrdinary) {
    const std::string_view unfinished =
        R"("choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}])";
    const std::string head = "{" + std::string(unfinished);
    const std::string_view tails[] = {
        R"(,"usage":{"prompt_tokens":7,"completion_tokens":1}})",
        R"(,"usage": {"prompt_tokens":7,"completion_tokens":1}})",
        R"(,"usage" : {"prompt_tokens":7,"completion_tokens":1}})",
        R"(,"x":{"usage":null},"usage":{"prompt_tokens":7,"completion_tokens":1}})",
        R"(,"\u0075sage":{"prompt_tokens":7,"completion_tokens":1}})",
    };
    for (const std::string_view tail : tails) {
        const std::string chunk = head + std::string(tail);
        EXPECT_EQ(of_stream(Shape::kChat, {chunk}), (Usage{7, 0, 1})) << chunk;
    }
    const std::string before =
        R"({"usage":{"prompt_tokens":7,"completion_tokens":1},)" + std::string(unfinished) + "}";
    EXPECT_EQ(of_stream(Shape::kChat, {before}), (Usage{7, 0, 1}));
    // Inside of text it is none.
    const std::string text =
        R"({"choices":[{"index":0,"delta":{"content":"\"usage\":{\"prompt_tokens\":7}"},"finish_reason":null}]})";
    EXPECT_EQ(of_stream(Shape::kChat, {text}), std::nullopt);
}

TEST(Usage, OfAnthropicsStreamIsPutTogether) {
    const std::string_view start =
        R"({"type":"message_start","message":{"usage":{"input_tokens":10,"cache_read_input_tokens":100,"cache_creation_input_tokens":1000,"output_tokens":1}}})";
    const std::string_view delta =
        R"({"type":"message_delta","delta":{},"usage":{"output_tokens":15}})";
    EXPECT_EQ(of_stream(Shape::kMessage, {start}), (Usage{1110, 100, 1}));
    EXPECT_EQ(of_stream(Shape::kMessage, {start, delta}), (Usage{1110, 100, 15}));
    EXPECT_EQ(of_stream(Shape::kMessage, {delta}), (Usage{0, 0, 15}));
    const std::string_view later =
        R"({"type":"message_delta","usage":{"input_tokens":2000,"cache_read_input_tokens":500,"output_tokens":40}})";
    EXPECT_EQ(of_stream(Shape::kMessage, {start, delta, later}), (Usage{2500, 500, 40}));
    // Some send the start's numbers as 0 with the last event.
    const std::string_view zeros =
        R"({"type":"message_delta","usage":{"input_tokens":0,"output_tokens":41}})";
    EXPECT_EQ(of_stream(Shape::kMessage, {start, zeros}), (Usage{1110, 100, 41}));
}

TEST(Usage, OfAResponsesStreamStandsInItsTerminal) {
    const std::string_view created =
        R"({"type":"response.created","response":{"status":"in_progress","usage":null}})";
    const std::string_view delta =
        R"({"type":"response.output_text.delta","delta":"\"usage\":{\"input_tokens\":1}"})";
    for (const char* type : {"completed", "incomplete", "failed"}) {
        const std::string end = std::string(R"({"type":"response.)") + type +
                                R"(","response":{"usage":{"input_tokens":5,"output_tokens":6}}})";
        EXPECT_EQ(of_stream(Shape::kResponse, {created, delta, end}), (Usage{5, 0, 6}));
    }
    EXPECT_EQ(of_stream(Shape::kResponse, {created, delta}), std::nullopt);
}

TEST(Usage, OfALastLineWithoutItsBlankLineCounts) {
    StreamWatch watch(Shape::kChat, 1, false);
    watch.see("data: {\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"}]}\n\n");
    EXPECT_EQ(
        watch.end("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3}}"), Ending::kWholeNoCache
    );
    EXPECT_EQ(watch.usage(), (Usage{3, 0, 0}));
}

TEST(UsageProperty, OfAStreamInPiecesIsThatOfTheWhole) {
    Random random("OfAStreamInPieces");
    for (int round = 0; round < 500; ++round) {
        std::string text;
        std::optional<Usage> last;
        const std::size_t count = 1 + random.below(6);
        for (std::size_t i = 0; i < count; ++i) {
            const std::string_view end = random.one_in(2) ? "\n\n" : "\r\n\r\n";
            const bool finished = random.one_in(3);
            text += "data: ";
            text += R"({"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":)";
            text += finished ? R"("stop"}])" : "null}]";
            const Case& one = random.pick(kCases);
            if (random.one_in(2)) {
                text += R"(,"usage":)" + std::string(one.usage);
                if (one.expected) last = one.expected;
            }
            text += "}";
            text += end;
        }
        StreamWatch watch(Shape::kChat, 1, false);
        SseSplitter splitter;
        std::vector<std::string> blocks;
        for (std::size_t at = 0; at < text.size();) {
            const std::size_t length = 1 + random.below(40);
            ASSERT_TRUE(splitter.feed(std::string_view(text).substr(at, length), blocks));
            at += length;
        }
        for (const std::string& block : blocks) watch.see(block);
        ASSERT_EQ(watch.usage(), last) << text;
    }
}

}  // namespace
}  // namespace weir::http
