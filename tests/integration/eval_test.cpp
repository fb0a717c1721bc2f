// An eval-like run: a thousand requests of all cacheable kinds, and the same thousand again. The
// second run makes no upstream call and gives equal answers.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "weir/base/crypto.hpp"

#include "http/random_json.hpp"
#include "tools.hpp"

namespace weir::test {
namespace {

using nlohmann::json;

// A word that only this request gives: an answer that is served to another one is seen.
std::string sign_of(const SeenRequest& request) {
    auto body = json::parse(request.body, nullptr, false);
    body.erase("stream");
    body.erase("stream_options");
    const Digest digest = sha256(request.target + body.dump());
    return "s" + std::to_string(digest[0] << 24 | digest[1] << 16 | digest[2] << 8 | digest[3]) +
           "-" + std::to_string(digest[4] << 8 | digest[5]);
}

void answer_signed(Wire& wire, const SeenRequest& request) {
    const std::string sign = sign_of(request);
    const bool stream = json::parse(request.body).value("stream", false);
    if (request.target == "/v1/chat/completions")
        return answer_chat(wire, request, "the sign is " + sign);
    if (request.target == "/v1/completions" && stream) {
        wire.begin_stream();
        wire.event(
            R"({"id":"c","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":")" +
            sign + R"(","finish_reason":null}]})"
        );
        wire.event(
            R"({"id":"c","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"","finish_reason":"stop"}]})"
        );
        wire.event(
            R"({"id":"c","object":"text_completion","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}})"
        );
        wire.event("[DONE]");
        return static_cast<void>(wire.last_chunk());
    }
    if (request.target == "/v1/completions") {
        return static_cast<void>(wire.json(
            R"({"id":"c","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":")" +
            sign +
            R"(","finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}})"
        ));
    }
    if (request.target == "/v1/responses") {
        const std::string whole =
            R"({"id":"r","object":"response","status":"completed","output":[{"id":"m","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":")" +
            sign +
            R"(","annotations":[]}]}],"usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3}})";
        if (!stream) return static_cast<void>(wire.json(whole));
        wire.begin_stream();
        wire.chunk(
            "event: response.completed\ndata: "
            "{\"type\":\"response.completed\",\"sequence_number\":0,\"response\":" +
            whole + "}\n\n"
        );
        return static_cast<void>(wire.last_chunk());
    }
    if (request.target == "/v1/embeddings") {
        return static_cast<void>(wire.json(
            R"({"object":"list","data":[{"index":0,"embedding":")" + sign +
            R"("}],"usage":{"prompt_tokens":1,"total_tokens":1}})"
        ));
    }
    static_cast<void>(wire.json(R"({"id":")" + sign + R"(","results":[{"flagged":false}]})"));
}

std::vector<Ask> thousand_questions(Random& random) {
    std::vector<Ask> asks;
    asks.reserve(1000);
    for (int i = 0; i < 1000; ++i) {
        json body = {{"model", random.one_in(2) ? "gpt-4" : "gpt-4o-mini"}, {"seed", i}};
        const std::string text = random_text(random, random.one_in(20) ? 3000 : 30);
        Ask one{.key = random.one_in(2) ? kAlice : kBob};
        const bool stream = random.one_in(2);
        switch (random.below(6)) {
            case 0:
                one.path = "/v1/completions";
                body["prompt"] = text;
                body["max_tokens"] = 16;
                break;
            case 1:
                one.path = "/v1/responses";
                body["input"] = text;
                break;
            case 2:
                one.path = "/v1/embeddings";
                body["input"] = {text, "x"};
                break;
            case 3:
                one.path = "/v1/moderations";
                body["input"] = text;
                break;
            default:
                one.path = "/v1/chat/completions";
                body["messages"] = {{{"role", "user"}, {"content", text}}};
                if (random.one_in(3))
                    body["tools"] = {{{"type", "function"}, {"function", {{"name", "f"}}}}};
                if (random.one_in(3)) body["stream_options"] = {{"include_usage", true}};
                break;
        }
        const bool streams = one.path != "/v1/embeddings" && one.path != "/v1/moderations";
        if (!streams || !stream) body.erase("stream_options");
        if (streams && stream) body["stream"] = true;
        one.body = body.dump();
        asks.push_back(std::move(one));
    }
    return asks;
}

// Ten clients, each with a connection of its own.
std::vector<Answer> run(std::uint16_t port, const std::vector<Ask>& asks) {
    constexpr std::size_t kClients = 10;
    std::vector<Answer> answers(asks.size());
    std::vector<std::thread> threads;
    threads.reserve(kClients);
    for (std::size_t first = 0; first < kClients; ++first) {
        threads.emplace_back([&, first] {
            Client client(port);
            for (std::size_t i = first; i < asks.size(); i += kClients) {
                if (client.send(asks[i].bytes())) answers[i] = client.read_answer();
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    return answers;
}

TEST(Eval, ASecondRunCostsNothingAndAnswersTheSame) {
    Random random("EvalRun");
    FakeUpstream upstream(answer_signed);
    const TempDir data;
    std::vector<Ask> asks = thousand_questions(random);
    std::vector<Answer> first;
    const GatewaySetup setup = {
        .upstream_url = upstream.url(),
        .caps = "[{models: \"*\", allow: 2000/4h}]",
        .data = data.path("d")
    };
    {
        TestGateway gateway(setup);
        first = run(gateway.port(), asks);
        for (std::size_t i = 0; i < asks.size(); ++i) {
            ASSERT_EQ(first[i].status, 200) << asks[i].body << first[i].body;
            ASSERT_EQ(first[i].field("x-cache"), "MISS") << asks[i].body;
        }
        EXPECT_EQ(upstream.calls(), asks.size());
        const std::vector<Answer> second = run(gateway.port(), asks);
        for (std::size_t i = 0; i < asks.size(); ++i) {
            ASSERT_EQ(second[i].field("x-cache"), "HIT") << asks[i].body;
            ASSERT_EQ(second[i].body, first[i].body) << asks[i].body;
        }
    }
    // From the file alone, after a restart, and each as the other kind where it crosses.
    TestGateway gateway(setup);
    const std::vector<Answer> third = run(gateway.port(), asks);
    for (std::size_t i = 0; i < asks.size(); ++i) {
        ASSERT_EQ(third[i].field("x-cache"), "HIT") << asks[i].body;
        ASSERT_EQ(third[i].body, first[i].body) << asks[i].body;
    }
    std::vector<std::string> signs;
    signs.reserve(asks.size());
    for (Ask& one : asks) {
        const SeenRequest seen{
            .method = "POST", .target = one.path, .fields = {}, .body = one.body
        };
        signs.push_back(sign_of(seen));
        json body = json::parse(one.body);
        const bool streams = one.path != "/v1/embeddings" && one.path != "/v1/moderations";
        if (streams) body["stream"] = !body.value("stream", false);
        body.erase("stream_options");
        one.body = body.dump();
    }
    const std::vector<Answer> crossed = run(gateway.port(), asks);
    for (std::size_t i = 0; i < asks.size(); ++i) {
        ASSERT_EQ(crossed[i].field("x-cache"), "HIT") << asks[i].body;
        ASSERT_NE(crossed[i].body.find(signs[i]), std::string::npos) << crossed[i].body;
    }
    EXPECT_EQ(upstream.calls(), asks.size());
    // Each message counted once; moderations are free.
    const auto free = std::ranges::count(asks, "/v1/moderations", &Ask::path);
    EXPECT_EQ(used(gateway, "alice") + used(gateway, "bob"), std::ssize(asks) - free);
}

}  // namespace
}  // namespace weir::test
