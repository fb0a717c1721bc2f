#include "crossing_message.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <utility>

#include "weir/http/sse.hpp"

#include "crossing_sum.hpp"

namespace weir::http::crossing {

namespace {

// What is known only at the end: in a stream these come with message_delta, in its `delta`.
constexpr std::array<std::string_view, 4> kLate = {
    "stop_reason", "stop_sequence", "stop_details", "container"
};
// The same, beside its `delta`.
constexpr std::string_view kLateBeside = "context_management";

std::string_view view_at(const Json& object, const char* key) {
    const auto text = object.find(key);
    return text != object.end() && text->is_string()
               ? std::string_view(text->get_ref<const Json::string_t&>())
               : std::string_view();
}

// The member of that type, or nullptr.
Json* member_at(Json& object, const char* key, Json::value_t type) {
    const auto member = object.find(key);
    return member != object.end() && member->type() == type ? &*member : nullptr;
}

std::unexpected<Error> does_not_add_up() {
    return fail(ErrorCode::kUpstreamProtocol, "the events do not add up to a message");
}

// A message while its events are added up.
class Message {
public:
    // False: it does not add up.
    [[nodiscard]] bool add(std::string_view type, Json& event) {
        if (type == "message_start") return start(event);
        if (!message_.is_object() || stopped_) return false;
        if (type == "content_block_start") return start_block(event);
        if (type == "content_block_delta") return add_to_block(event);
        if (type == "content_block_stop") return block_of(event) != nullptr;
        if (type == "message_delta") return add_delta(event);
        if (type != "message_stop") return false;
        stopped_ = true;
        return add_others(event);
    }

    [[nodiscard]] bool stopped() const noexcept { return stopped_; }

    [[nodiscard]] Result<std::string> finish() && {
        if (!stopped_ || view_at(message_, "stop_reason").empty()) {
            return fail(ErrorCode::kUpstreamProtocol, "the stream ends without a whole message");
        }
        Json& content = message_["content"] = Json::array();
        for (Block& block : blocks_) {
            if (!block.input.empty()) {
                std::optional<Json> input = parse_object(block.input);
                if (!input) return does_not_add_up();
                block.whole["input"] = std::move(*input);
            }
            content.push_back(std::move(block.whole));
        }
        return dump(message_);
    }

private:
    struct Block {
        Json whole;
        std::string input;  // the JSON of a tool's input, so far
    };

    [[nodiscard]] bool start(Json& event) {
        Json* const message = member_at(event, "message", Json::value_t::object);
        if (message == nullptr || !message_.is_null()) return false;
        const auto content = message->find("content");
        if (content != message->end() && !content->empty()) return false;
        message_ = std::move(*message);
        return true;
    }

    // Blocks come one behind the other.
    [[nodiscard]] bool start_block(Json& event) {
        Json* const block = member_at(event, "content_block", Json::value_t::object);
        if (block == nullptr || index_of(event) != blocks_.size()) return false;
        blocks_.push_back({std::move(*block), {}});
        return true;
    }

    [[nodiscard]] static std::size_t index_of(const Json& event) {
        const auto index = event.find("index");
        return index != event.end() && index->is_number_unsigned() ? index->get<std::size_t>()
                                                                   : SIZE_MAX;
    }
    [[nodiscard]] Block* block_of(const Json& event) {
        const std::size_t index = index_of(event);
        return index < blocks_.size() ? &blocks_[index] : nullptr;
    }

    [[nodiscard]] bool add_to_block(Json& event) {
        Block* const block = block_of(event);
        Json* const delta = member_at(event, "delta", Json::value_t::object);
        if (block == nullptr || delta == nullptr) return false;
        const std::string_view type = view_at(*delta, "type");
        if (type == "text_delta") return append(block->whole, *delta, "text");
        if (type == "thinking_delta") return append(block->whole, *delta, "thinking");
        if (type == "signature_delta") {
            block->whole["signature"] = view_at(*delta, "signature");
            return true;
        }
        if (type == "citations_delta") {
            const auto citation = delta->find("citation");
            Json& list = block->whole["citations"];
            if (list.is_null()) list = Json::array();
            if (citation == delta->end() || !list.is_array()) return false;
            list.push_back(std::move(*citation));
            return true;
        }
        if (type != "input_json_delta") return false;
        block->input += view_at(*delta, "partial_json");
        return true;
    }

    [[nodiscard]] static bool append(Json& block, const Json& delta, const char* key) {
        Json* const text = member_at(block, key, Json::value_t::string);
        if (text == nullptr) return false;
        text->get_ref<Json::string_t&>() += view_at(delta, key);
        return true;
    }

    [[nodiscard]] bool add_delta(Json& event) {
        if (const Json* const delta = member_at(event, "delta", Json::value_t::object)) {
            for (const auto& [key, value] : delta->items()) {
                if (!sum_.replace_member(message_, key, value)) return false;
            }
        }
        return add_others(event);
    }

    // What stands beside a delta belongs to the message: usage, of which the last one that says
    // something holds, and what vendors and later versions add.
    [[nodiscard]] bool add_others(const Json& event) {
        for (const auto& [key, value] : event.items()) {
            if (key == "type" || key == "delta") continue;
            if (!sum_.replace_member(message_, key, value)) return false;
        }
        return true;
    }

    Sum sum_;
    Json message_;
    std::vector<Block> blocks_;
    bool stopped_ = false;
};

void put(Blocks& blocks, const Json& event) {
    if (blocks.full()) return;
    std::string block = "event: ";
    block.append(view_at(event, "type")).append("\ndata: ").append(dump(event)).append("\n\n");
    blocks.put(std::move(block));
}

// The pieces that a block is said in are taken out of `block`, which then is what it starts with.
std::vector<Json> take_deltas(Json& block) {
    std::vector<Json> deltas;
    const auto take_text = [&](const char* delta, const char* key) {
        Json* const text = member_at(block, key, Json::value_t::string);
        if (text == nullptr || *text == "") return;
        deltas.push_back({{"type", delta}, {key, std::exchange(*text, "")}});
    };
    const std::string_view type = view_at(block, "type");
    if (type == "text") {
        take_text("text_delta", "text");
        if (Json* const list = member_at(block, "citations", Json::value_t::array)) {
            deltas.reserve(list->size() + 1);
            for (Json& one : std::exchange(*list, Json::array())) {
                deltas.push_back({{"type", "citations_delta"}, {"citation", std::move(one)}});
            }
        }
    } else if (type == "thinking") {
        take_text("thinking_delta", "thinking");
        take_text("signature_delta", "signature");
    } else if (type.ends_with("tool_use")) {  // the client's, the server's, of an MCP server
        Json* const input = member_at(block, "input", Json::value_t::object);
        if (input != nullptr && !input->empty()) {
            const std::string text = dump(std::exchange(*input, Json::object()));
            deltas.push_back({{"type", "input_json_delta"}, {"partial_json", text}});
        }
    }
    return deltas;
}

// The message as it is before anything was said, without its content.
Json begun_message(const Json& message) {
    Json begun = Json::object();
    for (const auto& [key, value] : message.items()) {
        const bool late = one_of(kLate, key) || key == kLateBeside;
        begun[key] = late ? Json() : key == "content" ? Json::array() : value;
    }
    Json& usage = begun["usage"];
    if (usage.contains("output_tokens")) usage["output_tokens"] = 0;
    return begun;
}

}  // namespace

Result<std::string> events_to_message(const std::vector<std::string_view>& blocks) {
    Message message;
    for (const std::string_view block : blocks) {
        const SseEvent event = parse_event(block);
        if (!event.has_data || event.event == "ping") continue;
        std::optional<Json> data = parse_object(event.data);
        if (!data) return fail(ErrorCode::kUpstreamProtocol, "an event is not a JSON object");
        std::string type(view_at(*data, "type"));
        if (type.empty()) type = event.event;
        if (type == "ping") continue;
        if (type == "error" || event.event == "error") {
            return fail(ErrorCode::kUpstreamStatus, "the stream carries an error");
        }
        if (!message.add(type, *data)) return does_not_add_up();
        if (message.stopped()) break;
    }
    return std::move(message).finish();
}

Result<std::vector<std::string>> message_to_events(std::string_view json) {
    std::optional<Json> message = parse_object(json);
    const bool whole = message && view_at(*message, "type") == "message" &&
                       !view_at(*message, "stop_reason").empty() &&
                       member_at(*message, "content", Json::value_t::array) != nullptr &&
                       member_at(*message, "usage", Json::value_t::object) != nullptr;
    if (!whole) return fail(ErrorCode::kUpstreamProtocol, "the answer is not a whole message");

    Blocks blocks(json.size());
    put(blocks, {{"type", "message_start"}, {"message", begun_message(*message)}});
    std::size_t index = 0;
    for (Json& block : (*message)["content"]) {
        if (blocks.full()) break;
        if (!block.is_object()) return does_not_add_up();
        const std::vector<Json> deltas = take_deltas(block);
        put(blocks, {{"type", "content_block_start"}, {"index", index}, {"content_block", block}});
        for (const Json& delta : deltas) {
            put(blocks, {{"type", "content_block_delta"}, {"index", index}, {"delta", delta}});
        }
        put(blocks, {{"type", "content_block_stop"}, {"index", index++}});
    }
    Json delta = Json::object();
    Json last = {{"type", "message_delta"}};
    for (auto& [key, value] : message->items()) {
        if (one_of(kLate, key)) delta[key] = std::move(value);
    }
    last["delta"] = std::move(delta);
    last["usage"] = std::move((*message)["usage"]);
    if (message->contains(kLateBeside))
        last[std::string(kLateBeside)] = std::move((*message)[std::string(kLateBeside)]);
    put(blocks, last);
    put(blocks, {{"type", "message_stop"}});
    return std::move(blocks).take();
}

}  // namespace weir::http::crossing
