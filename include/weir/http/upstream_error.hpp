// What a client sees of an upstream's answer that is not 2xx. Pure.
//
// 4xx: as it is, secrets taken out. 401, 403 and 3xx are ours to mend, not the client's: 502. 429
// becomes requests / rate_limit_exceeded with a bounded retry-after, or 503 when the account is out
// of money. 5xx: the status stays; the body is passed on only if it is an error object of OpenAI's
// shape.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "weir/http/message.hpp"

namespace weir::http {

[[nodiscard]] Response explain_upstream_answer(
    const ResponseHead& head,
    std::string_view body,
    std::string_view upstream,
    std::span<const std::string> secrets
);

}  // namespace weir::http
