// A start without a config: the real binary in an empty directory, with nothing but variables.
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/client.hpp"
#include "support/fake_upstream.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"

namespace weir::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

using Variables = std::vector<std::string>;

class EnvironmentStart : public ::testing::Test {
protected:
    // Nothing of this process's environment is passed on, nor its directory.
    [[nodiscard]] std::vector<std::string> command(
        const std::string& line, const Variables& variables
    ) const {
        std::vector<std::string> all = {"/usr/bin/env", "-i", "WEIR_LISTEN=127.0.0.1:0"};
        all.insert(all.end(), variables.begin(), variables.end());
        all.insert(
            all.end(),
            {"/bin/sh",
             "-c",
             "cd '" + directory_.path() + "' && exec " + std::string(WEIR_BINARY) + " " + line}
        );
        return all;
    }
    [[nodiscard]] std::string at(const std::string& file) const { return directory_.path(file); }
    // Runs it to its end.
    struct Done {
        int code;
        std::string out;
        std::string err;
    };
    [[nodiscard]] Done run(const std::string& line, const Variables& variables) const {
        Process process(command(line, variables), at("out"));
        const int code = process.wait();
        return {code, process.output(), process.errors()};
    }

    TempDir directory_;
};

std::string trial_key_in(const std::string& welcome) {
    constexpr std::string_view kBefore = "A key to try with: ";
    const std::size_t start = welcome.find(kBefore);
    if (start == std::string::npos) return "";
    const std::size_t from = start + kBefore.size();
    return welcome.substr(from, welcome.find('\n', from) - from);
}

TEST_F(EnvironmentStart, WithoutAnythingTheDemoAnswers) {
    Process weir(command("serve", {}), at("out"));
    const auto port = weir.wait_for_port();
    ASSERT_TRUE(port) << weir.errors();
    EXPECT_THAT(weir.output(), HasSubstr("There is no config file"));
    EXPECT_THAT(weir.output(), HasSubstr("demo upstream"));
    const Answer answer =
        ask(*port, {.key = trial_key_in(weir.output()), .body = chat_body("Hello")});
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_THAT(answer.body, HasSubstr("demo upstream"));
    weir.signal(SIGTERM);
    EXPECT_EQ(weir.wait(), 0);
}

TEST_F(EnvironmentStart, AModelGoesToTheVendorThatHasIt) {
    FakeUpstream openai([](Wire& wire, const SeenRequest& request) {
        answer_chat(wire, request, "from openai");
    });
    FakeUpstream moonshot([](Wire& wire, const SeenRequest& request) {
        answer_chat(wire, request, "from moonshot");
    });
    const Variables variables = {
        "OPENAI_API_KEY=sk-openai-secret",
        "OPENAI_BASE_URL=" + openai.url(),
        "MOONSHOT_API_KEY=sk-moonshot-secret",
        "MOONSHOT_BASE_URL=" + moonshot.url(),
        "DEEPSEEK_API_KEY="
    };
    Process weir(command("serve", variables), at("out"));
    const auto port = weir.wait_for_port();
    ASSERT_TRUE(port) << weir.errors();
    const std::string key = trial_key_in(weir.output());
    const auto said = [&](std::string_view model) {
        return chat_text(ask(*port, {.key = key, .body = chat_body("Hello", false, model)}));
    };
    EXPECT_EQ(said("gpt-4"), "from openai");
    EXPECT_EQ(said("kimi-k2.5"), "from moonshot");
    EXPECT_EQ(said("nobody-knows-it"), "from openai") << "the last resort";
    EXPECT_EQ(openai.seen()[0].field("authorization"), "Bearer sk-openai-secret");
    EXPECT_EQ(moonshot.seen()[0].field("authorization"), "Bearer sk-moonshot-secret");
    weir.signal(SIGTERM);
    EXPECT_EQ(weir.wait(), 0);
    const std::string all = weir.output() + weir.errors();
    EXPECT_THAT(
        all, AllOf(HasSubstr("Upstream openai: " + openai.url()), HasSubstr("Upstream moonshot:"))
    );
    EXPECT_THAT(all, Not(HasSubstr("-secret")));
    EXPECT_THAT(all, Not(HasSubstr("deepseek")));
}

TEST_F(EnvironmentStart, ForAnthropicAloneTheLineToTryIsItsOwn) {
    Process weir(command("serve", {"ANTHROPIC_API_KEY=sk-ant-secret"}), at("out"));
    ASSERT_TRUE(weir.wait_for_port()) << weir.errors();
    weir.signal(SIGTERM);
    EXPECT_EQ(weir.wait(), 0);
    EXPECT_THAT(weir.output(), HasSubstr("/v1/messages -H 'Authorization: Bearer "));
    EXPECT_THAT(weir.output(), HasSubstr(R"({"model":"claude-haiku-4-5","max_tokens":100,)"));
    EXPECT_THAT(weir.output() + weir.errors(), Not(HasSubstr("-secret")));
}

TEST_F(EnvironmentStart, CheckSaysWhatWouldBeUsed) {
    const Done done =
        run("check", {"DEEPSEEK_API_KEY=sk-deepseek-secret", "ANTHROPIC_API_KEY=sk-ant-secret"});
    EXPECT_EQ(done.code, 0) << done.err;
    EXPECT_THAT(done.out, StartsWith("There is no config file"));
    EXPECT_THAT(done.out, HasSubstr("- {use: deepseek, key: \"${DEEPSEEK_API_KEY}\""));
    EXPECT_THAT(
        done.out,
        HasSubstr("upstream deepseek (https://api.deepseek.com/v1):\n  deepseek-*\n"
                  "  and what no other one serves\n")
    );
    EXPECT_THAT(done.out, HasSubstr("  claude-*, of /v1/messages\n"));
    EXPECT_THAT(done.out + done.err, Not(HasSubstr("-secret")));
    const Done machine = run("check --json", {"DEEPSEEK_API_KEY=sk-deepseek-secret"});
    EXPECT_THAT(machine.out, HasSubstr(R"("file":null)"));
    EXPECT_THAT(machine.out, HasSubstr(R"("name":"deepseek")"));
}

TEST_F(EnvironmentStart, AWrongVariableIsToldAndEndsIt) {
    for (const char* const line : {"serve", "check"}) {
        const Done done = run(line, {"WEIR_LISTEN=8080", "XAI_API_KEY=sk xai-secret"});
        EXPECT_EQ(done.code, 2);
        EXPECT_THAT(
            done.err,
            AllOf(
                HasSubstr("the config made of the environment:1:9: `listen`"),
                HasSubstr("visible ASCII"),
                HasSubstr("- {use: xai, key: \"${XAI_API_KEY}\""),
                Not(HasSubstr("xai-secret"))
            )
        );
    }
}

TEST_F(EnvironmentStart, AFileInTheDirectoryIsStronger) {
    std::ofstream(at("weir.yaml")) << "upstreams: [{use: groq, key: sk-groq}]\n";
    const Done done = run("check", {"DEEPSEEK_API_KEY=sk-deepseek"});
    EXPECT_THAT(done.out, StartsWith("config ok: weir.yaml\nupstream groq"));
    EXPECT_THAT(done.out, Not(HasSubstr("deepseek")));
    EXPECT_EQ(run("check --config ''", {}).code, 2) << "a variable of a script that is empty";
}

// The commands find the gateway as `serve` found its place.
TEST_F(EnvironmentStart, CommandsFindTheGateway) {
    const Done done = run("keys list", {"WEIR_DATA=elsewhere"});
    EXPECT_EQ(done.code, 2);
    EXPECT_THAT(done.err, HasSubstr("elsewhere/admin-token"));
}

}  // namespace
}  // namespace weir::test
