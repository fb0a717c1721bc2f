#include "weir/http/hygiene.hpp"

#include <initializer_list>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::http {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Fields make(std::initializer_list<std::pair<const char*, const char*>> pairs) {
    Fields fields;
    for (const auto& [name, value] : pairs) fields.add(name, value);
    return fields;
}

TEST(ForwardedRequest, PassesWhatUpstreamsUse) {
    for (const char* name :
         {"Content-Type",
          "Accept",
          "User-Agent",
          "OpenAI-Beta",
          "X-Stainless-Lang",
          "x-stainless-retry-count",
          "Idempotency-Key",
          "anthropic-version",
          "Anthropic-Beta",
          "traceparent",
          "tracestate",
          "x-codex-turn-metadata",
          "session_id"}) {
        const Fields out = forwarded_request_fields(make({{name, "v"}}));
        ASSERT_EQ(out.size(), 1u) << name;
        EXPECT_EQ((*out.begin()).name, name);
        EXPECT_EQ((*out.begin()).value, "v");
    }
}

TEST(ForwardedRequest, NeverPassesCredentialsHopsOrOrigins) {
    for (const char* name : {"Authorization",    "authorization",
                             "api-key",          "x-api-key",
                             "X-API-KEY",        "Proxy-Authorization",
                             "Proxy-Connection", "Cookie",
                             "Set-Cookie",       "Connection",
                             "Keep-Alive",       "TE",
                             "Trailer",          "Transfer-Encoding",
                             "Upgrade",          "Host",
                             "Content-Length",   "Content-Encoding",
                             "Expect",           "Accept-Encoding",
                             "Forwarded",        "X-Forwarded-For",
                             "X-Forwarded-Host", "X-Real-Ip",
                             "CF-Connecting-IP", "OpenAI-Organization",
                             "OpenAI-Project",   "x-portkey-custom-host",
                             "x-goog-api-key",   "Origin",
                             "Referer",          "Via",
                             "X-Unknown",        "X-HTTP-Method-Override",
                             "x-stainless-",     "Authorization "}) {
        EXPECT_TRUE(forwarded_request_fields(make({{name, "v"}})).empty()) << name;
    }
}

TEST(ForwardedRequest, DropsWhatConnectionNames) {
    const Fields out = forwarded_request_fields(make(
        {{"User-Agent", "a"},
         {"Connection", "close, USER-agent"},
         {"openai-beta", "b"},
         {"connection", "openai-beta"},
         {"Accept", "c"}}
    ));
    ASSERT_EQ(out.size(), 1u);
    EXPECT_EQ((*out.begin()).name, "Accept");
}

TEST(ForwardedRequest, KeepsRepeatedFieldsInOrder) {
    const Fields out = forwarded_request_fields(make({{"openai-beta", "a"}, {"OpenAI-Beta", "b"}}));
    ASSERT_EQ(out.size(), 2u);
    EXPECT_EQ((*out.begin()).value, "a");
}

TEST(ForwardedResponse, PassesContentAndHidesTheAccount) {
    const Fields out = forwarded_response_fields(make({
        {"Content-Type", "text/event-stream"},
        {"openai-processing-ms", "12"},
        {"openai-organization", "org-secret"},
        {"openai-project", "proj-secret"},
        {"Set-Cookie", "a=b"},
        {"x-ratelimit-remaining-requests", "1"},
        {"Connection", "keep-alive"},
        {"Transfer-Encoding", "chunked"},
        {"Content-Length", "5"},
        {"Server", "cloudflare"},
        {"cf-ray", "x"},
        {"WWW-Authenticate", "Bearer"},
        {"Location", "http://elsewhere"},
        {"Strict-Transport-Security", "x"},
        {"x-request-id", "req_1"},
        {"request-id", "req_2"},
        {"Retry-After", "5"},
    }));
    EXPECT_EQ(out.size(), 4u);
    EXPECT_EQ(out.find("content-type"), "text/event-stream");
    EXPECT_EQ(out.find("openai-processing-ms"), "12");
    EXPECT_EQ(out.find("retry-after"), "5");
    EXPECT_EQ(out.find("x-upstream-request-id"), "req_1");
}

TEST(ForwardedResponse, DropsWhatConnectionNames) {
    EXPECT_TRUE(
        forwarded_response_fields(make({{"Connection", "Content-Type"}, {"Content-Type", "x"}}))
            .empty()
    );
}

TEST(ShapingFields, AreNamedInLowerCaseAndSorted) {
    EXPECT_THAT(
        shaping_fields(make(
            {{"OpenAI-Beta", "b"},
             {"Anthropic-Version", "2023-06-01"},
             {"User-Agent", "x"},
             {"openai-beta", "a"},
             {"Authorization", "k"}}
        )),
        ElementsAre("anthropic-version: 2023-06-01", "openai-beta: b, a")
    );
}

TEST(ShapingFields, UsualContentTypesAndAcceptsDoNotCount) {
    for (const char* accept :
         {"*/*",
          "application/json",
          "text/event-stream",
          "application/json, text/event-stream",
          "Application/JSON;q=0.9, */*;q=0.1",
          ""}) {
        EXPECT_THAT(
            shaping_fields(
                make({{"Accept", accept}, {"Content-Type", "application/json; charset=utf-8"}})
            ),
            IsEmpty()
        ) << accept;
    }
    EXPECT_THAT(
        shaping_fields(make({{"Accept", "audio/mpeg"}, {"Content-Type", "Text/Plain;a"}})),
        ElementsAre("accept: audio/mpeg", "content-type: text/plain")
    );
}

TEST(PresentedKey, ComesFromTheUsualPlaces) {
    EXPECT_EQ(presented_key(make({{"Authorization", "Bearer sk-1"}})), "sk-1");
    EXPECT_EQ(presented_key(make({{"authorization", "bEARER   sk-1"}})), "sk-1");
    EXPECT_EQ(presented_key(make({{"X-Api-Key", "sk-2"}})), "sk-2");
    EXPECT_EQ(presented_key(make({{"api-key", "sk-3"}})), "sk-3");
    EXPECT_EQ(presented_key(make({{"api-key", "sk-3"}, {"Authorization", "Bearer sk-1"}})), "sk-1");
    EXPECT_EQ(presented_key(make({{"Authorization", "Basic abc"}})), "");
    EXPECT_EQ(presented_key(make({{"Authorization", "Bearer"}})), "");
    EXPECT_EQ(presented_key(make({{"Authorization", "Bearer "}})), "");
    EXPECT_EQ(presented_key(make({{"Authorization", "sk-1"}})), "");
    EXPECT_EQ(presented_key({}), "");
}

}  // namespace
}  // namespace weir::http
