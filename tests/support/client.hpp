// A raw HTTP/1.1 client on one connection: says what it is told to, byte for byte, and reads
// answers strictly enough to see what was wrong with them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/socket.hpp"

namespace weir::test {

struct Answer {
    int status = 0;                                           // 0: none came
    std::vector<std::pair<std::string, std::string>> fields;  // names in lower case
    std::string body;
    bool complete = false;  // the framing's end was seen
    std::string raw_head;
    // The first value of that field, or "".
    [[nodiscard]] std::string field(std::string_view name) const;
    [[nodiscard]] bool has(std::string_view name) const;
};

class Client {
public:
    explicit Client(std::uint16_t port) : socket_(Socket::connect(port)) {}
    [[nodiscard]] Socket& socket() noexcept { return socket_; }

    bool send(std::string_view bytes) { return socket_.send(bytes); }
    // Skips interim answers. `to_head`: no body follows.
    [[nodiscard]] Answer read_answer(bool to_head = false);
    // Only the head of the next answer; its body follows by read_body().
    [[nodiscard]] Answer read_head();
    // Body bytes as they come; stops at the end, or as soon as `enough` says so.
    void read_body(Answer& answer, const std::function<bool(const std::string&)>& enough = {});

private:
    bool more();
    Socket socket_;
    std::string input_;
};

struct Ask {
    std::string method = "POST";
    std::string path = "/v1/chat/completions";
    std::string key = {};
    std::string body = {};
    std::vector<std::pair<std::string, std::string>> fields = {};
    [[nodiscard]] std::string bytes() const;
};

// One request on a connection of its own.
[[nodiscard]] Answer ask(std::uint16_t port, const Ask& request);
// {"model":...,"messages":[{"role":"user","content":...}]} with stream and more members as given.
[[nodiscard]] std::string chat_body(
    std::string_view content,
    bool stream = false,
    std::string_view model = "gpt-4",
    std::string_view more = ""
);
// The joined delta contents of a chat stream, or the content of a plain answer; "?" if it is
// neither.
[[nodiscard]] std::string chat_text(const Answer& answer);

}  // namespace weir::test
