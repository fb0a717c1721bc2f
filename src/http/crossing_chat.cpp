// The choices of chat/completions.
#include <cstdint>
#include <map>
#include <utility>

#include "crossing_chunks.hpp"
#include "join_base64.hpp"

namespace weir::http::crossing {

namespace {

bool add(Sum& sum, Choice& choice, const std::string& key, const Json& value) {
    if (key == "delta") {
        if (choice.said.is_null()) choice.said = Json::object();
        return !value.is_object() || sum.add_object(choice.said, value);
    }
    return sum.add_other(choice.others, key, value, false, Lists::kFragments);
}

// Tool calls in the order of their `index`, which a plain answer does not have.
void place_calls(Json& calls) {
    std::multimap<std::int64_t, Json> placed;
    for (Json& call : calls) {
        if (!call.is_object()) continue;
        const std::int64_t place = call.contains("index") ? index_of(call) : INT64_MAX;
        call.erase("index");
        placed.emplace(place, std::move(call));
    }
    calls = Json::array();
    for (auto& [place, call] : placed) calls.push_back(std::move(call));
}

// Each chunk's piece of a sound is base64 of its own, or the next characters of the last one.
void join_sound(Json& audio) {
    const auto data = audio.find("data");
    if (data == audio.end() || !data->is_string()) return;
    auto& text = data->get_ref<Json::string_t&>();
    text = join_base64(std::move(text));
}

bool finish(Json said, Json& out) {
    Json& message = out["message"];
    message = {{"role", "assistant"}, {"content", nullptr}, {"refusal", nullptr}};
    for (auto& [key, value] : said.items()) message[key] = std::move(value);
    const auto calls = message.find("tool_calls");
    if (calls != message.end() && calls->is_array()) place_calls(*calls);
    const auto audio = message.find("audio");
    if (audio != message.end() && audio->is_object()) join_sound(*audio);
    return true;
}

bool split(Json& choice, Json& first, Json& last) {
    const auto message = choice.find("message");
    if (message == choice.end() || !message->is_object()) return false;
    Json delta = std::move(*message);
    choice.erase("message");
    if (const auto calls = delta.find("tool_calls"); calls != delta.end() && calls->is_array()) {
        std::int64_t number = 0;
        for (Json& call : *calls) {
            if (!call.is_object()) continue;
            Json numbered = {{"index", number++}};
            numbered.update(call);
            call = std::move(numbered);
        }
    }
    first["delta"] = std::move(delta);
    last["delta"] = Json::object();
    return true;
}

}  // namespace

const ChoiceForm kChat = {
    .object = "chat.completion",
    .chunk_object = "chat.completion.chunk",
    .add = add,
    .finish = finish,
    .split = split,
};

}  // namespace weir::http::crossing
