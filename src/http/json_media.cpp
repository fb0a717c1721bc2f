// The pictures, sounds and files of a request's body, as the walk comes upon them.
#include <algorithm>
#include <string>
#include <utility>

#include "weir/base/text.hpp"

#include "json_walk.hpp"

namespace weir::http {
namespace json {

namespace {

// The types of parts in OpenAI's, Anthropic's and other vendors' APIs.
Medium medium_of_type(std::string_view type) noexcept {
    static constexpr std::pair<std::string_view, Medium> kTypes[] = {
        {"image_url", Medium::kImage},
        {"input_image", Medium::kImage},
        {"image", Medium::kImage},
        {"computer_screenshot", Medium::kImage},
        {"image_generation_call", Medium::kImage},
        {"image_file", Medium::kImage},
        {"image_base64", Medium::kImage},
        {"image_embeds", Medium::kImage},
        {"image_pil", Medium::kImage},
        {"input_audio", Medium::kAudio},
        {"audio_url", Medium::kAudio},
        {"audio", Medium::kAudio},
        {"file", Medium::kFile},
        {"input_file", Medium::kFile},
        {"document", Medium::kFile},
        {"document_url", Medium::kFile},
        {"file_url", Medium::kFile},
        {"video_url", Medium::kFile},
        {"input_video", Medium::kFile},
        {"video", Medium::kFile},
    };
    if (!begins_as_medium(type) && type != "computer_screenshot") return Medium::kNone;
    for (const auto& [name, medium] : kTypes) {
        if (type == name) return medium;
    }
    return Medium::kNone;
}

bool is_data_url(std::string_view literal) noexcept {
    return iequals(literal.substr(1, 5), "data:");
}

// Whether a literal at a place for base64 is that, and not an address. An escape at its beginning
// may hide an address (JSON allows \u0068 for h), and is none of base64's but \/.
bool is_in_body(std::string_view literal) noexcept {
    constexpr std::size_t kLongestScheme = 16;
    if (is_data_url(literal)) return true;
    const std::string_view begin = literal.substr(1, kLongestScheme);
    return begin.find(':') == std::string_view::npos && begin.find("\\u") == std::string_view::npos;
}

constexpr std::uint8_t bit_of(Medium medium) noexcept {
    return static_cast<std::uint8_t>(1U << static_cast<unsigned>(medium));
}

// "": as if it were not there.
bool is_text(std::string_view value) noexcept {
    return value.starts_with('"') && value.size() > 2;
}

}  // namespace

Medium medium_of_name(std::string_view key) noexcept {
    switch (key.front()) {
        case 'i':
            if (key == "image_url" || key == "image" || key == "images" || key == "image_base64" ||
                key == "image_embeds" || key == "image_pil" || key == "input_image") {
                return Medium::kImage;
            }
            if (key == "input_audio") return Medium::kAudio;
            return key == "input_video" || key == "input_file" ? Medium::kFile : Medium::kNone;
        case 'a':
            return key == "audio" || key == "audio_url" ? Medium::kAudio : Medium::kNone;
        case 'f':
            return key == "file" || key == "file_data" || key == "file_url" ? Medium::kFile
                                                                            : Medium::kNone;
        case 'd':
            return key == "document" || key == "document_url" ? Medium::kFile : Medium::kNone;
        case 'v':
            return key == "video" || key == "video_url" ? Medium::kFile : Medium::kNone;
        default:
            return Medium::kNone;
    }
}

void Walk::picked_part(Where where, std::string_view key, std::string_view text) {
    if (key == "type" && text.starts_with('"')) {
        std::string decoded;
        std::string_view type = text.substr(1, text.size() - 2);
        if (last_string_.escaped) {
            json::append_decoded(decoded, last_string_);
            type = decoded;
        }
        part_.type = medium_of_type(type);
        part_.generated = type == "image_generation_call";
    } else if (key == "file_id" && text != "null") {
        part_.referenced = true;
        stored("file_id");
    } else if (key == "source") {
        const Carried data = std::exchange(part_.carried, {});
        if (text.starts_with('{')) {
            part_.source = data;
            part_.has_source = true;
        }
    } else if (key == "result" && where == Where::kInputItem) {
        const bool picture = !part_.has_source && is_text(text) && is_in_body(text);
        if (picture) part_.source.bytes = text.size();
    } else if (const Medium medium = medium_of_key(key); medium != Medium::kNone) {
        note_medium(medium, key, text);
    }
}

// A member of what a part holds: {"url": ...}, {"data": ..., "format": ...}, {"file_data": ...}.
void Walk::picked_part_file(std::string_view key, std::string_view text) {
    if (key == "file_id" && text != "null") {
        stored("file_id");
        part_.carried.elsewhere = true;
    }
    const bool address = key == "url" || key == "image_url";
    const bool data = key == "data" || key == "file_data" || key == "b64_json";
    if ((!address && !data) || !is_text(text)) return;
    if (address ? is_data_url(text) : is_in_body(text)) {
        part_.carried.bytes += text.size();
    } else {
        part_.carried.elsewhere = true;
    }
}

void Walk::note_medium(Medium medium, std::string_view key, std::string_view text) {
    Carried data = std::exchange(part_.carried, {});
    std::uint64_t count = 1;
    std::uint64_t bytes = 0;
    if (text.starts_with('[')) {
        // Texts in a list stay counted as text.
        count = last_count_;
        data.elsewhere = true;
        bytes = text.size();
        if (count == 0) return;
    } else if (is_text(text)) {
        if (key.ends_with("url") ? is_data_url(text) : is_in_body(text)) {
            data.bytes = text.size();
        }
        bytes = data.bytes;
    } else if (text.starts_with('{')) {
        bytes = data.bytes;
    } else {
        return;
    }
    part_.noted |= bit_of(medium);
    add_medium(medium, count, data, bytes);
}

// `bytes`: what a file is counted by.
void Walk::add_medium(
    Medium medium, std::uint64_t count, const Carried& data, std::uint64_t bytes
) {
    const bool elsewhere = data.elsewhere || data.bytes == 0;
    request_.media_bytes += data.bytes;
    switch (medium) {
        case Medium::kNone:
            break;
        case Medium::kImage:
            request_.has_image = true;
            request_.media_parts.images += count;
            request_.media_tokens += count * kTokensOfAnImage;
            break;
        case Medium::kAudio:
            request_.has_audio = true;
            request_.media_parts.audios += count;
            request_.media_tokens += data.bytes;
            if (elsewhere) request_.media_tokens += count * kTokensOfAudioElsewhere;
            break;
        case Medium::kFile:
            request_.has_file = true;
            request_.media_parts.files += count;
            request_.media_tokens +=
                std::max(bytes * kTokensOfAFileByte, count * kLeastTokensOfAFile);
            break;
    }
}

// All members of a part have been read.
void Walk::count_part() {
    constexpr Carried kElsewhere{0, true};
    if (part_.has_source || part_.generated) {
        const Medium medium = part_.type == Medium::kNone ? Medium::kFile : part_.type;
        add_medium(medium, 1, part_.source, part_.source.bytes);
    } else if (part_.type != Medium::kNone) {
        if ((part_.noted & bit_of(part_.type)) == 0) add_medium(part_.type, 1, kElsewhere, 0);
    } else if (part_.referenced && part_.noted == 0) {
        add_medium(Medium::kFile, 1, kElsewhere, 0);
    }
}

}  // namespace json

std::uint64_t input_tokens_bound(const JsonRequest& request, std::size_t body_bytes) noexcept {
    const std::uint64_t media = std::min<std::uint64_t>(request.media_bytes, body_bytes);
    return body_bytes - media + request.media_tokens;
}

}  // namespace weir::http
