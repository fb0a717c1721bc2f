// Random streams of chat/completions and completions with every field that we know of and some of
// vendors, each with the plain answer that it is: the answer is made first, then cut.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "http/random_json.hpp"

namespace weir::test {

struct RandomStream {
    nlohmann::json answer;
    std::vector<nlohmann::json> events;  // chunks; of responses with their `type`
};

namespace streams {

using Json = nlohmann::json;
// Pieces of one member that must come in this order; each an object that a chunk's choice takes in.
using Queue = std::vector<Json>;

inline Json random_number(Random& random) {
    switch (random.below(4)) {
        case 0:
            return -static_cast<std::int64_t>(random.below(1000));
        case 1:
            return UINT64_MAX - random.below(1000);
        case 2:
            return -static_cast<double>(random.below(1'000'000)) / 997.0;
        default:
            return random.below(100'000);
    }
}

// Some value that comes whole.
inline Json random_value(Random& random) {
    Json list = Json::array({true, random_number(random), {{"index", 0}, {"n", nullptr}}});
    if (random.one_in(2)) return {{"k", random_text(random)}, {"list", std::move(list)}};
    return random_number(random);
}

// A text in pieces, some empty. `wrap` says where in a choice a piece stands.
template <class Wrap>
std::string cut_text(Random& random, Queue& queue, Wrap wrap) {
    std::string all;
    const std::size_t count = 1 + random.below(5);
    queue.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        const std::string piece = random_text(random, 4);
        all += piece;
        queue.push_back(wrap(piece));
    }
    return all;
}

inline Json in_delta(const std::string& key, Json value) {
    return {{"delta", {{key, std::move(value)}}}};
}

inline std::string base64(std::string_view bytes) {
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t word = 0;
        for (std::size_t k = 0; k < 3; ++k) {
            const bool there = i + k < bytes.size();
            word = (word << 8) | (there ? static_cast<std::uint8_t>(bytes[i + k]) : 0U);
        }
        for (int shift = 18; shift >= 0; shift -= 6) out.push_back(kDigits[(word >> shift) & 63U]);
    }
    for (std::size_t k = bytes.size() % 3; k != 0 && k < 3; ++k) out[out.size() + k - 3] = '=';
    return out;
}

// A sound: base64 of each piece on its own, or one base64 text that is cut anywhere.
inline Json cut_audio(Random& random, Queue& queue) {
    std::string bytes;
    const bool each = random.one_in(2);
    const auto put = [&queue](const char* key, Json value) {
        queue.push_back(in_delta("audio", {{key, std::move(value)}}));
    };
    put("id", "audio_1");
    for (std::size_t i = 1 + random.below(4); i > 0; --i) {
        std::string piece(random.below(6), '\0');
        for (char& byte : piece) byte = static_cast<char>(random.below(256));
        bytes += piece;
        if (each) put("data", base64(piece));
    }
    const std::string all = base64(bytes);
    for (std::size_t at = 0; !each && at < all.size();) {
        const std::size_t size = 1 + random.below(5);
        put("data", all.substr(at, size));
        at += size;
    }
    if (!each && all.empty()) put("data", "");
    Json audio = {{"id", "audio_1"}, {"data", all}};
    audio["transcript"] = cut_text(random, queue, [](const std::string& piece) {
        return in_delta("audio", {{"transcript", piece}});
    });
    put("expires_at", 1234);
    audio["expires_at"] = 1234;
    return audio;
}

inline Json cut_call(Random& random, Queue& queue, std::size_t index) {
    const std::string id = "call_" + std::to_string(index);
    const auto put = [&](Json call) {
        call["index"] = index;
        queue.push_back(in_delta("tool_calls", Json::array({std::move(call)})));
    };
    const bool custom = random.one_in(4);
    const char* const type = custom ? "custom" : "function";
    const char* const text = custom ? "input" : "arguments";
    Json call = {{"id", id}, {"type", type}, {type, {{"name", "f" + id}, {text, ""}}}};
    if (random.one_in(4)) call["extra_content"] = random_value(random);
    put(call);
    Queue texts;
    call[type][text] = cut_text(random, texts, [&](const std::string& piece) {
        return Json{{type, {{text, piece}}}};
    });
    for (Json& one : texts) put(std::move(one));
    return call;
}

inline Json chat_logprobs(Random& random, Queue& queue) {
    Json all = {{"content", Json::array()}, {"refusal", nullptr}};
    for (std::size_t i = 1 + random.below(4); i > 0; --i) {
        const Json token = {
            {"token", random_text(random, 2)},
            {"logprob", random_number(random)},
            {"bytes", {1, 2}},
            {"index", 0},  // whatever it says, a token is a token of its own
            {"top_logprobs", Json::array({{{"token", "x"}, {"logprob", -1.5}}})}
        };
        all["content"].push_back(token);
        queue.push_back({{"logprobs", {{"content", Json::array({token})}, {"refusal", nullptr}}}});
    }
    return all;
}

inline Json completion_logprobs(Random& random, Queue& queue) {
    Json all = Json::object();
    for (std::size_t i = 1 + random.below(4); i > 0; --i) {
        const Json top =
            random.one_in(3) ? Json() : Json{{"index", random_number(random)}, {"b", -2.5}};
        const Json one = {
            {"tokens", {random_text(random, 2)}},
            {"token_logprobs", Json::array({random.one_in(3) ? Json() : random_number(random)})},
            {"top_logprobs", Json::array({top})},
            {"text_offset", {random.below(100)}}
        };
        for (const auto& [key, list] : one.items()) all[key].push_back(list[0]);
        queue.push_back({{"logprobs", one}});
    }
    return all;
}

// A choice of a plain answer; its pieces into `queues`.
inline Json chat_choice(Random& random, std::vector<Queue>& queues) {
    Json message = {{"role", "assistant"}, {"content", nullptr}, {"refusal", nullptr}};
    const auto fresh = [&queues]() -> Queue& { return queues.emplace_back(); };
    fresh().push_back(in_delta("role", "assistant"));
    for (const char* const key :
         {"content", "refusal", "reasoning_content", "reasoning", "x_vendor"}) {
        if (random.one_in(2)) continue;
        message[key] = cut_text(random, fresh(), [&](const std::string& piece) {
            return in_delta(key, piece);
        });
    }
    for (std::size_t i = 0; i < random.below(4); ++i) {
        message["tool_calls"].push_back(cut_call(random, fresh(), i));
    }
    if (random.one_in(4)) {
        Queue& queue = fresh();
        queue.push_back(in_delta("function_call", {{"name", "old"}, {"arguments", ""}}));
        message["function_call"] = {{"name", "old"}};
        message["function_call"]["arguments"] =
            cut_text(random, queue, [](const std::string& piece) {
                return in_delta("function_call", {{"arguments", piece}});
            });
    }
    if (random.one_in(3)) message["audio"] = cut_audio(random, fresh());
    if (random.one_in(3)) {
        Json detail = {{"index", 0}, {"type", "reasoning.text"}};
        detail["text"] = cut_text(random, fresh(), [](const std::string& piece) {
            return in_delta(
                "reasoning_details",
                Json::array({{{"index", 0}, {"type", "reasoning.text"}, {"text", piece}}})
            );
        });
        message["reasoning_details"] = Json::array({detail});
    }
    Queue& cites = fresh();
    for (std::size_t i = 0; i < random.below(3); ++i) {
        const Json cite = {{"type", "url_citation"}, {"url_citation", {{"start_index", i}}}};
        message["annotations"].push_back(cite);
        cites.push_back(in_delta("annotations", Json::array({cite})));
    }
    Json choice = {{"message", std::move(message)}, {"logprobs", nullptr}};
    if (random.one_in(3)) choice["logprobs"] = chat_logprobs(random, fresh());
    return choice;
}

inline Json completion_choice(Random& random, std::vector<Queue>& queues) {
    Json choice = {{"logprobs", nullptr}};
    const auto fresh = [&queues]() -> Queue& { return queues.emplace_back(); };
    for (const char* const key : {"text", "reasoning_content"}) {
        if (key != std::string_view("text") && random.one_in(2)) continue;
        choice[key] =
            cut_text(random, fresh(), [&](const std::string& piece) { return Json{{key, piece}}; });
    }
    if (random.one_in(2)) choice["logprobs"] = completion_logprobs(random, fresh());
    return choice;
}

// Both kinds: what stands beside the pieces.
inline void other_members(Random& random, Json& choice, std::vector<Queue>& queues) {
    if (random.one_in(3)) {
        choice["token_ids"] = {1, 2, 2, 3};
        queues.push_back({{{"token_ids", {1, 2}}}, {{"token_ids", {2, 3}}}});
    }
    if (random.one_in(3)) {
        choice["content_filter_results"] = {{"hate", {{"filtered", false}}}, {"self_harm", 2}};
        queues.push_back(
            {{{"content_filter_results", {{"hate", {{"filtered", true}}}}}},
             {{"content_filter_results", {{"hate", {{"filtered", false}}}, {"self_harm", 2}}}}}
        );
    }
    if (random.one_in(3)) {
        choice["stop_reason"] = "###";
        queues.push_back({{{"stop_reason", nullptr}}, {{"stop_reason", "###"}}});
    }
}

// Takes some next pieces, each from another queue and at another place, as one choice of a chunk.
inline Json take_pieces(Random& random, std::vector<Queue>& queues) {
    Json out = Json::object();
    do {
        Queue& queue = queues[random.below(queues.size())];
        Json& piece = queue.front();
        bool clash = false;
        for (const auto& [key, value] : piece.items()) {
            const bool taken = out.contains(key);
            clash = clash || (taken && key != "delta") ||
                    (taken && out[key].contains(value.begin().key()));
        }
        if (clash) break;
        out.update(piece, true);
        queue.erase(queue.begin());
        std::erase_if(queues, [](const Queue& one) { return one.empty(); });
    } while (!queues.empty() && random.one_in(3));
    return out;
}

}  // namespace streams

// A stream of chunks: of chat, or of completions.
inline RandomStream random_chunks(Random& random, bool chat) {
    using streams::Json;
    RandomStream stream;
    Json common = {{"id", "id-1"}, {"created", random.below(1U << 31)}, {"model", "gpt-4"}};
    if (random.one_in(2)) common["system_fingerprint"] = "fp";
    if (random.one_in(2)) common["service_tier"] = "default";
    if (random.one_in(2)) common["x_vendor"] = streams::random_value(random);
    stream.answer = common;
    stream.answer["object"] = chat ? "chat.completion" : "text_completion";
    common["object"] = chat ? "chat.completion.chunk" : "text_completion";
    const bool usage_everywhere = random.one_in(2);
    const auto put = [&](Json choice) {
        Json chunk = common;
        chunk["choices"] = Json::array({std::move(choice)});
        if (usage_everywhere) chunk["usage"] = nullptr;
        if (random.one_in(3)) chunk["obfuscation"] = "xxxx";
        stream.events.push_back(std::move(chunk));
    };

    const std::size_t count = 1 + random.below(3);
    std::vector<std::vector<streams::Queue>> queues(count);
    for (std::size_t i = 0; i < count; ++i) {
        Json choice = chat ? streams::chat_choice(random, queues[i])
                           : streams::completion_choice(random, queues[i]);
        streams::other_members(random, choice, queues[i]);
        choice["index"] = i;
        choice["finish_reason"] = "stop";
        stream.answer["choices"].push_back(std::move(choice));
        std::erase_if(queues[i], [](const streams::Queue& one) { return one.empty(); });
    }
    std::vector<std::size_t> open(count);
    for (std::size_t i = 0; i < count; ++i) open[i] = i;
    while (!open.empty()) {
        const std::size_t index = random.pick(open);
        const bool last = queues[index].empty();
        Json choice = last ? Json::object() : streams::take_pieces(random, queues[index]);
        choice["index"] = index;
        choice["finish_reason"] = last ? Json("stop") : Json();
        if (chat && !choice.contains("delta")) choice["delta"] = Json::object();
        put(std::move(choice));
        if (last) std::erase(open, index);
    }
    if (random.one_in(2)) {
        stream.answer["usage"] = {
            {"total_tokens", 3}, {"completion_tokens_details", {{"reasoning_tokens", 1}}}
        };
        Json chunk = common;
        chunk["choices"] = Json::array();
        chunk["usage"] = stream.answer["usage"];
        stream.events.push_back(std::move(chunk));
    }
    return stream;
}

}  // namespace weir::test
