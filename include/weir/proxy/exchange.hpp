// All that is known about one request; one coroutine frame, one worker. Each stage of the line
// fills in its part; the log line at the end tells it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "weir/base/buffer.hpp"
#include "weir/base/deadline.hpp"
#include "weir/cache/cache_key.hpp"
#include "weir/http/answer.hpp"
#include "weir/http/api.hpp"
#include "weir/http/cache_control.hpp"
#include "weir/http/hygiene.hpp"
#include "weir/http/json_request.hpp"
#include "weir/http/multipart.hpp"
#include "weir/proxy/client_stream.hpp"
#include "weir/proxy/pin.hpp"
#include "weir/proxy/snapshot.hpp"
#include "weir/upstream/route.hpp"

namespace weir::proxy {

enum class CacheUse : std::uint8_t {
    kNone,  // the endpoint is never cached, or the request did not get that far
    kHit,
    kMiss,
    kBypass,  // could be cached, but this request is not
};

// What an upstream call took, told by the flight's producer to its starter's log line.
struct CallReport {
    std::string upstream;
    std::string attempts;  // as Exchange::attempts, so far
    std::chrono::microseconds connect{0};
    std::chrono::microseconds first_byte{0};
};

// What passed over a WebSocket, for the log.
struct SocketReport {
    std::uint64_t messages_in = 0;  // from the client
    std::uint64_t messages_out = 0;
    std::uint64_t bytes_out = 0;  // of messages, as they are without compression
    std::uint64_t answers = 0;    // that ended
    std::uint16_t close_code = 0;
};

struct Exchange {
    // 0 begin
    std::string id;  // x-request-id
    Deadline::Clock::time_point begun;
    Deadline patience;  // the client's own, until its answer begins
    SnapshotPtr snapshot;
    std::string path;
    http::Api api = http::Api::kOpenAi;  // in whose shape it is answered where we answer
    // 2 authenticate
    const Member* member = nullptr;  // owned by *snapshot
    // 3 endpoint
    const http::Endpoint* endpoint = nullptr;
    // The only place that has what the path or the body names; nullopt: the route chooses.
    std::optional<Pin> pin;
    // 4 body
    std::shared_ptr<const Buffer> body;    // until its own call took off: then it is the call's
    std::shared_ptr<IncomingBody> upload;  // in its place: passed on as it comes
    std::size_t bytes_in = 0;
    // 5 classify; anew for each model that a fallback asks
    http::JsonRequest json;
    std::optional<http::FormPlace> form;  // the body is a form, and not JSON
    std::string asked_model;
    std::string served_model;
    std::string serve_as;  // empty: the model's own name is sent. Empty names: it has no model
    upstream::Route route;
    // What it may take: for caps on tokens and money, and for what goes upstream.
    quota::Amounts reserve;
    config::Price price;             // of the served model; 0 where nobody knows it
    std::uint64_t output_limit = 0;  // tokens; that the body has to say upstream; 0: as it is
    bool limit_own = false;          // an output limit holds that the client set itself
    http::CacheControl control;      // what the client asks of the cache
    std::chrono::seconds ttl{0};     // how long its answer may be kept
    bool storable = false;           // its answer may be kept
    bool shareable = false;  // it may be answered from the cache, or by somebody else's flight
    std::shared_ptr<const cache::CacheKey> key;
    // 6 join, 7 admit
    CacheUse cache = CacheUse::kNone;
    bool joined = false;
    std::int64_t age_s = 0;
    // Of a hit: what its answer took, once, and what an upstream would have taken now.
    std::optional<http::Usage> saved;
    std::vector<quota::CapState> caps;      // for the rate headers
    SnapshotPtr caps_of;                    // owns what they point at
    std::optional<quota::Refusal> refusal;  // by the caps, of the model asked last
    std::string fallback;     // x-weir-fallback: "gpt-4 -> gpt-3.5-turbo; cap=..."; empty: none
    std::string first_model;  // the model that the client asked for, if another one answers
    // `hits: counted`: what a hit or a follower took; charged when it was answered.
    quota::Reservation hit;
    std::string notice;  // x-weir-notice: caps that are nearly used up; empty: none
    bool caps_known = false;
    // 8 fly
    std::shared_ptr<CallReport> call;
    // x-weir-attempts, "openai#1 429, azure 200": the calls for this answer, in order. Empty: none.
    std::string attempts;
    std::unique_ptr<SocketReport> socket;  // of one that became a WebSocket
    // 9 relay
    int status = 0;
    std::string error_code;
    std::chrono::microseconds first_byte{0};
    bool client_gone = false;
    bool broken = false;  // ended by an error after its first byte
};

}  // namespace weir::proxy
