// One client's WebSocket and the upstream's, and what passes between them: each message is read
// whole, looked at, and written on before the next one is read. Home worker only.
//
// Three coroutines: one for each direction, and the conductor (run()), which pings, notices a
// revoked key or a drain, and, when either side or itself has had enough, says goodbye to both.
// Whatever ends first decides how (end()); the others follow.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/base/signal.hpp"
#include "weir/http/secrets.hpp"
#include "weir/http/socket_event.hpp"
#include "weir/proxy/proxy.hpp"

#include "socket_answers.hpp"
#include "socket_dial.hpp"
#include "websocket.hpp"

namespace weir::proxy {

enum class SocketApi : std::uint8_t { kRealtime, kResponses };

// How a session ends, for both sides.
struct SocketEnding {
    enum class Why : std::uint8_t {
        kClientLeft,     // with or without a goodbye
        kUpstreamLeft,   // with a goodbye
        kUpstreamBroke,  // without one, or it broke the protocol
        kRevoked,
        kGoingDown,
        kOverdrawn,  // a cap on tokens or money is used up
        kStorage,
    };
    Why why = Why::kClientLeft;
    Close to_client;
    Close to_upstream;
    std::optional<http::ApiError> error;  // told to the client before
};

class SocketSession : public std::enable_shared_from_this<SocketSession> {
public:
    struct Parts {
        SocketApi api = SocketApi::kRealtime;
        bool counts_answers = false;     // the unit is an answer; else the session is one message
        bool transcribes = false;        // realtime with intent=transcription
        quota::Reservation reservation;  // of the session, if that is the unit
        std::unique_ptr<WebSocket> client;
        std::unique_ptr<DialledSocket> upstream;  // null: dialled with the first message
    };

    // `x` and `head` are the caller's until run() returned.
    SocketSession(Proxy& proxy, Exchange& x, const http::RequestHead& head, Parts parts);
    ~SocketSession();
    SocketSession(const SocketSession&) = delete;
    SocketSession& operator=(const SocketSession&) = delete;

    // Until both sides are closed and everything is settled.
    [[nodiscard]] Awaitable<> run();

private:
    using Problem = proxy::Problem;

    void spawn(Awaitable<> coroutine);
    void end(SocketEnding ending);
    [[nodiscard]] Awaitable<> finish();
    void settle();
    void settle_session(bool broke);
    void look_around();
    [[nodiscard]] Deadline look_after(
        WebSocket& side, std::chrono::milliseconds limit, bool client
    );

    // client -> upstream
    [[nodiscard]] static Awaitable<> pump_client(std::shared_ptr<SocketSession> self);
    [[nodiscard]] Awaitable<bool> pass_on(SocketMessage message);
    [[nodiscard]] Problem judge(const http::ClientEvent& event, std::size_t bytes) const;
    [[nodiscard]] Problem ask_realtime(const http::ClientEvent& event);
    [[nodiscard]] Problem ask_response(
        const http::ClientEvent& event, http::JsonRequest json, Buffer& bytes
    );
    [[nodiscard]] Problem rewrite(Buffer& bytes);
    void take_back_last();
    [[nodiscard]] bool continues_own() const;
    void reserve_for(std::optional<std::uint64_t> output_limit);
    [[nodiscard]] Awaitable<std::optional<std::string>> reach_upstream(
        const http::ErrorContext& context
    );
    [[nodiscard]] Awaitable<bool> tell(std::string event);
    void client_ended(const SocketEnd& end_of_it);

    // upstream -> client
    [[nodiscard]] static Awaitable<> pump_upstream(std::shared_ptr<SocketSession> self);
    // Whether the client is to see it.
    [[nodiscard]] Awaitable<bool> hear(const http::ServerEvent& event);
    [[nodiscard]] Awaitable<bool> begin_unasked(const http::ServerEvent& event);
    void answer_ended(const http::ServerEvent& event);
    void answer_failed(const http::ServerEvent& event);
    void spent(const http::Usage& usage);
    [[nodiscard]] Awaitable<bool> gate();
    void upstream_ended(const SocketEnd& end_of_it);
    [[nodiscard]] static Awaitable<> say(std::shared_ptr<SocketSession> self, std::string text);
    [[nodiscard]] static Awaitable<> part_from_upstream(std::shared_ptr<SocketSession> self);
    [[nodiscard]] static Awaitable<> ping(std::shared_ptr<SocketSession> self, bool client);

    Proxy& proxy_;
    Worker& worker_;
    Exchange& x_;
    const http::RequestHead& head_;
    SocketApi api_;
    bool counts_answers_;
    bool transcribes_;
    quota::Reservation reservation_;
    quota::Amounts first_reserve_;
    std::unique_ptr<WebSocket> client_;
    std::unique_ptr<DialledSocket> upstream_;
    std::shared_ptr<Signal> signal_;
    SocketDialler dialler_;

    SocketAnswers answers_;
    std::deque<std::string> own_ids_;  // of the latest responses that were created here
    http::Usage used_;                 // of the session, as far as it was told
    http::Usage last_;                 // of the last answer: the next one begins with that much
    bool untold_ = false;              // an answer ended without saying what it took
    bool asked_ = false;               // something of the client's went upstream
    bool answered_ = false;            // and something came back behind it
    quota::Sequence gate_ = 0;         // must be on disk before anything more is told

    std::optional<SocketEnding> ending_;
    SnapshotPtr seen_;  // the newest that was looked at
    std::size_t running_ = 0;
    std::size_t unsaid_ = 0;  // of our own messages to the upstream
    Deadline::Clock::time_point client_pinged_;
    Deadline::Clock::time_point upstream_pinged_;
};

}  // namespace weir::proxy
