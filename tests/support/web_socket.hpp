// One end of a WebSocket for tests: a client of the gateway, or an upstream of it. Blocking; every
// wait ends after 20 s.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/client.hpp"
#include "support/fake_upstream.hpp"

namespace weir::test {

struct WebMessage {
    std::string bytes;
    bool text = true;
};

struct WebOptions {
    std::string key = {};  // Authorization
    std::vector<std::pair<std::string, std::string>> fields = {};
    std::string protocols = {};  // offered, or chosen
    bool deflate = false;
};

class WebPeer {
public:
    // Asks for `target`. If it is refused, accepted() is false and answer() says how.
    [[nodiscard]] static WebPeer connect(
        std::uint16_t port, const std::string& target, const WebOptions& options
    );
    // Accepts what was asked for on the wire.
    [[nodiscard]] static WebPeer accept(
        Wire& wire, const SeenRequest& request, const WebOptions& options = {}
    );
    ~WebPeer();
    WebPeer(WebPeer&&) noexcept;
    WebPeer& operator=(WebPeer&&) noexcept;

    [[nodiscard]] bool accepted() const noexcept;
    [[nodiscard]] const Answer& answer() const noexcept;
    // permessage-deflate was agreed on.
    [[nodiscard]] bool deflates() const;

    // False: not taken whole within `patience`, or the connection ended.
    bool send(
        std::string_view bytes,
        bool text = true,
        std::chrono::milliseconds patience = std::chrono::seconds(20)
    );
    // Each part as a frame.
    bool send_parts(const std::vector<std::string>& parts);
    // nullopt: the connection ended; close_code() says how.
    [[nodiscard]] std::optional<WebMessage> receive(
        std::chrono::milliseconds patience = std::chrono::seconds(20)
    );
    bool ping(std::string_view payload);
    // Of the pongs that came while receive() waited: the last one's payload.
    [[nodiscard]] std::string pong() const;
    [[nodiscard]] int pings() const;  // that came
    // Closes as agreed.
    void close(std::uint16_t code, std::string_view reason = "");
    // Closes the connection without a word.
    void cut();
    // Of the peer's close frame; 0: none was there, 1005: it had no code.
    [[nodiscard]] int close_code() const;
    [[nodiscard]] std::string close_reason() const;

private:
    struct Impl;
    explicit WebPeer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace weir::test
