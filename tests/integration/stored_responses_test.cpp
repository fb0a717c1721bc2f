// Responses that build on each other: whoever was given one may go on from it, and nobody else.
#include <fmt/format.h>

#include "tools.hpp"

namespace weir::test {
namespace {

// A response with an id of its own; as a stream if the request says so.
void say_a_response(Wire& wire, const SeenRequest& request, std::atomic<int>& number) {
    if (request.method != "POST" || request.body.empty()) {
        wire.json(R"({"id":"resp_x","object":"response"})");
        return;
    }
    const std::string id = fmt::format("resp_{}", ++number);
    const nlohmann::json whole = {
        {"id", id},
        {"object", "response"},
        {"status", "completed"},
        {"model", "gpt-4"},
        {"output", nlohmann::json::array()},
        {"usage", {{"input_tokens", 1}, {"output_tokens", 1}, {"total_tokens", 2}}}
    };
    if (request.body.find("\"stream\":true") == std::string::npos) {
        wire.json(whole.dump());
        return;
    }
    wire.begin_stream();
    for (const char* const type : {"response.created", "response.completed"}) {
        const nlohmann::json event = {{"type", type}, {"response", whole}};
        wire.chunk(fmt::format("event: {}\ndata: {}\n\n", type, event.dump()));
    }
    wire.last_chunk();
}

class StoredResponses : public testing::Test {
protected:
    Answer respond(
        TestGateway& gateway,
        const std::string& input,
        const char* key,
        const std::string& more = "",
        const std::string& model = "gpt-4"
    ) {
        return ask(
            gateway.port(),
            {.path = "/v1/responses",
             .key = key,
             .body = fmt::format(R"({{"model":"{}","input":"{}"{}}})", model, input, more)}
        );
    }
    static std::string after(const std::string& id) {
        return fmt::format(R"(,"previous_response_id":"{}")", id);
    }
    static int get(
        TestGateway& gateway, const std::string& below, const char* key, const char* method = "GET"
    ) {
        return ask(gateway.port(), {.method = method, .path = "/v1/responses/" + below, .key = key})
            .status;
    }
    static std::string id_of(const Answer& answer) {
        const std::size_t at = answer.body.find("resp_");
        EXPECT_NE(at, std::string::npos) << answer.raw_head << answer.body;
        return answer.body.substr(at, answer.body.find('"', at) - at);
    }

    std::atomic<int> number_ = 0;
    FakeUpstream upstream_{[this](Wire& wire, const SeenRequest& request) {
        say_a_response(wire, request, number_);
    }};
};

TEST_F(StoredResponses, AreGoneOnFromByTheirOwnKey) {
    TestGateway gateway({.upstream_url = upstream_.url()});
    for (const std::string more : {"", R"(,"stream":true)"}) {
        const std::string id = id_of(respond(gateway, "a" + more.substr(0, 1), kAlice, more));
        const Answer next = respond(gateway, "b", kAlice, more + after(id));
        EXPECT_EQ(next.status, 200) << next.body;
        EXPECT_NE(upstream_.seen().back().body.find(id), std::string::npos);
        EXPECT_EQ(respond(gateway, "c", kAlice, after(id_of(next))).status, 200);
        // A team-mate's and somebody else's are as closed as before.
        for (const char* const other : {kBob, kCarol}) {
            const auto error =
                expect_error(respond(gateway, "b", other, after(id)), 403, "endpoint_closed");
            EXPECT_EQ(error.value("param", ""), "previous_response_id");
            EXPECT_NE(
                error.value("message", "").find("'endpoints: [stored_responses]'"),
                std::string::npos
            );
            for (const char* const method : {"GET", "DELETE"}) {
                EXPECT_EQ(get(gateway, id, other, method), 403);
            }
            EXPECT_EQ(get(gateway, id + "/input_items", other), 403);
        }
        EXPECT_EQ(get(gateway, id + "/input_items?limit=1", kAlice), 200);
        EXPECT_EQ(upstream_.seen().back().target, "/v1/responses/" + id + "/input_items?limit=1");
        EXPECT_EQ(get(gateway, id + "/cancel", kAlice, "POST"), 200);
        EXPECT_EQ(get(gateway, id, kAlice, "DELETE"), 200);
    }
    expect_error(respond(gateway, "b", kAlice, after("resp_none")), 403, "endpoint_closed");
    EXPECT_EQ(get(gateway, "resp_none", kAlice), 403);
}

TEST_F(StoredResponses, ComeFromTheCacheAndFromOthersCallsToo) {
    TestGateway gateway({.upstream_url = upstream_.url()});
    const std::string id = id_of(respond(gateway, "same", kAlice));
    const Answer hit = respond(gateway, "same", kBob);
    EXPECT_EQ(hit.field("x-cache"), "HIT");
    EXPECT_EQ(id_of(hit), id);
    EXPECT_EQ(respond(gateway, "next", kBob, after(id)).status, 200);
    EXPECT_EQ(respond(gateway, "next", kCarol, after(id)).status, 403);
    // A stored stream crosses to a plain answer, and the id with it.
    const Answer plain = respond(gateway, "same", kBob, R"(,"stream":true)");
    EXPECT_EQ(plain.field("x-cache"), "HIT");
}

TEST_F(StoredResponses, ThatWereNotToBeStoredAreNotKnown) {
    TestGateway gateway({.upstream_url = upstream_.url()});
    const std::string id = id_of(respond(gateway, "a", kAlice, R"(,"store":false)"));
    EXPECT_EQ(respond(gateway, "b", kAlice, after(id)).status, 403);
}

TEST_F(StoredResponses, AreOpenedByThePlanForAllItsKeys) {
    TestGateway gateway(
        {.upstream_url = upstream_.url(), .plan_more = "    endpoints: [stored_responses]\n"}
    );
    EXPECT_EQ(respond(gateway, "b", kBob, after("resp_before")).status, 200);
    EXPECT_EQ(get(gateway, "resp_before", kBob), 200);
}

// Where the response is, and not where the model would go now.
TEST_F(StoredResponses, ArePinnedToTheirUpstreamAndKey) {
    FakeUpstream other([this](Wire& wire, const SeenRequest& request) {
        say_a_response(wire, request, number_);
    });
    const std::string second = fmt::format(
        "}}\n  - {{name: other, url: \"{}\", key: [other-secret-key-1, other-secret-key-2], "
        "models: "
        "[\"o*\"]",
        other.url()
    );
    TestGateway gateway(
        {.upstream_url = upstream_.url(), .upstream_more = ", models: [\"gpt-*\"]" + second}
    );
    for (int i = 0; i < 4; ++i) {
        const std::string id = id_of(respond(gateway, fmt::format("q{}", i), kAlice, "", "o3"));
        const std::string key = other.seen().back().field("authorization");
        const std::size_t before = other.calls();
        EXPECT_EQ(respond(gateway, "b", kAlice, after(id), "gpt-4").status, 200);
        EXPECT_EQ(get(gateway, id, kAlice), 200);
        const auto seen = other.seen();
        ASSERT_EQ(seen.size(), before + 2);
        EXPECT_EQ(seen[before].field("authorization"), key);
        EXPECT_EQ(seen[before + 1].field("authorization"), key);
    }
    EXPECT_EQ(upstream_.calls(), 0U);
}

}  // namespace
}  // namespace weir::test
