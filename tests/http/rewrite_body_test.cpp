#include <optional>
#include <string>
#include <string_view>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "weir/http/json_request.hpp"

#include "http/random_json.hpp"

namespace weir::http {
namespace {

using test::Node;
using test::Random;

JsonRequest read(std::string_view body) {
    auto request = read_json_request(Buffer::copy_of(body), true);
    EXPECT_TRUE(request) << body;
    return request ? *request : JsonRequest{};
}

std::string rewrite(
    std::string_view body, std::optional<std::string_view> model, bool include_usage
) {
    return std::string(rewrite_body(body, read(body), model, include_usage).value().view());
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
        const auto changed = rewrite_body(body, read(body), "y", false, &budget);
        ASSERT_TRUE(changed);
        EXPECT_GE(budget.used(), 1000U);
        const auto second = rewrite_body(body, read(body), "y", false, &budget);
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
        const std::string changed(rewrite_body(text, before, name, usage).value().view());

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
            const Buffer undone = rewrite_body(changed, after, *before.model, false).value();
            ASSERT_EQ(read(undone.view()).canonical, before.canonical) << text;
        }
    }
}

}  // namespace
}  // namespace weir::http
