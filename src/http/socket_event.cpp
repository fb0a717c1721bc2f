#include "weir/http/socket_event.hpp"

#include <simdjson.h>

#include "weir/base/crypto.hpp"
#include "weir/base/text.hpp"

#include "usage.hpp"

namespace weir::http {

namespace {

namespace dom = simdjson::dom;

static_assert(Buffer::kPadding >= simdjson::SIMDJSON_PADDING);

// What a thread keeps for the next event.
constexpr std::size_t kKeepBytes = std::size_t{1} << 20;

// The result lives until the next call on this thread.
std::optional<dom::element> parse_object(const Buffer& message) {
    static thread_local dom::parser parser;
    if (parser.capacity() > kKeepBytes && message.size() <= kKeepBytes) parser = dom::parser();
    const std::string_view text = message.view();
    dom::element json;
    if (parser.parse(text.data(), text.size(), false).get(json) != simdjson::SUCCESS) {
        return std::nullopt;
    }
    if (!json.is_object()) return std::nullopt;
    return json;
}

std::string_view text_at(dom::element json, std::string_view key) noexcept {
    std::string_view text;
    if (json[key].get(text) != simdjson::SUCCESS) return {};
    return text;
}

bool holds(dom::element json, std::string_view key) noexcept {
    dom::element value;
    return json[key].get(value) == simdjson::SUCCESS && !value.is_null();
}

// Through objects: "audio", "input", "transcription".
std::optional<dom::element> object_below(
    dom::element json, std::initializer_list<std::string_view> keys
) noexcept {
    for (const std::string_view key : keys) {
        const auto next = object_at(json, key);
        if (!next) return std::nullopt;
        json = *next;
    }
    return json;
}

void note_stored(ClientEvent& event, std::string_view field) {
    if (event.stored.empty()) event.stored = field;
}

// A part of an item's content.
void see_part(ClientEvent& event, dom::element part) {
    if (!part.is_object()) return;
    const std::string_view type = text_at(part, "type");
    event.image = event.image || type == "input_image" || holds(part, "image_url");
    event.audio = event.audio || type == "input_audio" || holds(part, "input_audio");
    event.file = event.file || type == "input_file" || holds(part, "file_data");
    if (holds(part, "file_id")) note_stored(event, "file_id");
}

void see_item(ClientEvent& event, dom::element item) {
    dom::array content;
    if (!item.is_object() || item["content"].get(content) != simdjson::SUCCESS) return;
    for (const dom::element part : content) see_part(event, part);
}

void see_model(ClientEvent& event, const std::optional<dom::element>& of) {
    if (!of) return;
    const std::string_view model = text_at(*of, "model");
    if (!model.empty()) event.models.emplace_back(model);
}

// A session's settings, of the API as it is and as its beta was.
void see_session(ClientEvent& event, dom::element session) {
    see_model(event, session);
    see_model(event, object_below(session, {"audio", "input", "transcription"}));
    see_model(event, object_below(session, {"input_audio_transcription"}));
    if (holds(session, "prompt")) note_stored(event, "prompt");
}

void see_response(ClientEvent& event, dom::element response) {
    see_model(event, response);
    if (holds(response, "prompt")) note_stored(event, "prompt");
    std::uint64_t limit = 0;
    for (const std::string_view name : {"max_output_tokens", "max_response_output_tokens"}) {
        if (response[name].get(limit) == simdjson::SUCCESS) event.output_limit = limit;
    }
    dom::array input;
    if (response["input"].get(input) != simdjson::SUCCESS) return;
    for (const dom::element item : input) see_item(event, item);
}

ServerEvent::Kind kind_of(std::string_view type) noexcept {
    using enum ServerEvent::Kind;
    if (type == "error") return kError;
    if (type == "response.created") return kCreated;
    if (type == "response.done" || type == "response.completed" || type == "response.incomplete" ||
        type == "response.failed") {
        return kEnded;
    }
    if (type == "conversation.item.input_audio_transcription.completed") return kTranscribed;
    return kOther;
}

std::string as_event(int status, std::string_view error, const ErrorContext& context) {
    std::string event = R"({"type":"error",)";
    if (context.responses) {
        event += "\"status\":" + std::to_string(status) + ",";
        if (!context.stream_id.empty()) {
            event += "\"stream_id\":" + json_quote(context.stream_id) + ",";
        }
    } else {
        std::uint8_t random[10];
        random_bytes(&random, sizeof random);
        event += "\"event_id\":\"event_" + to_hex(random) + "\",";
    }
    event += "\"error\":";
    event += error;
    if (!context.responses && event.back() == '}') {
        event.pop_back();
        event += ",\"event_id\":";
        event += context.event_id.empty() ? "null" : json_quote(context.event_id);
        event += "}";
    }
    event += "}";
    return event;
}

}  // namespace

std::optional<ClientEvent> read_client_event(const Buffer& message) {
    const auto json = parse_object(message);
    if (!json) return std::nullopt;
    ClientEvent event;
    event.type = text_at(*json, "type");
    if (event.type.empty()) return std::nullopt;
    event.event_id = text_at(*json, "event_id");
    event.stream_id = text_at(*json, "stream_id");
    bool generate = true;
    event.warm_up = (*json)["generate"].get(generate) == simdjson::SUCCESS && !generate;
    if (event.type == "input_audio_buffer.append") event.audio = true;
    if (const auto session = object_at(*json, "session")) see_session(event, *session);
    if (const auto response = object_at(*json, "response")) see_response(event, *response);
    if (const auto item = object_at(*json, "item")) see_item(event, *item);
    return event;
}

ServerEvent read_server_event(const Buffer& message) {
    ServerEvent event;
    const auto json = parse_object(message);
    if (!json) return event;
    event.kind = kind_of(text_at(*json, "type"));
    event.response_id = text_at(*json, "response_id");
    event.stream_id = text_at(*json, "stream_id");
    if (event.kind == ServerEvent::Kind::kTranscribed) event.usage = usage_at(*json);
    if (event.kind == ServerEvent::Kind::kError) {
        if (const auto error = object_at(*json, "error")) event.cause = text_at(*error, "event_id");
    }
    const auto response = object_at(*json, "response");
    if (!response) return event;
    event.response_id = text_at(*response, "id");
    event.usage = usage_at(*response);
    event.failed =
        text_at(*response, "status") == "failed" || text_at(*json, "type") == "response.failed";
    return event;
}

std::string error_event(const ApiError& error, const ErrorContext& context) {
    return error_event(error.status, error.body(), context);
}

std::string error_event(int status, std::string_view body, const ErrorContext& context) {
    // An object {"error":{...}} of ours, or of an upstream.
    simdjson::dom::parser parser;
    dom::element json;
    std::string inner = R"({"message":"The upstream refused, without a reason.","type":)"
                        R"("server_error","param":null,"code":"upstream_error"})";
    if (parser.parse(body.data(), body.size()).get(json) == simdjson::SUCCESS) {
        if (const auto error = object_at(json, "error")) inner = simdjson::minify(*error);
    }
    return as_event(status, inner, context);
}

}  // namespace weir::http
