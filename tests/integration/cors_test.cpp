// Browsers of other sites: off by default, and then what the Fetch standard asks for.
#include "tools.hpp"

namespace weir::test {
namespace {

constexpr const char* kCors =
    "cors: {origins: [\"https://app.example.org\", \"https://*.example.com\"], max_age: 5m}\n";
constexpr const char* kOrigin = "https://app.example.org";

Ask preflight(std::string origin, std::string path = "/v1/chat/completions") {
    return {
        .method = "OPTIONS",
        .path = std::move(path),
        .fields =
            {{"Origin", std::move(origin)},
             {"Access-Control-Request-Method", "POST"},
             {"Access-Control-Request-Headers",
              "authorization,content-type, x-stainless-os,X-Weir-Cache-Key,cookie,x-evil"}}
    };
}

TEST(Cors, IsOffByDefault) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url()});
    expect_error(ask(gateway.port(), preflight(kOrigin)), 401, "invalid_api_key");
    const Answer answer =
        ask(gateway.port(),
            {.key = kAlice, .body = chat_body("x"), .fields = {{"Origin", kOrigin}}});
    EXPECT_EQ(answer.status, 200);
    EXPECT_FALSE(answer.has("access-control-allow-origin"));
    EXPECT_FALSE(answer.has("vary"));
}

TEST(Cors, AnswersPreflightsWithoutAKey) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url(), .more = kCors});
    for (const char* const path : {"/v1/chat/completions", "/v1/files/x", "/api/me"}) {
        const Answer answer = ask(gateway.port(), preflight(kOrigin, path));
        EXPECT_EQ(answer.status, 204);
        EXPECT_EQ(answer.field("access-control-allow-origin"), kOrigin);
        EXPECT_EQ(answer.field("vary"), "Origin");
        EXPECT_EQ(
            answer.field("access-control-allow-headers"),
            "authorization, content-type, x-stainless-os, X-Weir-Cache-Key"
        );
        EXPECT_NE(answer.field("access-control-allow-methods").find("DELETE"), std::string::npos);
        EXPECT_EQ(answer.field("access-control-max-age"), "300");
        EXPECT_FALSE(answer.has("access-control-allow-credentials"));
    }
    EXPECT_EQ(ask(gateway.port(), preflight("https://a.b.example.com")).status, 204);
    for (const char* const origin :
         {"https://app.example.org.evil.net",
          "http://app.example.org",
          "null",
          "https://example.com"}) {
        const Answer answer = ask(gateway.port(), preflight(origin));
        expect_error(answer, 403, "origin_not_allowed");
        EXPECT_FALSE(answer.has("access-control-allow-origin")) << origin;
        EXPECT_EQ(answer.field("vary"), "Origin");
    }
    // Not the admin's.
    EXPECT_FALSE(ask(gateway.port(), preflight(kOrigin, "/api/admin/keys"))
                     .has("access-control-allow-origin"));
    EXPECT_EQ(upstream.calls(), 0U);
}

TEST(Cors, LetsBrowsersReadEveryAnswer) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url(), .more = kCors});
    const auto from = [&](Ask request, const char* origin) {
        request.fields.emplace_back("Origin", origin);
        return ask(gateway.port(), request);
    };
    const Ask asks[] = {
        {.key = kAlice, .body = chat_body("x")},
        {.key = kAlice, .body = chat_body("x")},  // a hit
        {.key = kAlice, .body = chat_body("streamed", true)},
        {.key = "nobody", .body = chat_body("x")},
        {.key = kAlice, .body = "{"},
        {.path = "/v1/files", .key = kAlice},
        {.method = "GET", .path = "/v1/models", .key = kAlice},
        {.method = "GET", .path = "/api/me", .key = kAlice},
        {.method = "GET", .path = "/api/me", .key = "nobody"},
        {.method = "GET", .path = "/v1/nothing", .key = kAlice},
    };
    for (const Ask& request : asks) {
        SCOPED_TRACE(request.path);
        const Answer answer = from(request, kOrigin);
        EXPECT_EQ(answer.field("access-control-allow-origin"), kOrigin);
        EXPECT_EQ(answer.field("access-control-expose-headers"), "*");
        EXPECT_EQ(answer.field("vary"), "Origin");
        EXPECT_FALSE(answer.has("access-control-allow-credentials"));
        const Answer other = from(request, "https://other.example.net");
        EXPECT_EQ(other.status, answer.status);
        EXPECT_FALSE(other.has("access-control-allow-origin"));
        EXPECT_EQ(other.field("vary"), "Origin");
    }
    // The next request of a connection is one for itself.
    Client client(gateway.port());
    Ask request{.method = "GET", .path = "/v1/models", .key = kAlice};
    request.fields.emplace_back("Origin", kOrigin);
    ASSERT_TRUE(client.send(request.bytes()));
    EXPECT_TRUE(client.read_answer().has("access-control-allow-origin"));
    ASSERT_TRUE(client.send(Ask{.method = "GET", .path = "/healthz"}.bytes()));
    const Answer health = client.read_answer();
    EXPECT_EQ(health.status, 200);
    EXPECT_FALSE(health.has("access-control-allow-origin"));
    EXPECT_FALSE(health.has("vary"));
}

}  // namespace
}  // namespace weir::test
