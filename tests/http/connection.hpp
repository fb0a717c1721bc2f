// Reads a connection's bytes as a server does: request after request, until one is refused.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "weir/http/message.hpp"
#include "weir/http/parser.hpp"

namespace weir::http::test {

struct Seen {
    std::vector<std::string> requests;  // "POST /path|name=value|...|body"
    int refused = 0;                    // status; 0: not refused
    std::string message;
    std::size_t used_whole = 0;  // bytes of the whole requests
    bool unfinished = false;     // ended within a request

    friend bool operator==(const Seen&, const Seen&) = default;
};

inline std::string describe(const RequestHead& head, const std::string& body) {
    std::string out = head.method + ' ' + head.target;
    out += "|1." + std::to_string(head.minor_version);
    for (const Field& field : head.fields) {
        out.append("|").append(field.name).append("=").append(field.value);
    }
    out += "|framing=" + std::to_string(static_cast<int>(head.framing));
    out += "|length=" + std::to_string(head.content_length);
    out += head.keep_alive ? "|keep" : "|close";
    if (head.expect_continue) out += "|expect";
    return out + "|body=" + body;
}

// How many bytes come next, at most; called before each read.
using Cut = std::function<std::size_t()>;

inline Seen read_connection(std::string_view bytes, const Cut& cut, std::size_t limit = 64 << 10) {
    Seen seen;
    RequestParser parser(limit);
    std::string body;
    RequestHead head;
    bool has_head = false;
    std::string buffer;  // what is not used yet
    std::size_t at = 0;
    while (at < bytes.size()) {
        const std::string_view read = bytes.substr(at, cut());
        at += read.size();
        buffer += read;
        for (;;) {
            const std::size_t used = parser.feed(buffer, &body);
            if (used > buffer.size()) std::abort();
            buffer.erase(0, used);
            const auto state = parser.state();
            if (state == RequestParser::State::kRefused) {
                seen.refused = parser.refused().status;
                seen.message = parser.refused().message;
                // Whatever comes now must not become a request.
                const std::string_view rest = bytes.substr(at);
                if (parser.feed(rest, &body) != rest.size()) std::abort();
                if (parser.state() != RequestParser::State::kRefused) std::abort();
                return seen;
            }
            if (!has_head && state != RequestParser::State::kHead) {
                head = parser.head();
                has_head = true;
                if (state == RequestParser::State::kBody) continue;
            }
            if (state != RequestParser::State::kDone) break;
            seen.requests.push_back(describe(head, body));
            seen.used_whole = at - buffer.size();
            parser.reset();
            body.clear();
            has_head = false;
            if (buffer.empty()) break;
        }
    }
    seen.unfinished = parser.started();
    return seen;
}

inline Cut whole() {
    return [] { return std::string_view::npos; };
}
inline Cut byte_by_byte() {
    return [] { return std::size_t{1}; };
}
// Pieces of 1 to `most` bytes.
inline Cut random_cuts(std::mt19937_64& random, std::size_t most) {
    return [&random, most] { return 1 + random() % most; };
}

// The seed of this run: WEIR_TEST_SEED, or a new one; printed, so that a failure can be repeated.
inline std::uint64_t test_seed() {
    static const std::uint64_t seed = [] {
        const char* given = std::getenv("WEIR_TEST_SEED");
        const std::uint64_t value =
            given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
        std::cout << "WEIR_TEST_SEED=" << value << '\n';
        return value;
    }();
    return seed;
}

}  // namespace weir::http::test
