// What the integration tests share: errors judged by their shape, admin calls, steps between a test
// and the script of its upstream.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <latch>
#include <semaphore>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/client.hpp"
#include "support/fake_upstream.hpp"
#include "support/test_gateway.hpp"

namespace weir::test {

inline constexpr char kUpstreamKey[] = "upstream-secret-key-1234";  // what TestGateway puts in

// One side passes a step at a time to the other; waits end after 20 s.
class Steps {
public:
    void pass(std::ptrdiff_t count = 1) { steps_.release(count); }
    [[nodiscard]] bool wait() { return steps_.try_acquire_for(20s); }

private:
    std::counting_semaphore<> steps_{0};
};

// Polls for what has no event to wait for. False after 20 s.
[[nodiscard]] inline bool eventually(const std::function<bool()>& what) {
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (std::chrono::steady_clock::now() < until) {
        if (what()) return true;
        std::this_thread::sleep_for(5ms);
    }
    return false;
}

// The error object of a refusal, after a look at its shape: OpenAI's four fields, JSON, an id.
inline nlohmann::json expect_error(const Answer& answer, int status, std::string_view code) {
    EXPECT_EQ(answer.status, status) << answer.raw_head << answer.body;
    EXPECT_TRUE(answer.complete);
    EXPECT_EQ(answer.field("content-type"), "application/json") << answer.raw_head;
    const auto json = nlohmann::json::parse(answer.body, nullptr, false);
    if (!json.is_object() || !json.contains("error") || !json["error"].is_object()) {
        ADD_FAILURE() << "not an error object: " << answer.body;
        return nlohmann::json::object();
    }
    const auto& error = json["error"];
    EXPECT_EQ(error.size(), 4U) << answer.body;
    for (const char* const member : {"message", "type", "param", "code"}) {
        EXPECT_TRUE(error.contains(member)) << member << ": " << answer.body;
    }
    EXPECT_EQ(error.value("code", nlohmann::json()), code.empty() ? nlohmann::json() : code)
        << answer.body;
    EXPECT_EQ(answer.body.find(kUpstreamKey), std::string::npos);
    EXPECT_EQ(answer.body.find("127.0.0.1"), std::string::npos) << answer.body;
    return error;
}

// The JSON object that an answer is.
inline nlohmann::json parsed(const Answer& answer) {
    nlohmann::json body = nlohmann::json::parse(answer.body, nullptr, false);
    if (body.is_object()) return body;
    ADD_FAILURE() << "not a JSON object: " << answer.raw_head << answer.body;
    return nlohmann::json::object();
}

// A chat with that question.
inline Answer send(
    const TestGateway& gateway,
    const std::string& content,
    const std::string& model = "gpt-4",
    const char* key = kAlice,
    bool stream = false,
    const std::string& more = ""
) {
    return ask(
        gateway.port(), {.key = key, .body = chat_body(content, stream, model, more), .fields = {}}
    );
}

[[nodiscard]] inline Answer admin(
    const TestGateway& gateway, std::string method, std::string path, std::string body = ""
) {
    return ask(
        gateway.port(),
        {.method = std::move(method),
         .path = "/api/admin/" + std::move(path),
         .key = gateway.admin_token(),
         .body = std::move(body),
         .fields = {}}
    );
}

// Messages that the first cap of a key counts at the moment, by the admin's word.
[[nodiscard]] inline int used(const TestGateway& gateway, const std::string& key) {
    const Answer answer = admin(gateway, "GET", "keys/" + key);
    const auto json = nlohmann::json::parse(answer.body, nullptr, false);
    if (!json.is_object() || !json.contains("caps") || json["caps"].empty()) return -1;
    return json["caps"][0]["used"].get<int>();
}

[[nodiscard]] inline std::size_t count(std::string_view text, std::string_view what) {
    std::size_t found = 0;
    for (std::size_t at = 0; (at = text.find(what, at)) != std::string_view::npos;
         at += what.size()) {
        ++found;
    }
    return found;
}

// The value of a series without labels in /metrics; -1: none.
[[nodiscard]] inline double metric(const TestGateway& gateway, const std::string& name) {
    const Answer answer = ask(gateway.port(), {.method = "GET", .path = "/metrics"});
    const std::size_t at = answer.body.find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::stod(answer.body.substr(at + name.size() + 2));
}

// One chat chunk with that content, as answer_chat() makes them; `finish`: its finish_reason.
[[nodiscard]] inline std::string chat_chunk(
    std::string_view content, std::string_view finish = ""
) {
    const nlohmann::json reason = finish.empty() ? nlohmann::json() : nlohmann::json(finish);
    const nlohmann::json event = {
        {"id", "chatcmpl-1"},
        {"object", "chat.completion.chunk"},
        {"created", 1},
        {"model", "gpt-4"},
        {"choices",
         nlohmann::json::array(
             {{{"index", 0},
               {"delta", {{"content", content}}},
               {"logprobs", nullptr},
               {"finish_reason", reason}}}
         )}
    };
    return event.dump();
}

// Every thread sends its request at the same moment; returns all answers.
[[nodiscard]] inline std::vector<Answer> race(
    std::uint16_t port, const std::vector<Ask>& requests
) {
    std::vector<Answer> answers(requests.size());
    std::latch ready(static_cast<std::ptrdiff_t>(requests.size()));
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < requests.size(); ++i) {
        threads.emplace_back([&, i] {
            Client client(port);
            ready.arrive_and_wait();
            if (client.send(requests[i].bytes())) answers[i] = client.read_answer();
        });
    }
    for (std::thread& thread : threads) thread.join();
    return answers;
}

// Says "an answer" to everything.
inline void say_an_answer(Wire& wire, const SeenRequest& request) {
    answer_chat(wire, request, "an answer");
}

}  // namespace weir::test
