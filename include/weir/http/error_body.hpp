// Every error text that a client sees is made here, in OpenAI's shape:
// {"error":{"message":...,"type":...,"param":...,"code":...}}. Texts say what happened, why, and
// what to do; they never hold a key, an address or an upstream's raw text.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "weir/http/message.hpp"

namespace weir::http {

struct ApiError {
    int status = 400;
    std::string type;  // "invalid_request_error", "insufficient_quota", "requests", "server_error"
    std::string code;  // empty: null
    std::string message;
    std::string param;  // empty: null
    std::optional<std::chrono::seconds> retry_after;
    bool should_not_retry = false;  // adds x-should-retry: false
    std::string allow;              // with 405: the methods that the path takes

    [[nodiscard]] std::string body() const;   // the JSON object
    [[nodiscard]] std::string event() const;  // "data: {...}\n\n", in the middle of a stream
    [[nodiscard]] Response response() const;  // with content-type, retry-after, x-should-retry,
                                              // allow, www-authenticate
};

[[nodiscard]] ApiError malformed_request(int status, std::string message);  // framing, limits
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
);                                                                                        // 403
[[nodiscard]] ApiError model_not_allowed(std::string_view model, std::string_view plan);  // 403
[[nodiscard]] ApiError model_not_found(std::string_view model);    // 404: no upstream serves it
[[nodiscard]] ApiError body_too_large(std::uint64_t limit_bytes);  // 413
[[nodiscard]] ApiError encoded_body(std::string_view encoding);    // 415
[[nodiscard]] ApiError bodies_full();                              // 503, retry-after 1
[[nodiscard]] ApiError too_many_connections();                     // 503
[[nodiscard]] ApiError storage_down();                             // 503 storage_unavailable
[[nodiscard]] ApiError ledger_full();                              // 503 storage_unavailable
[[nodiscard]] ApiError draining();                                 // 503
[[nodiscard]] ApiError internal_error();                           // 500

// A spent message cap (429, insufficient_quota, x-should-retry: false). `free_at_us`: wall time,
// UTC.
struct SpentCap {
    std::uint64_t used = 0;
    std::uint64_t limit = 0;
    std::string models;
    std::chrono::seconds span{0};
    std::chrono::microseconds retry_after{0};
    std::int64_t free_at_us = 0;
    bool never = false;
};
[[nodiscard]] ApiError cap_reached(const SpentCap& cap);

// As many messages at once as `limit` allows are in flight, and the wait for a place (if any) was
// too long (429, requests / rate_limit_exceeded, retry-after at most 60).
[[nodiscard]] ApiError at_once_reached(
    std::uint64_t limit, std::string_view models, std::chrono::seconds retry_after
);
// The upstream's own 429, after our retries. `retry_after`: what it said, if it did.
[[nodiscard]] ApiError upstream_rate_limited(
    std::string_view upstream, std::optional<std::chrono::seconds> retry_after
);

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
