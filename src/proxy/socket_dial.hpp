// The upstream's side of a WebSocket: which upstream, its address and credentials, its handshake.
// Home worker only.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "weir/http/secrets.hpp"
#include "weir/proxy/exchange.hpp"
#include "weir/proxy/worker.hpp"
#include "weir/upstream/channel.hpp"

#include "websocket.hpp"

namespace weir::proxy {

struct DialledSocket {
    std::shared_ptr<const config::Upstream> upstream;
    std::unique_ptr<WebSocket> socket;
    http::Fields fields;                  // of its 101 that the client may see
    std::string protocol;                 // the subprotocol that it chose; empty: none
    std::vector<http::SecretMask> masks;  // of what it must not say
};

// What is asked of an upstream, beside what the exchange says.
struct SocketRequest {
    std::string query;                   // as the client's, less what is not for the upstream
    bool names_model = false;            // in the query
    std::vector<std::string> protocols;  // offered
    http::Fields fields;                 // of the client's request, that go on
    bool deflate = false;
};

class SocketDialler {
public:
    // REQUIRES: the worker outlives it.
    explicit SocketDialler(Worker& worker) noexcept : worker_(worker) {}

    // One upstream of the exchange's route after the other, until one accepts: as long as they
    // cannot be reached, or say that another one might. The error is what the client is to be
    // told.
    [[nodiscard]] Awaitable<std::expected<std::unique_ptr<DialledSocket>, http::Response>> dial(
        Exchange& x, const SocketRequest& request
    );
    // Ends a dial() that is under way, soon.
    void cancel() noexcept;

private:
    struct Failed {
        http::Response told;
        bool elsewhere = false;  // another upstream may do better
    };
    [[nodiscard]] Awaitable<std::expected<std::unique_ptr<DialledSocket>, Failed>> dial_one(
        Exchange& x, const SocketRequest& request, const config::Upstream& upstream
    );

    Worker& worker_;
    std::unique_ptr<upstream::Channel> connecting_;
    WebSocket* greeting_ = nullptr;
    bool cancelled_ = false;
};

// What a client's request for a WebSocket asks of an upstream.
[[nodiscard]] SocketRequest socket_request(const http::RequestHead& head);
// The decoded value of a parameter of a query; nullopt: it is not there, or more than once.
struct QueryValue {
    std::size_t count = 0;
    std::string first;
};
[[nodiscard]] QueryValue query_value(std::string_view query, std::string_view name);
// The subprotocols that a client offers, in order, but those that hold a key.
[[nodiscard]] std::vector<std::string> offered_protocols(const http::Fields& fields);

}  // namespace weir::proxy
