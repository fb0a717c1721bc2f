// What a call puts before its body: the line, the fields of the client's request, and those that
// are ours: host, framing, credentials by the upstream's kind, its configured headers. Pure.
#pragma once

#include <string>

#include "weir/upstream/client.hpp"

namespace weir::upstream {

// Nothing in the request line may end it early: that would be a second request.
[[nodiscard]] bool is_request_line(std::string_view method, std::string_view target);

// REQUIRES: is_request_line(). Takes the request's fields.
[[nodiscard]] std::string request_head(
    CallRequest& request, const config::Upstream& upstream, std::size_t key
);

// Asks the upstream's proxy for a tunnel to it. REQUIRES: it has one.
[[nodiscard]] std::string tunnel_head(const config::Upstream& upstream);

// Without the brackets of an IPv6 literal.
[[nodiscard]] std::string bare_host(const std::string& host);

}  // namespace weir::upstream
