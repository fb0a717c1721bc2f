// Promise 4: of every way in which an upstream's answer can end, what the cache keeps. A row each;
// nothing is kept that is not whole, and what was kept is served to plain and streamed requests.
#include <algorithm>

#include "tools.hpp"

namespace weir::test {
namespace {

std::string stream_of(const std::vector<std::string>& events) {
    std::string bytes;
    for (const std::string& event : events) bytes += "data: " + event + "\n\n";
    return bytes;
}
std::string plain(const std::string& finish, const std::string& more = "") {
    return R"({"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":)" +
           finish + "}]" + more + "}";
}

const std::string kStop = chat_chunk("x", "stop");
const std::string kDone = "[DONE]";

struct Row {
    const char* name;
    bool stream;
    std::function<void(Wire&)> answer;
    bool kept = false;
    const char* more = "";  // members of the request
    const char* path = "/v1/chat/completions";
};

Row streamed(
    const char* name, std::vector<std::string> events, bool kept = false, const char* more = ""
) {
    return {
        name,
        true,
        [events = std::move(events)](Wire& wire) {
            wire.begin_stream();
            for (const std::string& event : events) wire.event(event);
            wire.last_chunk();
        },
        kept,
        more
    };
}
Row plainly(const char* name, std::string body, bool kept = false, const char* more = "") {
    return {name, false, [body = std::move(body)](Wire& wire) { wire.json(body); }, kept, more};
}
// A response of the kind that has events of its own.
Row responded(const char* name, std::string terminal, bool kept, const char* more = "") {
    return {
        name,
        true,
        [terminal = std::move(terminal)](Wire& wire) {
            wire.begin_stream();
            wire.chunk(
                "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{}}\n\n"
            );
            if (!terminal.empty()) wire.chunk(terminal);
            wire.last_chunk();
        },
        kept,
        more,
        "/v1/responses"
    };
}

std::vector<Row> streams() {
    return {
        streamed("whole", {chat_chunk("x"), kStop, kDone}, true),
        streamed("two [DONE]", {kStop, kDone, kDone}, true),
        streamed("no [DONE]", {kStop}),
        streamed("[DONE] before a choice finished", {chat_chunk("x"), kDone}),
        streamed("nothing but [DONE]", {kDone}),
        streamed("no event", {}),
        streamed("an error event", {chat_chunk("x"), R"({"error":{"message":"m"}})"}),
        streamed(
            "an error event, then [DONE]", {chat_chunk("x"), R"({"error":{"message":"m"}})", kDone}
        ),
        streamed("an error behind the finish", {kStop, R"({"error":{"message":"m"}})", kDone}),
        streamed("finish_reason length that nobody asked for", {chat_chunk("x", "length"), kDone}),
        streamed(
            "finish_reason length of the client's own limit",
            {chat_chunk("x", "length"), kDone},
            true,
            R"("max_tokens":1)"
        ),
        streamed("content_filter", {chat_chunk("x", "content_filter"), kDone}),
        streamed("a reason that nobody knows", {chat_chunk("x", "abort"), kDone}),
        streamed("fewer choices than asked for", {kStop, kDone}, false, R"("n":2)"),
        streamed("a chunk that is not JSON", {"{\"choices\":", kStop, kDone}),
        streamed("a chunk that is no object", {"[]", kStop, kDone}),
        {"a reset in the middle",
         true,
         [](Wire& wire) {
             wire.begin_stream();
             wire.event(chat_chunk("x"));
             std::this_thread::sleep_for(20ms);
             wire.reset();
         }},
        {"a reset behind [DONE]",
         true,
         [](Wire& wire) {
             wire.begin_stream();
             wire.event(kStop);
             wire.event(kDone);
             std::this_thread::sleep_for(20ms);
             wire.reset();
         }},
        {"no last chunk",
         true,
         [](Wire& wire) {
             wire.begin_stream();
             wire.event(kStop);
             wire.event(kDone);
             wire.close();
         }},
        {"a last event without its blank line",
         true,
         [](Wire& wire) {
             wire.begin_stream();
             wire.event(kStop);
             wire.chunk("data: [DONE]");
             wire.last_chunk();
         }},
        {"an encoded stream",
         true,
         [](Wire& wire) {
             wire.send(
                 "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: "
                 "gzip\r\ncontent-length: 3\r\n\r\n\x1f\x8b!"
             );
         }},
    };
}

std::vector<Row> plain_answers() {
    const auto raw = [](std::string bytes, bool reset) {
        return [bytes = std::move(bytes), reset](Wire& wire) {
            wire.send(bytes);
            if (reset) {
                std::this_thread::sleep_for(20ms);
                wire.reset();
            } else {
                wire.close();
            }
        };
    };
    const std::string head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    const std::string body = plain("\"stop\"");
    const std::string length = "content-length: " + std::to_string(body.size());
    return {
        plainly("JSON, whole", plain("\"stop\""), true),
        plainly("tool calls", plain("\"tool_calls\""), true),
        plainly("JSON cut by a limit that nobody set", plain("\"length\"")),
        plainly(
            "JSON cut by the client's limit",
            plain("\"length\""),
            true,
            R"("max_completion_tokens":5)"
        ),
        plainly("no finish reason", plain("null")),
        plainly("an error of status 200", R"({"error":{"message":"m"}})"),
        plainly("an error beside choices", plain("\"stop\"", R"(,"error":{"message":"m"})")),
        plainly("no choices", R"({"id":"c","choices":[]})"),
        plainly("malformed JSON", plain("\"stop\"") + "}"),
        plainly("HTML", "<html>busy</html>"),
        {"status 206", false, [](Wire& wire) { wire.json(plain("\"stop\""), 206); }},
        {"status 500", false, [](Wire& wire) { wire.json(plain("\"stop\""), 500); }},
        {"status 429", false, [](Wire& wire) { wire.json(plain("\"stop\""), 429); }},
        {"too short for its length", false, raw(head + "content-length: 999\r\n\r\n" + body, false)
        },
        {"longer than its length",
         false,
         raw(head + "content-length: " + std::to_string(body.size() - 1) + "\r\n\r\n" + body, false)
        },
        {"two lengths", false, raw(head + length + "\r\ncontent-length: 5\r\n\r\n" + body, false)},
        {"a bad chunk size",
         false,
         raw(head + "transfer-encoding: chunked\r\n\r\nzz\r\n" + body, false)},
        {"a reset before the last byte",
         false,
         raw(head + "content-length: " + std::to_string(body.size() + 1) + "\r\n\r\n" + body, true)
        },
        {"until the end of the connection, cut",
         false,
         raw(head + "\r\n" + body.substr(0, body.size() - 1), false)},
    };
}

std::vector<Row> responses() {
    return {
        responded(
            "a response",
            "event: response.completed\ndata: "
            "{\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[]}"
            "}\n\n",
            true
        ),
        responded(
            "a response that failed",
            "event: response.failed\ndata: "
            "{\"type\":\"response.failed\",\"response\":{\"status\":\"failed\"}}\n\n",
            false
        ),
        responded(
            "an incomplete response",
            "event: response.incomplete\ndata: "
            "{\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\",\"output\":["
            "],\"incomplete_details\":{\"reason\":\"max_output_tokens\"}}}\n\n",
            false
        ),
        responded(
            "one by the client's limit",
            "event: response.incomplete\ndata: "
            "{\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\",\"output\":["
            "],\"incomplete_details\":{\"reason\":\"max_output_tokens\"}}}\n\n",
            true,
            R"("max_output_tokens":5)"
        ),
        responded("a response without its end", "", false),
        responded(
            "a response with an error event",
            "event: error\ndata: {\"type\":\"error\",\"message\":\"m\"}\n\n",
            false
        ),
    };
}

std::string body_for(const Row& row, bool stream) {
    std::string body = std::string_view(row.path) == "/v1/responses"
                           ? R"({"model":"gpt-4","input":"x")"
                           : R"({"model":"gpt-4","messages":[])";
    if (*row.more != 0) body += std::string(",") + row.more;
    if (stream) body += R"(,"stream":true)";
    return body + "}";
}

void expect_kept(const std::vector<Row>& rows) {
    for (const Row& row : rows) {
        SCOPED_TRACE(row.name);
        FakeUpstream upstream([&](Wire& wire, const SeenRequest&) { row.answer(wire); });
        TestGateway gateway({.upstream_url = upstream.url(), .retry = "{attempts: 1}"});
        const auto ask_for = [&](bool stream) {
            return ask(
                gateway.port(), {.path = row.path, .key = kAlice, .body = body_for(row, stream)}
            );
        };
        static_cast<void>(ask_for(row.stream));
        const std::size_t calls = upstream.calls();
        EXPECT_EQ(parsed(admin(gateway, "GET", "cache"))["memory_entries"], row.kept ? 1 : 0);
        // What is not kept is asked for anew each time; never is half an answer served as a whole.
        const Answer again = ask_for(row.stream);
        EXPECT_EQ(again.field("x-cache"), row.kept ? "HIT" : "MISS");
        // After its own 429 an upstream is left alone for a while.
        EXPECT_EQ(upstream.calls() > calls, !row.kept && again.status != 429);
    }
}

TEST(Kept, OnlyStreamsThatAreWhole) {
    expect_kept(streams());
}
TEST(Kept, OnlyPlainAnswersThatAreWhole) {
    expect_kept(plain_answers());
}
TEST(Kept, OnlyResponsesThatAreWhole) {
    expect_kept(responses());
}

// A whole stream and a whole answer, cut behind each of their bytes.
TEST(Kept, NothingThatWasCutAnywhere) {
    const std::string events = stream_of({chat_chunk("x"), kStop, kDone});
    const std::string json = plain("\"stop\"");
    std::atomic<std::size_t> cut = 0;
    std::atomic<bool> by_reset = false;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        const bool stream = request.body.find("\"stream\":true") != std::string::npos;
        const std::string& all = stream ? events : json;
        const std::string part = all.substr(0, std::min(cut.load(), all.size()));
        if (stream) {
            wire.begin_stream();
            if (!part.empty()) wire.chunk(part);
            // The stream ends well by HTTP, and is too short.
            if (!by_reset) return static_cast<void>(wire.last_chunk());
        } else {
            wire.send(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: " +
                std::to_string(all.size()) + "\r\n\r\n" + part
            );
        }
        wire.close();
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    const auto entries = [&] {
        return parsed(admin(gateway, "GET", "cache"))["memory_entries"].get<int>();
    };
    for (const bool reset : {false, true}) {
        by_reset = reset;
        // A last line end that is missing makes no event of it; it is passed on and not kept.
        for (cut = 0; cut < events.size(); ++cut) {
            static_cast<void>(send(gateway, "x", "gpt-4", kAlice, true));
            ASSERT_EQ(entries(), 0) << "cut at " << cut << ", " << (reset ? "reset" : "ended");
        }
    }
    for (cut = 0; cut < json.size(); ++cut) {
        const Answer answer = send(gateway, "y");
        ASSERT_EQ(answer.status, 502) << "cut at " << cut << " " << answer.body;
        ASSERT_EQ(entries(), 0) << "cut at " << cut;
    }
    cut = events.size();
    by_reset = false;
    static_cast<void>(send(gateway, "x", "gpt-4", kAlice, true));
    EXPECT_EQ(entries(), 1);
}

}  // namespace
}  // namespace weir::test
