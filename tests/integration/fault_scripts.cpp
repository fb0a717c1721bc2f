// What the scripts and the expectations of the rows are made of.
#include <fmt/format.h>

#include "fault_matrix.hpp"

namespace weir::test {

Told failed(std::string says, int status) {
    Told told{.status = status, .says = std::move(says)};
    told.code = status == 504 ? "upstream_timeout" : "upstream_error";
    told.type = status < 500 ? "invalid_request_error" : "server_error";
    return told;
}

Told passed_on(int status, std::string body) {
    Told told{.status = status};
    told.body = std::move(body);
    return told;
}

Told answered(std::string text) {
    Told told;
    told.text = std::move(text);
    return told;
}

Told broke_off(std::string says, std::string text) {
    Told told = failed(std::move(says));
    told.status = 200;
    told.end = End::kErrorEvent;
    told.text = std::move(text);
    return told;
}

Told bytes(std::string body, End end) {
    Told told{.end = end};
    told.body = std::move(body);
    return told;
}

namespace {

void end_with(Peer& peer, Then then) {
    switch (then) {
        case Then::kKeep:
            return;
        case Then::kClose:
            return peer.close();
        case Then::kReset:
            return peer.reset();
        case Then::kStay:
            return peer.wait_for_close();
    }
}

}  // namespace

Script say(std::string all, Then then) {
    return [all = std::move(all), then](Peer& peer) {
        peer.send(all);
        end_with(peer, then);
    };
}

Script drip(std::vector<std::string> parts, std::chrono::milliseconds pause, Then then) {
    return [parts = std::move(parts), pause, then](Peer& peer) {
        for (const std::string& part : parts) {
            if (!peer.send(part)) return;
            std::this_thread::sleep_for(pause);
        }
        end_with(peer, then);
    };
}

std::vector<std::string> each_byte(const std::string& text) {
    std::vector<std::string> parts;
    parts.reserve(text.size());
    for (const char c : text) parts.emplace_back(1, c);
    return parts;
}

Script endless(std::string first, std::string again, std::chrono::milliseconds pause) {
    return [first = std::move(first), again = std::move(again), pause](Peer& peer) {
        bool heard = peer.send(first);
        while (heard) {
            heard = peer.send(again);
            std::this_thread::sleep_for(pause);
        }
    };
}

std::string head(const std::string& fields, const std::string& status) {
    return "HTTP/1.1 " + status + "\r\n" + fields + "\r\n";
}

std::string json_answer(
    const std::string& body, const std::string& status, const std::string& fields
) {
    const std::string length = std::to_string(body.size());
    return head(
               "Content-Type: application/json\r\nContent-Length: " + length + "\r\n" + fields,
               status
           ) +
           body;
}

std::string chunk(const std::string& text) {
    return fmt::format("{:x}\r\n{}\r\n", text.size(), text);
}

std::string event(const std::string& data) {
    return chunk("data: " + data + "\n\n");
}

const std::string& chat_json() {
    static const std::string text =
        R"({"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,)"
        R"("message":{"role":"assistant","content":"an answer"},"finish_reason":"stop"}],)"
        R"("usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}})";
    return text;
}

const std::string& stream_head() {
    static const std::string text =
        head("Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n");
    return text;
}

const std::string& half() {
    static const std::string text = stream_head() + event(chat_chunk("half "));
    return text;
}

const std::string& whole() {
    static const std::string text = stream_head() + event(chat_chunk("an ")) +
                                    event(chat_chunk("answer")) + event(chat_chunk("", "stop")) +
                                    event("[DONE]");
    return text;
}

}  // namespace weir::test
