#include "weir/http/answer.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace weir::http {
namespace {

struct Given {
    Shape shape = Shape::kChat;
    std::uint64_t choices = 1;
    bool limit_set = false;
};

Ending ending(const std::vector<std::string>& data, Given given = {}, std::string_view rest = "") {
    StreamWatch watch(given.shape, given.choices, given.limit_set);
    for (const std::string& one : data) watch.see("data: " + one + "\n\n");
    return watch.end(rest);
}

std::string chunk(int index, const std::string& content, const std::string& reason) {
    return R"({"id":"c","choices":[{"index":)" + std::to_string(index) +
           R"(,"delta":{"content":")" + content + R"("},"logprobs":null,"finish_reason":)" +
           reason + "}]}";
}

const std::string kOpen = chunk(0, "a", "null");
const std::string kStop = chunk(0, "", R"("stop")");
const std::string kUsage = R"({"id":"c","choices":[],"usage":{"total_tokens":3}})";
const std::string kDone = "[DONE]";

TEST(StreamWatchChat, WholeNeedsEveryChoiceFinishedAndDone) {
    EXPECT_EQ(ending({kOpen, kStop, kDone}), Ending::kWhole);
    EXPECT_EQ(ending({kOpen, kStop, kUsage, kDone}), Ending::kWhole);
    EXPECT_EQ(ending({kOpen, kStop}), Ending::kWholeNoCache);
    EXPECT_EQ(ending({kOpen, kStop, kUsage}), Ending::kWholeNoCache);
    EXPECT_EQ(ending({kOpen}), Ending::kBroken);
    EXPECT_EQ(ending({kOpen, kDone}), Ending::kBroken);
    EXPECT_EQ(ending({kDone}), Ending::kBroken);
    EXPECT_EQ(ending({}), Ending::kBroken);
}

TEST(StreamWatchChat, WaitsForAllChoices) {
    const std::string second_open = chunk(1, "b", "null");
    const std::string second_stop = chunk(1, "", R"("stop")");
    const Given two{.choices = 2};
    EXPECT_EQ(ending({kOpen, second_open, kStop, second_stop, kDone}, two), Ending::kWhole);
    EXPECT_EQ(ending({kOpen, second_open, kStop, second_stop}, two), Ending::kWholeNoCache);
    EXPECT_EQ(ending({kOpen, second_open, kStop, kDone}, two), Ending::kBroken);
    EXPECT_EQ(ending({kOpen, kStop, kStop}, two), Ending::kBroken);
    // A server that knows no `n`: not to be kept, but nothing is missing for the client.
    EXPECT_EQ(ending({kOpen, kStop, kDone}, two), Ending::kWholeNoCache);
    EXPECT_EQ(ending({kOpen, kStop}, two), Ending::kBroken);

    std::vector<std::string> many;
    for (int i = 0; i < 128; ++i) many.push_back(chunk(i, "x", "null"));
    for (int i = 0; i < 128; ++i) many.push_back(chunk(i, "", R"("stop")"));
    many.push_back(kDone);
    EXPECT_EQ(ending(many, {.choices = 128}), Ending::kWhole);
    many.erase(many.end() - 2);
    EXPECT_EQ(ending(many, {.choices = 128}), Ending::kBroken);
}

TEST(StreamWatchChat, SeveralChoicesInOneChunk) {
    const std::string both =
        R"({"choices":[{"index":0,"delta":{},"finish_reason":null},{"index":1,"delta":{},"finish_reason":"stop"}]})";
    EXPECT_EQ(ending({both, kDone}, {.choices = 2}), Ending::kBroken);
    EXPECT_EQ(ending({both, kStop, kDone}, {.choices = 2}), Ending::kWhole);
    const std::string second_open =
        R"({"choices":[{"index":0,"delta":{},"finish_reason":null},{"index":1,"delta":{"content":"x"}}]})";
    EXPECT_EQ(ending({second_open, kStop, kDone}, {.choices = 1}), Ending::kBroken);
}

TEST(StreamWatchChat, TextThatLooksLikeTheEndIsNot) {
    const std::string texts[] = {
        R"(\"finish_reason\":\"stop\")",
        R"({\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"}]})",
        R"("finish_reason":"stop")",
        R"([DONE])",
        R"(\ndata: [DONE]\n\n)",
        R"(\"error\":{})",
    };
    for (const std::string& text : texts) {
        if (text.starts_with('"')) continue;  // not inside a string
        EXPECT_EQ(ending({chunk(0, text, "null")}), Ending::kBroken) << text;
        EXPECT_EQ(ending({chunk(0, text, "null"), kStop, kDone}), Ending::kWhole) << text;
    }
    // The real one is not hidden by a look-alike, whatever the order or the way of writing it.
    const std::string stops[] = {
        R"({"choices":[{"index":0,"delta":{"content":"\"finish_reason\":null"},"finish_reason":"stop"}]})",
        R"({"choices":[{"index":0,"finish_reason":"stop","delta":{"content":"\"finish_reason\":null"}}]})",
        R"({"choices":[{"finish_reason" : "stop","index" : 0}]})",
        R"({"choices":[{"index":0,"delta":{"finish_reason":null},"finish\u005freason":"stop"}]})",
        R"({"choices":[{"finish_reason":"stop"}]})",
        R"({"choices":[{"index":0,"finish_reason":null},{"finish_reason":"stop"}]})",
    };
    for (const std::string& stop : stops) {
        EXPECT_EQ(ending({kOpen, stop, kDone}), Ending::kWhole) << stop;
    }
}

// What is like the chunk before it in all but its text is not looked at again; what only seems so
// is.
TEST(StreamWatchChat, WhatIsLikeTheChunkBeforeIsReadAllTheSame) {
    EXPECT_EQ(ending({kOpen, kOpen, chunk(0, "", "null"), kStop, kDone}), Ending::kWhole);
    EXPECT_EQ(ending({kOpen, kOpen, kOpen}), Ending::kBroken);
    // Its text ends early, and the choice as well.
    const std::string hidden = R"("},"finish_reason":"stop"},{"index":1,"delta":{"content":")";
    EXPECT_EQ(
        ending({kOpen, chunk(0, hidden, "null"), chunk(1, "", R"("stop")"), kDone}, {.choices = 2}),
        Ending::kWhole
    );
    EXPECT_EQ(
        ending({kOpen, chunk(0, R"(","refusal":null,"x":")", "null"), kStop, kDone}), Ending::kWhole
    );
    // Escapes are no quotes, and what comes behind them is like the first again.
    EXPECT_EQ(ending({kOpen, chunk(0, R"(\"a\n)", "null"), kOpen, kStop, kDone}), Ending::kWhole);
    // Shorter than what it is compared with, though it begins and ends as that.
    const std::string front = kOpen.substr(0, kOpen.find("a\"}"));
    EXPECT_EQ(ending({kOpen, front, kStop, kDone}), Ending::kWholeNoCache);
}

TEST(StreamWatchChat, AnEmptyFinishReasonIsNone) {
    EXPECT_EQ(ending({chunk(0, "a", R"("")"), kDone}), Ending::kBroken);
    EXPECT_EQ(ending({chunk(0, "a", R"("")"), kStop, kDone}), Ending::kWhole);
}

TEST(StreamWatchChat, LengthIsWholeOnlyIfTheClientSetALimit) {
    const std::string length = chunk(0, "", R"("length")");
    EXPECT_EQ(ending({kOpen, length, kDone}), Ending::kWholeNoCache);
    EXPECT_EQ(ending({kOpen, length, kDone}, {.limit_set = true}), Ending::kWhole);
    const std::string text = R"({"choices":[{"index":0,"text":"a","finish_reason":"length"}]})";
    EXPECT_EQ(ending({text, kDone}, {.shape = Shape::kCompletion}), Ending::kWhole);
}

TEST(StreamWatchChat, FilteredAndUnknownReasonsAreNotKept) {
    for (const char* reason : {"\"tool_calls\"", "\"function_call\""}) {
        EXPECT_EQ(ending({chunk(0, "", reason), kDone}), Ending::kWhole) << reason;
    }
    for (const char* reason : {"\"content_filter\"", "\"error\"", "\"abort\""}) {
        EXPECT_EQ(ending({chunk(0, "", reason), kDone}), Ending::kWholeNoCache) << reason;
    }
}

TEST(StreamWatchChat, AnErrorIsAnErrorWhereverItComes) {
    const std::string error = R"({"error":{"message":"x"}})";
    EXPECT_EQ(ending({error}), Ending::kError);
    EXPECT_EQ(ending({kOpen, error}), Ending::kError);
    EXPECT_EQ(ending({kOpen, kStop, error, kDone}), Ending::kError);
    EXPECT_EQ(ending({kOpen, kStop, kDone, error}), Ending::kWhole);
    EXPECT_EQ(
        ending({R"({"error":null,"choices":[{"index":0,"finish_reason":"stop"}]})", kDone}),
        Ending::kWhole
    );
    StreamWatch watch(Shape::kChat, 1, false);
    watch.see("event: error\ndata: {\"message\":\"x\"}\n\n");
    EXPECT_EQ(watch.end(""), Ending::kError);
}

TEST(StreamWatchChat, OnlyAChunkWithUsageAloneIsUsageOnly) {
    const std::pair<std::string, bool> cases[] = {
        {kUsage, false},
        {R"({"usage":{"total_tokens":3},"choices" : [ ]})", false},
        {R"({"choices":[],"prompt_filter_results":[{"prompt_index":0}]})", true},
        {R"({"choices":[],"usage":null})", true},
        {R"({"usage":{"total_tokens":3}})", true},
        {R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"total_tokens":3}})",
         true},
        {chunk(0, R"(\"choices\":[],\"usage\":{})", "null"), true},
        {kOpen, true},
        {kDone, true},
        {"not json", true},
    };
    for (const auto& [data, kept] : cases) {
        StreamWatch watch(Shape::kChat, 1, false);
        EXPECT_EQ(watch.see("data: " + data + "\n\n"), kept) << data;
        EXPECT_EQ(watch.see("data: " + data + "\r\n\r\n"), kept) << data;
        EXPECT_EQ(watch.see("event: x\ndata: " + data + "\n\n"), kept) << data;
    }
    StreamWatch watch(Shape::kChat, 1, false);
    EXPECT_TRUE(watch.see(": ping\n\n"));
    EXPECT_TRUE(watch.see("\n"));
}

TEST(StreamWatchChat, AChunkThatIsNotJsonIsNotKept) {
    EXPECT_EQ(ending({"{\"a\":", kStop, kDone}), Ending::kWholeNoCache);
    EXPECT_EQ(ending({"[1]", kStop, kDone}), Ending::kWholeNoCache);
}

TEST(StreamWatchChat, KnowsItsTerminal) {
    StreamWatch watch(Shape::kChat, 1, false);
    watch.see("data: " + kStop + "\n\n");
    EXPECT_FALSE(watch.terminal_seen());
    watch.see("data:[DONE]\r\n\r\n");
    EXPECT_TRUE(watch.terminal_seen());
    EXPECT_EQ(watch.end("garbage"), Ending::kWholeNoCache);
    EXPECT_EQ(watch.end("\n"), Ending::kWhole);
}

TEST(StreamWatchChat, ALastLineWithoutItsBlankLineCountsButIsNotKept) {
    EXPECT_EQ(ending({kOpen, kStop}, {}, "data: [DONE]"), Ending::kWholeNoCache);
    EXPECT_EQ(ending({kOpen, kStop}, {}, "data: [DONE]\n"), Ending::kWholeNoCache);
    EXPECT_EQ(ending({kOpen}, {}, "data: " + kStop), Ending::kWholeNoCache);
    EXPECT_EQ(ending({kOpen}, {}, "data: [DONE]"), Ending::kBroken);
    EXPECT_EQ(ending({kOpen, kStop}, {}, "data: {\"id\":\"c\",\"cho"), Ending::kBroken);
    EXPECT_EQ(ending({kOpen, kStop}, {}, "data: {\"error\":{\"message\":\"x\"}}"), Ending::kError);
    EXPECT_EQ(ending({kOpen, kStop, kDone}, {}, "\n"), Ending::kWhole);
}

TEST(StreamWatchResponse, EndsWithItsOwnTerminal) {
    const Given given{.shape = Shape::kResponse};
    const std::string delta =
        R"({"type":"response.output_text.delta","delta":"response.completed"})";
    const std::string completed =
        R"({"type":"response.completed","response":{"status":"completed"}})";
    const std::string limit =
        R"({"type":"response.incomplete","response":{"incomplete_details":{"reason":"max_output_tokens"}}})";
    const std::string filter =
        R"({"type":"response.incomplete","response":{"incomplete_details":{"reason":"content_filter"}}})";
    EXPECT_EQ(ending({delta, completed}, given), Ending::kWhole);
    EXPECT_EQ(ending({delta}, given), Ending::kBroken);
    EXPECT_EQ(ending({delta, kDone}, given), Ending::kBroken);
    EXPECT_EQ(ending({delta, limit}, given), Ending::kWholeNoCache);
    EXPECT_EQ(
        ending({delta, limit}, {.shape = Shape::kResponse, .limit_set = true}), Ending::kWhole
    );
    EXPECT_EQ(
        ending({delta, filter}, {.shape = Shape::kResponse, .limit_set = true}),
        Ending::kWholeNoCache
    );
    EXPECT_EQ(
        ending({delta, R"({"type":"response.failed","response":{"error":{"code":"x"}}})"}, given),
        Ending::kWholeNoCache
    );
    EXPECT_EQ(ending({delta, R"({"type":"error","message":"x"})"}, given), Ending::kError);
    EXPECT_EQ(ending({delta, R"({"error":{"message":"x"}})"}, given), Ending::kError);
}

TEST(StreamWatchResponse, ReadsNamedEvents) {
    StreamWatch watch(Shape::kResponse, 1, false);
    watch.see("event: response.output_text.delta\ndata: {\"delta\":\"response.completed\"}\n\n");
    EXPECT_FALSE(watch.terminal_seen());
    watch.see("event: response.completed\ndata: {\"response\":{\"status\":\"completed\"}}\n\n");
    EXPECT_TRUE(watch.terminal_seen());
    EXPECT_EQ(watch.end(""), Ending::kWhole);
}

TEST(StreamWatchOther, KnowsTheTerminalsOfOtherStreams) {
    const Given given{.shape = Shape::kOther};
    EXPECT_EQ(ending({R"({"type":"speech.audio.done"})"}, given), Ending::kWhole);
    EXPECT_EQ(ending({R"({"type":"image_generation.partial_image"})"}, given), Ending::kBroken);
    EXPECT_EQ(ending({R"({"type":"image_generation.completed"})"}, given), Ending::kWhole);
    EXPECT_EQ(
        ending(
            {R"({"type":"image_generation.completed"})"}, {.shape = Shape::kOther, .choices = 2}
        ),
        Ending::kBroken
    );
    EXPECT_EQ(ending({R"({"x":1})"}, given), Ending::kWholeNoCache);
    EXPECT_EQ(ending({}, given), Ending::kBroken);
}

std::string stopped_by(const std::string& reason) {
    return R"({"type":"message_delta","delta":{"stop_reason":)" + reason +
           R"(,"stop_sequence":null},"usage":{"output_tokens":3}})";
}

TEST(StreamWatchMessage, EndsWithMessageStop) {
    const Given given{.shape = Shape::kMessage, .limit_set = true};
    const std::string start = R"({"type":"message_start","message":{"stop_reason":null}})";
    const std::string ping = R"({"type":"ping"})";
    const std::string stop = R"({"type":"message_stop"})";
    const std::string end = stopped_by(R"("end_turn")");
    const std::string text =
        R"({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"message_stop"}})";
    EXPECT_EQ(ending({start, ping, text, end, stop}, given), Ending::kWhole);
    EXPECT_EQ(ending({start, text, end}, given), Ending::kBroken);
    EXPECT_EQ(ending({start, text, end, kDone}, given), Ending::kBroken);
    EXPECT_EQ(ending({start, ping}, given), Ending::kBroken);
    EXPECT_EQ(ending({}, given), Ending::kBroken);
    // No reason why: nothing that we know is missing, but it is not kept.
    EXPECT_EQ(ending({start, text, stop}, given), Ending::kWholeNoCache);
    EXPECT_EQ(ending({start, text, stopped_by("null"), stop}, given), Ending::kWholeNoCache);
    // An event of a later version is no fault.
    EXPECT_EQ(ending({start, R"({"type":"news"})", end, stop}, given), Ending::kWhole);
    EXPECT_EQ(ending({start, "not JSON", end, stop}, given), Ending::kWholeNoCache);
    EXPECT_EQ(
        ending({start, R"({"type":"error","error":{"type":"overloaded_error"}})"}, given),
        Ending::kError
    );
    EXPECT_EQ(ending({start, R"({"error":{"message":"x"}})"}, given), Ending::kError);
    // Behind the end nothing matters.
    EXPECT_EQ(ending({start, end, stop, R"({"type":"error"})"}, given), Ending::kWhole);
}

TEST(StreamWatchMessage, ReadsNamedEvents) {
    StreamWatch watch(Shape::kMessage, 1, true);
    watch.see("event: content_block_delta\ndata: {\"delta\":{\"text\":\"message_stop\"}}\n\n");
    EXPECT_FALSE(watch.terminal_seen());
    watch.see("event: message_delta\ndata: {\"delta\":{\"stop_reason\":\"tool_use\"}}\n\n");
    watch.see("event: message_stop\ndata: {}\n\n");
    EXPECT_TRUE(watch.terminal_seen());
    EXPECT_EQ(watch.end(""), Ending::kWhole);

    StreamWatch hidden(Shape::kMessage, 1, true);
    hidden.see("event: content_block_delta\ndata: {}\nevent: error\ndata: {}\n\n");
    EXPECT_EQ(hidden.end(""), Ending::kError);

    StreamWatch failed(Shape::kMessage, 1, true);
    failed.see("event: error\ndata: {\"type\":\"error\",\"error\":{}}\n\n");
    EXPECT_EQ(failed.end(""), Ending::kError);
}

TEST(StreamWatchMessage, KeepsWhatEndedForAReasonThatMayBeKept) {
    struct Reason {
        const char* name;
        Ending limited;    // the client set a limit, as it has to
        Ending unlimited;  // or another one than the client's own held
    };
    for (const Reason& one : {
             Reason{"end_turn", Ending::kWhole, Ending::kWhole},
             Reason{"stop_sequence", Ending::kWhole, Ending::kWhole},
             Reason{"tool_use", Ending::kWhole, Ending::kWhole},
             Reason{"max_tokens", Ending::kWhole, Ending::kWholeNoCache},
             Reason{"pause_turn", Ending::kWholeNoCache, Ending::kWholeNoCache},
             Reason{"refusal", Ending::kWholeNoCache, Ending::kWholeNoCache},
             Reason{"model_context_window_exceeded", Ending::kWholeNoCache, Ending::kWholeNoCache},
             Reason{"news", Ending::kWholeNoCache, Ending::kWholeNoCache},
         }) {
        const std::string quoted = "\"" + std::string(one.name) + "\"";
        const std::string plain = R"({"type":"message","stop_reason":)" + quoted + "}";
        for (const bool limited : {true, false}) {
            const Ending expected = limited ? one.limited : one.unlimited;
            EXPECT_EQ(
                ending(
                    {R"({"type":"message_start"})", stopped_by(quoted), R"({"type":"message_stop"})"
                    },
                    {.shape = Shape::kMessage, .limit_set = limited}
                ),
                expected
            ) << one.name;
            EXPECT_EQ(judge_json(Shape::kMessage, plain, limited), expected) << one.name;
        }
    }
}

struct Judged {
    Shape shape;
    std::string_view body;
    bool limit_set;
    Ending ending;
};

TEST(JudgeJson, SaysWhatAnAnswerIs) {
    const Judged cases[] = {
        {Shape::kChat, R"({"choices":[{"finish_reason":"stop"}]})", false, Ending::kWhole},
        {Shape::kChat, R"({"choices":[{"finish_reason":"length"}]})", false, Ending::kWholeNoCache},
        {Shape::kChat, R"({"choices":[{"finish_reason":"length"}]})", true, Ending::kWhole},
        {Shape::kChat,
         R"({"choices":[{"finish_reason":"content_filter"}]})",
         true,
         Ending::kWholeNoCache},
        {Shape::kChat,
         R"({"choices":[{"finish_reason":"stop"},{"finish_reason":null}]})",
         false,
         Ending::kWholeNoCache},
        {Shape::kChat, R"({"choices":[]})", false, Ending::kWholeNoCache},
        {Shape::kChat,
         R"({"choices":[{"finish_reason":"stop"}],"error":null})",
         false,
         Ending::kWhole},
        {Shape::kChat,
         R"({"choices":[{"finish_reason":"stop"}],"error":{"message":"x"}})",
         false,
         Ending::kError},
        {Shape::kChat, R"({"choices":[{"finish_reason":"stop"}])", false, Ending::kBroken},
        {Shape::kChat, R"({"choices":[{"finish_reason":"stop"}]} x)", false, Ending::kBroken},
        {Shape::kChat, "", false, Ending::kBroken},
        {Shape::kChat, "<html>", false, Ending::kBroken},
        {Shape::kChat, R"({"a":01})", false, Ending::kBroken},
        {Shape::kChat, R"({"a":123456789012345678901234567890})", false, Ending::kWholeNoCache},
        {Shape::kCompletion,
         R"({"choices":[{"text":"a","finish_reason":"length"}]})",
         false,
         Ending::kWhole},
        {Shape::kEmbedding, R"({"data":[{"embedding":"AAAA"}]})", false, Ending::kWhole},
        {Shape::kEmbedding, R"({"data":[]})", false, Ending::kWholeNoCache},
        {Shape::kResponse, R"({"status":"completed","error":null})", false, Ending::kWhole},
        {Shape::kResponse,
         R"({"status":"failed","error":{"code":"x"}})",
         false,
         Ending::kWholeNoCache},
        {Shape::kResponse, R"({"status":"in_progress","error":null})", false, Ending::kWholeNoCache
        },
        {Shape::kResponse,
         R"({"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}})",
         true,
         Ending::kWhole},
        {Shape::kResponse,
         R"({"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}})",
         false,
         Ending::kWholeNoCache},
        {Shape::kResponse, R"({"error":{"message":"x"}})", false, Ending::kError},
        {Shape::kMessage, R"({"type":"message","stop_reason":null})", true, Ending::kWholeNoCache},
        {Shape::kMessage, R"({"type":"error","error":{"type":"x"}})", true, Ending::kError},
        {Shape::kMessage, R"({"type":"message","stop_reason":"end_turn")", true, Ending::kBroken},
        {Shape::kOther, R"({"results":[]})", false, Ending::kWhole},
        {Shape::kOther, R"({"error":"x"})", false, Ending::kError},
    };
    for (const Judged& one : cases) {
        EXPECT_EQ(judge_json(one.shape, one.body, one.limit_set), one.ending) << one.body;
    }
}

}  // namespace
}  // namespace weir::http
