#include "weir/http/upstream_error.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace weir::http {
namespace {

const std::vector<std::string> kSecrets = {"sk-ant-secret"};

Explained explained(int status, std::string_view body, Api api = Api::kAnthropic) {
    ResponseHead head;
    head.status = status;
    head.fields.add("content-type", "application/json");
    head.fields.add("request-id", "req_theirs");
    head.fields.add("retry-after", "3");
    head.fields.add("anthropic-ratelimit-requests-remaining", "0");
    head.fields.add("anthropic-organization-id", "org");
    return explain_upstream_answer(head, body, "claude", kSecrets, api);
}

std::string anthropic(std::string_view type, std::string_view message) {
    return R"({"type":"error","error":{"type":")" + std::string(type) + R"(","message":")" +
           std::string(message) + R"("},"request_id":"req_theirs"})";
}

std::string type_of(const Explained& told) {
    const auto json = nlohmann::json::parse(told.answer.body);
    EXPECT_EQ(json["type"], "error") << told.answer.body;
    return json["error"]["type"];
}

TEST(UpstreamError, AnthropicsOwnRefusalsPassAsTheyAre) {
    for (const auto& [status, type] :
         {std::pair{400, "invalid_request_error"},
          std::pair{404, "not_found_error"},
          std::pair{413, "request_too_large"},
          std::pair{500, "api_error"},
          std::pair{529, "overloaded_error"}}) {
        const std::string body = anthropic(type, "sk-ant-secret is in it");
        const Explained told = explained(status, body);
        EXPECT_EQ(told.answer.status, status);
        EXPECT_EQ(told.code, "upstream_status");
        EXPECT_EQ(type_of(told), type);
        EXPECT_EQ(told.answer.body.find("sk-ant-secret"), std::string::npos);
        EXPECT_EQ(told.answer.fields.find("x-upstream-request-id"), "req_theirs");
        EXPECT_EQ(told.answer.fields.find("retry-after"), "3");
        // The account's, not the client's.
        EXPECT_FALSE(told.answer.fields.find("anthropic-ratelimit-requests-remaining"));
        EXPECT_FALSE(told.answer.fields.find("anthropic-organization-id"));
    }
}

TEST(UpstreamError, WhatIsOursIsToldInTheShapeOfTheApi) {
    const Explained limited = explained(429, anthropic("rate_limit_error", "slow down"));
    EXPECT_EQ(limited.answer.status, 429);
    EXPECT_EQ(type_of(limited), "rate_limit_error");
    EXPECT_EQ(limited.answer.fields.find("retry-after"), "3");
    EXPECT_EQ(limited.answer.body.find("slow down"), std::string::npos);

    const Explained key = explained(401, anthropic("authentication_error", "invalid x-api-key"));
    EXPECT_EQ(key.answer.status, 502);
    EXPECT_EQ(type_of(key), "api_error");

    const Explained page = explained(529, "<html>");
    EXPECT_EQ(page.answer.status, 529);
    EXPECT_EQ(type_of(page), "overloaded_error");

    const auto as_openai = nlohmann::json::parse(explained(401, "", Api::kOpenAi).answer.body);
    EXPECT_EQ(as_openai["error"]["code"], "upstream_error");
}

TEST(UpstreamError, AnAccountWithoutMoneyIsOursInEveryWay) {
    for (const auto& [status, body] :
         {std::pair{402, anthropic("billing_error", "x")},
          std::pair{400, anthropic("billing_error", "x")},
          std::pair{
              400,
              anthropic(
                  "invalid_request_error",
                  "Your credit balance is too low to access the Anthropic API. Please go to Plans."
              )
          },
          std::pair{
              400,
              anthropic(
                  "invalid_request_error",
                  "You have reached your specified API usage limits. You will regain access soon."
              )
          },
          std::pair{429, std::string(R"({"error":{"code":"insufficient_quota"}})")}}) {
        const Explained told = explained(status, body);
        EXPECT_EQ(told.answer.status, 503) << body;
        EXPECT_EQ(told.code, "upstream_quota_exhausted") << body;
        EXPECT_TRUE(told.ours);
        EXPECT_EQ(told.answer.fields.find("x-should-retry"), "false");
        EXPECT_EQ(type_of(told), "api_error");
    }
    const Explained own =
        explained(400, anthropic("invalid_request_error", "max_tokens: required"));
    EXPECT_EQ(own.answer.status, 400);
    EXPECT_FALSE(own.ours);
}

}  // namespace
}  // namespace weir::http
