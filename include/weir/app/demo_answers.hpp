// What the demo upstream says: one request in, a whole answer or the events of a stream out. Pure:
// no sockets, no clock, no randomness. A text says that it comes from Weir's demo upstream, that no
// model was asked, and repeats a part of the question. A "token" of the demo is a word.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "weir/http/message.hpp"

namespace weir::app {

// What differs between two answers to the same request.
struct DemoStamp {
    std::string unique;       // becomes a part of ids: "chatcmpl-<unique>"
    std::int64_t unix_s = 0;  // "created"
};

// One event of a stream, with its blank line.
struct DemoEvent {
    std::string text;
    bool paced = false;  // wait a moment before it is sent
};

struct DemoAnswer {
    http::Response whole;           // if there are no events
    std::vector<DemoEvent> events;  // a text/event-stream
    [[nodiscard]] bool streamed() const noexcept { return !events.empty(); }
};

// Answers POST /v1/chat/completions, /v1/completions, /v1/responses, /v1/embeddings,
// /v1/messages, /v1/messages/count_tokens and GET /v1/models, /v1/models/{id}; everything else is
// refused, each in the shape of its API. Never throws for
// anything that `body` may hold.
[[nodiscard]] DemoAnswer demo_answer(
    const http::RequestHead& head, std::string_view body, const DemoStamp& stamp
);

}  // namespace weir::app
