#include "weir/http/socket_event.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace weir::http {
namespace {

using Kind = ServerEvent::Kind;
using nlohmann::json;

std::optional<ClientEvent> client(std::string_view text) {
    return read_client_event(Buffer::copy_of(text));
}
ServerEvent server(std::string_view text) {
    return read_server_event(Buffer::copy_of(text));
}

TEST(ClientEvent, IsAnObjectWithAType) {
    for (const char* const none :
         {"", "[]", "1", "{", R"({"a":1})", R"({"type":1})", R"({"type":""})"}) {
        EXPECT_FALSE(client(none)) << none;
    }
    const auto event = client(R"({"type":"response.create","event_id":"e","stream_id":"s"})");
    ASSERT_TRUE(event);
    EXPECT_EQ(event->type, "response.create");
    EXPECT_EQ(event->event_id, "e");
    EXPECT_EQ(event->stream_id, "s");
    EXPECT_FALSE(event->warm_up);
    EXPECT_FALSE(event->image || event->audio || event->file);
    EXPECT_EQ(event->stored, "");
    EXPECT_TRUE(client(R"({"type":"response.create","generate":false})")->warm_up);
}

TEST(ClientEvent, InputIsToldByItsPlace) {
    EXPECT_TRUE(client(R"({"type":"input_audio_buffer.append","audio":""})")->audio);
    EXPECT_TRUE(client(R"({"type":"x","item":{"content":[{"type":"input_audio"}]}})")->audio);
    EXPECT_TRUE(client(R"({"type":"x","item":{"content":[{"type":"input_image"}]}})")->image);
    EXPECT_TRUE(client(R"({"type":"x","item":{"content":[{"file_data":"a"}]}})")->file);
    EXPECT_TRUE(
        client(R"({"type":"x","response":{"input":[{"content":[{"type":"input_image"}]}]}})")->image
    );
    const auto text =
        client(R"({"type":"x","item":{"content":[{"type":"input_text","text":"input_audio"}]},)"
               R"("session":{"tools":[{"type":"function","parameters":{"file_id":"a"}}]}})");
    EXPECT_FALSE(text->image || text->audio || text->file);
    EXPECT_EQ(text->stored, "");
}

TEST(ClientEvent, NamesStoredStateAndModels) {
    EXPECT_EQ(client(R"({"type":"x","session":{"prompt":{"id":"p"}}})")->stored, "prompt");
    EXPECT_EQ(client(R"({"type":"x","session":{"prompt":null}})")->stored, "");
    EXPECT_EQ(client(R"({"type":"x","response":{"prompt":{"id":"p"}}})")->stored, "prompt");
    EXPECT_EQ(client(R"({"type":"x","item":{"content":[{"file_id":"f"}]}})")->stored, "file_id");
    const auto models = client(
        R"({"type":"session.update","session":{"model":"a","audio":{"input":{"transcription":)"
        R"({"model":"b"}}},"input_audio_transcription":{"model":"c"}}})"
    );
    EXPECT_EQ(models->models, (std::vector<std::string>{"a", "b", "c"}));
    EXPECT_EQ(
        client(R"({"type":"x","response":{"max_output_tokens":7}})")->output_limit.value_or(0), 7U
    );
    EXPECT_FALSE(client(R"({"type":"x","response":{"max_output_tokens":"inf"}})")->output_limit);
}

TEST(ServerEvent, TellsOfAnswers) {
    const ServerEvent created = server(R"({"type":"response.created","response":{"id":"r"}})");
    EXPECT_EQ(created.kind, Kind::kCreated);
    EXPECT_EQ(created.response_id, "r");
    const ServerEvent delta = server(R"({"type":"response.output_text.delta","response_id":"r"})");
    EXPECT_EQ(delta.kind, Kind::kOther);
    EXPECT_EQ(delta.response_id, "r");
    const ServerEvent done = server(
        R"({"type":"response.done","response":{"id":"r","status":"completed","usage":{)"
        R"("total_tokens":253,"input_tokens":132,"output_tokens":121,"input_token_details":{)"
        R"("cached_tokens":64}}}})"
    );
    EXPECT_EQ(done.kind, Kind::kEnded);
    EXPECT_FALSE(done.failed);
    ASSERT_TRUE(done.usage);
    EXPECT_EQ(*done.usage, (Usage{.input = 132, .cached_input = 64, .output = 121}));
    EXPECT_TRUE(server(R"({"type":"response.done","response":{"status":"failed"}})").failed);
    for (const char* const type : {"completed", "incomplete", "failed"}) {
        const ServerEvent ended =
            server(R"({"type":"response.)" + std::string(type) + R"(","stream_id":"s"})");
        EXPECT_EQ(ended.kind, Kind::kEnded);
        EXPECT_EQ(ended.stream_id, "s");
        EXPECT_FALSE(ended.usage);
    }
    EXPECT_EQ(server("hello").kind, Kind::kOther);
    EXPECT_EQ(server("[{}]").kind, Kind::kOther);
}

TEST(ServerEvent, TellsOfErrors) {
    const ServerEvent error =
        server(R"({"type":"error","error":{"message":"m","event_id":"e"},"stream_id":"s"})");
    EXPECT_EQ(error.kind, Kind::kError);
    EXPECT_EQ(error.cause, "e");
    EXPECT_EQ(error.stream_id, "s");
    EXPECT_EQ(server(R"({"type":"error","error":{"event_id":null}})").cause, "");
}

TEST(ErrorEvent, HasTheShapeOfItsApi) {
    const ApiError error = unknown_key();
    const json realtime =
        json::parse(error_event(error, {.responses = false, .event_id = "e\"1", .stream_id = {}}));
    EXPECT_EQ(realtime["type"], "error");
    EXPECT_FALSE(realtime["event_id"].get<std::string>().empty());
    EXPECT_EQ(realtime["error"]["event_id"], "e\"1");
    EXPECT_EQ(realtime["error"]["code"], "invalid_api_key");
    EXPECT_FALSE(realtime.contains("status"));
    const json responses =
        json::parse(error_event(error, {.responses = true, .event_id = "e", .stream_id = "s"}));
    EXPECT_EQ(responses["status"], 401);
    EXPECT_EQ(responses["stream_id"], "s");
    EXPECT_FALSE(responses["error"].contains("event_id"));
    const json odd = json::parse(error_event(502, "<html>", {}));
    EXPECT_EQ(odd["error"]["code"], "upstream_error");
    EXPECT_TRUE(odd["error"]["event_id"].is_null());
}

}  // namespace
}  // namespace weir::http
