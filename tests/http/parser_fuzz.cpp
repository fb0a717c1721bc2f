// Any bytes, cut anywhere: both parsers see the same as uncut, use no byte twice, and never crash.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>

#include "weir/http/parser.hpp"

#include "connection.hpp"

namespace {

using weir::http::ResponseParser;

std::string read_answer(std::string_view bytes, bool to_head, const weir::http::test::Cut& cut) {
    ResponseParser parser(to_head);
    std::string body;
    for (std::size_t at = 0; at < bytes.size();) {
        std::string_view piece = bytes.substr(at, cut());
        at += piece.size();
        while (!piece.empty()) {
            const std::size_t used = parser.feed(piece, &body);
            if (used > piece.size()) std::abort();
            piece.remove_prefix(used);
            if (used == 0 || parser.state() == ResponseParser::State::kBroken) break;
        }
        if (parser.state() == ResponseParser::State::kDone) break;
        if (parser.state() == ResponseParser::State::kBroken) return "broken " + parser.broken();
    }
    parser.feed_eof();
    if (parser.state() == ResponseParser::State::kBroken) return "broken " + parser.broken();
    if (parser.state() != ResponseParser::State::kDone) std::abort();
    return std::to_string(parser.head().status) + body;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace weir::http::test;
    if (size < 3) return 0;
    std::mt19937_64 random(static_cast<std::uint64_t>(data[0]) * 256 + data[1]);
    const bool to_head = data[2] % 2 == 1;
    const std::size_t most = 1 + data[2] / 2;
    const std::string bytes(reinterpret_cast<const char*>(data) + 3, size - 3);
    // A small limit, so that it is reached.
    if (read_connection(bytes, whole(), 512) !=
        read_connection(bytes, random_cuts(random, most), 512)) {
        std::abort();
    }
    if (read_answer(bytes, to_head, whole()) !=
        read_answer(bytes, to_head, random_cuts(random, most))) {
        std::abort();
    }
    return 0;
}
