#include "weir/http/json_request.hpp"

#include <algorithm>
#include <charconv>
#include <system_error>

#include "json_walk.hpp"

namespace weir::http {
namespace json {
namespace {

// Members of the top level by which an upstream searches: OpenAI's, then xAI's, OpenRouter's,
// Alibaba's, Perplexity's, Azure's, and Anthropic's remote tools.
constexpr std::array<std::string_view, 8> kSearches = {
    "web_search_options",
    "search_parameters",
    "plugins",
    "enable_search",
    "web_search",
    "search_mode",
    "data_sources",
    "mcp_servers",
};

// Members of the top level that name stored state.
constexpr std::array<std::string_view, 3> kStates = {"conversation", "container", "file_id"};

}  // namespace

Where inside_array(Where where) noexcept {
    switch (where) {
        case Where::kMessages:
            return Where::kMessage;
        case Where::kInput:
            return Where::kInputItem;
        case Where::kContent:
        case Where::kPart:
            return Where::kPart;
        case Where::kPartFile:
            return Where::kPartFile;
        case Where::kTools:
            return Where::kTool;
        case Where::kSkills:
            return Where::kSkill;
        default:
            return Where::kElsewhere;
    }
}

Where inside_object(Where where, std::string_view key) noexcept {
    switch (where) {
        case Where::kRoot:
            if (key == "messages") return Where::kMessages;
            if (key == "input") return Where::kInput;
            if (key == "tools") return Where::kTools;
            if (key == "prompt") return Where::kPrompt;
            if (key == "stream_options") return Where::kStreamOptions;
            if (key == "system") return Where::kContent;
            return key == "image" || key == "images" ? Where::kPartFile : Where::kElsewhere;
        case Where::kPrompt:
            return key == "variables" ? Where::kVariables : Where::kElsewhere;
        case Where::kVariables:
            return Where::kPart;
        case Where::kMessage:
            if (key == "audio") return Where::kMessageAudio;
            if (key == "images") return Where::kPartFile;
            return key == "content" ? Where::kContent : Where::kElsewhere;
        case Where::kInput:  // one item without a list around it
        case Where::kInputItem:
            if (key == "environment") return Where::kEnvironment;
            if (key == "output" || key == "outputs") return Where::kContent;
            [[fallthrough]];
        case Where::kContent:  // one part without a list around it
        case Where::kPart:
            if (key == "content") return Where::kContent;
            if (key == "source") return Where::kPartFile;
            return medium_of_key(key) != Medium::kNone ? Where::kPartFile : Where::kElsewhere;
        case Where::kPartFile:
            if (key == "content") return Where::kContent;
            return key == "image_url" || key == "file" || key == "source" ? Where::kPartFile
                                                                          : Where::kElsewhere;
        case Where::kTool:
            if (key == "container") return Where::kContainer;
            if (key == "environment") return Where::kEnvironment;
            return key == "input_image_mask" ? Where::kPartFile : Where::kElsewhere;
        case Where::kContainer:
        case Where::kEnvironment:
            return key == "skills" ? Where::kSkills : Where::kElsewhere;
        default:
            return Where::kElsewhere;
    }
}

bool Walk::picked(Where where, std::string_view key, std::string_view text) {
    const bool null = text == "null";
    switch (where) {
        case Where::kRoot:
            return picked_root(key, text);
        case Where::kStreamOptions:
            return picked_stream_options(key, text);
        case Where::kPrompt:
            if (key == "id" && !null) stored("prompt");
            return true;
        case Where::kInput:
        case Where::kInputItem:
            if (key == "type" && text.starts_with('"') && last_string_is("item_reference")) {
                stored("item_reference");
            }
            if (key == "container_id" && !null) stored("container_id");
            [[fallthrough]];
        case Where::kContent:
        case Where::kPart:
            picked_part(where, key, text);
            return true;
        case Where::kPartFile:
            picked_part_file(key, text);
            return true;
        case Where::kMessage:
            if (key == "images") note_medium(Medium::kImage, key, text);
            return true;
        case Where::kTool:
            if (key == "type" && text.starts_with('"') && !last_string_is_clients_tool()) {
                request_.acts = true;
            }
            if (key == "input_image_mask") note_medium(Medium::kImage, key, text);
            if (key == "vector_store_ids" && !null) stored("vector_store_ids");
            if (key == "container" && text.starts_with('"')) stored("container");
            return true;
        case Where::kContainer:
        case Where::kEnvironment:
            if (key == "container_id" && !null) stored("container_id");
            if (key == "file_ids" && !null && (!text.starts_with('[') || last_count_ > 0)) {
                stored("file_ids");
            }
            return true;
        case Where::kSkill:
            if (key == "skill_id" && !null) stored("skill_id");
            return true;
        case Where::kMessageAudio:  // an earlier answer's, kept upstream
            if (key == "id" && !null) stored("audio.id");
            return true;
        default:
            return true;
    }
}

bool Walk::picked_root(std::string_view key, std::string_view text) {
    const bool null = text == "null";
    if (key == "model") {
        if (!text.starts_with('"')) return refuse("model must be a string.", "model");
        if (last_string_.lone_surrogate) return refuse("model is not valid text.", "model");
        std::string& model = request_.model.emplace();
        json::append_decoded(model, last_string_);
        request_.model_at = span(text);
    } else if (key == "stream") {
        if (text != "true" && text != "false" && !null) {
            return refuse("stream must be true or false.", "stream");
        }
        request_.stream = text == "true";
    } else if (key == "stream_options") {
        if (!null && !text.starts_with('{')) {
            return refuse("stream_options must be an object.", "stream_options");
        }
        request_.has_stream_options = true;
        if (null) request_.stream_options_empty = true;
        request_.stream_options_at = span(text);
    } else if (key == "previous_response_id") {
        if (null) return true;
        stored("previous_response_id");
        if (!text.starts_with('"')) {
            return refuse("previous_response_id must be a string.", "previous_response_id");
        }
        json::append_decoded(request_.previous_response_id.emplace(), last_string_);
    } else if (const auto* const state = std::ranges::find(kStates, key); state != kStates.end()) {
        if (!null) stored(*state);
    } else if (key == "background") {
        if (!null && text != "false") stored("background");
    } else if (key == "store") {
        request_.store = text == "true";
        request_.store_off = text == "false";
    } else if (key == "temperature") {
        double temperature = 1;
        const auto read = std::from_chars(text.data(), text.data() + text.size(), temperature);
        if (read.ec == std::errc() && temperature == 0) request_.deterministic = true;
    } else if (key == "seed") {
        if (!null) request_.deterministic = true;
    } else if (std::ranges::find(kSearches, key) != kSearches.end()) {
        if (!null && text != "false") request_.acts = true;
    } else if (key.starts_with("max_")) {
        picked_output_limit(key, text);
    } else if (key == "image" || key == "images") {
        note_medium(Medium::kImage, key, text);
    } else if (key == "n") {
        std::uint64_t n = 0;
        const auto [behind, error] = std::from_chars(text.data(), text.data() + text.size(), n);
        // Anything else is the upstream's to refuse.
        if (error == std::errc() && behind == text.data() + text.size() && n > 0) {
            request_.choices = n;
        }
    } else if (key == "prompt" && text.starts_with('[')) {
        const auto first = text.find_first_not_of(" \n\t\r", 1);
        if (text[first] == '"' || text[first] == '[') prompts_ = last_count_;
    }
    return true;
}

void Walk::picked_output_limit(std::string_view key, std::string_view text) {
    const auto* const field = std::ranges::find(kOutputLimitFields, key);
    if (field == kOutputLimitFields.end()) return;
    if (text != "null") request_.output_limit_set = true;
    std::uint64_t tokens = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), tokens);
    const bool digits = text.find_first_not_of("0123456789") == std::string_view::npos;
    // More digits than 64 bits have are a whole number, too, and no less of a limit.
    if (digits && read.ec == std::errc::result_out_of_range) tokens = UINT64_MAX;
    if (digits) {
        request_.output_limits.push_back({*field, tokens, span(text)});
    } else {
        request_.unclear_limits.push_back({*field, span(text)});
    }
}

bool Walk::picked_stream_options(std::string_view key, std::string_view text) {
    if (key != "include_usage") return true;
    if (text != "true" && text != "false" && text != "null") {
        return refuse(
            "stream_options.include_usage must be true or false.", "stream_options.include_usage"
        );
    }
    request_.include_usage = text == "true";
    request_.include_usage_at = span(text);
    return true;
}

// Tools that the client runs itself: its own, and Anthropic's, whose names end in their version's
// date.
bool Walk::last_string_is_clients_tool() const {
    if (last_string_is("function") || last_string_is("custom")) return true;
    static constexpr std::array<std::string_view, 4> kAnthropic = {
        "bash_", "computer_", "memory_", "text_editor_"
    };
    constexpr std::size_t kDateLength = 8;
    if (last_string_.decoded_length > 64) return false;
    std::string type;
    json::append_decoded(type, last_string_);
    return std::ranges::any_of(kAnthropic, [&type](std::string_view name) {
        return type.size() == name.size() + kDateLength && type.starts_with(name) &&
               type.find_first_not_of("0123456789", name.size()) == std::string::npos;
    });
}

bool Walk::last_string_is(std::string_view text) const {
    if (last_string_.decoded_length != text.size()) return false;
    std::string decoded;
    json::append_decoded(decoded, last_string_);
    return decoded == text;
}

}  // namespace json

std::expected<JsonRequest, JsonFault> read_json_request(
    const Buffer& body, bool want_canonical, std::span<const std::string> ignored
) {
    static_assert(Buffer::kPadding >= json::kOverRead);
    static thread_local json::Walk walk;
    return walk.run(body.view(), want_canonical, ignored);
}

}  // namespace weir::http
