// Every error text that a client sees is made here, in the shape of the API that was asked.
// OpenAI's:
// {"error":{"message":...,"type":...,"param":...,"code":...}}. Anthropic's:
// {"type":"error","error":{"type":...,"message":...},"request_id":...}. Texts say what happened,
// why, and what to do; they never hold a key, an address or an upstream's raw text.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "weir/http/api.hpp"
#include "weir/http/message.hpp"

namespace weir::http {

struct ApiError {
    int status = 400;
    // OpenAI's; Anthropic's follows from the status.
    std::string type;  // "invalid_request_error", "insufficient_quota", "requests", "server_error"
    std::string code;  // empty: null
    std::string message;
    std::string param;  // empty: null
    std::optional<std::chrono::seconds> retry_after;
    bool should_not_retry = false;  // adds x-should-retry: false
    std::string allow;              // with 405: the methods that the path takes

    // The JSON object. `request_id`: Anthropic's has it in it; empty: left out.
    [[nodiscard]] std::string body(Api api = Api::kOpenAi, std::string_view request_id = {}) const;
    // In the middle of a stream: "data: {...}\n\n", with `event: error` before it in Anthropic's.
    [[nodiscard]] std::string event(Api api = Api::kOpenAi) const;
    // With content-type, retry-after, x-should-retry, allow, www-authenticate.
    [[nodiscard]] Response response(Api api = Api::kOpenAi, std::string_view request_id = {}) const;
};

[[nodiscard]] ApiError malformed_request(int status, std::string message);  // framing, limits
// The path takes WebSockets, and this is no request for one (426). `wrong`: what lacks.
[[nodiscard]] ApiError needs_websocket(std::string_view path, std::string_view wrong);
[[nodiscard]] ApiError invalid_json(std::string what);                      // 400 invalid_json
[[nodiscard]] ApiError invalid_field(std::string param, std::string what);  // 400 with param
[[nodiscard]] ApiError missing_key();                                       // 401
[[nodiscard]] ApiError unknown_key();                                       // 401
[[nodiscard]] ApiError unknown_path(std::string_view method, std::string_view path);  // 404
[[nodiscard]] ApiError wrong_method(
    std::string_view method, std::string_view path, std::string_view allowed
);  // 405
[[nodiscard]] ApiError closed_endpoint(
    std::string_view path, std::string_view plan, std::string_view opens
);  // 403
// No upstream is of the kind that has the path.
[[nodiscard]] ApiError no_account(std::string_view path);  // 404
// A browser's preflight from a site that `cors.origins` does not name.
[[nodiscard]] ApiError origin_not_allowed(std::string_view origin);  // 403
// previous_response_id of another key's, or from before a restart.
[[nodiscard]] ApiError not_your_response(std::string_view plan);                          // 403
[[nodiscard]] ApiError model_not_allowed(std::string_view model, std::string_view plan);  // 403
// 404: no upstream serves it; of Anthropic's API, none of `kind: anthropic`.
[[nodiscard]] ApiError model_not_found(std::string_view model, Api api = Api::kOpenAi);
[[nodiscard]] ApiError body_too_large(std::uint64_t limit_bytes);    // 413
[[nodiscard]] ApiError upload_too_large(std::uint64_t limit_bytes);  // 413
[[nodiscard]] ApiError encoded_body(std::string_view encoding);      // 415
[[nodiscard]] ApiError bodies_full();                                // 503, retry-after 1
[[nodiscard]] ApiError too_many_connections();                       // 503
[[nodiscard]] ApiError storage_down();                               // 503 storage_unavailable
[[nodiscard]] ApiError ledger_full();                                // 503 storage_unavailable
[[nodiscard]] ApiError draining();                                   // 503
[[nodiscard]] ApiError internal_error();                             // 500

// Cache-Control: only-if-cached, and it is not (504 not_cached).
[[nodiscard]] ApiError not_cached();
// Input that the key's plan does not take (403 input_not_allowed). `kind`: "image", "audio" or
// "file". `allowed`: the kinds of the plan's `inputs`, as "text, image".
[[nodiscard]] ApiError input_not_allowed(
    std::string_view kind, std::string_view plan, std::string_view allowed
);
// A body over the `max_input` of the key's plan (413).
[[nodiscard]] ApiError input_too_large(std::uint64_t limit_bytes, std::string_view plan);
// A money cap covers a model of which nobody knows the price (403 model_not_priced). `cap`: as it
// is written, "5 usd/30d".
[[nodiscard]] ApiError model_not_priced(std::string_view model, std::string_view cap);

// A spent cap on messages, tokens or money. The texts are put together to "You have used 100 of
// 100 messages for gpt-4* in 4 hours. The next one is free at 14:32:10 UTC, in 12 min 5 s."
struct SpentCap {
    std::string who = "You have";  // "Your team research has", "All keys of this gateway together
                                   // have"
    std::string used;              // the amount alone: "100"
    std::string limit;             // with its unit: "100 messages", "200000 tokens", "5 usd"
    std::string models;            // glob; "*" or empty: not told
    std::string time;              // "4 hours", "the calendar day (Asia/Shanghai)"; empty: none
    std::string needs;             // of tokens and money, a sentence: "This message may take up to
                                   // 5000 tokens."; empty: none
    std::string one = "The next one is free";  // "There is room for it" for tokens and money
    std::chrono::microseconds retry_after{0};  // rounded up to whole seconds here
    std::int64_t free_at_us = 0;               // wall time, UTC; rounded up, too
    bool never = false;                        // waiting does not help: no time is told
};
// 429, insufficient_quota, x-should-retry: false (SDKs would sleep out any retry-after).
[[nodiscard]] ApiError cap_reached(const SpentCap& cap);
// The message would fit if those in flight, which may take less than is held for them, had not
// reserved the rest of a token or money cap (429, requests / rate_limit_exceeded, retry-after 1).
// When it frees and `one` are not told.
[[nodiscard]] ApiError reserved_by_others(const SpentCap& cap);
// "4 hours", "1 day", "90 seconds": a time as SpentCap has it.
[[nodiscard]] std::string window_words(std::chrono::seconds span);

// What a message did before it was refused for what is in flight.
enum class Queued : std::uint8_t {
    kNo,      // the cap has no queue
    kWaited,  // it waited for its turn, and none came
    kFull,    // as many as may wait were waiting already
};
// As many messages as a cap allows at once are in flight.
struct AtOnceCap {
    std::string who = "You have";  // as SpentCap
    std::uint64_t limit = 0;
    std::string models = {};
    Queued queued = Queued::kNo;
    std::chrono::milliseconds waited{0};  // of kWaited
    std::chrono::seconds retry_after{1};  // brought to 1 to 60 s here
};
// 429, requests / rate_limit_exceeded, retry-after at most 60, so that SDKs try again.
[[nodiscard]] ApiError at_once_reached(const AtOnceCap& cap);
// The upstream's own 429, after our retries. `retry_after`: what it said, if it did.
[[nodiscard]] ApiError upstream_rate_limited(
    std::string_view upstream, std::optional<std::chrono::seconds> retry_after
);

// The answer did not begin within the time that the client itself gave it (504 upstream_timeout).
[[nodiscard]] ApiError out_of_patience();
// As many calls as it may take at once are in flight to the upstream. `waited`: in its line; 0: the
// line is full, too (429, requests / rate_limit_exceeded).
[[nodiscard]] ApiError upstream_busy(std::string_view upstream, std::chrono::milliseconds waited);

// What became of the upstream call. `upstream` is its name in the config.
enum class UpstreamFault : std::uint8_t {
    kConnect,
    kConnectTimeout,  // the address, the connection and TLS together
    kTls,
    kClosedEarly,
    kProtocol,
    kFirstByteTimeout,
    kIdleTimeout,
    kTotalTimeout,
    kBrokeOff,
    kError,  // its 2xx answer says that it failed
    kCredentials,
    kQuota
};
[[nodiscard]] ApiError upstream_failed(UpstreamFault fault, std::string_view upstream);

}  // namespace weir::http
