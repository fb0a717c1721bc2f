// The table of endpoints, row by row, asked of the real gateway: what is closed names its line,
// what a plan opens reaches the upstream as it was sent, and what counts is counted.
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "weir/http/api.hpp"

#include "tools.hpp"

namespace weir::test {
namespace {

using http::Access;
using http::BodyKind;
using http::Endpoint;

constexpr const char* kCaps = "[{models: \"*\", allow: 100000/4h}]";

std::vector<const Endpoint*> rows(Access access) {
    std::vector<const Endpoint*> found;
    for (const Endpoint* row = http::endpoints_begin(); row != http::endpoints_end(); ++row) {
        if (row->access == access) found.push_back(row);
    }
    return found;
}

std::string all_groups() {
    std::set<std::string> groups;
    for (const Endpoint* row : rows(Access::kClosed)) groups.emplace(row->group);
    return fmt::format("    endpoints: [{}]\n", fmt::join(groups, ", "));
}

// A path that the row fits.
std::string path_of(const Endpoint& row) {
    std::string path = "/v1" + std::string(row.path);
    while (path.find("{id}") != std::string::npos) path.replace(path.find("{id}"), 4, "id_1");
    if (path.ends_with("/*")) path.replace(path.size() - 1, 1, "id_2");
    return path;
}

std::vector<std::string> methods_of(const Endpoint& row) {
    if (row.method != "*") return {std::string(row.method)};
    // Those that no row before it takes.
    std::vector<std::string> methods;
    for (const char* const method : {"GET", "DELETE", "POST", "PUT", "PATCH"}) {
        if (http::find_endpoint(method, path_of(row)).endpoint == &row)
            methods.emplace_back(method);
    }
    return methods;
}

std::string form(const std::string& fields = "") {
    return fields +
           "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\xe6\xb0\xb4.mp3\"\r\n"
           "Content-Type: audio/mpeg\r\n\r\n" +
           std::string("\0\r\n--\xff\r\n", 8) + "\r\n--B--\r\n";
}
std::string field(const std::string& name, const std::string& value) {
    return "--B\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n";
}
const std::pair<std::string, std::string> kForm{
    "Content-Type", "multipart/form-data; boundary=\"B\""
};

// A request that the row takes.
Ask ask_of(const Endpoint& row, const std::string& method) {
    Ask request{.method = method, .path = path_of(row) + "?limit=2&after=a%2Fb", .key = kAlice};
    if (method == "GET" || method == "DELETE") return request;
    switch (row.body) {
        case BodyKind::kNone:
            break;
        case BodyKind::kJson:
            request.body = R"({ "model":"gpt-4", "x": [1.0] })";
            break;
        case BodyKind::kForm:
        case BodyKind::kRelayed:
            request.body = form(row.names_model ? field("model", "gpt-4") : "");
            request.fields.push_back(kForm);
            break;
    }
    return request;
}

void say_ok(Wire& wire, const SeenRequest&) {
    wire.json(R"({"object":"thing","data":[]})");
}

TEST(Endpoints, ClosedOnesNameTheirLineAndReachNobody) {
    FakeUpstream upstream(say_ok);
    TestGateway gateway({.upstream_url = upstream.url(), .caps = kCaps});
    for (const Endpoint* row : rows(Access::kClosed)) {
        for (const std::string& method : methods_of(*row)) {
            SCOPED_TRACE(method + " " + std::string(row->path));
            const Answer answer = ask(gateway.port(), ask_of(*row, method));
            EXPECT_EQ(answer.status, 403);
            const bool openai = http::api_of(path_of(*row)) == http::Api::kOpenAi;
            const auto error =
                openai ? expect_error(answer, 403, "endpoint_closed") : parsed(answer)["error"];
            EXPECT_NE(
                error.value("message", "")
                    .find(fmt::format("'endpoints: [{}]' in the plan 'plus'", row->group)),
                std::string::npos
            ) << answer.body;
        }
    }
    EXPECT_EQ(upstream.calls(), 0U);
    EXPECT_EQ(used(gateway, "alice"), 0);
}

TEST(Endpoints, WhatManagesTheAccountIsNeverForwarded) {
    FakeUpstream upstream(say_ok);
    TestGateway gateway({.upstream_url = upstream.url(), .plan_more = all_groups()});
    for (const Endpoint* row : rows(Access::kNever)) {
        for (const std::string& method : methods_of(*row)) {
            const Answer answer = ask(gateway.port(), ask_of(*row, method));
            const auto error = expect_error(answer, 403, "endpoint_closed");
            EXPECT_NE(error.value("message", "").find("never forwarded"), std::string::npos);
        }
    }
    EXPECT_EQ(upstream.calls(), 0U);
}

// Asks for each row of that API and looks at what the upstream saw.
void ask_for_all(http::Api api, const std::string& kind, int at_least) {
    FakeUpstream upstream(say_ok);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = kCaps,
         .upstream_more = ", kind: " + kind,
         .plan_more = all_groups()}
    );
    std::vector<const Endpoint*> all = rows(Access::kClosed);
    for (const Endpoint* row : rows(Access::kOpen)) {
        if (row->method == "POST") all.push_back(row);
    }
    int counted = 0;
    for (const Endpoint* row : all) {
        if (http::api_of(path_of(*row)) != api) continue;
        for (const std::string& method : methods_of(*row)) {
            if (row->path == "/realtime") continue;  // a WebSocket
            const Ask request = ask_of(*row, method);
            SCOPED_TRACE(method + " " + request.path);
            const std::size_t before = upstream.calls();
            const Answer answer = ask(gateway.port(), request);
            ASSERT_EQ(answer.status, 200) << answer.body;
            EXPECT_EQ(answer.body, R"({"object":"thing","data":[]})");
            ASSERT_EQ(upstream.calls(), before + 1);
            const SeenRequest seen = upstream.seen().back();
            EXPECT_EQ(seen.method, method);
            EXPECT_EQ(seen.target, request.path);
            EXPECT_EQ(seen.body, request.body);
            const bool anthropic = api == http::Api::kAnthropic;
            EXPECT_EQ(
                seen.field(anthropic ? "x-api-key" : "authorization"),
                (anthropic ? "" : "Bearer ") + std::string(kUpstreamKey)
            );
            if (!request.fields.empty()) {
                EXPECT_EQ(seen.field("content-type"), request.fields.front().second);
            }
            if (row->counts) ++counted;
            EXPECT_EQ(used(gateway, "alice"), counted);
        }
    }
    EXPECT_GE(counted, at_least);
}

TEST(Endpoints, OpenedOnesAreForwardedAsTheyWereSentAndCountedAsTheTableSays) {
    ask_for_all(http::Api::kOpenAi, "openai", 20);
}

TEST(Endpoints, SoAreAnthropics) {
    ask_for_all(http::Api::kAnthropic, "anthropic", 2);
}

TEST(Endpoints, OnlyTheGroupsOfThePlanAreOpen) {
    FakeUpstream upstream(say_ok);
    TestGateway gateway(
        {.upstream_url = upstream.url(), .plan_more = "    endpoints: [files, threads]\n"}
    );
    const auto status = [&](const std::string& method, const std::string& path) {
        return ask(gateway.port(), {.method = method, .path = path, .key = kAlice}).status;
    };
    EXPECT_EQ(status("GET", "/v1/files"), 200);
    EXPECT_EQ(status("DELETE", "/v1/threads/t"), 200);
    EXPECT_EQ(status("GET", "/v1/batches"), 403);
    EXPECT_EQ(status("GET", "/v1/uploads/u"), 403);
    EXPECT_EQ(status("GET", "/v1/files/../batches"), 404);
    EXPECT_EQ(status("GET", "/v1/files/"), 404);
    EXPECT_EQ(status("HEAD", "/v1/models"), 200);
    EXPECT_EQ(status("OPTIONS", "/v1/models"), 405);
    const Answer options =
        ask(gateway.port(), {.method = "OPTIONS", .path = "/v1/files", .key = kAlice});
    expect_error(options, 405, "method_not_allowed");
    EXPECT_EQ(options.field("allow"), "GET, HEAD, POST, PUT, PATCH, DELETE");
}

TEST(Endpoints, OtherPathsSayWhatToDo) {
    FakeUpstream upstream(say_ok);
    TestGateway gateway({.upstream_url = upstream.url()});
    const struct {
        const char* path;
        const char* hint;
    } cases[] = {
        {"/v1/chat/completions/", "slash"},
        {"/v1/v1/chat/completions", "'/v1' once"},
        {"/v1/", "base URL"},
        {"/v1", "base URL"},
        {"/v1/chat/completion", "no line of its config"},
        {"/v1/rerank", "docs/endpoints.md"},
        {"/chat/completions", "ends with '/v1'"},
    };
    for (const auto& [path, hint] : cases) {
        const auto error = expect_error(
            ask(gateway.port(), {.path = path, .key = kAlice, .body = chat_body("x")}),
            404,
            "not_found"
        );
        EXPECT_NE(error.value("message", "").find(hint), std::string::npos) << path << error.dump();
    }
    EXPECT_EQ(upstream.calls(), 0U);
}

// A model that a body names on a closed endpoint is one under the lists and the caps.
TEST(Endpoints, OpenedOnesKeepToTheModelsOfThePlan) {
    FakeUpstream upstream(say_ok);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"gpt-4*\", allow: 1/4h}]",
         .more = "models: {smart: {serve_as: gpt-4-0613}}\n",
         .plan_more =
             "    endpoints: [threads, assistants, videos]\n    deny: [\"gpt-5*\", sora-2]\n"}
    );
    const auto post = [&](const std::string& path, const std::string& body) {
        return ask(gateway.port(), {.path = path, .key = kAlice, .body = body});
    };
    const std::string runs = "/v1/threads/t/runs";
    EXPECT_EQ(post(runs, R"({"model":"gpt-5"})").status, 403);
    EXPECT_EQ(post("/v1/assistants", R"({"model":"gpt-5"})").status, 403);
    EXPECT_EQ(post("/v1/videos", R"({"prompt":"x"})").status, 403);  // the API's default
    EXPECT_EQ(upstream.calls(), 0U);
    EXPECT_EQ(post(runs, R"({"model":"smart"})").status, 200);
    EXPECT_EQ(upstream.seen().back().body, R"({"model":"gpt-4-0613"})");
    expect_error(post(runs, R"({"model":"gpt-4"})"), 429, "insufficient_quota");
    EXPECT_EQ(post(runs, "").status, 200);  // the assistant's own: no cap on gpt-4* covers it
    EXPECT_EQ(post("/v1/assistants", R"({"model":"gpt-4"})").status, 200);  // free
    expect_error(post(runs, "{"), 400, "invalid_json");
}

TEST(StoredState, NamedInABodyNeedsItsGroup) {
    FakeUpstream upstream(say_an_answer);
    const auto setup = [&](const std::string& groups) {
        return GatewaySetup{
            .upstream_url = upstream.url(),
            .plan_more = groups.empty() ? "" : "    endpoints: [" + groups + "]\n"
        };
    };
    const std::string file =
        R"({"model":"gpt-4","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}])";
    const std::string both = file + R"(,"conversation":"c"})";
    const struct {
        std::string groups;
        std::string body;
        int status;
    } cases[] = {
        {"", file + "}", 403},
        {"conversations", file + "}", 403},
        {"files", file + "}", 200},
        {"files", both, 403},  // each that is named
        {"conversations, files", both, 200},
    };
    for (const auto& row : cases) {
        TestGateway gateway(setup(row.groups));
        for (int i = 0; i < 2; ++i) {
            const Answer answer = ask(gateway.port(), {.key = kAlice, .body = row.body});
            EXPECT_EQ(answer.status, row.status) << row.groups << row.body << answer.body;
            if (answer.status == 200) EXPECT_EQ(answer.field("x-cache"), "BYPASS");
        }
    }
    EXPECT_EQ(upstream.calls(), 4U);
}

TEST(Forms, NameTheirModelWhereverItStands) {
    FakeUpstream upstream(say_ok);
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = "[{models: \"whisper*\", allow: 1/4h, then: gpt-4o-transcribe}]",
         .more = "models: {ear: {serve_as: whisper-1}}\n",
         .plan_more = "    deny: [secret]\n"}
    );
    const auto post = [&](const std::string& body, const char* path = "/v1/audio/transcriptions") {
        return ask(gateway.port(), {.path = path, .key = kAlice, .body = body, .fields = {kForm}});
    };
    const auto with_model = [](const std::string& model) {
        std::string body = form();
        return body.insert(body.size() - 7, field("model", model));  // behind the file
    };
    EXPECT_EQ(post(with_model("ear")).status, 200);
    SeenRequest seen = upstream.seen().back();
    EXPECT_EQ(seen.body, with_model("whisper-1"));
    EXPECT_EQ(seen.field("content-type"), kForm.second);
    EXPECT_EQ(seen.field("content-length"), std::to_string(seen.body.size()));
    const Answer fallen = post(with_model("whisper-1"));
    EXPECT_EQ(fallen.status, 200);
    EXPECT_TRUE(fallen.has("x-weir-fallback"));
    EXPECT_EQ(upstream.seen().back().body, with_model("gpt-4o-transcribe"));
    const std::size_t calls = upstream.calls();
    expect_error(post(with_model("secret")), 403, "model_not_allowed");
    expect_error(post(form()), 400, "");
    expect_error(post("--B\r\n"), 400, "");
    expect_error(post(form(field("model", "a") + field("model", "b"))), 400, "");
    EXPECT_EQ(upstream.calls(), calls);
    EXPECT_EQ(post(form(), "/v1/images/variations").status, 200);  // the API's default
    EXPECT_EQ(upstream.seen().back().body, form());
}

TEST(Forms, ThatAskForAStreamGetItAsItComes) {
    Steps seen;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest&) {
        wire.begin_stream();
        wire.event(R"({"type":"transcript.text.delta","delta":"a"})");
        EXPECT_TRUE(seen.wait());
        wire.event(R"({"type":"transcript.text.done","text":"a"})");
        wire.last_chunk();
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    Client client(gateway.port());
    const Ask request{
        .path = "/v1/audio/transcriptions",
        .key = kAlice,
        .body = form(field("model", "gpt-4o-transcribe") + field("stream", "true")),
        .fields = {kForm}
    };
    ASSERT_TRUE(client.send(request.bytes()));
    Answer answer = client.read_head();
    EXPECT_EQ(answer.field("content-type"), "text/event-stream");
    client.read_body(answer, [](const std::string& body) {
        return body.find("\n\n") != std::string::npos;
    });
    seen.pass();
    client.read_body(answer);
    EXPECT_TRUE(answer.complete);
    EXPECT_NE(answer.body.find("transcript.text.done"), std::string::npos);
    EXPECT_EQ(answer.body.find("error"), std::string::npos);
}

TEST(Forms, KeepToTheInputsOfThePlan) {
    FakeUpstream upstream(say_ok);
    TestGateway gateway({.upstream_url = upstream.url(), .plan_more = "    inputs: [text, image]\n"}
    );
    const auto post = [&](const char* path) {
        return ask(
            gateway.port(),
            {.path = path, .key = kAlice, .body = form(field("model", "m")), .fields = {kForm}}
        );
    };
    expect_error(post("/v1/audio/translations"), 403, "input_not_allowed");
    EXPECT_EQ(post("/v1/images/edits").status, 200);
}

}  // namespace
}  // namespace weir::test
