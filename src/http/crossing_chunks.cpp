#include "crossing_chunks.hpp"

#include <map>
#include <optional>
#include <utility>

#include "weir/http/sse.hpp"

namespace weir::http::crossing {

namespace {

std::string block_of(const Json& chunk) {
    return "data: " + dump(chunk) + "\n\n";
}

// Puts what else a choice has beside what is known. Some write every member of both kinds of
// answer, so `null` is none. False: a member of the other kind says something.
[[nodiscard]] bool put_others(Json& others, Json& choice) {
    for (auto& [key, value] : others.items()) {
        if (!choice.contains(key)) {
            choice[key] = std::move(value);
        } else if (!value.is_null()) {
            return false;
        }
    }
    return true;
}

// A stream while its chunks are added up.
class Chunks {
public:
    explicit Chunks(const ChoiceForm& form) noexcept : form_(form) {}

    [[nodiscard]] Result<> add(const Json& chunk) {
        for (const auto& [key, value] : chunk.items()) {
            if (key == "error" && !value.is_null()) {
                return fail(ErrorCode::kUpstreamStatus, "the stream carries an error");
            }
            if (key == "choices" && value.is_array()) {
                for (const Json& choice : value) {
                    if (choice.is_object() && !add_choice(choice)) return does_not_add_up();
                }
            } else if (key == "usage") {
                if (!value.is_null()) usage_ = value;
            } else if (key != "object" && key != "obfuscation") {  // padding of streams
                if (!sum_.replace_member(answer_, key, value)) return does_not_add_up();
            }
        }
        return {};
    }

    [[nodiscard]] Result<std::string> finish() && {
        if (choices_.empty()) {
            return fail(ErrorCode::kUpstreamProtocol, "the stream has no choice");
        }
        Json out = Json::object();
        if (const auto id = answer_.find("id"); id != answer_.end()) out["id"] = *id;
        out["object"] = form_.object;
        for (auto& [key, value] : answer_.items()) out[key] = std::move(value);
        Json& list = out["choices"] = Json::array();
        for (auto& [index, choice] : choices_) {
            if (choice.finish_reason.is_null()) {
                return fail(ErrorCode::kUpstreamProtocol, "a choice of the stream is not finished");
            }
            Json whole = {{"index", index}};
            if (!form_.finish(std::move(choice.said), whole)) return does_not_add_up();
            whole["logprobs"] = std::move(choice.logprobs);
            if (!put_others(choice.others, whole)) return does_not_add_up();
            whole["finish_reason"] = std::move(choice.finish_reason);
            list.push_back(std::move(whole));
        }
        if (!usage_.is_null()) out["usage"] = std::move(usage_);
        return dump(out);
    }

private:
    static std::unexpected<Error> does_not_add_up() {
        return fail(ErrorCode::kUpstreamProtocol, "the chunks do not add up");
    }

    [[nodiscard]] bool add_choice(const Json& from) {
        Choice& choice = choices_[index_of(from)];
        for (const auto& [key, value] : from.items()) {
            if (key == "index") continue;
            if (key == "logprobs") {
                if (!sum_.add_member(choice.logprobs, key, value, Lists::kWhole)) return false;
            } else if (key == "finish_reason") {
                if (!value.is_null() && value != "") choice.finish_reason = value;
            } else if (!form_.add(sum_, choice, key, value)) {
                return false;
            }
        }
        return true;
    }

    const ChoiceForm& form_;
    Sum sum_;
    Json answer_ = Json::object();
    Json usage_;
    std::map<std::int64_t, Choice> choices_;
};

}  // namespace

std::int64_t index_of(const Json& item) {
    const auto index = item.find("index");
    const bool given = index != item.end() && index->is_number_integer();
    return given ? index->get<std::int64_t>() : 0;
}

Result<std::string> chunks_to_json(
    const ChoiceForm& form, const std::vector<std::string_view>& blocks
) {
    Chunks chunks(form);
    for (const std::string_view block : blocks) {
        const SseEvent event = parse_event(block);
        if (event.event == "error") {
            return fail(ErrorCode::kUpstreamStatus, "the stream carries an error");
        }
        if (!event.has_data) continue;
        if (event.data.starts_with("[DONE]")) break;
        const std::optional<Json> chunk = parse_object(event.data);
        if (!chunk) return fail(ErrorCode::kUpstreamProtocol, "a chunk is not a JSON object");
        if (Result<> added = chunks.add(*chunk); !added) return std::unexpected(added.error());
    }
    return std::move(chunks).finish();
}

Result<std::vector<std::string>> json_to_chunks(
    const ChoiceForm& form, std::string_view json, bool include_usage
) {
    std::optional<Json> answer = parse_object(json);
    if (!answer || !answer->contains("choices") || !(*answer)["choices"].is_array() ||
        (*answer)["choices"].empty()) {
        return fail(ErrorCode::kUpstreamProtocol, "the answer has no choices");
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
            common[key] = form.chunk_object;
        } else {
            (one_of(kEverywhere, key) ? common : once)[key] = std::move(value);
        }
    }
    common["object"] = form.chunk_object;

    Blocks blocks(json.size());
    const auto put = [&](Json choice) {
        if (blocks.full()) return;
        Json chunk = common;
        if (blocks.size() == 0) chunk.update(once);
        chunk["choices"] = Json::array({std::move(choice)});
        if (include_usage) chunk["usage"] = nullptr;
        blocks.put(block_of(chunk));
    };
    std::int64_t place = 0;
    for (Json& choice : (*answer)["choices"]) {
        if (!choice.is_object()) {
            return fail(ErrorCode::kUpstreamProtocol, "a choice is not an object");
        }
        const std::int64_t index = choice.contains("index") ? index_of(choice) : place;
        ++place;
        Json first = {{"index", index}};
        Json last = {{"index", index}};
        if (!form.split(choice, first, last)) {
            return fail(ErrorCode::kUpstreamProtocol, "a choice says nothing");
        }
        Json reason =
            choice.contains("finish_reason") ? std::move(choice["finish_reason"]) : Json();
        choice.erase("index");
        choice.erase("finish_reason");
        if (!put_others(choice, first)) {
            return fail(ErrorCode::kUpstreamProtocol, "a choice is of a stream");
        }
        first["finish_reason"] = nullptr;
        put(std::move(first));
        last["logprobs"] = nullptr;
        last["finish_reason"] = std::move(reason);
        put(std::move(last));
    }
    if (include_usage && !usage.is_null()) {
        Json chunk = common;
        chunk["choices"] = Json::array();
        chunk["usage"] = std::move(usage);
        blocks.put(block_of(chunk));
    }
    blocks.put("data: [DONE]\n\n");
    return std::move(blocks).take();
}

}  // namespace weir::http::crossing
