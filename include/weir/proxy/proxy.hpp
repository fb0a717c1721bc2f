// The line that every request to /v1 takes, one per worker: authenticate, endpoint, body, classify,
// join, admit, fly, relay, settle. There is no way back, but for a subscriber whose flight's
// starter was refused: it asks the caps for itself; and for a message that another model answers,
// since a cap of its own is used up: back to classify.
#pragma once

#include <expected>
#include <memory>
#include <optional>

#include "weir/base/awaitable.hpp"
#include "weir/base/log.hpp"
#include "weir/cache/flight.hpp"
#include "weir/http/error_body.hpp"
#include "weir/proxy/client_stream.hpp"
#include "weir/proxy/exchange.hpp"
#include "weir/proxy/problem.hpp"
#include "weir/proxy/worker.hpp"

namespace weir::proxy {

class Proxy {
public:
    // REQUIRES: `worker` outlives the proxy and every serve().
    explicit Proxy(Worker& worker) noexcept : worker_(worker) {}

    // Answers one request whose path begins with /v1.
    [[nodiscard]] Awaitable<> serve(ClientStream& client);

private:
    friend class SocketSession;
    using Problem = proxy::Problem;

    [[nodiscard]] Awaitable<Problem> run(Exchange& x, ClientStream& client);
    [[nodiscard]] Awaitable<Problem> take_body(Exchange& x, ClientStream& client);
    // 6 to 9, for the model that the exchange asks.
    [[nodiscard]] Awaitable<Problem> answer(
        Exchange& x, ClientStream& client, std::shared_ptr<Signal> signal
    );
    [[nodiscard]] Awaitable<Problem> fall_back(
        Exchange& x, ClientStream& client, std::shared_ptr<Signal> signal, http::ApiError first
    );
    [[nodiscard]] Problem ask_for(
        Exchange& x, const http::RequestHead& head, const std::string& model
    );
    [[nodiscard]] Awaitable<Problem> fly(
        Exchange& x,
        ClientStream& client,
        std::shared_ptr<Signal> signal,
        cache::Subscription subscription,
        bool asking
    );
    [[nodiscard]] Awaitable<Problem> fly_alone(
        Exchange& x, ClientStream& client, std::shared_ptr<Signal> signal
    );
    [[nodiscard]] Awaitable<Problem> fly_unshared(
        Exchange& x, ClientStream& client, std::shared_ptr<Signal> signal
    );
    [[nodiscard]] cache::Flight::Options flight_options(const Exchange& x) const;
    [[nodiscard]] Awaitable<Problem> admit(
        Exchange& x,
        ClientStream& client,
        std::shared_ptr<Signal> signal,
        std::shared_ptr<cache::Flight> flight
    );
    [[nodiscard]] Problem decide(
        Exchange& x, bool hit, const quota::Turn* turn, quota::Reservation& reservation
    );
    [[nodiscard]] Awaitable<Problem> ask_caps(
        Exchange& x, ClientStream& client, std::shared_ptr<Signal> signal, quota::Reservation& taken
    );
    [[nodiscard]] Awaitable<Problem> charge_hit(Exchange& x, std::shared_ptr<Signal> signal);
    [[nodiscard]] Awaitable<Problem> answer_hit(
        Exchange& x, ClientStream& client, std::shared_ptr<Signal> signal, cache::EntryPtr entry
    );
    // A WebSocket: from its request to its end.
    [[nodiscard]] Awaitable<Problem> serve_socket(Exchange& x, ClientStream& client);
    // A cap on tokens or money that covers the model is used up.
    [[nodiscard]] Problem overdrawn(const Exchange& x);
    void hand_over(const Exchange& x, cache::Flight& flight, cache::EntryPtr entry);
    void give_up(const Exchange& x, const cache::Subscription& subscription);
    void note_saved(const Exchange& x, std::uint64_t bytes);
    void settle(Exchange& x, const ClientStream& client);

    Worker& worker_;
};

// The stages that need no waiting; each returns what to refuse the request with.
[[nodiscard]] std::optional<http::ApiError> authenticate(
    Exchange& x, const http::RequestHead& head
);
[[nodiscard]] std::optional<http::ApiError> check_endpoint(
    Exchange& x, const http::RequestHead& head, const StoredResponses& stored
);
// Classify is three steps. The second one reads all of the body, which may be long, and nothing but
// the exchange: it may be done on another thread.
[[nodiscard]] std::optional<http::ApiError> begin_classify(
    Exchange& x, const http::RequestHead& head
);
[[nodiscard]] std::optional<http::ApiError> read_request(
    Exchange& x, const http::RequestHead& head
);
[[nodiscard]] std::optional<http::ApiError> end_classify(
    Exchange& x, const http::RequestHead& head, const StoredResponses& stored
);
// May this plan use the model, by either of its names?
[[nodiscard]] bool model_allowed(
    const config::Plan& plan, std::string_view asked, std::string_view served
) noexcept;

// x-weir-notice: caps that are nearly used up, and those of `mode: warn` that are. Empty: none.
[[nodiscard]] std::string notice_of(const Exchange& x);
// x-request-id (for Anthropic's API request-id as well), x-cache and age, rate headers: every
// answer to a known key carries them.
void decorate(Worker& worker, Exchange& x, http::Fields& fields);
// "req_" and 24 hex digits.
[[nodiscard]] std::string make_request_id();

// GET /v1/models and /v1/models/{id}: what the upstreams list and the aliases, as far as this key
// may use them. Waits no longer than the client and the worker do: both notify `signal`.
[[nodiscard]] Awaitable<std::expected<http::Response, http::ApiError>> list_models(
    Worker& worker, Exchange& x, const ClientStream& client, std::shared_ptr<Signal> signal
);

// GET /api/me: what a key's holder may use, how each cap stands, extra messages. The same numbers
// as the rate headers.
[[nodiscard]] http::Response describe_holder(Worker& worker, const http::RequestHead& head);

// One line in the log. Also for what never came to the line: such an exchange has id, begun, path,
// status and error_code only.
void log_request(
    const Exchange& x,
    const http::RequestHead& head,
    std::uint64_t bytes_out,
    log::Level level = log::Level::kInfo
);

}  // namespace weir::proxy
