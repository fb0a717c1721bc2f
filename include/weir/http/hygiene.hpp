// Which fields cross the gateway, both ways. Allow-lists: what is not named does not pass.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "weir/http/message.hpp"

namespace weir::http {

// Request fields that go on to an upstream: content-type, accept (as the client sent it),
// user-agent, openai-beta, x-stainless-*, idempotency-key, anthropic-version and -beta,
// traceparent, tracestate, ... Never: hop-by-hop (RFC 9110 7.6.1, and what Connection names),
// credentials (authorization, api-key, x-api-key, proxy-*), cookies, forwarded-*, x-forwarded-*,
// cf-*, openai-organization and -project, expect, accept-encoding (the caller sets identity), host,
// content-length.
[[nodiscard]] Fields forwarded_request_fields(const Fields& from);
// Answer fields that come back: content-type, content-language, content-disposition,
// content-encoding, cache-control, openai-version, openai-processing-ms, openai-model, retry-after,
// retry-after-ms, ... The upstream's x-request-id becomes x-upstream-request-id.
[[nodiscard]] Fields forwarded_response_fields(const Fields& from);
// Fields of a request that can shape its answer and so belong to its cache key, lower-case names,
// sorted: "openai-beta: x". The list is in docs/cache.md.
[[nodiscard]] std::vector<std::string> shaping_fields(const Fields& from);
// Its content-type is application/json.
[[nodiscard]] bool is_json(const Fields& from) noexcept;
// The bearer token of Authorization, the value of x-api-key or api-key, or what the subprotocol
// openai-insecure-api-key.<key> of a WebSocket has. Empty: none.
[[nodiscard]] std::string_view presented_key(const Fields& from) noexcept;

}  // namespace weir::http
