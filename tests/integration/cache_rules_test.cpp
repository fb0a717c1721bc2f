// The rules of docs/cache.md, a row each: what is looked up and kept, what is never, and what two
// requests must share to be equal.
#include "tools.hpp"

namespace weir::test {
namespace {

constexpr char kChat[] = "/v1/chat/completions";
constexpr char kCompletions[] = "/v1/completions";
constexpr char kResponses[] = "/v1/responses";
constexpr char kEmbeddings[] = "/v1/embeddings";
constexpr char kModerations[] = "/v1/moderations";

// An answer that is whole, whatever is asked; the number of the call is in it.
void answer_anything(Wire& wire, const SeenRequest& request, int call) {
    const std::string number = std::to_string(call);
    if (request.target.starts_with(kChat))
        return answer_chat(wire, request, "the answer to this one is number " + number);
    if (request.target.starts_with(kCompletions)) {
        return static_cast<void>(wire.json(
            R"({"id":"c","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":")" +
            number +
            R"(","finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}})"
        ));
    }
    if (request.target.starts_with(kResponses)) {
        return static_cast<void>(wire.json(
            R"({"id":"resp_)" + number +
            R"(","object":"response","status":"completed","output":[],"usage":{"input_tokens":3,"output_tokens":4}})"
        ));
    }
    if (request.target.starts_with(kEmbeddings)) {
        return static_cast<void>(wire.json(
            R"({"object":"list","data":[{"index":0,"embedding":[)" + number +
            R"(]}],"usage":{"prompt_tokens":5,"total_tokens":5}})"
        ));
    }
    static_cast<void>(wire.json(R"({"id":")" + number + R"(","results":[{"flagged":false}]})"));
}

struct Request {
    std::string body;
    std::string path = kChat;
    const char* key = kAlice;
    std::vector<std::pair<std::string, std::string>> fields = {};
};

struct Rule {
    const char* name;
    Request first;
    Request second;
    const char* told_first;  // x-cache; "": no such field; "403": that status
    const char* told_second;
    const char* cache = "{}";  // YAML
};

std::string told(const Answer& answer) {
    if (answer.status >= 400) return std::to_string(answer.status);
    return answer.field("x-cache");
}

// {"model":"gpt-4","messages":[...], and more}.
std::string chat(const std::string& more = "") {
    return R"({"model":"gpt-4","messages":[{"role":"user","content":"hi"}])" +
           (more.empty() ? "" : "," + more) + "}";
}
std::string response(const std::string& more = "") {
    return R"({"model":"gpt-4","input":"hi")" + (more.empty() ? "" : "," + more) + "}";
}

Rule twice(const char* name, Request request, const char* first, const char* second) {
    return {name, request, request, first, second};
}
Rule pair(const char* name, const std::string& first, const std::string& second, const char* told) {
    return {name, {first}, {second}, "MISS", told};
}

std::vector<Rule> endpoints() {
    return {
        twice("chat", {chat()}, "MISS", "HIT"),
        twice("completions", {R"({"model":"m","prompt":"x"})", kCompletions}, "MISS", "HIT"),
        twice(
            "responses, though `store` is true upstream when it is left out",
            {response(), kResponses},
            "MISS",
            "HIT"
        ),
        twice("embeddings", {R"({"model":"m","input":"x"})", kEmbeddings}, "MISS", "HIT"),
        twice("moderations", {R"({"input":"x"})", kModerations}, "MISS", "HIT"),
        twice(
            "pictures are made anew",
            {R"({"model":"m","prompt":"x"})", "/v1/images/generations"},
            "",
            ""
        ),
        twice("speech", {R"({"model":"m","input":"x"})", "/v1/audio/speech"}, "", ""),
        twice("counting", {response(), "/v1/responses/input_tokens"}, "", ""),
    };
}

std::vector<Rule> never() {
    return {
        twice(
            "previous_response_id",
            {response(R"("previous_response_id":"r")"), kResponses},
            "403",
            "403"
        ),
        twice("conversation", {response(R"("conversation":"c")"), kResponses}, "403", "403"),
        twice("background", {response(R"("background":true)"), kResponses}, "403", "403"),
        twice("a wish to store", {response(R"("store":true)"), kResponses}, "BYPASS", "BYPASS"),
        twice("a wish to store a chat", {chat(R"("store":true)")}, "BYPASS", "BYPASS"),
        twice(
            "a search",
            {response(R"("tools":[{"type":"web_search"}])"), kResponses},
            "BYPASS",
            "BYPASS"
        ),
        twice(
            "remote tools",
            {response(R"("tools":[{"type":"mcp","server_url":"u"}])"), kResponses},
            "BYPASS",
            "BYPASS"
        ),
        twice("a search for a chat", {chat(R"("web_search_options":{})")}, "BYPASS", "BYPASS"),
        twice("half a surrogate pair", {chat(R"("user":"\ud800")")}, "BYPASS", "BYPASS"),
        twice(
            "no-store", {chat(), kChat, kAlice, {{"Cache-Control", "no-store"}}}, "BYPASS", "BYPASS"
        ),
        twice(
            "no-cache", {chat(), kChat, kAlice, {{"Cache-Control", "no-cache"}}}, "BYPASS", "BYPASS"
        ),
        twice(
            "a time to live of nothing",
            {chat(), kChat, kAlice, {{"x-weir-cache-ttl", "0"}}},
            "BYPASS",
            "BYPASS"
        ),
        twice(
            "functions are the client's own",
            {chat(R"("tools":[{"type":"function","function":{"name":"f"}}])")},
            "MISS",
            "HIT"
        ),
    };
}

std::vector<Rule> equal() {
    return {
        pair(
            "the order of members",
            R"({"model":"m","messages":[]})",
            R"({"messages":[],"model":"m"})",
            "HIT"
        ),
        pair("white space", chat(), " " + chat() + "\n", "HIT"),
        pair("escapes", chat(R"("user":"\u00e9\/")"), chat("\"user\":\"\xC3\xA9/\""), "HIT"),
        pair("stream", chat(), chat(R"("stream":true)"), "HIT"),
        pair(
            "stream_options",
            chat(R"("stream":true)"),
            chat(R"("stream":true,"stream_options":{"include_usage":true})"),
            "HIT"
        ),
        pair("a number's text", chat(R"("top_p":1)"), chat(R"("top_p":1.0)"), "MISS"),
        pair("null is not missing", chat(), chat(R"("n":null)"), "MISS"),
        pair("members nobody knows", chat(), chat(R"("x_vendor":1)"), "MISS"),
        pair("user", chat(R"("user":"a")"), chat(R"("user":"b")"), "MISS"),
        pair(
            "the order of a list", chat(R"("stop":["a","b"])"), chat(R"("stop":["b","a"])"), "MISS"
        ),
        pair(
            "one byte in a long text",
            chat(R"("a":")" + std::string(40'000, 'x') + "y\""),
            chat(R"("a":")" + std::string(40'000, 'x') + "z\""),
            "MISS"
        ),
        pair(
            "a long text",
            chat(R"("a":")" + std::string(40'000, '/') + "y\""),
            chat(R"("a":"\/)" + std::string(39'999, '/') + "y\""),
            "HIT"
        ),
        {"another path",
         {R"({"model":"m","input":"x"})", kEmbeddings},
         {R"({"model":"m","input":"x"})", kResponses},
         "MISS",
         "MISS"},
        {"the query", {chat()}, {chat(), std::string(kChat) + "?a=1"}, "MISS", "MISS"},
        {"betas", {chat()}, {chat(), kChat, kAlice, {{"OpenAI-Beta", "x"}}}, "MISS", "MISS"},
        {"other fields",
         {chat()},
         {chat(), kChat, kAlice, {{"X-Stainless-Lang", "js"}, {"User-Agent", "x"}}},
         "MISS",
         "HIT"},
        {"a variant", {chat()}, {chat(), kChat, kAlice, {{"x-weir-cache-key", "b"}}}, "MISS", "MISS"
        },
        {"the same variant",
         {chat(), kChat, kAlice, {{"x-weir-cache-key", "b"}}},
         {chat(), kChat, kBob, {{"X-Weir-Cache-Key", "b"}}},
         "MISS",
         "HIT"},
        {"the team", {chat()}, {chat(), kChat, kBob}, "MISS", "HIT"},
        {"no team", {chat()}, {chat(), kChat, kCarol}, "MISS", "MISS"},
        {"scope: key", {chat()}, {chat(), kChat, kBob}, "MISS", "MISS", "{scope: key}"},
        {"scope: all", {chat()}, {chat(), kChat, kCarol}, "MISS", "HIT", "{scope: all}"},
        {"ignore",
         {chat(R"("user":"a","metadata":{"b":1})")},
         {chat(R"("user":"c")")},
         "MISS",
         "HIT",
         "{ignore: [user, metadata]}"},
        {"ignore, but not where the answer repeats it",
         {response(R"("user":"a")"), kResponses},
         {response(R"("user":"b")"), kResponses},
         "MISS",
         "MISS",
         "{ignore: [user, metadata]}"},
        {"ignore no more",
         {chat(R"("user":"a")")},
         {chat(R"("user":"a","seed":1)")},
         "MISS",
         "MISS",
         "{ignore: [user, metadata]}"},
    };
}

std::vector<Rule> configured() {
    static constexpr char kDeterministic[] = "{when: deterministic}";
    const auto under = [](Rule rule, const char* cache) {
        rule.cache = cache;
        return rule;
    };
    static constexpr char kRules[] =
        "{rules: [{plans: other, when: never}, {models: gpt-4, when: never}]}";
    return {
        under(twice("deterministic: a chat is not", {chat()}, "BYPASS", "BYPASS"), kDeterministic),
        under(
            twice("deterministic: temperature 0", {chat(R"("temperature":0.0)")}, "MISS", "HIT"),
            kDeterministic
        ),
        under(twice("deterministic: a seed", {chat(R"("seed":7)")}, "MISS", "HIT"), kDeterministic),
        under(
            twice("deterministic: a response", {response(), kResponses}, "BYPASS", "BYPASS"),
            kDeterministic
        ),
        under(
            twice(
                "deterministic: embeddings",
                {R"({"model":"m","input":"x"})", kEmbeddings},
                "MISS",
                "HIT"
            ),
            kDeterministic
        ),
        under(
            twice("deterministic: moderations", {R"({"input":"x"})", kModerations}, "MISS", "HIT"),
            kDeterministic
        ),
        under(twice("a rule for a model", {chat()}, "BYPASS", "BYPASS"), kRules),
        under(
            twice("and not for others", {R"({"model":"m","messages":[]})"}, "MISS", "HIT"), kRules
        ),
        under(twice("switched off", {chat()}, "BYPASS", "BYPASS"), "{enabled: false}"),
        under(
            twice(
                "too long a request",
                {chat(R"("a":")" + std::string(3000, 'x') + "\"")},
                "BYPASS",
                "BYPASS"
            ),
            "{max_request: 2KiB}"
        ),
        under(
            twice("too long an answer", {chat(R"("stream":true)")}, "MISS", "MISS"),
            "{max_entry: 1KiB}"
        ),
    };
}

void expect_all(const std::vector<Rule>& rules) {
    std::atomic<int> calls = 0;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest& request) {
        answer_anything(wire, request, ++calls);
    });
    for (const Rule& rule : rules) {
        SCOPED_TRACE(rule.name);
        TestGateway gateway(
            {.upstream_url = upstream.url(), .cache = rule.cache, .plan_more = "  other: {}\n"}
        );
        const auto ask_for = [&](const Request& request) {
            return ask(
                gateway.port(),
                {.path = request.path,
                 .key = request.key,
                 .body = request.body,
                 .fields = request.fields}
            );
        };
        const int before = calls;
        const Answer first = ask_for(rule.first);
        EXPECT_EQ(told(first), rule.told_first) << first.body;
        const Answer second = ask_for(rule.second);
        EXPECT_EQ(told(second), rule.told_second) << second.body;
        const bool refused = std::string_view(rule.told_first) == "403";
        const bool hit = std::string_view(rule.told_second) == "HIT";
        EXPECT_EQ(calls - before, refused ? 0 : hit ? 1 : 2);
        if (hit && second.field("content-type") == "application/json") {
            EXPECT_EQ(second.body, first.body);
        }
    }
}

TEST(CacheRules, Endpoints) {
    expect_all(endpoints());
}
TEST(CacheRules, WhatIsNeverKept) {
    expect_all(never());
}
TEST(CacheRules, WhatIsEqual) {
    expect_all(equal());
}
TEST(CacheRules, WhatTheConfigSays) {
    expect_all(configured());
}

}  // namespace
}  // namespace weir::test
