#include "weir/app/demo_answers.hpp"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace weir::app {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const DemoStamp kStamp{"abc123", 1'800'000'000};

DemoAnswer ask(std::string_view method, std::string_view target, std::string_view body) {
    http::RequestHead head;
    head.method = method;
    head.target = target;
    return demo_answer(head, body, kStamp);
}

json post(std::string_view path, const json& body) {
    const auto answer = ask("POST", path, body.dump());
    EXPECT_FALSE(answer.streamed());
    EXPECT_EQ(answer.whole.status, 200) << answer.whole.body;
    EXPECT_EQ(answer.whole.fields.find("content-type").value_or(""), "application/json");
    return json::parse(answer.whole.body);
}

// The chunks of a stream that ends with [DONE].
std::vector<json> chunks(const DemoAnswer& answer) {
    std::vector<json> found;
    EXPECT_TRUE(answer.streamed()) << answer.whole.body;
    for (std::size_t i = 0; i < answer.events.size(); ++i) {
        const std::string_view text = answer.events[i].text;
        EXPECT_TRUE(text.starts_with("data: ") && text.ends_with("\n\n")) << text;
        if (i + 1 == answer.events.size()) {
            EXPECT_EQ(text, "data: [DONE]\n\n");
        } else {
            found.push_back(json::parse(text.substr(6)));
        }
    }
    return found;
}

json question(std::string_view text) {
    return {{"model", "gpt-4"}, {"messages", {{{"role", "user"}, {"content", text}}}}};
}

std::string content_of(const json& answer) {
    return answer["choices"][0]["message"]["content"].get<std::string>();
}

void expect_error(const DemoAnswer& answer, int status, std::string_view param = "") {
    ASSERT_FALSE(answer.streamed());
    EXPECT_EQ(answer.whole.status, status) << answer.whole.body;
    const auto error = json::parse(answer.whole.body)["error"];
    EXPECT_FALSE(error["message"].get<std::string>().empty());
    EXPECT_TRUE(error.contains("type") && error.contains("code") && error.contains("param"));
    if (!param.empty()) EXPECT_EQ(error["param"], param);
}

TEST(DemoChat, SaysThatNoModelWasAskedAndRepeatsTheQuestion) {
    const auto answer = post("/v1/chat/completions", question("why is the sky blue?"));
    EXPECT_EQ(answer["id"], "chatcmpl-abc123");
    EXPECT_EQ(answer["object"], "chat.completion");
    EXPECT_EQ(answer["created"], 1'800'000'000);
    EXPECT_EQ(answer["model"], "gpt-4");
    const auto& choice = answer["choices"][0];
    EXPECT_EQ(choice["index"], 0);
    EXPECT_EQ(choice["finish_reason"], "stop");
    EXPECT_EQ(choice["message"]["role"], "assistant");
    EXPECT_THAT(content_of(answer), HasSubstr("no model was asked"));
    EXPECT_THAT(content_of(answer), HasSubstr("why is the sky blue?"));
    EXPECT_EQ(answer["usage"]["prompt_tokens"], 5);
    EXPECT_EQ(
        answer["usage"]["total_tokens"],
        5 + answer["usage"]["completion_tokens"].get<std::int64_t>()
    );
}

TEST(DemoChat, ReadsContentPartsAndAnswersTheLastUser) {
    const json body = {
        {"model", "gpt-4o"},
        {"messages",
         {{{"role", "user"}, {"content", "first"}},
          {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", json::array()}},
          {{"role", "user"},
           {"content",
            {{{"type", "text"}, {"text", "what is in"}},
             {{"type", "image_url"}, {"image_url", {{"url", "data:image/png;base64,AAAA"}}}},
             {{"type", "text"}, {"text", "this picture"}}}}},
          {{"role", "tool"}, {"content", "result"}}}},
        {"tools", json::array({{{"type", "function"}}})},
        {"response_format", {{"type", "json_object"}}}
    };
    const auto text = content_of(post("/v1/chat/completions", body));
    EXPECT_THAT(text, HasSubstr("what is in this picture"));
    EXPECT_THAT(text, ::testing::Not(HasSubstr("AAAA")));
}

TEST(DemoChat, CutsALongQuestionBetweenCharacters) {
    for (std::size_t lead = 0; lead < 4; ++lead) {
        std::string text(lead, 'x');
        for (int i = 0; i < 200; ++i) text += "\xE6\xB0\xB4";
        const auto said = content_of(post("/v1/chat/completions", question(text)));
        EXPECT_THAT(said, HasSubstr("..."));
        EXPECT_LT(said.size(), 500U);
        EXPECT_EQ(said.find("\xEF\xBF\xBD"), std::string::npos) << "a character was cut in two";
    }
}

TEST(DemoChat, StreamsTheSameTextWordByWord) {
    auto body = question("stream, please");
    const auto text = content_of(post("/v1/chat/completions", body));
    body["stream"] = true;
    const auto answer = ask("POST", "/v1/chat/completions", body.dump());
    const auto all = chunks(answer);
    ASSERT_GT(all.size(), 10U);
    EXPECT_EQ(all.front()["choices"][0]["delta"]["role"], "assistant");
    EXPECT_EQ(all.back()["choices"][0]["finish_reason"], "stop");
    std::string joined;
    std::size_t words = 0;
    for (const auto& chunk : all) {
        EXPECT_EQ(chunk["object"], "chat.completion.chunk");
        EXPECT_EQ(chunk["id"], "chatcmpl-abc123");
        EXPECT_FALSE(chunk.contains("usage")) << "nobody asked for it";
        const auto& delta = chunk["choices"][0]["delta"];
        if (delta.contains("content")) joined += delta["content"].get<std::string>();
    }
    for (const auto& event : answer.events) words += event.paced ? 1 : 0;
    EXPECT_EQ(json(joined), json(text));
    EXPECT_GT(words, 10U);
}

TEST(DemoChat, SendsUsageInAStreamOnlyIfAsked) {
    auto body = question("hello");
    body["stream"] = true;
    body["stream_options"] = {{"include_usage", true}};
    const auto all = chunks(ask("POST", "/v1/chat/completions", body.dump()));
    for (std::size_t i = 0; i + 1 < all.size(); ++i) EXPECT_TRUE(all[i].at("usage").is_null());
    EXPECT_TRUE(all.back()["choices"].empty());
    EXPECT_EQ(all.back()["usage"]["prompt_tokens"], 1);
}

TEST(DemoChat, StopsAtTheLimitWithLength) {
    for (const auto* name : {"max_tokens", "max_completion_tokens"}) {
        auto body = question("hello");
        body[name] = 3;
        const auto answer = post("/v1/chat/completions", body);
        EXPECT_EQ(content_of(answer), "This is the");
        EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
        EXPECT_EQ(answer["usage"]["completion_tokens"], 3);
        body["stream"] = true;
        const auto all = chunks(ask("POST", "/v1/chat/completions", body.dump()));
        EXPECT_EQ(all.back()["choices"][0]["finish_reason"], "length");
    }
}

TEST(DemoChat, GivesEachChoiceAWholeAnswer) {
    auto body = question("hello");
    body["n"] = 3;
    const auto answer = post("/v1/chat/completions", body);
    ASSERT_EQ(answer["choices"].size(), 3U);
    EXPECT_EQ(answer["choices"][2]["index"], 2);
    body["stream"] = true;
    std::vector<std::string> texts(3);
    std::vector<int> finished(3);
    for (const auto& chunk : chunks(ask("POST", "/v1/chat/completions", body.dump()))) {
        const auto& choice = chunk["choices"][0];
        const auto index = choice["index"].get<std::size_t>();
        ASSERT_LT(index, 3U);
        texts[index] += choice["delta"].value("content", "");
        finished[index] += choice["finish_reason"].is_null() ? 0 : 1;
    }
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(texts[i], content_of(answer));
        EXPECT_EQ(finished[i], 1);
    }
}

TEST(DemoChat, RefusesWhatCannotBeAnswered) {
    const auto refuse = [](const json& body, std::string_view param) {
        expect_error(ask("POST", "/v1/chat/completions", body.dump()), 400, param);
    };
    expect_error(ask("POST", "/v1/chat/completions", "{"), 400);
    expect_error(ask("POST", "/v1/chat/completions", ""), 400);
    expect_error(ask("POST", "/v1/chat/completions", "[1]"), 400);
    expect_error(ask("POST", "/v1/chat/completions", "\"\xFF\""), 400);
    refuse({{"messages", {{{"role", "user"}}}}}, "model");
    refuse({{"model", 4}, {"messages", {{{"role", "user"}}}}}, "model");
    refuse({{"model", "m"}}, "messages");
    refuse({{"model", "m"}, {"messages", json::array()}}, "messages");
    refuse({{"model", "m"}, {"messages", {"hi"}}}, "messages");
    auto body = question("x");
    body["n"] = 129;
    refuse(body, "n");
    body["n"] = 0;
    refuse(body, "n");
    body["n"] = 1;
    body["stream"] = "yes";
    refuse(body, "stream");
    body["stream"] = true;
    body["stream_options"] = 1;
    refuse(body, "stream_options");
    body.erase("stream_options");
    body["max_tokens"] = -1;
    refuse(body, "max_tokens");
}

TEST(DemoCompletions, AnswersEachPromptWithinTheDefaultLimit) {
    const auto answer =
        post("/v1/completions", {{"model", "gpt-3.5-turbo-instruct"}, {"prompt", {"one", "two"}}});
    EXPECT_EQ(answer["object"], "text_completion");
    EXPECT_THAT(answer["id"].get<std::string>(), StartsWith("cmpl-"));
    ASSERT_EQ(answer["choices"].size(), 2U);
    EXPECT_EQ(answer["choices"][1]["index"], 1);
    EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
    EXPECT_EQ(answer["usage"]["completion_tokens"], 32);
    EXPECT_THAT(answer["choices"][1]["text"].get<std::string>(), HasSubstr("\"two\""));
}

TEST(DemoCompletions, StreamsTheSameText) {
    json body = {{"model", "m"}, {"prompt", "hello"}, {"max_tokens", 100}};
    const auto text = post("/v1/completions", body)["choices"][0]["text"];
    body["stream"] = true;
    body["stream_options"] = {{"include_usage", true}};
    const auto all = chunks(ask("POST", "/v1/completions", body.dump()));
    std::string joined;
    for (const auto& chunk : all) {
        if (!chunk["choices"].empty()) joined += chunk["choices"][0]["text"].get<std::string>();
    }
    EXPECT_EQ(json(joined), json(text));
    EXPECT_EQ(all[all.size() - 2]["choices"][0]["finish_reason"], "stop");
    EXPECT_TRUE(all.back()["usage"].is_object());
}

TEST(DemoCompletions, TakesTokensAndRefusesNonsense) {
    EXPECT_EQ(
        post("/v1/completions", {{"model", "m"}, {"prompt", {1, 2, 3}}})["choices"].size(), 1U
    );
    expect_error(
        ask("POST", "/v1/completions", R"({"model":"m","prompt":{"a":1}})"), 400, "prompt"
    );
    json many = {{"model", "m"}, {"prompt", json::array()}, {"n", 128}};
    many["prompt"] = {"a", "b"};
    expect_error(ask("POST", "/v1/completions", many.dump()), 400, "n");
}

// The events of a Responses stream: (type, data).
std::vector<json> response_events(const DemoAnswer& answer) {
    std::vector<json> found;
    EXPECT_TRUE(answer.streamed()) << answer.whole.body;
    for (const auto& event : answer.events) {
        const std::string_view text = event.text;
        const auto line = text.find('\n');
        EXPECT_TRUE(text.starts_with("event: ") && text.ends_with("\n\n")) << text;
        EXPECT_EQ(text.substr(line + 1, 6), "data: ");
        found.push_back(json::parse(text.substr(line + 7)));
        EXPECT_EQ(found.back()["type"], text.substr(7, line - 7));
        EXPECT_EQ(found.back()["sequence_number"], found.size() - 1);
    }
    return found;
}

TEST(DemoResponses, AnswersATextAndAList) {
    const auto answer = post(
        "/v1/responses", {{"model", "gpt-4o"}, {"input", "hi there"}, {"instructions", "be kind"}}
    );
    EXPECT_EQ(answer["object"], "response");
    EXPECT_EQ(answer["status"], "completed");
    EXPECT_EQ(answer["instructions"], "be kind");
    const auto& part = answer["output"][0]["content"][0];
    EXPECT_EQ(part["type"], "output_text");
    EXPECT_THAT(part["text"].get<std::string>(), HasSubstr("\"hi there\""));
    EXPECT_EQ(answer["usage"]["input_tokens"], 4);
    const json list = {
        {"model", "gpt-4o"},
        {"input",
         {{{"role", "user"}, {"content", {{{"type", "input_text"}, {"text", "in parts"}}}}},
          {{"type", "function_call_output"}, {"output", "x"}}}}
    };
    EXPECT_THAT(
        post("/v1/responses", list)["output"][0]["content"][0]["text"].get<std::string>(),
        HasSubstr("\"in parts\"")
    );
}

TEST(DemoResponses, StreamsEventsInOpenAisOrder) {
    json body = {{"model", "gpt-4o"}, {"input", "hello"}};
    const auto whole = post("/v1/responses", body);
    body["stream"] = true;
    const auto all = response_events(ask("POST", "/v1/responses", body.dump()));
    std::vector<std::string> order;
    std::string joined;
    for (const auto& event : all) {
        const auto type = event["type"].get<std::string>();
        if (type == "response.output_text.delta") joined += event["delta"].get<std::string>();
        if (order.empty() || order.back() != type) order.push_back(type);
    }
    EXPECT_THAT(
        order,
        ::testing::ElementsAre(
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed"
        )
    );
    EXPECT_EQ(json(joined), whole["output"][0]["content"][0]["text"]);
    EXPECT_EQ(all.front()["response"]["status"], "in_progress");
    EXPECT_EQ(all.back()["response"], whole);
}

TEST(DemoResponses, ALimitMakesItIncomplete) {
    json body = {{"model", "m"}, {"input", "hello"}, {"max_output_tokens", 2}};
    const auto whole = post("/v1/responses", body);
    EXPECT_EQ(whole["status"], "incomplete");
    EXPECT_EQ(whole["incomplete_details"]["reason"], "max_output_tokens");
    body["stream"] = true;
    const auto all = response_events(ask("POST", "/v1/responses", body.dump()));
    EXPECT_EQ(all.back()["type"], "response.incomplete");
    expect_error(ask("POST", "/v1/responses", R"({"model":"m"})"), 400, "input");
    expect_error(ask("POST", "/v1/responses", R"({"model":"m","input":[]})"), 400, "input");
}

std::vector<float> decode(std::string_view text) {
    static constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string bytes;
    std::uint32_t bits = 0;
    int count = 0;
    for (const char c : text) {
        if (c == '=') break;
        bits = (bits << 6U) | static_cast<std::uint32_t>(kDigits.find(c));
        if ((count += 6) < 8) continue;
        count -= 8;
        bytes.push_back(static_cast<char>((bits >> static_cast<unsigned>(count)) & 0xFFU));
    }
    std::vector<float> values(bytes.size() / 4);
    std::memcpy(values.data(), bytes.data(), values.size() * 4);
    return values;
}

TEST(DemoEmbeddings, AreOfLengthOneAndTheSameForTheSameInput) {
    const json body = {{"model", "text-embedding-3-small"}, {"input", {"one", "two", "one"}}};
    const auto answer = post("/v1/embeddings", body);
    EXPECT_EQ(answer["object"], "list");
    ASSERT_EQ(answer["data"].size(), 3U);
    const auto one = answer["data"][0]["embedding"].get<std::vector<double>>();
    EXPECT_EQ(one.size(), 1536U);
    double square = 0;
    for (const double value : one) square += value * value;
    EXPECT_NEAR(std::sqrt(square), 1.0, 1e-5);
    EXPECT_EQ(answer["data"][0]["embedding"], answer["data"][2]["embedding"]);
    EXPECT_NE(answer["data"][0]["embedding"], answer["data"][1]["embedding"]);
    EXPECT_EQ(answer["data"][2]["index"], 2);
    EXPECT_EQ(answer["usage"]["prompt_tokens"], 3);
    EXPECT_EQ(post("/v1/embeddings", body), answer);
}

TEST(DemoEmbeddings, Base64HoldsTheSameNumbers) {
    // 1 and 2 dimensions leave a remainder in base64, 3 do not.
    for (const int dimensions : {1, 2, 3, 256}) {
        json body = {{"model", "m"}, {"input", "hello"}, {"dimensions", dimensions}};
        const auto plain = post("/v1/embeddings", body)["data"][0]["embedding"];
        ASSERT_EQ(plain.size(), static_cast<std::size_t>(dimensions));
        body["encoding_format"] = "base64";
        const auto packed = post("/v1/embeddings", body)["data"][0]["embedding"];
        EXPECT_EQ(decode(packed.get<std::string>()), plain.get<std::vector<float>>());
    }
}

TEST(DemoEmbeddings, TakesTokensAndRefusesNonsense) {
    EXPECT_EQ(post("/v1/embeddings", {{"model", "m"}, {"input", {1, 2}}})["data"].size(), 1U);
    EXPECT_EQ(
        post("/v1/embeddings", {{"model", "m"}, {"input", {{1, 2}, {3}}}})["data"].size(), 2U
    );
    for (const auto& input : {json(""), json::array(), json({"a", ""}), json({"a", -1}), json(1)}) {
        const json body = {{"model", "m"}, {"input", input}};
        expect_error(ask("POST", "/v1/embeddings", body.dump()), 400, "input");
    }
    expect_error(ask("POST", "/v1/embeddings", R"({"model":"m"})"), 400, "input");
    json body = {{"model", "m"}, {"input", "a"}, {"dimensions", 0}};
    expect_error(ask("POST", "/v1/embeddings", body.dump()), 400, "dimensions");
    body["dimensions"] = 2;
    body["encoding_format"] = "hex";
    expect_error(ask("POST", "/v1/embeddings", body.dump()), 400, "encoding_format");
}

TEST(DemoEmbeddings, GivesOnlySoManyNumbersAtOnce) {
    const auto body = [](std::size_t inputs, int dimensions) {
        json json = {{"model", "m"}, {"input", json::array()}, {"dimensions", dimensions}};
        for (std::size_t i = 0; i < inputs; ++i) json["input"].push_back("x");
        return json;
    };
    expect_error(ask("POST", "/v1/embeddings", body(2048, 4096).dump()), 400, "input");
    expect_error(ask("POST", "/v1/embeddings", body(1001, 1000).dump()), 400, "input");
    auto defaults = body(652, 1);
    defaults.erase("dimensions");
    expect_error(ask("POST", "/v1/embeddings", defaults.dump()), 400, "input");
    EXPECT_EQ(post("/v1/embeddings", body(1000, 1000))["data"].size(), 1000U);
    EXPECT_EQ(post("/v1/embeddings", body(2048, 1))["data"].back()["index"], 2047);
}

TEST(DemoModels, ListsAndShows) {
    const auto list = ask("GET", "/v1/models", "");
    ASSERT_EQ(list.whole.status, 200);
    const auto data = json::parse(list.whole.body)["data"];
    EXPECT_GT(data.size(), 3U);
    for (const auto& model : data) {
        const auto one = ask("GET", "/v1/models/" + model["id"].get<std::string>(), "");
        EXPECT_EQ(json::parse(one.whole.body), model);
    }
    expect_error(ask("GET", "/v1/models/nobody", ""), 404);
}

TEST(DemoPaths, OthersAreRefusedInOpenAisShape) {
    expect_error(ask("GET", "/", ""), 404);
    expect_error(ask("POST", "/v1/modelsx", "{}"), 404);
    expect_error(ask("POST", "/v1/files", "{}"), 404);
    const auto wrong = ask("GET", "/v1/chat/completions?x=1", "");
    expect_error(wrong, 405);
    EXPECT_EQ(wrong.whole.fields.find("allow").value_or(""), "POST");
    EXPECT_EQ(ask("DELETE", "/v1/models", "").whole.fields.find("allow").value_or(""), "GET");
}

}  // namespace
}  // namespace weir::app
