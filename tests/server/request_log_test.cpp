// Each request leaves one line in the log, also one that never comes to the line of /v1: the real
// binary, whose log nobody else writes to.
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/client.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"
#include "support/test_gateway.hpp"

namespace weir::test {
namespace {

using nlohmann::json;

std::string config(const std::string& data, const std::string& log) {
    return "listen: \"127.0.0.1:0\"\nworkers: 1\ndata: " + data + "\nlog: " + log +
           "\ndemo: when no upstream has a key\nupstreams: []\nplans: {plus: {}}\nkeys:\n"
           "  - {name: alice, plan: plus, secret: " +
           kAlice + "}\n";
}

// The request lines of a log, by their ids; how many there are of each.
std::map<std::string, std::vector<json>> request_lines(const std::string& log) {
    std::map<std::string, std::vector<json>> lines;
    std::istringstream stream(log);
    for (std::string line; std::getline(stream, line);) {
        const json parsed = json::parse(line, nullptr, false);
        if (!parsed.is_object() || parsed.value("event", "") != "request") continue;
        lines[parsed.value("id", "")].push_back(parsed);
    }
    return lines;
}

struct Seen {
    std::vector<Answer> answers;
    std::string metrics;
    std::string log;
};

// Sends rows of bytes, a connection each, to a gateway with that log; then lets it end.
Seen talk(const std::vector<std::string>& rows, const std::string& log) {
    const TempDir directory;
    std::ofstream(directory.path("weir.yaml")) << config(directory.path("data"), log);
    Process weir(
        {WEIR_BINARY, "serve", "--config", directory.path("weir.yaml")}, directory.path("out")
    );
    Seen seen;
    const auto port = weir.wait_for_port();
    if (!port) {
        ADD_FAILURE() << weir.errors();
        return seen;
    }
    std::ifstream file(directory.path("data") + "/admin-token");
    std::string token;
    std::getline(file, token);
    for (std::string bytes : rows) {
        if (const auto at = bytes.find("TOKEN"); at != std::string::npos) {
            bytes.replace(at, 5, token);
        }
        Client client(*port);
        EXPECT_TRUE(client.send(bytes));
        seen.answers.push_back(client.read_answer());
    }
    seen.metrics = ask(*port, {.method = "GET", .path = "/metrics"}).body;
    weir.signal(SIGTERM);
    EXPECT_EQ(weir.wait(), 0);
    seen.log = weir.errors();
    EXPECT_EQ(seen.log.find(token), std::string::npos);
    EXPECT_EQ(seen.log.find(kAlice), std::string::npos);
    return seen;
}

const std::vector<std::string>& all_rows() {
    static const std::vector<std::string> rows = {
        Ask{.key = kAlice, .body = chat_body("hello")}.bytes(),
        Ask{.body = "{}"}.bytes(),
        Ask{.method = "GET", .path = "/nothing?secret=1"}.bytes(),
        Ask{.path = "/healthz"}.bytes(),
        Ask{.method = "GET", .path = "/api/admin/version", .key = "TOKEN"}.bytes(),
        Ask{.method = "GET", .path = "/api/admin/version"}.bytes(),
        "BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        Ask{.method = "GET", .path = "/healthz"}.bytes(),
        Ask{.method = "GET", .path = "/readyz"}.bytes(),
        Ask{.method = "GET", .path = "/metrics"}.bytes(),
    };
    return rows;
}

constexpr std::size_t kPolls = 3;  // the last rows

TEST(RequestLog, HasOneLineForEachAnswer) {
    const Seen seen = talk(all_rows(), "{format: json}");
    ASSERT_EQ(seen.answers.size(), all_rows().size());
    auto lines = request_lines(seen.log);
    const struct {
        int status;
        const char* method;
        const char* path;
        const char* error;
    } rows[] = {
        {200, "POST", "/v1/chat/completions", ""},
        {401, "POST", "/v1/chat/completions", "invalid_api_key"},
        {404, "GET", "/nothing", "not_found"},
        {405, "POST", "/healthz", "method_not_allowed"},
        {200, "GET", "/api/admin/version", ""},
        {401, "GET", "/api/admin/version", "missing_admin_token"},
        {405, "", "", "method_not_allowed"},
        {400, "", "", "invalid_request_error"},
    };
    for (std::size_t i = 0; i < std::size(rows); ++i) {
        SCOPED_TRACE(all_rows()[i].substr(0, 60));
        EXPECT_EQ(seen.answers[i].status, rows[i].status);
        const std::string id = seen.answers[i].field("x-request-id");
        EXPECT_TRUE(id.starts_with("req_")) << seen.answers[i].raw_head;
        ASSERT_EQ(lines[id].size(), 1U) << seen.log;
        const json& line = lines[id][0];
        EXPECT_EQ(line["status"], rows[i].status);
        EXPECT_EQ(line["method"], rows[i].method);
        EXPECT_EQ(line["path"], rows[i].path);
        EXPECT_EQ(line["error"], rows[i].error);
        EXPECT_EQ(line["level"], "info");
        EXPECT_GE(line["ms"].get<double>(), 0);
    }
    EXPECT_EQ(lines.size(), std::size(rows)) << seen.log;
    for (const Answer& answer : seen.answers) EXPECT_TRUE(answer.has("x-request-id"));
    for (const char* const count :
         {"weir_requests_total{status=\"2xx\"} 2\n",
          "weir_requests_total{status=\"4xx\"} 6\n",
          "weir_requests_total{status=\"5xx\"} 0\n"}) {
        EXPECT_NE(seen.metrics.find(count), std::string::npos) << count << seen.metrics;
    }
}

TEST(RequestLog, TellsOfPollsAtLevelDebugOnly) {
    const Seen seen = talk(all_rows(), "{format: json, level: debug}");
    auto lines = request_lines(seen.log);
    ASSERT_EQ(seen.answers.size(), all_rows().size());
    for (std::size_t i = all_rows().size() - kPolls; i < all_rows().size(); ++i) {
        EXPECT_EQ(seen.answers[i].status, 200);
        const auto& found = lines[seen.answers[i].field("x-request-id")];
        ASSERT_EQ(found.size(), 1U) << seen.log;
        EXPECT_EQ(found[0]["level"], "debug");
    }
}

TEST(RequestLog, CanBeSwitchedOff) {
    const Seen seen = talk(all_rows(), "{format: json, requests: none, level: debug}");
    EXPECT_EQ(seen.answers.size(), all_rows().size());
    EXPECT_TRUE(request_lines(seen.log).empty()) << seen.log;
}

}  // namespace
}  // namespace weir::test
