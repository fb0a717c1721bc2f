// One HTTP call for the command line, by libcurl: with timeouts, without proxies, redirects or
// configuration files. Blocks. A bearer token travels in a header only; it is never printed.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "weir/base/error.hpp"

namespace weir::app {

struct HttpCall {
    std::string method = "GET";
    std::string url;
    std::string bearer;  // secret; empty: none
    std::string body;    // JSON; empty: none
    std::chrono::milliseconds connect_timeout{5'000};
    std::chrono::milliseconds timeout{60'000};
};

struct HttpAnswer {
    int status = 0;
    std::string body;
};

// kUpstreamConnect, kTimeout, kUpstreamProtocol, kTooLarge, kBadRequest (the URL): no whole answer;
// the detail says why, for a person.
[[nodiscard]] Result<HttpAnswer> call(const HttpCall& call);

// For one segment of a path or one value of a query.
[[nodiscard]] std::string percent_encode(std::string_view text);

// The URL at which a gateway that listens on `address` ("0.0.0.0:8080", "[::]:8080") is reached
// from this machine: addresses that stand for all become the loopback one.
[[nodiscard]] std::string url_of_listener(std::string_view address);

}  // namespace weir::app
