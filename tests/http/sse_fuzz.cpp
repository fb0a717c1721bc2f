// Any bytes as a stream, cut in two places that the input names: the blocks are the same as without
// cuts, and nothing is lost. Each block is judged and the whole is crossed to JSON and back.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "weir/http/answer.hpp"
#include "weir/http/crossing.hpp"
#include "weir/http/sse.hpp"

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace weir;
    if (size < 2) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
    const std::size_t first = text.empty() ? 0 : data[0] % (text.size() + 1);
    const std::size_t second = first + data[1] % (text.size() - first + 1);

    http::SseSplitter whole;
    std::vector<std::string> blocks;
    require(whole.feed(text, blocks).has_value());
    http::SseSplitter pieces;
    std::vector<std::string> same;
    require(pieces.feed(text.substr(0, first), same).has_value());
    require(pieces.feed(text.substr(first, second - first), same).has_value());
    require(pieces.feed(text.substr(second), same).has_value());
    require(blocks == same && whole.rest() == pieces.rest());
    std::string joined;
    for (const std::string& block : blocks) joined += block;
    require(joined + whole.rest() == text);

    for (const http::Shape shape :
         {http::Shape::kChat,
          http::Shape::kCompletion,
          http::Shape::kResponse,
          http::Shape::kMessage,
          http::Shape::kOther}) {
        http::StreamWatch watch(shape, 1, false);
        for (const std::string& block : blocks) watch.see(block);
        (void)watch.end(whole.rest());
        (void)http::judge_json(shape, text, false);
    }
    const std::vector<std::string_view> views(blocks.begin(), blocks.end());
    for (const http::Shape shape :
         {http::Shape::kChat, http::Shape::kCompletion, http::Shape::kResponse}) {
        if (const auto json = http::stream_to_json(shape, views)) {
            (void)http::json_to_stream(shape, *json, true);
        }
        (void)http::json_to_stream(shape, text, true);
    }
    return 0;
}
