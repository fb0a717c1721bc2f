// What a request asks of the cache: Cache-Control (RFC 9111 5.2.1) and the x-weir-cache fields.
// Pure.
#pragma once

#include <chrono>
#include <expected>
#include <optional>
#include <string>

#include "weir/http/error_body.hpp"
#include "weir/http/message.hpp"

namespace weir::http {

struct CacheControl {
    bool no_cache = false;                        // an answer that is asked for now; it may be kept
    bool no_store = false;                        // and this one may not
    bool only_if_cached = false;                  // no upstream call
    std::optional<std::chrono::seconds> max_age;  // older ones are not wanted
    // x-weir-cache-ttl: how long the answer may be kept.
    std::optional<std::chrono::seconds> ttl;
    // x-weir-cache-key: an extra part of the cache key, by which clients keep variants apart.
    std::string variant;
};

// Directives that we do not know are let be. `max-age=0` is as `no-cache`, and so is a max-age that
// is no number (RFC 9111 4.2.1: as stale); of several the smallest holds. The x-weir fields are
// ours, so what is wrong with one is told: 400.
[[nodiscard]] std::expected<CacheControl, ApiError> read_cache_control(const Fields& from);

}  // namespace weir::http
