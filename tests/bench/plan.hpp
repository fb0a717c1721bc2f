// The answers of weir_bench_mock, made from the name of a model.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "wire.hpp"

namespace weir::bench {

// How a model is answered: head, `count` events, tail. Made once for each model; there are few.
struct Plan {
    std::string head;
    std::string event;
    std::size_t stamp_at = 0;  // in `event`
    std::string tail;
    std::size_t count = 0;
    std::int64_t first_ns = 0;  // after the request; without events it is the tail's time
    std::int64_t step_ns = 0;
};

inline std::string with_length(const std::string& body) {
    return "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: " +
           std::to_string(body.size()) + "\r\n\r\n" + body;
}

inline std::string chunk(const std::string& data) {
    std::array<char, 24> size{};
    const int length = std::snprintf(size.data(), size.size(), "%zx\r\n", data.size());
    return std::string(size.data(), static_cast<std::size_t>(length)) + data + "\r\n";
}

inline std::string completion(const std::string& model, std::size_t size) {
    const std::string before =
        R"({"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":")" +
        model + R"(","choices":[{"index":0,"message":{"role":"assistant","content":")";
    const std::string after =
        R"("},"finish_reason":"stop"}],"usage":{"prompt_tokens":8,"completion_tokens":32,)"
        R"("total_tokens":40}})";
    const std::size_t least = before.size() + after.size() + 1;
    return before + std::string(size > least ? size - least + 1 : 1, 'x') + after;
}

inline void plan_stream(Plan& plan, const std::string& model) {
    const std::string common =
        R"(data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":")" +
        model + R"(",)";
    plan.head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
        "transfer-encoding: chunked\r\n\r\n";
    plan.event = chunk(
        common + R"("choices":[{"index":0,"delta":{"content":"@)" + std::string(kStampDigits, '0') +
        R"(@ and some more words, that make it"},"finish_reason":null}]})" + "\n\n"
    );
    plan.stamp_at = plan.event.find('@') + 1;
    plan.tail =
        chunk(common + R"("choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})" + "\n\n") +
        chunk(
            common +
            R"("choices":[],"usage":{"prompt_tokens":8,"completion_tokens":32,"total_tokens":40}})" +
            "\n\n"
        ) +
        chunk("data: [DONE]\n\n") + "0\r\n\r\n";
}

inline Plan make_plan(const std::string& model) {
    std::array<std::optional<std::int64_t>, 2> numbers;
    std::string_view rest = model;
    const std::string_view kind = rest.substr(0, rest.find('-'));
    rest.remove_prefix(kind.size());
    for (auto& number : numbers) {
        if (rest.empty()) break;
        rest.remove_prefix(1);
        const std::string_view part = rest.substr(0, rest.find('-'));
        if (std::int64_t value = 0; parse_number(part, value)) number = value;
        rest.remove_prefix(part.size());
    }
    const auto [a, b] = numbers;
    Plan plan;
    if (kind == "now") {
        plan.tail = with_length(completion(model, static_cast<std::size_t>(a.value_or(500))));
    } else if (kind == "wait") {
        plan.first_ns = a.value_or(0) * 1'000'000;
        plan.tail = with_length(completion(model, static_cast<std::size_t>(b.value_or(500))));
    } else if (kind == "sse") {
        plan_stream(plan, model);
        plan.count = static_cast<std::size_t>(a.value_or(1));
        plan.first_ns = plan.step_ns = b.value_or(0) * 1000;
    } else if (kind == "hold") {
        plan_stream(plan, model);
        plan.count = std::numeric_limits<std::size_t>::max();
        plan.step_ns = std::max(std::int64_t{1}, a.value_or(1000)) * 1'000'000;
    } else {
        plan.tail = with_length(R"({"object":"list","data":[]})");
    }
    return plan;
}

}  // namespace weir::bench
