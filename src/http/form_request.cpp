// What the gateway decides by of a form, and a form with another model.
#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "weir/http/multipart.hpp"

namespace weir::http {

namespace {

JsonFault fault(std::string message, std::string_view param = {}) {
    return {std::move(message), std::string(param)};
}

// The value of a field that the gateway decides by: every reader has to see the same.
std::expected<std::string_view, JsonFault> value_of(
    std::string_view body, const FormPart& part, bool seen
) {
    const std::string_view value = body.substr(part.content.offset, part.content.length);
    if (seen) return std::unexpected(fault(part.name + " stands twice in the form.", part.name));
    const bool text = std::ranges::all_of(value, [](char c) {
        return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
    });
    if (part.file || !part.plain || !text) {
        return std::unexpected(fault(part.name + " must be a field of plain text.", part.name));
    }
    return value;
}

void count_files(JsonRequest& request, Files files, const std::vector<FormPart>& parts) {
    request.has_image = files == Files::kImage;
    request.has_audio = files == Files::kAudio;
    for (const FormPart& part : parts) {
        if (!part.file) continue;
        const std::uint64_t bytes = part.content.length;
        request.media_bytes += bytes;
        switch (files) {
            case Files::kImage:
                ++request.media_parts.images;
                request.media_tokens += kTokensOfAnImage;
                break;
            case Files::kAudio:
                ++request.media_parts.audios;
                // No model counts more of them than of bytes, nor more than of one elsewhere.
                request.media_tokens += std::min(bytes, kTokensOfAudioElsewhere);
                break;
            case Files::kNone:
            case Files::kFile:
                request.has_file = true;
                ++request.media_parts.files;
                request.media_tokens += std::max(bytes * kTokensOfAFileByte, kLeastTokensOfAFile);
                break;
        }
    }
}

}  // namespace

std::expected<FormRequest, JsonFault> read_form(
    std::string_view body, std::string_view content_type, Files files
) {
    auto boundary = form_boundary(content_type);
    if (!boundary) {
        return std::unexpected(
            fault("The body has to be a form: Content-Type: multipart/form-data with one boundary.")
        );
    }
    MultipartReader reader(*boundary);
    if (!reader.feed(body) || !reader.finish()) {
        return std::unexpected(fault("The body is not a valid form: " + reader.why() + "."));
    }
    FormRequest form;
    form.place = {std::move(*boundary), reader.first_boundary()};
    JsonRequest& request = form.request;
    bool stream_seen = false;
    for (const FormPart& part : reader.parts()) {
        if (part.name == "_charset_") {
            return std::unexpected(fault("A form is read as UTF-8.", part.name));
        }
        if (part.name == "model") {
            const auto value = value_of(body, part, request.model.has_value());
            if (!value) return std::unexpected(value.error());
            request.model = std::string(*value);
            request.model_at = part.content;
        } else if (part.name == "stream") {
            const auto value = value_of(body, part, stream_seen);
            if (!value) return std::unexpected(value.error());
            stream_seen = true;
            request.stream = *value == "true";
        } else if (part.name == "n") {
            const std::string_view value = body.substr(part.content.offset, part.content.length);
            std::uint64_t n = 0;
            const auto read = std::from_chars(value.data(), value.data() + value.size(), n);
            if (read.ec == std::errc()) request.choices = std::max(request.choices, n);
        }
    }
    count_files(request, files, reader.parts());
    return form;
}

Result<Buffer> rewrite_form(
    std::string_view body,
    const JsonRequest& request,
    const FormPlace& place,
    std::string_view model,
    BufferBudget* budget
) {
    TextSpan at{place.first, 0};
    std::string put(model);
    if (request.model_at) {
        at = *request.model_at;
    } else {
        put = fmt::format(
            "--{}\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{}\r\n",
            place.boundary,
            model
        );
    }
    Buffer out(budget);
    if (auto room = out.reserve(body.size() - at.length + put.size()); !room) {
        return std::unexpected(room.error());
    }
    for (const std::string_view piece :
         {body.substr(0, at.offset), std::string_view(put), body.substr(at.offset + at.length)}) {
        if (auto added = out.append(piece); !added) return std::unexpected(added.error());
    }
    return out;
}

}  // namespace weir::http
