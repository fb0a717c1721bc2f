// An upstream that does what the test says, on a real socket: a thread per connection, blocking.
// Every request is recorded whole, as its bytes came.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/socket.hpp"

namespace weir::test {

struct SeenRequest {
    std::string method;
    std::string target;
    std::vector<std::pair<std::string, std::string>> fields;  // names in lower case
    std::string body;
    [[nodiscard]] std::string field(std::string_view name) const;
    [[nodiscard]] bool has(std::string_view name) const;
};

// One connection while a request of it is answered.
class Wire {
public:
    explicit Wire(Socket& socket) noexcept : socket_(socket) {}
    bool send(std::string_view bytes) { return socket_.send(bytes); }
    // A whole JSON answer.
    bool json(std::string_view body, int status = 200, std::string_view more_fields = "");
    // The head of a chunked event stream; then event() for each, then last_chunk().
    bool begin_stream();
    bool event(std::string_view data);  // "data: <data>\n\n" as one chunk
    bool chunk(std::string_view bytes);
    bool last_chunk();
    void close() { socket_.close(); }
    void reset() { socket_.reset(); }
    // Waits until the peer closed; false after `patience`.
    bool wait_for_close(std::chrono::milliseconds patience);
    [[nodiscard]] Socket& socket() noexcept { return socket_; }

private:
    Socket& socket_;
};

class FakeUpstream {
public:
    using Script = std::function<void(Wire&, const SeenRequest&)>;
    // kDown: its port is its own, but connections to it are refused until come_up().
    enum class Begin : std::uint8_t { kUp, kDown };
    explicit FakeUpstream(Script script, Begin begin = Begin::kUp);
    ~FakeUpstream();
    FakeUpstream(const FakeUpstream&) = delete;
    FakeUpstream& operator=(const FakeUpstream&) = delete;

    // REQUIRES: it is down.
    void come_up();
    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    [[nodiscard]] std::string url() const;  // http://127.0.0.1:<port>/v1
    [[nodiscard]] std::vector<SeenRequest> seen() const;
    [[nodiscard]] std::size_t calls() const;
    // Waits until that many requests came. False after 20 s.
    bool wait_for_calls(std::size_t count) const;
    [[nodiscard]] std::size_t connections() const noexcept { return connections_; }
    // Requests whose body ended before its end.
    [[nodiscard]] std::size_t broken() const noexcept { return broken_; }

private:
    void accept_all();
    void serve(Socket socket);

    Script script_;
    Socket listener_;
    std::uint16_t port_ = 0;
    std::atomic<bool> stopping_ = false;
    std::atomic<std::size_t> connections_ = 0;
    std::atomic<std::size_t> broken_ = 0;
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
    std::vector<SeenRequest> seen_;
    std::vector<int> descriptors_;
    std::vector<std::thread> threads_;
    std::thread acceptor_;
};

// A chat answer with that content, whole or as a stream (a role chunk, one chunk a word, a finish
// chunk, a usage chunk if the request asks for it, [DONE]), as the request wants.
void answer_chat(Wire& wire, const SeenRequest& request, std::string_view content);

}  // namespace weir::test
