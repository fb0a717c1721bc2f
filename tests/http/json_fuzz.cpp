// Any bytes as a request body: the verdict is the same with and without the canonical form, what is
// accepted is JSON for another parser too, and a rewritten body is accepted again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <nlohmann/json.hpp>

#include "weir/http/json_request.hpp"

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

// Numbers out of a double's range are legal here and not there.
bool is_json_elsewhere(std::string_view text) {
    try {
        (void)nlohmann::json::parse(text);
        return true;
    } catch (const nlohmann::json::exception& error) {
        return error.id == 406;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace weir;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto full = http::read_json_request(Buffer::copy_of(text), true);
    const auto quick = http::read_json_request(Buffer::copy_of(text), false);
    require(full.has_value() == quick.has_value());
    if (!full) {
        require(full.error().message == quick.error().message);
        return 0;
    }
    require(!full->canonical_complete || is_json_elsewhere(text));
    require(full->media_bytes <= text.size());
    require(full->media_parts == quick->media_parts && full->media_tokens == quick->media_tokens);
    require(full->model == quick->model && full->stream == quick->stream);
    http::Rewrite rewrite{"other", true, 100, "max_tokens"};
    const auto changed = http::rewrite_body(text, *full, rewrite);
    require(changed.has_value());
    const auto again = http::read_json_request(*changed, true);
    require(again.has_value() && again->model == "other" && again->include_usage);
    require(again->output_limit().value_or(0) <= 100);
    return 0;
}
