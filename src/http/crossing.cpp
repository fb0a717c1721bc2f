#include "weir/http/crossing.hpp"

#include "crossing_chunks.hpp"
#include "crossing_message.hpp"
#include "crossing_response.hpp"

namespace weir::http {

bool crosses(Shape shape) noexcept {
    return has_usage_chunk(shape) || shape == Shape::kResponse || shape == Shape::kMessage;
}

bool has_usage_chunk(Shape shape) noexcept {
    return shape == Shape::kChat || shape == Shape::kCompletion;
}

Result<std::string> stream_to_json(Shape shape, const std::vector<std::string_view>& blocks) {
    if (shape == Shape::kResponse) return crossing::events_to_response(blocks);
    if (shape == Shape::kMessage) return crossing::events_to_message(blocks);
    const bool chat = shape == Shape::kChat;
    return crossing::chunks_to_json(chat ? crossing::kChat : crossing::kCompletion, blocks);
}

Result<std::vector<std::string>> json_to_stream(
    Shape shape, std::string_view json, bool include_usage
) {
    if (shape == Shape::kResponse) return crossing::response_to_events(json);
    if (shape == Shape::kMessage) return crossing::message_to_events(json);
    const bool chat = shape == Shape::kChat;
    return crossing::json_to_chunks(
        chat ? crossing::kChat : crossing::kCompletion, json, include_usage
    );
}

}  // namespace weir::http
