// What a request carries beside text, and how many tokens its input may be.
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "weir/http/json_request.hpp"

#include "http/random_json.hpp"
#include "http/read_request.hpp"

namespace weir::http {

void PrintTo(const MediaParts& parts, std::ostream* out) {
    *out << parts.images << " images, " << parts.audios << " audios, " << parts.files << " files";
}

namespace {

using test::Node;
using test::Random;

// In a message of a chat, an item of responses, a tool's result and so on.
std::vector<std::string> places_of(const std::string& part) {
    return {
        R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},)" + part + "]}]}",
        R"({"messages":[{"role":"user","content":)" + part + "}]}",
        R"({"messages":[{"role":"user","content":[[)" + part + "]]}]}",
        R"({"messages":[{"role":"user","content":[{"type":"tool_result","content":[)" + part +
            "]}]}]}",
        R"({"messages":[{"content":[{"type":"tool_result","content":)" + part + "}]}]}",
        R"({"system":[)" + part + "]}",
        R"({"input":[{"role":"user","content":[)" + part + "]}]}",
        R"({"input":[{"type":"function_call_output","call_id":"c","output":[)" + part + "]}]}",
        R"({"input":[{"type":"function_call_output","call_id":"c","output":)" + part + "}]}",
        R"({"input":[)" + part + "]}",
        R"({"input":)" + part + "}",
        R"({"prompt":{"variables":{"v":)" + part + "}}}",
    };
}

struct Case {
    std::string_view part;
    MediaParts parts;
    std::uint64_t bytes;  // of media_bytes
    std::uint64_t tokens;
};
constexpr std::uint64_t kImage = kTokensOfAnImage;
constexpr std::uint64_t kAudio = kTokensOfAudioElsewhere;
constexpr std::uint64_t kFile = kLeastTokensOfAFile;
const Case kCases[] = {
    // OpenAI, chats.
    {R"({"type":"image_url","image_url":{"url":"https://x/y.png","detail":"low"}})",
     {1, 0, 0},
     0,
     kImage},
    {R"({"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}})",
     {1, 0, 0},
     28,
     kImage},
    {R"({"image_url":{"url":"DATA:image/png;base64,AAAA"},"type":"image_url"})",
     {1, 0, 0},
     28,
     kImage},
    {R"({"type":"input_audio","input_audio":{"data":"AAAAAAAA","format":"wav"}})", {0, 1, 0}, 10, 10
    },
    {R"({"type":"file","file":{"file_data":"data:application/pdf;base64,AAAA","filename":"a"}})",
     {0, 0, 1},
     34,
     kFile},
    // Responses.
    {R"({"type":"input_image","image_url":"data:image/png;base64,AAAA"})", {1, 0, 0}, 28, kImage},
    {R"({"type":"input_image","file_id":"f"})", {1, 0, 0}, 0, kImage},
    {R"({"type":"computer_screenshot","image_url":"https://x"})", {1, 0, 0}, 0, kImage},
    {R"({"type":"input_file","filename":"a","file_data":"data:application/pdf;base64,AAAA"})",
     {0, 0, 1},
     34,
     kFile},
    {R"({"type":"input_file","file_url":"https://x/y.pdf"})", {0, 0, 1}, 0, kFile},
    {R"({"type":"input_file","file_id":"f"})", {0, 0, 1}, 0, kFile},
    // Anthropic.
    {R"({"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}})",
     {1, 0, 0},
     6,
     kImage},
    {R"({"source":{"data":"AAAA"},"type":"image"})", {1, 0, 0}, 6, kImage},
    {R"({"type":"image","source":{"type":"url","url":"https://x"}})", {1, 0, 0}, 0, kImage},
    {R"({"type":"document","source":{"type":"base64","data":"AAAA"},"title":"t"})",
     {0, 0, 1},
     6,
     kFile},
    {R"({"type":"document","source":{"type":"text","data":"Some words"}})", {0, 0, 1}, 12, kFile},
    {R"({"type":"document","source":{"type":"content","content":[{"type":"text","text":"a"},{"type":"image","source":{"data":"AAAA"}}]}})",
     {1, 0, 1},
     6,
     kImage + kFile},
    // Others.
    {R"({"type":"video_url","video_url":{"url":"https://x"}})", {0, 0, 1}, 0, kFile},
    {R"({"type":"audio_url","audio_url":{"url":"https://x"}})", {0, 1, 0}, 0, kAudio},
    {R"({"type":"audio_url","audio_url":{"url":"data:audio/wav;base64,AAAA"}})", {0, 1, 0}, 28, 28},
    {R"({"type":"document_url","document_url":"https://x/y.pdf"})", {0, 0, 1}, 0, kFile},
    {R"({"image":"AAAA"})", {1, 0, 0}, 6, kImage},
    {R"({"video":["https://x","https://y"]})", {0, 0, 2}, 0, 2 * kFile},
    {R"({"image":[{"url":"data:,A"},{"url":"https://y"}]})", {2, 0, 0}, 9, 2 * kImage},
    // Odd shapes: servers that go by the key take these, too.
    {R"({"image_url":"https://x"})", {1, 0, 0}, 0, kImage},
    {R"({"type":"text","text":"a","image_url":{"url":"https://x"}})", {1, 0, 0}, 0, kImage},
    {R"({"type":"text","text":"a","input_audio":{"data":"AAAA"}})", {0, 1, 0}, 6, 6},
    {R"({"t\u0079pe":"i\u006dage_url"})", {1, 0, 0}, 0, kImage},
    {R"({"ima\u0067e_url":"https://x"})", {1, 0, 0}, 0, kImage},
    {R"({"source":{"data":"AAAA"}})", {0, 0, 1}, 6, kFile},
    {R"({"file_id":"f"})", {0, 0, 1}, 0, kFile},
    {R"({"type":"input_file","image_url":"https://x"})", {1, 0, 1}, 0, kImage + kFile},
    {R"({"image_url":{"url":"data:,A"},"input_audio":{"url":"https://x"}})",
     {1, 1, 0},
     9,
     kImage + kAudio},
    // An address where data should be is not counted by its length, however it is written.
    {R"({"type":"input_audio","input_audio":{"data":"https://x/y.wav"}})", {0, 1, 0}, 0, kAudio},
    {R"({"type":"input_audio","input_audio":{"data":"https:\/\/x\/y.wav"}})", {0, 1, 0}, 0, kAudio},
    {R"({"type":"input_audio","input_audio":{"data":"\u0068ttps\u003a//x"}})", {0, 1, 0}, 0, kAudio
    },
    {R"({"type":"input_audio","input_audio":{"data":"AA","url":"https://x"}})",
     {0, 1, 0},
     4,
     4 + kAudio},
    {R"({"type":"input_audio"})", {0, 1, 0}, 0, kAudio},
};

TEST(JsonMedia, KnowsEveryPartWhereverItStands) {
    for (const Case& one : kCases) {
        for (const std::string& body : places_of(std::string(one.part))) {
            const JsonRequest request = read(body);
            EXPECT_EQ(request.media_parts, one.parts) << body;
            EXPECT_EQ(request.has_image, one.parts.images > 0) << body;
            EXPECT_EQ(request.has_audio, one.parts.audios > 0) << body;
            EXPECT_EQ(request.has_file, one.parts.files > 0) << body;
            EXPECT_EQ(request.media_bytes, one.bytes) << body;
            EXPECT_EQ(request.media_tokens, one.tokens) << body;
            EXPECT_EQ(
                input_tokens_bound(request, body.size()), body.size() - one.bytes + one.tokens
            ) << body;
        }
    }
}

TEST(JsonMedia, KnowsPicturesThatAreNoParts) {
    const std::string_view bodies[] = {
        R"({"prompt":"a","image":"data:image/png;base64,AAAA"})",
        R"({"prompt":"a","image":"AAAA"})",
        R"({"prompt":"a","images":["AAAA"]})",
        R"({"images":[{"image_url":"https://x"}]})",
        R"({"messages":[{"role":"user","content":"a","images":["AAAA"]}]})",
        R"({"messages":[{"images":[{"type":"image_url","image_url":{"url":"data:,A"}}]}]})",
        R"({"tools":[{"type":"image_generation","input_image_mask":{"image_url":"data:,A"}}]})",
        R"({"input":[{"type":"image_generation_call","id":"i","status":"completed","result":"AAAA"}]})",
    };
    for (const std::string_view body : bodies) {
        const JsonRequest request = read(body);
        EXPECT_EQ(request.media_parts, (MediaParts{1, 0, 0})) << body;
        EXPECT_TRUE(request.has_image) << body;
        EXPECT_EQ(request.media_tokens, kImage) << body;
    }
    EXPECT_EQ(read(bodies[0]).media_bytes, 28U);
    EXPECT_EQ(read(bodies[5]).media_bytes, 9U);
    EXPECT_EQ(read(bodies[7]).media_bytes, 6U);
}

TEST(JsonMedia, DoesNotTakeOtherThingsForInput) {
    const std::string_view bodies[] = {
        // The answer's.
        R"({"modalities":["text","audio"],"audio":{"voice":"alloy","format":"wav"},"messages":[]})",
        R"({"messages":[{"role":"assistant","audio":{"id":"a"}}]})",
        // Words.
        R"({"messages":[{"role":"user","content":"{\"type\":\"image_url\"}"}]})",
        R"({"messages":[{"role":"user","content":[{"type":"text","text":"data:image/png;base64,AAAA"}]}]})",
        R"({"messages":[{"role":"image_url","name":"file","image_url":"https://x"}]})",
        R"({"metadata":{"image_url":"x","type":"image_url","content":[{"type":"image_url"}]}})",
        // Tools, their schemas and their arguments.
        R"({"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object",
            "properties":{"image_url":{"type":"string"},"file":{"type":"string"},
            "content":{"type":"array"},"source":{"data":"AAAA"}}}}}]})",
        R"({"tools":[{"type":"image_generation","size":"auto"},{"type":"file_search"}]})",
        R"({"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":
            "{\"image_url\":\"data:,A\"}"}}]}]})",
        R"({"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f",
            "input":{"type":"image","image_url":"https://x","source":{"data":"AAAA"}}}]}]})",
        R"({"input":[{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}]})",
        R"({"input":[{"type":"file_search_call","queries":["a"],"results":null,"status":"x"}]})",
        R"({"response_format":{"type":"json_schema","json_schema":{"schema":{"image":"x"}}}})",
        // Nothing there.
        R"({"messages":[{"content":[{"type":"text","text":"a","image_url":null,"file":null,
            "input_audio":null,"source":null,"file_id":null}]}]})",
        R"({"messages":[{"content":[{"type":"text","text":"a","image_url":"","video":[]}]}]})",
        R"({"messages":[{"content":[{"type":"search_result","source":"https://x","content":[
            {"type":"text","text":"a"}]}]}]})",
        R"({"image":null,"images":[],"messages":[{"content":null,"images":null}]})",
        R"({"input":[{"type":"custom_tool_call","result":"AAAA"}]})",
        R"({"input":["a","b"]})",
        R"({"input":[1,2,3]})",
        R"({"input":[[1,2],[3]]})",
        "{}",
    };
    for (const std::string_view body : bodies) {
        const JsonRequest request = read(body);
        EXPECT_FALSE(request.has_image || request.has_audio || request.has_file) << body;
        EXPECT_EQ(request.media_parts, MediaParts{}) << body;
        EXPECT_EQ(request.media_bytes, 0U) << body;
        EXPECT_EQ(input_tokens_bound(request, body.size()), body.size()) << body;
    }
}

TEST(JsonMedia, LargeFilesCountByTheirBytes) {
    const std::string data(100'000, 'A');
    const JsonRequest file =
        read(R"({"input":[{"content":[{"type":"input_file","file_data":")" + data + R"("}]}]})");
    EXPECT_EQ(file.media_tokens, 8 * (data.size() + 2));
    EXPECT_EQ(file.media_bytes, data.size() + 2);
    // Of a list, all of it counts, since its texts may be data.
    const std::string list = R"(["A",")" + data + R"("])";
    const JsonRequest files = read(R"({"input":[{"file":)" + list + "}]}");
    EXPECT_EQ(files.media_parts.files, 2U);
    EXPECT_EQ(files.media_tokens, 8 * list.size());
    EXPECT_EQ(files.media_bytes, 0U);
}

TEST(JsonMedia, DataOfOnePartIsNotThatOfAnother) {
    // What a file holds stays the file's, though a picture stands within it.
    const std::string data(100'000, 'A');
    const JsonRequest request = read(
        R"({"messages":[{"content":[{"type":"document","source":{"data":")" + data +
        R"(","content":[{"type":"image","source":{"url":"https://x"}}]}}]}]})"
    );
    EXPECT_EQ(request.media_parts, (MediaParts{1, 0, 1}));
    EXPECT_EQ(request.media_tokens, kImage + 8 * (data.size() + 2));
}

TEST(JsonMediaProperty, AreTheSumOfTheParts) {
    Random random("AreTheSumOfTheParts");
    for (int round = 0; round < 500; ++round) {
        MediaParts parts;
        std::uint64_t bytes = 0;
        std::uint64_t tokens = 0;
        std::string list;
        const std::size_t count = random.below(8);
        for (std::size_t i = 0; i < count; ++i) {
            if (!list.empty()) list += ',';
            if (random.one_in(3)) {
                list += test::write(random, {.space = true}, Node::string("data:image/png"));
                continue;
            }
            const Case& one = random.pick(kCases);
            std::string part(one.part);
            while (random.one_in(3)) part = R"({"type":"tool_result","content":[)" + part + "]}";
            list += part;
            parts.images += one.parts.images;
            parts.audios += one.parts.audios;
            parts.files += one.parts.files;
            bytes += one.bytes;
            tokens += one.tokens;
        }
        const std::string body = R"({"messages":[{"content":[)" + list + R"(]}],"n":1})";
        const JsonRequest request = read(body);
        ASSERT_EQ(request.media_parts, parts) << body;
        ASSERT_EQ(request.media_bytes, bytes) << body;
        ASSERT_EQ(request.media_tokens, tokens) << body;
    }
}

}  // namespace
}  // namespace weir::http
