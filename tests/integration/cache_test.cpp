// Promise 4 (never wrong from the cache) and the half of 5 that outlives a flight.
#include <filesystem>
#include <fstream>

#include "tools.hpp"

namespace weir::test {
namespace {

// Counts its calls in its answers, so that an answer tells which call it came from.
FakeUpstream::Script numbered(std::atomic<int>& calls) {
    return [&calls](Wire& wire, const SeenRequest& request) {
        answer_chat(wire, request, "answer number " + std::to_string(++calls));
    };
}

class Cached : public testing::Test {
protected:
    std::atomic<int> calls_ = 0;
    FakeUpstream upstream_{numbered(calls_)};

    static Answer send(
        const TestGateway& gateway,
        const std::string& body,
        const char* key = kAlice,
        const char* control = ""
    ) {
        Ask request{.key = key, .body = body, .fields = {}};
        if (*control != 0) request.fields = {{"Cache-Control", control}};
        Answer answer = ask(gateway.port(), request);
        EXPECT_EQ(answer.status, 200) << answer.body;
        EXPECT_TRUE(answer.complete);
        return answer;
    }
    // "MISS 1": what the cache said, and the number of the call that answered.
    static std::string told(const Answer& answer) {
        const std::string text = chat_text(answer);
        return answer.field("x-cache") + " " + text.substr(text.rfind(' ') + 1);
    }
    static std::string tell(
        const TestGateway& gateway,
        const std::string& body,
        const char* key = kAlice,
        const char* control = ""
    ) {
        return told(send(gateway, body, key, control));
    }
};

TEST_F(Cached, AnEqualRequestIsAHitAndCostsNothing) {
    TestGateway gateway({.upstream_url = upstream_.url(), .caps = "[{models: \"*\", allow: 2/4h}]"}
    );
    const Answer first = send(gateway, chat_body("x"));
    EXPECT_EQ(first.field("x-cache"), "MISS");
    EXPECT_FALSE(first.has("age"));
    EXPECT_EQ(first.field("x-ratelimit-remaining-requests"), "1");
    for (int i = 0; i < 5; ++i) {
        const Answer again = send(gateway, chat_body("x"));
        EXPECT_EQ(again.field("x-cache"), "HIT");
        EXPECT_TRUE(again.field("age") == "0" || again.field("age") == "1") << again.field("age");
        EXPECT_EQ(again.body, first.body);
        EXPECT_EQ(again.field("x-ratelimit-remaining-requests"), "1");
        EXPECT_NE(again.field("x-request-id"), first.field("x-request-id"));
        EXPECT_FALSE(again.has("x-upstream-request-id"));
    }
    EXPECT_EQ(used(gateway, "alice"), 1);
    // Also when the cap is used up.
    EXPECT_EQ(send(gateway, chat_body("y")).field("x-ratelimit-remaining-requests"), "0");
    EXPECT_EQ(send(gateway, chat_body("x")).field("x-cache"), "HIT");
}

TEST_F(Cached, EqualIsWhateverMeansTheSame) {
    TestGateway gateway({.upstream_url = upstream_.url()});
    const std::string base =
        R"({"model":"gpt-4","messages":[{"role":"user","content":"caf\u00e9"}],"seed":1})";
    EXPECT_EQ(tell(gateway, base), "MISS 1");
    const char* const equal[] = {
        "{ \"seed\": 1,\n\"messages\":[{\"content\":\"caf\u00e9\",\"role\":\"user\"}],"
        "\"model\":\"gpt-4\"}",
        R"({"model":"gpt-\u0034","messages":[{"role":"user","content":"caf\u00e9"}],"seed":1,"stream":false})",
    };
    for (const char* const body : equal) EXPECT_EQ(tell(gateway, body), "HIT 1") << body;
    const char* const other[] = {
        R"({"model":"gpt-4","messages":[{"role":"user","content":"cafe\u0301"}],"seed":1})",
        R"({"model":"gpt-4","messages":[{"role":"user","content":"caf\u00e9"}],"seed":1.0})",
        R"({"model":"gpt-4","messages":[{"role":"user","content":"caf\u00e9"}],"seed":2})",
        R"({"model":"gpt-4","messages":[{"role":"user","content":"caf\u00e9"}]})",
        R"({"model":"gpt-4","messages":[{"role":"user","content":"caf\u00e9"}],"seed":1,"user":"a"})",
        R"({"model":"gpt-4","messages":[{"role":"user","content":"caf\u00e9"}],"seed":1,"n":null})",
        R"({"model":"gpt-3.5","messages":[{"role":"user","content":"caf\u00e9"}],"seed":1})",
    };
    int call = 1;
    for (const char* const body : other) {
        EXPECT_EQ(tell(gateway, body), "MISS " + std::to_string(++call)) << body;
    }
    // Headers that may shape the answer, and the query.
    const Answer beta =
        ask(gateway.port(), {.key = kAlice, .body = base, .fields = {{"OpenAI-Beta", "x=1"}}});
    EXPECT_EQ(told(beta), "MISS " + std::to_string(++call));
    const Answer query =
        ask(gateway.port(), {.path = "/v1/chat/completions?a=1", .key = kAlice, .body = base});
    EXPECT_EQ(told(query), "MISS " + std::to_string(++call));
}

TEST_F(Cached, ClientsCanAskForAFreshOne) {
    TestGateway gateway({.upstream_url = upstream_.url()});
    EXPECT_EQ(tell(gateway, chat_body("x")), "MISS 1");
    // no-cache looks past the kept answer and replaces it; no-store leaves it alone.
    EXPECT_EQ(tell(gateway, chat_body("x"), kAlice, "no-cache"), "BYPASS 2");
    EXPECT_EQ(tell(gateway, chat_body("x")), "HIT 2");
    EXPECT_EQ(tell(gateway, chat_body("x"), kAlice, "no-store"), "BYPASS 3");
    EXPECT_EQ(tell(gateway, chat_body("x")), "HIT 2");
    EXPECT_EQ(tell(gateway, chat_body("y"), kAlice, "no-store"), "BYPASS 4");
    EXPECT_EQ(tell(gateway, chat_body("y")), "MISS 5");
}

TEST_F(Cached, AnAnswerExpires) {
    TestGateway gateway({.upstream_url = upstream_.url(), .cache = "{ttl: 1s}"});
    EXPECT_EQ(tell(gateway, chat_body("x")), "MISS 1");
    EXPECT_TRUE(eventually([&] { return tell(gateway, chat_body("x")) == "MISS 2"; }));
}

TEST_F(Cached, AScopeIsNotLeft) {
    {
        TestGateway gateway({.upstream_url = upstream_.url()});  // team
        EXPECT_EQ(tell(gateway, chat_body("x")), "MISS 1");
        EXPECT_EQ(tell(gateway, chat_body("x"), kBob), "HIT 1");
        EXPECT_EQ(tell(gateway, chat_body("x"), kCarol), "MISS 2");
    }
    {
        TestGateway gateway({.upstream_url = upstream_.url(), .cache = "{scope: key}"});
        EXPECT_EQ(tell(gateway, chat_body("x")), "MISS 3");
        EXPECT_EQ(tell(gateway, chat_body("x"), kBob), "MISS 4");
        EXPECT_EQ(tell(gateway, chat_body("x")), "HIT 3");
    }
    {
        TestGateway gateway({.upstream_url = upstream_.url(), .cache = "{scope: all}"});
        EXPECT_EQ(tell(gateway, chat_body("x")), "MISS 5");
        EXPECT_EQ(tell(gateway, chat_body("x"), kBob), "HIT 5");
        EXPECT_EQ(tell(gateway, chat_body("x"), kCarol), "HIT 5");
    }
}

TEST_F(Cached, SwitchedOffItKeepsNothing) {
    TestGateway gateway({.upstream_url = upstream_.url(), .cache = "{enabled: false}"});
    EXPECT_EQ(tell(gateway, chat_body("x")), "BYPASS 1");
    EXPECT_EQ(tell(gateway, chat_body("x")), "BYPASS 2");
}

TEST_F(Cached, LargeRequestsAndAnswersAreNotKept) {
    TestGateway gateway(
        {.upstream_url = upstream_.url(), .cache = "{max_request: 2KiB, max_entry: 1KiB}"}
    );
    const std::string large = chat_body(std::string(3000, 'a'));
    EXPECT_EQ(tell(gateway, large), "BYPASS 1");
    EXPECT_EQ(tell(gateway, large), "BYPASS 2");
    EXPECT_EQ(tell(gateway, chat_body("x")), "MISS 3");
    EXPECT_EQ(tell(gateway, chat_body("x")), "HIT 3");
    EXPECT_EQ(tell(gateway, chat_body("y", true)), "MISS 4");  // its events are over 1 KiB
    EXPECT_EQ(tell(gateway, chat_body("y", true)), "MISS 5");
}

constexpr char kWantsUsage[] = R"("stream_options":{"include_usage":true})";

TEST_F(Cached, AStreamServesPlainRequestsAndTheOtherWayRound) {
    TestGateway gateway({.upstream_url = upstream_.url()});
    const auto plain_usage = [](const Answer& answer) {
        return nlohmann::json::parse(answer.body)["usage"]["total_tokens"].get<int>();
    };
    // A stream first; the upstream was asked for its usage though the client was not interested.
    EXPECT_EQ(tell(gateway, chat_body("a", true)), "MISS 1");
    const Answer plain = send(gateway, chat_body("a"));
    EXPECT_EQ(told(plain), "HIT 1");
    EXPECT_EQ(plain.field("content-type"), "application/json");
    EXPECT_EQ(plain_usage(plain), 8);
    const auto json = nlohmann::json::parse(plain.body);
    EXPECT_EQ(json["object"], "chat.completion");
    EXPECT_EQ(json["choices"][0]["finish_reason"], "stop");
    EXPECT_EQ(json["choices"][0]["message"]["role"], "assistant");
    const Answer with = send(gateway, chat_body("a", true, "gpt-4", kWantsUsage));
    EXPECT_EQ(told(with), "HIT 1");
    EXPECT_EQ(count(with.body, "total_tokens"), 1U);
    const Answer without = send(gateway, chat_body("a", true));
    EXPECT_EQ(told(without), "HIT 1");
    EXPECT_EQ(count(without.body, "total_tokens"), 0U);

    // A plain one first.
    EXPECT_EQ(tell(gateway, chat_body("b")), "MISS 2");
    for (const bool usage : {false, true}) {
        const Answer stream =
            send(gateway, chat_body("b", true, "gpt-4", usage ? kWantsUsage : ""));
        EXPECT_EQ(told(stream), "HIT 2");
        EXPECT_TRUE(stream.field("content-type").starts_with("text/event-stream"));
        EXPECT_TRUE(stream.body.ends_with("data: [DONE]\n\n"));
        EXPECT_EQ(count(stream.body, "total_tokens"), usage ? 1U : 0U) << stream.body;
        EXPECT_EQ(count(stream.body, "\"finish_reason\":\"stop\""), 1U);
    }

    // A stream whose client wanted the usage.
    EXPECT_EQ(tell(gateway, chat_body("c", true, "gpt-4", kWantsUsage)), "MISS 3");
    EXPECT_EQ(plain_usage(send(gateway, chat_body("c"))), 8);
}

TEST_F(Cached, KeepsItsAnswersOverARestart) {
    const TempDir data;
    std::string plain;
    std::string stream;
    {
        TestGateway gateway({.upstream_url = upstream_.url(), .data = data.path("d")});
        plain = send(gateway, chat_body("plain")).body;
        stream = send(gateway, chat_body("stream", true)).body;
    }
    TestGateway gateway({.upstream_url = upstream_.url(), .data = data.path("d")});
    const Answer first = send(gateway, chat_body("plain"));
    EXPECT_EQ(told(first), "HIT 1");
    EXPECT_EQ(first.body, plain);
    const Answer second = send(gateway, chat_body("stream", true));
    EXPECT_EQ(told(second), "HIT 2");
    EXPECT_EQ(second.body, stream);
    EXPECT_EQ(tell(gateway, chat_body("stream")), "HIT 2");
    EXPECT_EQ(calls_, 2);
}

TEST_F(Cached, ACorruptFileIsReplacedAtTheStart) {
    const TempDir data;
    std::filesystem::create_directories(data.path("d"));
    std::ofstream(data.path("d/cache.db")) << std::string(20'000, 'x');
    for (int start = 0; start < 2; ++start) {
        TestGateway gateway({.upstream_url = upstream_.url(), .data = data.path("d")});
        EXPECT_EQ(tell(gateway, chat_body("x")), start == 0 ? "MISS 1" : "HIT 1");
    }
}

// ---- what must not be kept

TEST(NotCached, ErrorsAndWhatIsNotWhole) {
    const struct {
        const char* name;
        std::function<void(Wire&)> how;
        bool stream;
    } cases[] = {
        {"an error", [](Wire& wire) { wire.json(R"({"error":{"message":"m"}})", 400); }, false},
        {"an error with status 200",
         [](Wire& wire) { wire.json(R"({"error":{"message":"m","type":"t"}})"); },
         false},
        {"no choices' end",
         [](Wire& wire) {
             wire.json(R"({"choices":[{"index":0,"message":{"content":"x"},"finish_reason":null}]})"
             );
         },
         false},
        {"cut by a length limit that is not the client's",
         [](Wire& wire) {
             wire.json(
                 R"({"choices":[{"index":0,"message":{"content":"x"},"finish_reason":"length"}]})"
             );
         },
         false},
        {"filtered",
         [](Wire& wire) {
             wire.begin_stream();
             wire.event(chat_chunk("x", "content_filter"));
             wire.event("[DONE]");
             wire.last_chunk();
         },
         true},
        {"an error event",
         [](Wire& wire) {
             wire.begin_stream();
             wire.event(chat_chunk("x"));
             wire.event(R"({"error":{"message":"m","type":"server_error"}})");
             wire.event("[DONE]");
             wire.last_chunk();
         },
         true},
        {"a reset behind the end",
         [](Wire& wire) {
             wire.begin_stream();
             wire.event(chat_chunk("x", "stop"));
             wire.event("[DONE]");
             std::this_thread::sleep_for(20ms);
             wire.reset();
         },
         true},
        {"one choice of two",
         [](Wire& wire) {
             wire.begin_stream();
             wire.event(chat_chunk("x", "stop"));
             wire.event("[DONE]");
             wire.last_chunk();
         },
         true},
        {"status 206",
         [](Wire& wire) {
             wire.json(
                 R"({"choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}]})",
                 206
             );
         },
         false},
        {"an encoded answer",
         [](Wire& wire) { wire.json("\x1f\x8b gzip", 200, "Content-Encoding: gzip\r\n"); },
         false},
    };
    for (const auto& one : cases) {
        SCOPED_TRACE(one.name);
        FakeUpstream upstream([&](Wire& wire, const SeenRequest&) { one.how(wire); });
        TestGateway gateway({.upstream_url = upstream.url()});
        const std::string more = std::string_view(one.name) == "one choice of two" ? "\"n\":2" : "";
        for (std::size_t i = 1; i <= 2; ++i) {
            const Answer answer =
                ask(gateway.port(),
                    {.key = kAlice, .body = chat_body("x", one.stream, "gpt-4", more)});
            EXPECT_TRUE(answer.complete);
            EXPECT_EQ(answer.field("x-cache"), "MISS");
            EXPECT_EQ(upstream.calls(), i);
        }
    }
}

// ---- the other cacheable endpoints

TEST(OtherShapes, EmbeddingsAreKept) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) {
        wire.json(
            R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":"AAAA"}],)"
            R"("model":"e","usage":{"prompt_tokens":1,"total_tokens":1}})"
        );
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    for (const char* const cache : {"MISS", "HIT"}) {
        const Answer vector =
            ask(gateway.port(),
                {.path = "/v1/embeddings",
                 .key = kAlice,
                 .body = R"({"model":"e","input":"x"})",
                 .fields = {}});
        EXPECT_EQ(vector.status, 200) << vector.body;
        EXPECT_EQ(vector.field("x-cache"), cache);
        EXPECT_NE(vector.body.find("AAAA"), std::string::npos);
    }
    EXPECT_EQ(upstream.calls(), 1U);
}

TEST(OtherShapes, AStreamOfResponsesIsReplayedWithItsEvents) {
    const std::string events =
        "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,"
        "\"response\":{\"id\":\"resp_1\",\"status\":\"in_progress\"}}\n\n"
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\","
        "\"sequence_number\":1,\"delta\":\"hello\"}\n\n"
        "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":2,"
        "\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"usage\":{\"total_tokens\":8}}}"
        "\n\n";
    FakeUpstream upstream([&](Wire& wire, const SeenRequest&) {
        wire.begin_stream();
        for (std::size_t at = 0; at < events.size(); at += 50) wire.chunk(events.substr(at, 50));
        wire.last_chunk();
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    for (const char* const cache : {"MISS", "HIT"}) {
        const Answer answer =
            ask(gateway.port(),
                {.path = "/v1/responses",
                 .key = kAlice,
                 .body = R"({"model":"gpt-4","input":"x","stream":true,"store":false})",
                 .fields = {}});
        EXPECT_EQ(answer.status, 200) << answer.body;
        EXPECT_EQ(answer.field("x-cache"), cache);
        EXPECT_EQ(answer.body, events);
    }
    EXPECT_EQ(upstream.calls(), 1U);
}

}  // namespace
}  // namespace weir::test
