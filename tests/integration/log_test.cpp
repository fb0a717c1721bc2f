// The log of the real process: one line a request that tells how it went, one that tells whoever
// runs Weir what is theirs to mend, and in none of them a secret or a word of anybody's body.
#include <algorithm>
#include <fstream>
#include <sstream>

#include "support/process.hpp"
#include "support/temp_dir.hpp"
#include "tools.hpp"

namespace weir::test {
namespace {

using nlohmann::json;

TEST(Log, HasOneLineARequestAndNoSecret) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        if (request.body.find("their status") == std::string::npos) {
            return say_an_answer(wire, request);
        }
        wire.json(
            R"({"error":{"message":"bad key )" + request.field("authorization") + R"("}})", 401
        );
    });
    const TempDir directory;
    const std::string file = directory.path("weir.yaml");
    std::ofstream(file) << GatewaySetup{
        .upstream_url = upstream.url(),
        .caps = "[{models: \"gpt-4*\", allow: 3/4h}]",
        .log = "{format: json}"
    }.yaml(directory.path("data"));
    Process process({WEIR_BINARY, "serve", "--config", file}, directory.path("out"));
    const auto port = process.wait_for_port();
    ASSERT_TRUE(port) << process.errors();

    const std::string secret = "the words of a body";
    std::vector<Answer> answers;
    for (const char* const key : {kAlice, "nobody-knows-this-one"}) {
        for (const std::string& content :
             {secret, secret, std::string("their status"), secret + "\n{\"level\":\"fake\"}"}) {
            answers.push_back(ask(*port, {.key = key, .body = chat_body(content, true)}));
        }
    }
    process.signal(SIGTERM);
    EXPECT_EQ(process.wait(), 0);

    std::vector<json> requests;
    std::vector<json> refusals;
    std::istringstream lines(process.errors());
    for (std::string line; std::getline(lines, line);) {
        const json parsed = json::parse(line, nullptr, false);
        ASSERT_TRUE(parsed.is_object()) << line;
        for (const std::string& hidden :
             {secret, std::string(kUpstreamKey), std::string(kAlice), std::string("nobody-knows")
             }) {
            EXPECT_EQ(line.find(hidden), std::string::npos) << line;
        }
        if (parsed["event"] == "request") requests.push_back(parsed);
        if (parsed["event"] == "an upstream refused a call") refusals.push_back(parsed);
    }
    ASSERT_EQ(requests.size(), answers.size());
    // Each worker writes its own: they come in any order.
    const auto place = [&](const json& line) {
        return std::ranges::find(answers, line["id"], [](const Answer& answer) {
            return json(answer.field("x-request-id"));
        });
    };
    std::ranges::sort(requests, [&](const json& a, const json& b) { return place(a) < place(b); });
    for (std::size_t i = 0; i < answers.size(); ++i) {
        const json& line = requests[i];
        EXPECT_EQ(line["id"], answers[i].field("x-request-id"));
        EXPECT_EQ(line["status"], answers[i].status);
        EXPECT_EQ(line["method"], "POST");
        EXPECT_EQ(line["path"], "/v1/chat/completions");
        EXPECT_TRUE(line["ms"].is_number());
    }
    const char* const uses[] = {"miss", "hit", "miss", "miss", "none", "none", "none", "none"};
    for (std::size_t i = 0; i < answers.size(); ++i) EXPECT_EQ(requests[i]["cache"], uses[i]) << i;
    EXPECT_EQ(requests[0]["key"], "cfg-alice");
    EXPECT_EQ(requests[0]["model"], "gpt-4");
    EXPECT_EQ(requests[0]["upstream"], "fake");
    EXPECT_EQ(requests[0]["cap"], "gpt-4* 3/4h 1/3");
    EXPECT_GT(requests[0]["upstream_ms"], 0);
    EXPECT_EQ(requests[2]["error"], "upstream_error");
    EXPECT_EQ(requests[4]["error"], "invalid_api_key");
    ASSERT_EQ(refusals.size(), 1U);
    EXPECT_EQ(refusals[0]["level"], "warn");
    EXPECT_EQ(refusals[0]["upstream"], "fake");
    EXPECT_EQ(refusals[0]["tried"], "fake 401");
    EXPECT_EQ(refusals[0]["id"], requests[2]["id"]);
}

}  // namespace
}  // namespace weir::test
