#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "weir/http/json_request.hpp"

#include "http/random_json.hpp"
#include "http/read_request.hpp"

namespace weir::http {
namespace {

using test::Node;
using test::Random;

std::string rewrite(
    std::string_view body, std::optional<std::string_view> model, bool include_usage
) {
    const Rewrite rewrite{.model = model, .add_include_usage = include_usage};
    return std::string(rewrite_body(body, read(body), rewrite).value().view());
}

std::string limited(
    std::string_view body, std::uint64_t limit, std::string_view field = "max_tokens"
) {
    const Rewrite rewrite{.output_limit = limit, .output_limit_field = field};
    return std::string(rewrite_body(body, read(body), rewrite).value().view());
}

TEST(RewriteBody, ReplacesTheModelAndNothingElse) {
    EXPECT_EQ(
        rewrite(R"( {"a" : 1e2 ,"model" : "x","b":"\u0041"} )", "gpt \"4\"", false),
        R"( {"a" : 1e2 ,"model" : "gpt \"4\"","b":"\u0041"} )"
    );
    EXPECT_EQ(rewrite(R"({"a":1})", "m", false), R"({"model":"m","a":1})");
    EXPECT_EQ(rewrite("{ }", "m", false), R"({"model":"m" })");
    EXPECT_EQ(rewrite(R"({"a":1})", std::nullopt, false), R"({"a":1})");
}

TEST(RewriteBody, TakesItsCopyFromTheBudgetOfAllBodies) {
    const std::string body = R"({"model":"x","a":")" + std::string(1000, 'a') + R"("})";
    BufferBudget budget(1500);
    {
        const auto changed = rewrite_body(body, read(body), {.model = "y"}, &budget);
        ASSERT_TRUE(changed);
        EXPECT_GE(budget.used(), 1000U);
        const auto second = rewrite_body(body, read(body), {.model = "y"}, &budget);
        ASSERT_FALSE(second);
        EXPECT_EQ(second.error().code, ErrorCode::kOverloaded);
    }
    EXPECT_EQ(budget.used(), 0U);
}

TEST(RewriteBody, AsksForUsageWhateverTheOptionsAre) {
    EXPECT_EQ(
        rewrite(R"({"a":1})", std::nullopt, true),
        R"({"stream_options":{"include_usage":true},"a":1})"
    );
    EXPECT_EQ(rewrite("{}", std::nullopt, true), R"({"stream_options":{"include_usage":true}})");
    EXPECT_EQ(rewrite("{}", "m", true), R"({"model":"m","stream_options":{"include_usage":true}})");
    EXPECT_EQ(
        rewrite(R"({"stream_options":null})", std::nullopt, true),
        R"({"stream_options":{"include_usage":true}})"
    );
    EXPECT_EQ(
        rewrite(R"({"stream_options":{ }})", std::nullopt, true),
        R"({"stream_options":{"include_usage":true}})"
    );
    EXPECT_EQ(
        rewrite(R"({"stream_options":{"x":1}})", std::nullopt, true),
        R"({"stream_options":{"include_usage":true,"x":1}})"
    );
    EXPECT_EQ(
        rewrite(R"({"stream_options":{"x":1,"include_usage":false},"model":"a"})", "b", true),
        R"({"stream_options":{"x":1,"include_usage":true},"model":"b"})"
    );
    EXPECT_EQ(
        rewrite(R"({"stream_options":{"include_usage":null}})", std::nullopt, true),
        R"({"stream_options":{"include_usage":true}})"
    );
    EXPECT_EQ(
        rewrite(R"({"stream_options":{"include_usage":true}})", std::nullopt, true),
        R"({"stream_options":{"include_usage":true}})"
    );
}

TEST(RewriteBody, BoundsTheAnswerWhateverTheBodySays) {
    struct Case {
        std::string_view body;
        std::string_view changed;
        std::string_view field = "max_tokens";
    };
    const Case cases[] = {
        {R"({"a":1})", R"({"max_tokens":100,"a":1})"},
        {"{}", R"({"max_tokens":100})"},
        {R"({ "max_tokens" : 5 })", R"({ "max_tokens" : 5 })"},
        {R"({ "max_tokens" : 100 })", R"({ "max_tokens" : 100 })"},
        {R"({ "max_tokens" : 101 , "b":1})", R"({ "max_tokens" : 100 , "b":1})"},
        {R"({"max_tokens":99999999999999999999999})", R"({"max_tokens":100})"},
        {R"({"max_completion_tokens":900})", R"({"max_completion_tokens":100})"},
        {R"({"max_completion_tokens":9})", R"({"max_completion_tokens":9})"},
        {R"({"max_tokens":900,"max_completion_tokens":7})",
         R"({"max_tokens":100,"max_completion_tokens":7})"},
        // A null is no limit.
        {R"({"max_tokens":null,"a":1})", R"({"max_tokens":100,"a":1})"},
        {R"({"max_completion_tokens":null})", R"({"max_tokens":100,"max_completion_tokens":null})"},
        {R"({"max_tokens":null,"max_completion_tokens":7})",
         R"({"max_tokens":null,"max_completion_tokens":7})"},
        // What a lenient upstream may take for a large limit, or for none.
        {R"({"max_tokens":-1})", R"({"max_tokens":100})"},
        {R"({"max_tokens":1e9})", R"({"max_tokens":100})"},
        {R"({"max_tokens":500.0})", R"({"max_tokens":100})"},
        {R"({"max_tokens":"5000"})", R"({"max_tokens":100})"},
        {R"({"max_tokens":5,"max_completion_tokens":-1})",
         R"({"max_tokens":5,"max_completion_tokens":100})"},
        // What none takes; a second field of the name would be ambiguous.
        {R"({"max_tokens":true})", R"({"max_tokens":true})"},
        {R"({"max_tokens":[900]})", R"({"max_tokens":[900]})"},
        {R"({"max_completion_tokens":{}})", R"({"max_tokens":100,"max_completion_tokens":{}})"},
        // The limit of another API bounds nothing.
        {R"({"max_output_tokens":1})", R"({"max_tokens":100,"max_output_tokens":1})"},
        {R"({"max_tokens":1})", R"({"max_output_tokens":100,"max_tokens":1})", "max_output_tokens"},
        {R"({"max_output_tokens":1000})", R"({"max_output_tokens":100})", "max_output_tokens"},
        {R"({"a":1})", R"({"max_completion_tokens":100,"a":1})", "max_completion_tokens"},
        {R"({"max_tokens":1000})", R"({"max_tokens":100})", "max_completion_tokens"},
        {R"({"input":"a"})", R"({"input":"a"})", ""},
        {R"({"m":{"max_tokens":1000}})", R"({"max_tokens":100,"m":{"max_tokens":1000}})"},
        {R"({"max\u005ftokens":1000})", R"({"max\u005ftokens":100})"},
    };
    for (const Case& one : cases) EXPECT_EQ(limited(one.body, 100, one.field), one.changed);
    const Rewrite all{"m", true, 7, "max_tokens"};
    const std::string_view body = R"({"x":1})";
    EXPECT_EQ(
        rewrite_body(body, read(body), all)->view(),
        R"({"model":"m","stream_options":{"include_usage":true},"max_tokens":7,"x":1})"
    );
}

TEST(JsonRequest, ListsTheLimitsOfTheAnswer) {
    const JsonRequest request = read(
        R"({"max_tokens":5,"max_completion_tokens": 70 ,"max_output_tokens":900,"max_other":1})"
    );
    ASSERT_EQ(request.output_limits.size(), 3U);
    EXPECT_EQ(request.output_limits[1].field, "max_completion_tokens");
    EXPECT_EQ(request.output_limits[1].tokens, 70U);
    EXPECT_EQ(request.output_limits[1].at.length, 2U);
    EXPECT_TRUE(request.output_limit_set);
    EXPECT_EQ(request.output_limit(), 900U);
    EXPECT_EQ(request.output_limit(Shape::kChat), 70U);
    EXPECT_EQ(request.output_limit(Shape::kCompletion), 5U);
    EXPECT_EQ(request.output_limit(Shape::kOther), 5U);
    EXPECT_EQ(request.output_limit(Shape::kResponse), 900U);
    EXPECT_FALSE(request.output_limit(Shape::kEmbedding));
    EXPECT_EQ(read(R"({"max_tokens":0})").output_limit(), 0U);
    EXPECT_EQ(read(R"({"max_tokens":18446744073709551616})").output_limit(), UINT64_MAX);
    EXPECT_FALSE(read("{}").output_limit());
    for (const char* value : {"null", "-1", "-0", "1.5", "1.0", "1e2", "\"5\"", "true", "[1]"}) {
        const JsonRequest odd = read(std::string(R"({"max_tokens":)") + value + "}");
        EXPECT_FALSE(odd.output_limit()) << value;
        EXPECT_EQ(odd.unclear_limits.size(), 1U) << value;
        EXPECT_EQ(odd.output_limit_set, value != std::string_view("null")) << value;
    }
}

TEST(OutputLimitField, IsTheNameThatTheModelTakes) {
    for (const char* model :
         {"o1",
          "O3-mini",
          "o4-mini-2025-04-16",
          "o5",
          "openai/o3",
          "gpt-5",
          "gpt-5-mini",
          "GPT-5.1",
          "gpt-6",
          "gpt-10",
          "vendor/openai/gpt-5",
          "ft:o4-mini:org::id",
          "ft:gpt-5:org"}) {
        EXPECT_EQ(output_limit_field(Shape::kChat, model), "max_completion_tokens") << model;
    }
    for (const char* model :
         {"gpt-4",
          "gpt-4o",
          "gpt-4.1",
          "gpt-3.5-turbo",
          "gpt-oss-120b",
          "omni",
          "o",
          "olmo-7b",
          "",
          "llama-3",
          "ft:gpt-4o:org",
          "deepseek-chat",
          "gpt-"}) {
        EXPECT_EQ(output_limit_field(Shape::kChat, model), "max_tokens") << model;
    }
    EXPECT_EQ(output_limit_field(Shape::kResponse, "o3"), "max_output_tokens");
    EXPECT_EQ(output_limit_field(Shape::kCompletion, "gpt-5"), "max_tokens");
    EXPECT_EQ(output_limit_field(Shape::kOther, "o1"), "max_tokens");
    EXPECT_EQ(output_limit_field(Shape::kEmbedding, "m"), "");
}

// What a limit may be written as, and what it has to be with a bound of 100; null: left alone.
struct LimitValue {
    const char* given;
    const char* bounded;
};
constexpr auto kLimitValues = std::to_array<LimitValue>({
    {"1", nullptr},
    {"99", nullptr},
    {"100", nullptr},
    {"101", "100"},
    {"18446744073709551615", "100"},
    {"-5", "100"},
    {"2.5", "100"},
    {"\"7\"", "100"},
    {"null", nullptr},
    {"false", nullptr},
    {"[]", nullptr},
});

TEST(RewriteBodyProperty, BoundsTheLimitsAndChangesNothingElse) {
    Random random("BoundsTheLimitsAndChangesNothingElse");
    for (int round = 0; round < 3000; ++round) {
        Node body = test::random_body(random);
        std::vector<std::pair<std::string, LimitValue>> given;
        for (const std::string_view field : kOutputLimitFields) {
            if (random.one_in(2)) continue;
            given.emplace_back(field, random.pick(kLimitValues));
            body.members.emplace_back(field, Node::word(given.back().second.given));
        }
        const std::string text =
            test::write(random, {.shuffle = true, .space = true, .escapes = true}, body);
        const std::string field(random.pick(kOutputLimitFields));
        const std::string changed = limited(text, 100, field);

        auto expected = nlohmann::json::parse(text);
        for (const auto& [name, value] : given) {
            if (value.bounded != nullptr) expected[name] = nlohmann::json::parse(value.bounded);
        }
        const auto actual = nlohmann::json::parse(changed);
        // The field that had to be put in is the only thing that the loop above does not know.
        if (actual != expected) {
            ASSERT_TRUE(!expected.contains(field) || expected[field].is_null()) << text << changed;
            expected[field] = 100;
        }
        ASSERT_EQ(actual, expected) << text << '\n' << changed;
        const JsonRequest after = read(changed);
        ASSERT_LE(after.output_limit().value_or(0), 100U) << changed;
        const Shape shape = field == "max_output_tokens" ? Shape::kResponse : Shape::kChat;
        if (!actual.contains(field) || actual[field].is_number() || actual[field].is_null()) {
            ASSERT_TRUE(after.output_limit(shape)) << text << '\n' << changed;
        }
        // Doing it again changes nothing.
        ASSERT_EQ(limited(changed, 100, field), changed);
    }
}

TEST(RewriteBodyProperty, ChangesExactlyWhatIsAsked) {
    Random random("ChangesExactlyWhatIsAsked");
    const Node options[] = {
        Node::word("null"),
        Node::object({}),
        Node::object({{"x", Node::number("1")}}),
        Node::object({{"include_usage", Node::word("false")}}),
        Node::object({{"include_usage", Node::word("null")}, {"z", Node::array({})}}),
        Node::object({{"a", Node::string("b")}, {"include_usage", Node::word("true")}}),
    };
    for (int round = 0; round < 3000; ++round) {
        Node body = test::random_body(random);
        if (random.one_in(3)) {
            std::erase_if(body.members, [](const auto& member) { return member.first == "model"; });
        }
        if (!random.one_in(4)) body.members.emplace_back("stream_options", random.pick(options));
        const std::string text =
            test::write(random, {.shuffle = true, .space = true, .escapes = true}, body);
        const std::string model = test::random_text(random);
        const bool new_model = random.one_in(2);
        const bool usage = random.one_in(2);
        const auto name = new_model ? std::optional<std::string_view>(model) : std::nullopt;
        const JsonRequest before = read(text);
        const Rewrite wish{.model = name, .add_include_usage = usage};
        const std::string changed(rewrite_body(text, before, wish).value().view());

        auto expected = nlohmann::json::parse(text);
        if (new_model) expected["model"] = model;
        if (usage) expected["stream_options"]["include_usage"] = true;
        ASSERT_EQ(nlohmann::json::parse(changed), expected) << text << '\n' << changed;
        const JsonRequest after = read(changed);
        if (usage) {
            ASSERT_TRUE(after.include_usage) << changed;
        }
        // Undoing the model gives the same request: nothing else that counts has moved.
        if (before.model) {
            const Buffer undone = rewrite_body(changed, after, {.model = *before.model}).value();
            ASSERT_EQ(read(undone.view()).canonical, before.canonical) << text;
        }
    }
}

}  // namespace
}  // namespace weir::http
