#include "crossing_response.hpp"

#include <map>
#include <optional>
#include <utility>

#include "weir/http/sse.hpp"

#include "crossing_sum.hpp"

namespace weir::http::crossing {

namespace {

std::string text_at(const Json& object, const char* key) {
    const auto text = object.find(key);
    return text != object.end() && text->is_string() ? text->get<std::string>() : std::string();
}

// Sets a member that is there.
void reset(Json& object, const char* key, Json value) {
    if (const auto member = object.find(key); member != object.end()) *member = std::move(value);
}

Json with(Json members, const Json& more) {
    members.update(more);
    return members;
}

class Events {
public:
    explicit Events(Blocks& blocks) noexcept : blocks_(blocks) {}
    // `members` come behind the type and the number.
    void put(const std::string& type, const Json& members) {
        if (blocks_.full()) return;
        const Json begin = {{"type", type}, {"sequence_number", blocks_.size()}};
        blocks_.put("event: " + type + "\ndata: " + dump(with(begin, members)) + "\n\n");
    }
    // A text in one delta, if there is any; as done, under `key`; both. `more` goes with it.
    void put_delta(
        const std::string& type,
        const Json& where,
        const std::string& text,
        const Json& more = Json::object()
    ) {
        if (!text.empty()) put(type + ".delta", with(with(where, {{"delta", text}}), more));
    }
    void put_done(
        const std::string& type,
        const Json& where,
        const char* key,
        const std::string& text,
        const Json& more = Json::object()
    ) {
        put(type + ".done", with(with(where, {{key, text}}), more));
    }
    void put_text(
        const std::string& type, const Json& where, const char* key, const std::string& text
    ) {
        put_delta(type, where, text);
        put_done(type, where, key, text);
    }
    [[nodiscard]] bool full() const noexcept { return blocks_.full(); }

private:
    Blocks& blocks_;
};

void put_annotations(Events& events, const Json& where, const Json& part) {
    const auto annotations = part.find("annotations");
    if (annotations == part.end() || !annotations->is_array()) return;
    std::size_t place = 0;
    for (const Json& annotation : *annotations) {
        if (events.full()) return;
        const Json what = {{"annotation_index", place++}, {"annotation", annotation}};
        events.put("response.output_text.annotation.added", with(where, what));
    }
}

void put_content_part(Events& events, const Json& where, const Json& part) {
    const std::string type = text_at(part, "type");
    const char* const key = type == "refusal" ? "refusal" : "text";
    const bool known = type == "output_text" || type == "refusal" || type == "reasoning_text";
    Json begun = part;
    if (known) {
        for (const char* const list : {"annotations", "logprobs"})
            reset(begun, list, Json::array());
        reset(begun, key, "");
    }
    events.put("response.content_part.added", with(where, {{"part", std::move(begun)}}));
    if (type == "output_text") {
        const auto logprobs = part.find("logprobs");
        const bool given = logprobs != part.end() && logprobs->is_array();
        const Json more = {{"logprobs", given ? *logprobs : Json::array()}};
        events.put_delta("response.output_text", where, text_at(part, key), more);
        put_annotations(events, where, part);
        events.put_done("response.output_text", where, key, text_at(part, key), more);
    } else if (known) {
        events.put_text("response." + type, where, key, text_at(part, key));
    }
    events.put("response.content_part.done", with(where, {{"part", part}}));
}

void put_summary_part(Events& events, const Json& where, const Json& part) {
    Json begun = part;
    reset(begun, "text", "");
    events.put("response.reasoning_summary_part.added", with(where, {{"part", std::move(begun)}}));
    events.put_text("response.reasoning_summary_text", where, "text", text_at(part, "text"));
    events.put("response.reasoning_summary_part.done", with(where, {{"part", part}}));
}

using PutPart = void (*)(Events& events, const Json& where, const Json& part);

void put_parts(
    Events& events, const Json& where, const Json& item, const std::string& key, PutPart put
) {
    const auto parts = item.find(key);
    if (parts == item.end() || !parts->is_array()) return;
    std::size_t place = 0;
    for (const Json& part : *parts) {
        if (events.full()) return;
        put(events, with(where, {{key + "_index", place++}}), part);
    }
}

void put_item(Events& events, const Json& item, std::size_t place) {
    const std::string type = text_at(item, "type");
    const bool has_parts = type == "message" || type == "reasoning";
    Json begun = item;
    reset(begun, "status", "in_progress");
    if (has_parts) {
        for (const char* const parts : {"summary", "content"}) {
            if (begun.contains(parts) && begun[parts].is_array()) begun[parts] = Json::array();
        }
    }
    if (type == "function_call") reset(begun, "arguments", "");
    if (type == "custom_tool_call") reset(begun, "input", "");
    const Json output = {{"output_index", place}};
    events.put("response.output_item.added", with(output, {{"item", std::move(begun)}}));

    const Json where = with({{"item_id", text_at(item, "id")}}, output);
    if (has_parts) {
        put_parts(events, where, item, "summary", put_summary_part);
        put_parts(events, where, item, "content", put_content_part);
    } else if (type == "function_call") {
        const std::string text = text_at(item, "arguments");
        const Json name = {{"name", text_at(item, "name")}};
        events.put_delta("response.function_call_arguments", where, text);
        events.put_done("response.function_call_arguments", where, "arguments", text, name);
    } else if (type == "custom_tool_call") {
        events.put_text("response.custom_tool_call_input", where, "input", text_at(item, "input"));
    }
    events.put("response.output_item.done", with(output, {{"item", item}}));
}

// The answer as it is before anything was said.
Json begun_response(const Json& response) {
    Json begun = response;
    begun["status"] = "in_progress";
    begun["output"] = Json::array();
    for (const char* const later : {"completed_at", "incomplete_details", "usage"}) {
        reset(begun, later, nullptr);
    }
    begun.erase("output_text");  // what the SDKs, and some vendors, make of `output`
    return begun;
}

}  // namespace

Result<std::string> events_to_response(const std::vector<std::string_view>& blocks) {
    std::map<std::int64_t, Json> items;
    for (const std::string_view block : blocks) {
        const SseEvent event = parse_event(block);
        if (!event.has_data || event.event.ends_with(".delta")) continue;
        if (event.data.starts_with("[DONE]")) break;
        std::optional<Json> data = parse_object(event.data);
        if (!data) return fail(ErrorCode::kUpstreamProtocol, "an event is not a JSON object");
        std::string type = text_at(*data, "type");
        if (type.empty()) type = event.event;
        const bool unnamed_error = type.empty() && data->contains("error");
        if (type == "error" || type == "response.failed" || unnamed_error) {
            return fail(ErrorCode::kUpstreamStatus, "the stream carries an error");
        }
        if (type == "response.output_item.done" && data->contains("item")) {
            const auto place = data->find("output_index");
            const bool placed = place != data->end() && place->is_number_integer();
            const auto next = static_cast<std::int64_t>(items.size());
            items[placed ? place->get<std::int64_t>() : next] = std::move((*data)["item"]);
        } else if (type == "response.completed" || type == "response.incomplete") {
            const auto response = data->find("response");
            if (response == data->end() || !response->is_object()) break;
            // Some vendors leave out of their last event what they have said before.
            const auto output = response->find("output");
            const bool empty =
                output == response->end() || (output->is_structured() && output->empty());
            if (empty && !items.empty()) {
                Json& list = (*response)["output"] = Json::array();
                for (auto& [place, item] : items) list.push_back(std::move(item));
            }
            const auto said = response->find("output");
            if (said == response->end() || !said->is_array()) break;
            return dump(*response);
        }
    }
    return fail(ErrorCode::kUpstreamProtocol, "the stream ends without a whole response");
}

Result<std::vector<std::string>> response_to_events(std::string_view json) {
    const std::optional<Json> response = parse_object(json);
    const std::string status = response ? text_at(*response, "status") : std::string();
    const bool known = status == "completed" || status == "incomplete";
    if (!known || !response->contains("output") || !(*response)["output"].is_array()) {
        return fail(ErrorCode::kUpstreamProtocol, "the answer is not a whole response");
    }
    Blocks blocks(json.size());
    Events events(blocks);
    const Json begun = {{"response", begun_response(*response)}};
    events.put("response.created", begun);
    events.put("response.in_progress", begun);
    std::size_t place = 0;
    for (const Json& item : (*response)["output"]) {
        if (blocks.full()) break;
        put_item(events, item, place++);
    }
    events.put("response." + status, {{"response", *response}});
    return std::move(blocks).take();
}

}  // namespace weir::http::crossing
