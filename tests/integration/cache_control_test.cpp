// What clients ask of the cache with each request, and what its answers tell: Cache-Control, our
// own fields, ages, what was saved.
#include "tools.hpp"

namespace weir::test {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

class CacheAsked : public testing::Test {
protected:
    explicit CacheAsked(GatewaySetup setup = {}) {
        setup.upstream_url = upstream_.url();
        gateway_ = std::make_unique<TestGateway>(std::move(setup));
    }
    Answer send(const std::string& body, Fields fields = {}, const char* key = kAlice) {
        return ask(gateway_->port(), {.key = key, .body = body, .fields = std::move(fields)});
    }
    // "HIT 1": what the cache said, and the number of the call.
    std::string tell(const std::string& body, Fields fields = {}) {
        const Answer answer = send(body, std::move(fields));
        if (answer.status != 200) return std::to_string(answer.status);
        const std::string text = chat_text(answer);
        return answer.field("x-cache") + " " + text.substr(text.rfind(' ') + 1);
    }

    std::atomic<int> calls_ = 0;
    FakeUpstream upstream_{[this](Wire& wire, const SeenRequest& request) {
        answer_chat(wire, request, "number " + std::to_string(++calls_));
    }};
    std::unique_ptr<TestGateway> gateway_;
};

TEST_F(CacheAsked, OnlyIfCachedNeverGoesUpstream) {
    const Fields only = {{"Cache-Control", "only-if-cached"}};
    const Answer none = send(chat_body("x"), only);
    expect_error(none, 504, "not_cached");
    EXPECT_EQ(none.field("x-cache"), "MISS");
    EXPECT_EQ(none.field("x-should-retry"), "false");
    EXPECT_EQ(calls_, 0);
    EXPECT_EQ(tell(chat_body("x")), "MISS 1");
    EXPECT_EQ(tell(chat_body("x"), only), "HIT 1");
    EXPECT_EQ(tell(chat_body("x", true), only), "HIT 1");
    EXPECT_EQ(tell(chat_body("x"), {{"Cache-Control", "no-cache, only-if-cached"}}), "504");
    // What is never kept is never found.
    expect_error(
        ask(gateway_->port(),
            {.path = "/v1/images/generations",
             .key = kAlice,
             .body = R"({"model":"m","prompt":"x"})",
             .fields = only}),
        504,
        "not_cached"
    );
    EXPECT_EQ(calls_, 1);
}

TEST_F(CacheAsked, MaxAgeRefusesWhatIsOlder) {
    EXPECT_EQ(tell(chat_body("x")), "MISS 1");
    EXPECT_EQ(tell(chat_body("x"), {{"Cache-Control", "max-age=600"}}), "HIT 1");
    ASSERT_TRUE(eventually([&] { return send(chat_body("x")).field("age") >= "2"; }));
    EXPECT_EQ(tell(chat_body("x"), {{"Cache-Control", "max-age=600"}}), "HIT 1");
    EXPECT_EQ(tell(chat_body("x"), {{"Cache-Control", "max-age=1"}}), "MISS 2");
    // The newer answer took the place of the older one.
    EXPECT_EQ(tell(chat_body("x")), "HIT 2");
    EXPECT_EQ(tell(chat_body("x"), {{"Cache-Control", "max-age=0"}}), "BYPASS 3");
}

TEST_F(CacheAsked, ATimeToLiveCanBeShortened) {
    EXPECT_EQ(tell(chat_body("x"), {{"x-weir-cache-ttl", "1"}}), "MISS 1");
    EXPECT_EQ(tell(chat_body("y")), "MISS 2");
    EXPECT_TRUE(eventually([&] { return tell(chat_body("x")) == "MISS 3"; }));
    EXPECT_EQ(tell(chat_body("y")), "HIT 2");
    const Answer wrong = send(chat_body("x"), {{"x-weir-cache-ttl", "soon"}});
    EXPECT_EQ(expect_error(wrong, 400, "").value("param", ""), "x-weir-cache-ttl");
    EXPECT_EQ(send(chat_body("x"), {{"x-weir-cache-key", std::string(300, 'a')}}).status, 400);
}

TEST(CacheRule, ShortensTheTimeToLiveOfItsModel) {
    std::atomic<int> calls = 0;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        answer_chat(wire, request, std::to_string(++calls));
    });
    const TestGateway gateway(
        {.upstream_url = upstream.url(), .cache = "{ttl: 1h, rules: [{models: gpt-4, ttl: 1s}]}"}
    );
    EXPECT_EQ(chat_text(send(gateway, "x", "gpt-5")), "1");
    EXPECT_EQ(chat_text(send(gateway, "x", "gpt-4")), "2");
    EXPECT_TRUE(eventually([&] { return chat_text(send(gateway, "x", "gpt-4")) == "3"; }));
    EXPECT_EQ(chat_text(send(gateway, "x", "gpt-5")), "1");
}

TEST_F(CacheAsked, FieldsForTheCacheAreNotForwarded) {
    EXPECT_EQ(
        tell(chat_body("x"), {{"x-weir-cache-ttl", "9"}, {"x-weir-cache-key", "b"}}), "MISS 1"
    );
    const std::vector<SeenRequest> seen = upstream_.seen();
    for (const auto& [name, value] : seen.at(0).fields) {
        EXPECT_FALSE(name.starts_with("x-weir")) << name;
    }
}

TEST_F(CacheAsked, AHitTellsWhatItSavedAndNothingOfWhoAsked) {
    const Answer first = send(chat_body("x"), {}, kBob);
    EXPECT_FALSE(first.has("x-weir-saved-tokens"));
    for (const bool stream : {false, true}) {
        const Answer hit = send(chat_body("x", stream));
        EXPECT_EQ(hit.field("x-cache"), "HIT");
        EXPECT_EQ(hit.field("x-weir-saved-tokens"), "8");
        EXPECT_EQ(hit.field("x-weir-cache-entry"), first.field("x-weir-cache-entry"));
        EXPECT_EQ(hit.field("x-weir-cache-entry").size(), 64U);
        EXPECT_EQ((hit.raw_head + hit.body).find("bob"), std::string::npos);
    }
    EXPECT_FALSE(send(chat_body("y"), {{"Cache-Control", "no-cache"}}).has("x-weir-cache-entry"));
}

// ---- numbers

class Saved : public CacheAsked {
protected:
    Saved() : CacheAsked({.more = "prices: {gpt-4: {input: 1000000, output: 1000000}}\n"}) {}
};

TEST_F(Saved, IsToldByModelAndByKey) {
    EXPECT_EQ(tell(chat_body("x")), "MISS 1");
    EXPECT_EQ(tell(chat_body("x")), "HIT 1");
    EXPECT_EQ(send(chat_body("x", true), {}, kBob).field("x-cache"), "HIT");
    EXPECT_EQ(tell(chat_body("x", false, "gpt-5")), "MISS 2");
    EXPECT_EQ(tell(chat_body("y"), {{"Cache-Control", "no-store"}}), "BYPASS 3");

    const auto cache = parsed(admin(*gateway_, "GET", "cache"));
    EXPECT_EQ(cache["all"]["hits"], 2);
    EXPECT_EQ(cache["all"]["misses"], 2);
    EXPECT_EQ(cache["all"]["bypasses"], 1);
    EXPECT_EQ(cache["all"]["hit_rate"], 0.5);
    EXPECT_EQ(cache["all"]["saved_tokens"], 16);
    EXPECT_EQ(cache["all"]["saved_usd"], 16);  // a dollar a token
    EXPECT_GT(cache["all"]["bytes"], 0);
    ASSERT_EQ(cache["models"].size(), 2U);
    EXPECT_EQ(cache["models"][0]["model"], "gpt-4");
    EXPECT_EQ(cache["models"][0]["hits"], 2);
    EXPECT_EQ(cache["models"][1]["misses"], 1);
    ASSERT_EQ(cache["keys"].size(), 2U);
    EXPECT_EQ(cache["keys"][1]["key"], "bob");
    EXPECT_EQ(cache["keys"][1]["saved_tokens"], 8);

    const auto me =
        parsed(ask(gateway_->port(), {.method = "GET", .path = "/api/me", .key = kBob}));
    EXPECT_EQ(me["cache"]["hits"], 1);
    EXPECT_EQ(me["cache"]["saved_usd"], 8);

    EXPECT_EQ(
        metric(*gateway_, R"(weir_cache_model_requests_total{model="gpt-4",result="hit"})"), 2
    );
    EXPECT_EQ(metric(*gateway_, R"(weir_cache_key_saved_tokens_total{key="bob"})"), 8);
    EXPECT_EQ(metric(*gateway_, R"(weir_cache_key_saved_usd{key="alice"})"), 8);
}

TEST_F(Saved, NamesThatNoUpstreamAnswersAreNotCounted) {
    EXPECT_EQ(tell(chat_body("x")), "MISS 1");
    EXPECT_EQ(send(R"({"model":"gpt-4"})", {{"x-weir-cache-ttl", "?"}}).status, 400);
    const Answer none =
        send(chat_body("z", false, "no-such"), {{"Cache-Control", "only-if-cached"}});
    EXPECT_EQ(none.status, 504);
    EXPECT_EQ(parsed(admin(*gateway_, "GET", "cache"))["models"].size(), 1U);
}

// One that joins saves what the call took, whichever of the two kinds it asks for.
TEST(SavedByJoining, IsToldAsSoonAsTheCallIsOver) {
    for (const bool stream : {false, true}) {
        for (const bool joined_stream : {false, true}) {
            SCOPED_TRACE(testing::Message() << stream << " " << joined_stream);
            Steps go;
            FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
                if (go.wait()) say_an_answer(wire, request);
            });
            const TestGateway gateway(
                {.upstream_url = upstream.url(),
                 .more = "prices: {gpt-4: {input: 1000000, output: 1000000}}\n"}
            );
            Client first(gateway.port());
            ASSERT_TRUE(first.send(Ask{.key = kAlice, .body = chat_body("x", stream)}.bytes()));
            ASSERT_TRUE(upstream.wait_for_calls(1));
            Client second(gateway.port());
            ASSERT_TRUE(second.send(Ask{.key = kBob, .body = chat_body("x", joined_stream)}.bytes())
            );
            ASSERT_TRUE(eventually([&] { return metric(gateway, "weir_flights_joined_total") == 1; }
            ));
            go.pass();
            EXPECT_EQ(first.read_answer().field("x-cache"), "MISS");
            EXPECT_EQ(second.read_answer().field("x-weir-flight"), "joined");
            // Counted when it has ended, which is a little after its answer.
            ASSERT_TRUE(eventually([&] {
                const auto all = parsed(admin(gateway, "GET", "cache"))["all"];
                return all["joined"] == 1 && all["misses"] == 1;
            }));
            const auto cache = parsed(admin(gateway, "GET", "cache"));
            EXPECT_EQ(cache["all"]["hits"], 0);
            EXPECT_EQ(cache["all"]["saved_tokens"], 8);
            EXPECT_EQ(cache["all"]["saved_usd"], 8);
            ASSERT_EQ(cache["keys"].size(), 2U);
            EXPECT_EQ(cache["keys"][0]["saved_tokens"], 0);
            EXPECT_EQ(cache["keys"][1]["key"], "bob");
            EXPECT_EQ(cache["keys"][1]["saved_tokens"], 8);
        }
    }
}

// Nothing is saved by an answer that breaks off.
TEST(SavedByJoining, IsNothingWhereTheCallBreaksOff) {
    Steps go;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest&) {
        wire.begin_stream();
        wire.event(chat_chunk("a"));
        if (go.wait()) wire.reset();
    });
    const TestGateway gateway({.upstream_url = upstream.url()});
    Client first(gateway.port());
    Client second(gateway.port());
    ASSERT_TRUE(first.send(Ask{.key = kAlice, .body = chat_body("x", true)}.bytes()));
    Answer own = first.read_head();
    ASSERT_TRUE(second.send(Ask{.key = kBob, .body = chat_body("x", true)}.bytes()));
    Answer joined = second.read_head();
    EXPECT_EQ(joined.field("x-weir-flight"), "joined");
    go.pass();
    first.read_body(own);
    second.read_body(joined);
    EXPECT_NE(joined.body.find("\"error\""), std::string::npos) << joined.body;
    ASSERT_TRUE(eventually([&] {
        return metric(gateway, R"(weir_requests_total{status="2xx"})") == 2;
    }));
    const auto all = parsed(admin(gateway, "GET", "cache"))["all"];
    EXPECT_EQ(all["joined"], 0);
    EXPECT_EQ(all["misses"], 0);
    EXPECT_EQ(all["bytes"], 0);
}

// ---- pace

TEST(Replay, IsAsFastAsItCanOrAsItCame) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) {
        wire.begin_stream();
        for (int i = 0; i < 4; ++i) {
            wire.event(chat_chunk("a", i == 3 ? "stop" : ""));
            std::this_thread::sleep_for(100ms);
        }
        wire.event("[DONE]");
        wire.last_chunk();
    });
    for (const char* const replay : {"fast", "paced"}) {
        TestGateway gateway(
            {.upstream_url = upstream.url(), .cache = std::string("{replay: ") + replay + "}"}
        );
        const auto timed = [&] {
            const auto begun = std::chrono::steady_clock::now();
            Client client(gateway.port());
            EXPECT_TRUE(client.send(Ask{.key = kAlice, .body = chat_body("x", true)}.bytes()));
            Answer answer = client.read_head();
            std::vector<std::chrono::steady_clock::duration> came;
            client.read_body(answer, [&](const std::string& so_far) {
                while (came.size() < count(so_far, "\n\n")) {
                    came.push_back(std::chrono::steady_clock::now() - begun);
                }
                return false;
            });
            EXPECT_EQ(came.size(), 5U) << answer.body;
            return std::pair(answer, came);
        };
        const auto [first, live] = timed();
        const auto [again, replayed] = timed();
        EXPECT_EQ(again.field("x-cache"), "HIT");
        EXPECT_EQ(again.body, first.body);
        if (std::string_view(replay) == "paced") {
            // Each as long behind the first as it was; never early, and not all at the end. On a
            // busy machine it was not always 100 ms.
            for (std::size_t i = 1; i < replayed.size(); ++i) {
                EXPECT_GE(replayed[i] - replayed[0] + 50ms, live[i] - live[0]) << i;
            }
        } else {
            EXPECT_LT(replayed.back(), 300ms);
        }
    }
}

TEST(Replay, APacedOneEndsWhenItsClientLeavesAndWhenTheDrainIsOver) {
    std::atomic<int> calls = 0;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest&) {
        wire.begin_stream();
        wire.event(chat_chunk("a"));
        if (++calls == 1) std::this_thread::sleep_for(1500ms);
        wire.event(chat_chunk("b", "stop"));
        wire.event("[DONE]");
        wire.last_chunk();
    });
    TestGateway gateway({.upstream_url = upstream.url(), .cache = "{replay: paced}"});
    const Answer first = send(gateway, "x", "gpt-4", kAlice, true);
    EXPECT_EQ(first.field("x-cache"), "MISS");
    {
        Client leaving(gateway.port());
        ASSERT_TRUE(leaving.send(Ask{.key = kAlice, .body = chat_body("x", true)}.bytes()));
        Answer head = leaving.read_head();
        EXPECT_EQ(head.field("x-cache"), "HIT");
    }
    EXPECT_TRUE(eventually([&] { return metric(gateway, "weir_clients_gone_total") == 1; }));
    Client waiting(gateway.port());
    ASSERT_TRUE(waiting.send(Ask{.key = kAlice, .body = chat_body("x", true)}.bytes()));
    Answer answer = waiting.read_head();
    gateway.stop();  // hurries
    waiting.read_body(answer);
    EXPECT_EQ(answer.body, first.body);
    EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace weir::test
