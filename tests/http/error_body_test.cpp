#include "weir/http/error_body.hpp"

#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace weir::http {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

SpentCap sample_cap() {
    SpentCap cap;
    cap.used = "100";
    cap.limit = "100 messages";
    cap.models = "gpt-4*";
    cap.time = "4 hours";
    cap.retry_after = seconds(725);
    cap.free_at_us = 1'700'749'930'000'000;  // 2023-11-23 14:32:10 UTC
    return cap;
}

SpentCap token_cap() {
    SpentCap cap = sample_cap();
    cap.who = "Your team research has";
    cap.used = "198000";
    cap.limit = "200000 tokens";
    cap.models = "*";
    cap.time = "the calendar day (Asia/Shanghai)";
    cap.needs = "This message may take up to 5000 tokens.";
    cap.one = "There is room for it";
    return cap;
}

std::vector<ApiError> all_errors() {
    std::vector<ApiError> errors = {
        malformed_request(400, "Host is missing."),
        malformed_request(431, "The head is larger than the limit."),
        invalid_json("The body is not valid JSON: x at byte 17."),
        invalid_field("model", "model is not a string."),
        missing_key(),
        unknown_key(),
        unknown_path("GET", "/v1/x"),
        wrong_method("PUT", "/v1/models", "GET"),
        closed_endpoint("/v1/files", "plus", "files"),
        closed_endpoint("/v1/organization/users", "plus", ""),
        model_not_allowed("gpt-5", "plus"),
        model_not_found("gpt-9"),
        body_too_large(64 << 20),
        encoded_body("gzip"),
        bodies_full(),
        too_many_connections(),
        storage_down(),
        ledger_full(),
        draining(),
        internal_error(),
        cap_reached(sample_cap()),
        at_once_reached({.limit = 4}),
        at_once_reached({.limit = 1, .models = "gpt-4*", .queued = Queued::kFull}),
        at_once_reached({.limit = 2, .queued = Queued::kWaited, .waited = seconds(30)}),
        reserved_by_others(sample_cap()),
        reserved_by_others(token_cap()),
        cap_reached(token_cap()),
        input_not_allowed("image", "plus", "text"),
        input_too_large(1 << 20, "plus"),
        model_not_priced("gpt-9", "5 usd/30d"),
        upstream_rate_limited("openai", seconds(3)),
    };
    for (int fault = 0; fault <= static_cast<int>(UpstreamFault::kQuota); ++fault) {
        errors.push_back(upstream_failed(static_cast<UpstreamFault>(fault), "openai"));
    }
    return errors;
}

TEST(ApiError, BodyIsJsonWithExactlyFourFields) {
    for (const ApiError& error : all_errors()) {
        const auto json = nlohmann::json::parse(error.body());
        ASSERT_EQ(json.size(), 1u);
        const auto& inner = json.at("error");
        ASSERT_EQ(inner.size(), 4u) << error.body();
        EXPECT_EQ(inner.at("message"), error.message);
        EXPECT_EQ(inner.at("type"), error.type);
        EXPECT_EQ(inner.at("param").is_null(), error.param.empty());
        EXPECT_EQ(inner.at("code").is_null(), error.code.empty());
    }
}

TEST(ApiError, TextsAreWholeSentencesForPeople) {
    for (const ApiError& error : all_errors()) {
        EXPECT_GE(error.message.size(), 10u);
        EXPECT_EQ(error.message.back(), '.') << error.message;
        EXPECT_EQ(error.message.find("  "), std::string::npos) << error.message;
        EXPECT_GE(error.status, 400);
        EXPECT_NE(reason_phrase(error.status), "Unknown");
    }
}

TEST(ApiError, TypeFollowsTheStatus) {
    for (const ApiError& error : all_errors()) {
        if (error.status >= 500) {
            EXPECT_EQ(error.type, "server_error") << error.message;
        } else if (error.status == 429) {
            EXPECT_TRUE(error.type == "insufficient_quota" || error.type == "requests");
        } else {
            EXPECT_EQ(error.type, "invalid_request_error") << error.message;
        }
    }
}

TEST(ApiError, TextOfAClientIsEscaped) {
    const ApiError error = unknown_path("GET", "/a\"\n\xff\\");
    const auto json = nlohmann::json::parse(error.body());
    EXPECT_NE(json.at("error").at("message").get<std::string>().find("/a\"\n"), std::string::npos);
    EXPECT_EQ(error.event().find('\n'), error.event().size() - 2);
}

TEST(ApiError, LongTextOfAClientIsCut) {
    EXPECT_LT(model_not_found(std::string(100'000, 'm')).message.size(), 1000u);
}

TEST(ApiError, EventIsOneSseBlock) {
    const std::string event = storage_down().event();
    EXPECT_EQ(event, "data: " + storage_down().body() + "\n\n");
}

TEST(ApiError, ResponseCarriesItsHeaders) {
    const Response response = cap_reached(sample_cap()).response();
    EXPECT_EQ(response.status, 429);
    EXPECT_EQ(response.fields.find("content-type"), "application/json");
    EXPECT_EQ(response.fields.find("retry-after"), "725");
    EXPECT_EQ(response.fields.find("x-should-retry"), "false");
    EXPECT_EQ(missing_key().response().fields.find("www-authenticate"), "Bearer");
    EXPECT_EQ(wrong_method("PUT", "/v1/models", "GET").response().fields.find("allow"), "GET");
    EXPECT_FALSE(internal_error().response().fields.find("retry-after"));
    EXPECT_FALSE(internal_error().response().fields.find("x-should-retry"));
}

TEST(CapReached, SaysWhatWasUsedAndWhenTheNextIsFree) {
    const ApiError error = cap_reached(sample_cap());
    EXPECT_EQ(error.status, 429);
    EXPECT_EQ(error.type, "insufficient_quota");
    EXPECT_EQ(error.code, "insufficient_quota");
    EXPECT_EQ(
        error.message,
        "You have used 100 of 100 messages for gpt-4* in 4 hours. The next one is free at "
        "14:32:10 UTC, in 12 min 5 s."
    );
    EXPECT_EQ(error.retry_after, seconds(725));
    EXPECT_TRUE(error.should_not_retry);
}

TEST(CapReached, WaitIsRoundedUpToWholeSeconds) {
    SpentCap cap = sample_cap();
    cap.retry_after = microseconds(1);
    cap.free_at_us -= 999'999;  // 14:32:09.000001
    const ApiError error = cap_reached(cap);
    EXPECT_EQ(error.retry_after, seconds(1));
    EXPECT_NE(error.message.find("14:32:10 UTC"), std::string::npos) << error.message;
    cap.retry_after = seconds(3);
    EXPECT_EQ(cap_reached(cap).retry_after, seconds(3));
    cap.retry_after = microseconds(3'000'001);
    EXPECT_EQ(cap_reached(cap).retry_after, seconds(4));
}

TEST(CapReached, WithoutAnEndSaysSoAndNamesNoTime) {
    SpentCap cap = sample_cap();
    cap.never = true;
    const ApiError error = cap_reached(cap);
    EXPECT_FALSE(error.retry_after);
    EXPECT_TRUE(error.should_not_retry);
    EXPECT_EQ(error.message.find("UTC"), std::string::npos);
    EXPECT_NE(error.message.find("administrator"), std::string::npos);
}

TEST(CapReached, WordsFitTheCap) {
    SpentCap cap = sample_cap();
    cap.models = "*";
    cap.used = "1";
    cap.limit = "1 message";
    cap.time = "";
    cap.retry_after = std::chrono::hours(23);
    EXPECT_TRUE(cap_reached(cap).message.starts_with("You have used 1 of 1 message. The next"));
    cap.retry_after = std::chrono::hours(50);
    EXPECT_NE(cap_reached(cap).message.find("free at 2023-11-23 14:32:10 UTC"), std::string::npos);
}

TEST(CapReached, SaysHowMuchAMessageMayTakeAndWhoseTheCapIs) {
    SpentCap cap = token_cap();
    EXPECT_EQ(
        cap_reached(cap).message,
        "Your team research has used 198000 of 200000 tokens in the calendar day (Asia/Shanghai). "
        "This message may take up to 5000 tokens. There is room for it at 14:32:10 UTC, in 12 min "
        "5 s."
    );
    EXPECT_EQ(cap_reached(cap).code, "insufficient_quota");
    cap.never = true;
    EXPECT_EQ(
        cap_reached(cap).message,
        "Your team research has used 198000 of 200000 tokens in the calendar day (Asia/Shanghai). "
        "This message may take up to 5000 tokens. Waiting does not make room for it: ask for a "
        "shorter answer (max_tokens), or the administrator of this gateway for more."
    );
    EXPECT_FALSE(cap_reached(cap).retry_after);
}

TEST(WindowWords, AreThoseOfPeople) {
    EXPECT_EQ(window_words(std::chrono::hours(24)), "1 day");
    EXPECT_EQ(window_words(std::chrono::hours(4)), "4 hours");
    EXPECT_EQ(window_words(seconds(60)), "1 minute");
    EXPECT_EQ(window_words(seconds(90)), "90 seconds");
    EXPECT_EQ(window_words(std::chrono::hours(24 * 30)), "30 days");
}

void expect_transient(const ApiError& error, seconds retry_after) {
    EXPECT_EQ(error.status, 429);
    EXPECT_EQ(error.type, "requests");
    EXPECT_EQ(error.code, "rate_limit_exceeded");
    EXPECT_EQ(error.retry_after, retry_after);
    EXPECT_FALSE(error.should_not_retry);
}

TEST(ReservedByOthers, IsTransientAndSaysWhatIsHeld) {
    const ApiError error = reserved_by_others(token_cap());
    expect_transient(error, seconds(1));
    EXPECT_EQ(
        error.message,
        "Your team research has used 198000 of 200000 tokens in the calendar day (Asia/Shanghai), "
        "and messages in flight hold what is left until they end. This message may take up to 5000 "
        "tokens. Try again in a moment."
    );
}

TEST(AtOnceReached, IsTransientAndSaysWhatTheMessageDid) {
    AtOnceCap cap{.limit = 4, .models = "gpt-4*", .retry_after = seconds(300)};
    expect_transient(at_once_reached(cap), seconds(60));
    EXPECT_EQ(
        at_once_reached(cap).message,
        "You have 4 messages for gpt-4* in flight, which is as many as are allowed at once. Wait "
        "until "
        "one has ended."
    );
    cap = {
        .who = "Your team research has",
        .limit = 1,
        .models = "*",
        .queued = Queued::kWaited,
        .waited = seconds(30),
        .retry_after = seconds(0)
    };
    expect_transient(at_once_reached(cap), seconds(1));
    EXPECT_EQ(
        at_once_reached(cap).message,
        "Your team research has 1 message in flight, which is as many as are allowed at once. This "
        "one "
        "waited 30 s for its turn, which did not come. Try again a little later."
    );
    cap.queued = Queued::kFull;
    expect_transient(at_once_reached(cap), seconds(1));
    EXPECT_NE(at_once_reached(cap).message.find("As many more as may wait"), std::string::npos);
}

TEST(InputNotAllowed, SaysWhatIsAllowedAndWhichLineChangesIt) {
    const ApiError error = input_not_allowed("image", "plus", "text, audio");
    EXPECT_EQ(error.status, 403);
    EXPECT_EQ(error.code, "input_not_allowed");
    EXPECT_EQ(
        error.message,
        "The request carries an image, and the plan 'plus' takes only text, audio. An "
        "administrator can allow it with 'inputs: [text, audio, image]' there."
    );
    EXPECT_TRUE(
        input_not_allowed("audio", "p", "text").message.starts_with("The request carries audio, ")
    );
    EXPECT_TRUE(
        input_not_allowed("file", "p", "text").message.starts_with("The request carries a file, ")
    );
}

TEST(InputTooLarge, NamesTheLineOfThePlan) {
    const ApiError error = input_too_large(1 << 20, "plus");
    EXPECT_EQ(error.status, 413);
    EXPECT_EQ(error.code, "request_too_large");
    EXPECT_NE(error.message.find("1 MiB"), std::string::npos) << error.message;
    EXPECT_NE(error.message.find("'plus'"), std::string::npos) << error.message;
    EXPECT_NE(error.message.find("'max_input'"), std::string::npos) << error.message;
}

TEST(ModelNotPriced, SaysWhereAPriceBelongs) {
    const ApiError error = model_not_priced("gpt-9", "5 usd/30d");
    EXPECT_EQ(error.status, 403);
    EXPECT_EQ(error.code, "model_not_priced");
    EXPECT_EQ(error.param, "model");
    EXPECT_EQ(
        error.message,
        "The cap '5 usd/30d' counts money, and this gateway does not know what the model 'gpt-9' "
        "costs. An administrator can add its price under 'prices:'."
    );
}

TEST(UpstreamRateLimited, PassesABoundedWaitOn) {
    EXPECT_EQ(upstream_rate_limited("openai", seconds(3600)).retry_after, seconds(60));
    EXPECT_EQ(upstream_rate_limited("openai", seconds(7)).retry_after, seconds(7));
    EXPECT_FALSE(upstream_rate_limited("openai", std::nullopt).retry_after);
    EXPECT_FALSE(upstream_rate_limited("openai", std::nullopt).should_not_retry);
}

TEST(UpstreamFailed, NamesTheUpstreamAndTheStage) {
    std::set<std::string> messages;
    for (int fault = 0; fault <= static_cast<int>(UpstreamFault::kQuota); ++fault) {
        const ApiError error = upstream_failed(static_cast<UpstreamFault>(fault), "deepseek");
        EXPECT_NE(error.message.find("'deepseek'"), std::string::npos);
        EXPECT_TRUE(messages.insert(error.message).second) << error.message;
    }
}

TEST(UpstreamFailed, StatusAndCodeFollowTheFault) {
    const auto check = [](UpstreamFault fault, int status, const char* code) {
        const ApiError error = upstream_failed(fault, "u");
        EXPECT_EQ(error.status, status) << error.message;
        EXPECT_EQ(error.code, code) << error.message;
    };
    check(UpstreamFault::kConnect, 502, "upstream_error");
    check(UpstreamFault::kTls, 502, "upstream_error");
    check(UpstreamFault::kClosedEarly, 502, "upstream_error");
    check(UpstreamFault::kProtocol, 502, "upstream_error");
    check(UpstreamFault::kBrokeOff, 502, "upstream_error");
    check(UpstreamFault::kCredentials, 502, "upstream_error");
    check(UpstreamFault::kConnectTimeout, 504, "upstream_timeout");
    check(UpstreamFault::kFirstByteTimeout, 504, "upstream_timeout");
    check(UpstreamFault::kIdleTimeout, 504, "upstream_timeout");
    check(UpstreamFault::kTotalTimeout, 504, "upstream_timeout");
    check(UpstreamFault::kQuota, 503, "upstream_quota_exhausted");
}

TEST(ClosedEndpoint, SaysWhichLineOpensIt) {
    const ApiError error = closed_endpoint("/v1/files", "plus", "files");
    EXPECT_EQ(error.status, 403);
    EXPECT_NE(error.message.find("'endpoints: [files]'"), std::string::npos);
    EXPECT_NE(error.message.find("'plus'"), std::string::npos);
    const ApiError never = closed_endpoint("/v1/organization/x", "plus", "");
    EXPECT_EQ(never.status, 403);
    EXPECT_EQ(never.message.find("endpoints:"), std::string::npos);
}

TEST(KnownCodes, AreTheDocumentedOnes) {
    EXPECT_EQ(missing_key().code, "invalid_api_key");
    EXPECT_EQ(unknown_key().status, 401);
    EXPECT_EQ(invalid_json("x.").code, "invalid_json");
    EXPECT_EQ(invalid_field("model", "x.").param, "model");
    EXPECT_EQ(invalid_field("model", "x.").code, "");
    EXPECT_EQ(model_not_allowed("m", "p").code, "model_not_allowed");
    EXPECT_EQ(model_not_found("m").code, "model_not_found");
    EXPECT_EQ(model_not_found("m").status, 404);
    EXPECT_EQ(body_too_large(64 << 20).code, "request_too_large");
    EXPECT_NE(body_too_large(64 << 20).message.find("64 MiB"), std::string::npos);
    EXPECT_EQ(encoded_body("gzip").status, 415);
    EXPECT_EQ(storage_down().code, "storage_unavailable");
    EXPECT_EQ(bodies_full().retry_after, seconds(1));
}

TEST(AnthropicError, HasItsShapeAndATypeForEachStatus) {
    struct Row {
        ApiError error;
        int status;
        const char* type;
    };
    SpentCap cap = sample_cap();
    const std::vector<Row> rows = {
        {invalid_json("The body is not valid JSON."), 400, "invalid_request_error"},
        {missing_key(), 401, "authentication_error"},
        {model_not_allowed("claude-x", "plus"), 403, "permission_error"},
        {closed_endpoint("/v1/messages/batches", "plus", "message_batches"), 403, "permission_error"
        },
        {model_not_found("claude-x", Api::kAnthropic), 404, "not_found_error"},
        {wrong_method("GET", "/v1/messages", "POST"), 405, "invalid_request_error"},
        {body_too_large(64 << 20), 413, "request_too_large"},
        {encoded_body("gzip"), 415, "invalid_request_error"},
        {cap_reached(cap), 429, "rate_limit_error"},
        {upstream_rate_limited("claude", seconds(2)), 429, "rate_limit_error"},
        {internal_error(), 500, "api_error"},
        {upstream_failed(UpstreamFault::kConnect, "claude"), 502, "api_error"},
        {storage_down(), 503, "overloaded_error"},
        {upstream_failed(UpstreamFault::kQuota, "claude"), 503, "api_error"},
        {upstream_failed(UpstreamFault::kFirstByteTimeout, "claude"), 504, "timeout_error"},
    };
    for (const Row& row : rows) {
        const Response answer = row.error.response(Api::kAnthropic, "req_1");
        EXPECT_EQ(answer.status, row.status);
        const nlohmann::json expected = {
            {"type", "error"},
            {"error", {{"type", row.type}, {"message", row.error.message}}},
            {"request_id", "req_1"}
        };
        EXPECT_EQ(nlohmann::json::parse(answer.body), expected) << answer.body;
        // The same fields as OpenAI's, and the same word in the log.
        EXPECT_EQ(answer.error, row.error.response().error);
        EXPECT_EQ(answer.fields.size(), row.error.response().fields.size());
    }
}

TEST(AnthropicError, IsAnErrorEventInAStream) {
    const ApiError error = upstream_failed(UpstreamFault::kBrokeOff, "claude");
    const std::string event = error.event(Api::kAnthropic);
    ASSERT_TRUE(event.starts_with("event: error\ndata: {")) << event;
    ASSERT_TRUE(event.ends_with("}\n\n")) << event;
    const auto json = nlohmann::json::parse(event.substr(19));
    EXPECT_EQ(json["type"], "error");
    EXPECT_EQ(json["error"]["type"], "api_error");
    EXPECT_EQ(json.size(), 2U);
}

TEST(AnthropicError, SaysWhichUpstreamItTakes) {
    const std::string message = model_not_found("claude-x", Api::kAnthropic).message;
    EXPECT_NE(message.find("'kind: anthropic'"), std::string::npos) << message;
    EXPECT_EQ(model_not_found("claude-x").message.find("anthropic"), std::string::npos);
}

}  // namespace
}  // namespace weir::http
