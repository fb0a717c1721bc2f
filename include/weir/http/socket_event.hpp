// Events of the APIs that are spoken over WebSocket (realtime, and responses): what the gateway
// decides and counts by. Pure; the parser's memory is the thread's own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/base/buffer.hpp"
#include "weir/http/answer.hpp"
#include "weir/http/error_body.hpp"

namespace weir::http {

// What a client says. Told by place, as in JsonRequest: what a tool's schema or a text speaks of is
// none of it.
struct ClientEvent {
    std::string type;
    std::string event_id;             // of the client's choice; empty: none
    std::string stream_id;            // responses: the lane; empty: none
    std::vector<std::string> models;  // that a session is told to use, for transcription too
    std::string stored;               // the field that names stored state; empty: none
    bool image = false;               // has input of that kind
    bool audio = false;
    bool file = false;
    std::optional<std::uint64_t> output_limit;  // of the response that it asks for
    bool warm_up = false;                       // responses: `generate: false`
};

// nullopt: not a JSON object with a type.
[[nodiscard]] std::optional<ClientEvent> read_client_event(const Buffer& message);

// What an upstream says.
struct ServerEvent {
    enum class Kind : std::uint8_t {
        kOther,
        kCreated,      // response.created
        kEnded,        // response.done; responses: .completed, .incomplete, .failed
        kError,        // a client's event was refused, or a response failed
        kTranscribed,  // input audio; has a usage of its own
    };
    Kind kind = Kind::kOther;
    std::string response_id;  // that it belongs to; empty: none
    std::string stream_id;    // responses: the lane; empty: none
    std::string cause;        // of kError: the client's event_id, if it had one
    bool failed = false;      // of kEnded: the response brought nothing that is paid for
    std::optional<Usage> usage;
};

// What is not a JSON object is kOther.
[[nodiscard]] ServerEvent read_server_event(const Buffer& message);

// How an error is told in such a conversation: {"type":"error","error":{...}}, with the event that
// caused it (realtime), or the status and the lane (responses).
struct ErrorContext {
    bool responses = false;
    std::string_view event_id;   // the client's
    std::string_view stream_id;  // the client's
};
[[nodiscard]] std::string error_event(const ApiError& error, const ErrorContext& context);
// As above, of an answer's JSON body with its status.
[[nodiscard]] std::string error_event(
    int status, std::string_view body, const ErrorContext& context
);

}  // namespace weir::http
