// What browsers of other sites are told (Fetch standard, "CORS protocol"). Pure.
#pragma once

#include "weir/config/config.hpp"
#include "weir/http/message.hpp"

namespace weir::server {

// What every answer to that request says. REQUIRES: `cors` has origins.
[[nodiscard]] http::Fields cors_fields(const config::Cors& cors, const http::RequestHead& head);
// The question that a browser asks before the request itself; it carries no key.
[[nodiscard]] bool is_preflight(const http::RequestHead& head) noexcept;
// Its answer, beside cors_fields().
[[nodiscard]] http::Response answer_preflight(
    const config::Cors& cors, const http::RequestHead& head
);

}  // namespace weir::server
