#include "weir/http/crossing.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "weir/http/bounded_json.hpp"
#include "weir/http/sse.hpp"

namespace weir::http {
namespace {

using Json = nlohmann::ordered_json;

std::optional<Json> parse_object(std::string_view text) {
    std::optional<Json> json = parse_bounded_json(text);
    if (json && !json->is_object()) return std::nullopt;
    return json;
}

template <std::size_t N>
bool one_of(const std::array<std::string_view, N>& names, std::string_view name) {
    return std::ranges::find(names, name) != names.end();
}

// Strings inside a delta that name something: each chunk that has them says them whole.
constexpr std::array<std::string_view, 5> kNames = {"role", "type", "id", "object", "format"};

// What merges says false when the parts are of kinds that do not add up: then the stream has no
// JSON that would lose nothing.
[[nodiscard]] bool merge_object(Json& into, const Json& from);

std::string_view id_of(const Json& item) {
    const auto id = item.find("id");
    return id != item.end() && id->is_string()
               ? std::string_view(id->get_ref<const Json::string_t&>())
               : std::string_view();
}

// The element of `list` that a fragment belongs to: by `index`; without one by a known id; without
// both the last one. nullptr: a new one.
Json* find_fragment(Json& list, const Json& fragment) {
    const auto index = fragment.find("index");
    const std::string_view id = id_of(fragment);
    if (index == fragment.end() && id.empty()) return list.empty() ? nullptr : &list.back();
    // The newest first: some vendors number every call 0, and tell them apart by id alone.
    for (auto item = list.rbegin(); item != list.rend(); ++item) {
        if (!item->is_object()) continue;
        if (index == fragment.end()) {
            if (id_of(*item) == id) return &*item;
            continue;
        }
        if (!item->contains("index") || (*item)["index"] != *index) continue;
        if (id.empty() || id_of(*item).empty() || id_of(*item) == id) return &*item;
    }
    return nullptr;
}

[[nodiscard]] bool merge_list(Json& into, const Json& from, bool fragments) {
    for (const Json& item : from) {
        const bool fragment = item.is_object() && (fragments || item.contains("index"));
        Json* known = fragment ? find_fragment(into, item) : nullptr;
        if (known != nullptr && known->is_object()) {
            if (!merge_object(*known, item)) return false;
        } else {
            into.push_back(item);
        }
    }
    return true;
}

// A value of a delta on top of what came before.
[[nodiscard]] bool merge_member(Json& into, std::string_view key, const Json& from) {
    const auto adds_up = [](const Json& json) { return json.is_string() || json.is_structured(); };
    if (from.is_null()) return true;
    if (into.is_string() && from.is_string()) {
        auto& text = into.get_ref<Json::string_t&>();
        const auto& more = from.get_ref<const Json::string_t&>();
        if (one_of(kNames, key)) {
            if (!more.empty()) text = more;
        } else if (key != "name" || more != text) {  // some vendors repeat the whole name
            text += more;
        }
    } else if (into.is_array() && from.is_array()) {
        return merge_list(into, from, key == "tool_calls");
    } else if (into.is_object() && from.is_object()) {
        return merge_object(into, from);
    } else if (!into.is_null() && (adds_up(into) || adds_up(from))) {
        return false;
    } else {
        into = from;
    }
    return true;
}

bool merge_object(Json& into, const Json& from) {
    for (const auto& [key, value] : from.items()) {
        const auto known = into.find(key);
        if (known != into.end()) {
            if (!merge_member(*known, key, value)) return false;
            continue;
        }
        // The first list may itself have several fragments of one element.
        Json& fresh = into[key];
        if (value.is_array()) {
            fresh = Json::array();
            if (!merge_list(fresh, value, key == "tool_calls")) return false;
        } else {
            fresh = value;
        }
    }
    return true;
}

// A member that every chunk says whole: the last one that says something wins; objects are merged
// the same way.
void replace_member(Json& into, const std::string& key, const Json& from) {
    const auto known = into.find(key);
    if (known == into.end()) {
        into[key] = from;
    } else if (known->is_object() && from.is_object()) {
        for (const auto& [name, value] : from.items()) replace_member(*known, name, value);
    } else if (!from.is_null() && !(from.is_string() && from == "")) {
        *known = from;
    }
}

std::int64_t index_of(const Json& choice) {
    const auto index = choice.find("index");
    const bool given = index != choice.end() && index->is_number_integer();
    return given ? index->get<std::int64_t>() : 0;
}

struct Choice {
    Json message = Json::object();
    Json logprobs;  // null until there are some
    Json finish_reason;
    Json others = Json::object();

    [[nodiscard]] bool add(const Json& from) {
        for (const auto& [key, value] : from.items()) {
            if (key == "index") continue;
            if (key == "delta") {
                if (value.is_object() && !merge_object(message, value)) return false;
            } else if (key == "logprobs") {
                if (!merge_member(logprobs, key, value)) return false;
            } else if (key == "finish_reason") {
                if (!value.is_null() && value != "") finish_reason = value;
            } else if (value.is_array() && others.contains(key) && others[key].is_array()) {
                if (!merge_list(others[key], value, false)) return false;
            } else {
                replace_member(others, key, value);
            }
        }
        return true;
    }

    // As the choice of a plain answer.
    Json finish(std::int64_t index) && {
        Json out = {{"index", index}};
        Json& said = out["message"];
        said = {{"role", "assistant"}, {"content", nullptr}, {"refusal", nullptr}};
        for (auto& [key, value] : message.items()) said[key] = std::move(value);
        if (const auto calls = said.find("tool_calls"); calls != said.end() && calls->is_array()) {
            std::multimap<std::int64_t, Json> placed;
            for (Json& call : *calls) {
                if (!call.is_object()) continue;
                const std::int64_t place = call.contains("index") ? index_of(call) : INT64_MAX;
                call.erase("index");
                placed.emplace(place, std::move(call));
            }
            *calls = Json::array();
            for (auto& [place, call] : placed) calls->push_back(std::move(call));
        }
        out["logprobs"] = std::move(logprobs);
        for (auto& [key, value] : others.items()) out[key] = std::move(value);
        out["finish_reason"] = std::move(finish_reason);
        return out;
    }
};

std::string dump(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string block_of(const Json& chunk) {
    return "data: " + dump(chunk) + "\n\n";
}

}  // namespace

Result<std::string> chat_stream_to_json(const std::vector<std::string_view>& blocks) {
    Json answer = Json::object();
    Json usage;
    std::map<std::int64_t, Choice> choices;
    for (const std::string_view block : blocks) {
        const SseEvent event = parse_event(block);
        if (event.event == "error") {
            return fail(ErrorCode::kUpstreamStatus, "the stream carries an error");
        }
        if (!event.has_data) continue;
        if (event.data.starts_with("[DONE]")) break;
        const std::optional<Json> chunk = parse_object(event.data);
        if (!chunk) return fail(ErrorCode::kUpstreamProtocol, "a chunk is not a JSON object");
        for (const auto& [key, value] : chunk->items()) {
            if (key == "error" && !value.is_null()) {
                return fail(ErrorCode::kUpstreamStatus, "the stream carries an error");
            }
            if (key == "choices" && value.is_array()) {
                for (const Json& choice : value) {
                    if (choice.is_object() && !choices[index_of(choice)].add(choice)) {
                        return fail(ErrorCode::kUpstreamProtocol, "the chunks do not add up");
                    }
                }
            } else if (key == "usage") {
                if (!value.is_null()) usage = value;
            } else if (key != "object" && key != "obfuscation") {  // padding of streams
                replace_member(answer, key, value);
            }
        }
    }
    if (choices.empty()) return fail(ErrorCode::kUpstreamProtocol, "the stream has no choice");
    for (const auto& [index, choice] : choices) {
        if (choice.finish_reason.is_null()) {
            return fail(ErrorCode::kUpstreamProtocol, "a choice of the stream is not finished");
        }
    }

    Json out = Json::object();
    if (answer.contains("id")) out["id"] = answer["id"];
    out["object"] = "chat.completion";
    for (auto& [key, value] : answer.items()) out[key] = std::move(value);
    Json& list = out["choices"] = Json::array();
    for (auto& [index, choice] : choices) list.push_back(std::move(choice).finish(index));
    if (!usage.is_null()) out["usage"] = std::move(usage);
    return dump(out);
}

Result<std::vector<std::string>> chat_json_to_stream(std::string_view json, bool include_usage) {
    std::optional<Json> answer = parse_object(json);
    if (!answer || !answer->contains("choices") || !(*answer)["choices"].is_array() ||
        (*answer)["choices"].empty()) {
        return fail(ErrorCode::kUpstreamProtocol, "the answer is not a chat completion");
    }
    // Said in every chunk, as OpenAI does; what else stands beside the choices is said once.
    constexpr std::array<std::string_view, 5> kEverywhere = {
        "id", "created", "model", "service_tier", "system_fingerprint"
    };
    Json common = Json::object();
    Json once = Json::object();
    Json usage;
    for (auto& [key, value] : answer->items()) {
        if (key == "choices") continue;
        if (key == "usage") {
            usage = std::move(value);
        } else if (key == "object") {
            common[key] = "chat.completion.chunk";
        } else {
            (one_of(kEverywhere, key) ? common : once)[key] = std::move(value);
        }
    }
    common["object"] = "chat.completion.chunk";

    std::vector<std::string> blocks;
    const auto put = [&](Json choice) {
        Json chunk = common;
        if (blocks.empty()) chunk.update(once);
        chunk["choices"] = Json::array({std::move(choice)});
        if (include_usage) chunk["usage"] = nullptr;
        blocks.push_back(block_of(chunk));
    };
    std::int64_t place = 0;
    for (Json& choice : (*answer)["choices"]) {
        if (!choice.is_object() || !choice.contains("message") || !choice["message"].is_object()) {
            return fail(ErrorCode::kUpstreamProtocol, "a choice has no message");
        }
        const std::int64_t index = choice.contains("index") ? index_of(choice) : place;
        ++place;
        Json delta = std::move(choice["message"]);
        if (const auto calls = delta.find("tool_calls");
            calls != delta.end() && calls->is_array()) {
            std::int64_t number = 0;
            for (Json& call : *calls) {
                if (!call.is_object()) continue;
                Json numbered = {{"index", number++}};
                numbered.update(call);
                call = std::move(numbered);
            }
        }
        Json first = {{"index", index}, {"delta", std::move(delta)}};
        Json reason;
        for (auto& [key, value] : choice.items()) {
            if (key == "index" || key == "message") continue;
            if (key == "finish_reason") {
                reason = std::move(value);
            } else {
                first[key] = std::move(value);
            }
        }
        first["finish_reason"] = nullptr;
        put(std::move(first));
        Json last = {{"index", index}, {"delta", Json::object()}};
        last["logprobs"] = nullptr;
        last["finish_reason"] = std::move(reason);
        put(std::move(last));
    }
    if (include_usage && !usage.is_null()) {
        Json chunk = common;
        chunk["choices"] = Json::array();
        chunk["usage"] = std::move(usage);
        blocks.push_back(block_of(chunk));
    }
    blocks.emplace_back("data: [DONE]\n\n");
    return blocks;
}

}  // namespace weir::http
