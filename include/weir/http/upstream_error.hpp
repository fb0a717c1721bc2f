// What a client sees of an upstream's answer that is not 2xx. Pure.
//
// 4xx: as it is, secrets taken out. 401, 403 and 3xx are ours to mend, not the client's: 502. 429
// becomes requests / rate_limit_exceeded with a bounded retry-after. An account out of money,
// however the API says that, is 503. Other 5xx: the status stays; the body is passed on only if it
// has an error object, of OpenAI's shape or Anthropic's. What is ours is told in the shape of
// `api`, without a request's id: several may get it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "weir/http/api.hpp"
#include "weir/http/message.hpp"

namespace weir::http {

struct Explained {
    Response answer;
    std::string code;   // for the log: our error's, or "upstream_status" for what is passed on
    bool ours = false;  // for whoever runs Weir to mend, not for the client
};

// Of an answer with that status only the head is told: its body need not be read.
[[nodiscard]] bool body_tells_nothing(int status) noexcept;

// `body`: nullopt if it did not come whole, in time and within reason. `secrets` are in the forms
// of secret_forms().
[[nodiscard]] Explained explain_upstream_answer(
    const ResponseHead& head,
    std::optional<std::string_view> body,
    std::string_view upstream,
    std::span<const std::string> secrets,
    Api api = Api::kOpenAi
);

}  // namespace weir::http
