#include "weir/http/answer.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>
#include <simdjson.h>

#include "weir/http/sse.hpp"

#include "usage.hpp"

namespace weir::http {
namespace {

namespace dom = simdjson::dom;

// Choice indexes past this are not ours to track; no API gives so many.
constexpr std::uint64_t kMaxIndex = 4096;
// What a thread keeps for the next event.
constexpr std::size_t kKeepBytes = std::size_t{1} << 20;

// Parses one text at a time; the result lives until the next call on this thread.
class EventParser {
public:
    simdjson::error_code parse(std::string_view json, dom::element& out) {
        if (parser_.capacity() > kKeepBytes && json.size() <= kKeepBytes) {
            parser_ = dom::parser();
            std::string().swap(padded_);
        }
        padded_.reserve(json.size() + simdjson::SIMDJSON_PADDING);
        padded_.assign(json);
        return parser_.parse(padded_.data(), padded_.size(), false).get(out);
    }

private:
    dom::parser parser_;
    std::string padded_;
};

EventParser& event_parser() {
    static thread_local EventParser parser;
    return parser;
}

std::string_view text_at(dom::element json, std::string_view key) noexcept {
    std::string_view text;
    if (json[key].get(text) != simdjson::SUCCESS) return {};
    return text;
}

bool holds_error(dom::element json) noexcept {
    dom::element error;
    return json["error"].get(error) == simdjson::SUCCESS && !error.is_null();
}

// Whether an answer that ended for this reason may be kept. Unknown reasons (vendors have "error",
// "abort", "sensitive" and the like) may not.
bool keeps(std::string_view reason, bool length_is_whole) noexcept {
    if (reason == "length") return length_is_whole;
    return reason == "stop" || reason == "tool_calls" || reason == "function_call";
}

// The same of a message's stop_reason. Not refusal, nor pause_turn, after which the client is to
// ask for the rest.
bool keeps_message(std::string_view reason, bool limit_set) noexcept {
    if (reason == "max_tokens") return limit_set;
    return reason == "end_turn" || reason == "tool_use" || reason == "stop_sequence";
}

// A Responses API answer that ended as `incomplete`: by the client's own limit, or otherwise?
bool keeps_incomplete(dom::element response, bool limit_set) noexcept {
    dom::element details;
    if (response["incomplete_details"].get(details) != simdjson::SUCCESS) return false;
    return limit_set && text_at(details, "reason") == "max_output_tokens";
}

// The data of a block in the form that nearly all have: one line "data: ...", then a blank line.
std::optional<std::string_view> plain_data(std::string_view block) noexcept {
    if (!block.starts_with("data:") || !block.ends_with("\n\n")) return std::nullopt;
    block.remove_suffix(2);
    block.remove_prefix(5);
    if (block.starts_with(' ')) block.remove_prefix(1);
    if (std::memchr(block.data(), '\n', block.size()) != nullptr) return std::nullopt;
    if (std::memchr(block.data(), '\r', block.size()) != nullptr) return std::nullopt;
    return block;
}

// Nearly all blocks of a streamed message, in the form that all have: two lines, then a blank one.
bool is_piece_of_message(std::string_view block) noexcept {
    constexpr std::string_view kBegin = "event: content_block_delta\ndata: {";
    if (!block.starts_with(kBegin) || !block.ends_with("}\n\n")) return false;
    block.remove_prefix(kBegin.size());
    block.remove_suffix(2);
    return std::memchr(block.data(), '\n', block.size()) == nullptr &&
           std::memchr(block.data(), '\r', block.size()) == nullptr;
}

bool contains(std::string_view text, std::string_view what) noexcept {
    return ::memmem(text.data(), text.size(), what.data(), what.size()) != nullptr;
}

// Whether a member "usage" is there that is more than OpenAI's `"usage":null` in each chunk. May
// say so of what is none, as all cheap looks here.
bool may_tell_usage(std::string_view json) noexcept {
    constexpr std::string_view kUsage = "\"usage\"";
    while (true) {
        const void* found = ::memmem(json.data(), json.size(), kUsage.data(), kUsage.size());
        if (found == nullptr) return false;
        const auto at = static_cast<std::size_t>(static_cast<const char*>(found) - json.data());
        json.remove_prefix(at + kUsage.size());
        if (!json.starts_with(":null") && !json.starts_with(": null")) return true;
    }
}

// The cheap look: a chunk of one choice with index 0 that has not finished, and nothing else that
// matters. In valid JSON `"finish_reason":` cannot stand inside a string (its quotes would have
// backslashes), an escaped key would need `\u00`, and `"choices":[{"index":0,` at a place of its
// own is a member. Whatever does not look exactly so is parsed.
bool surely_unfinished(std::string_view json) noexcept {
    constexpr std::string_view kReason = "\"finish_reason\":";
    constexpr std::string_view kChoice = "\"choices\":[{\"index\":0,";
    if (!json.starts_with('{') || !json.ends_with('}')) return false;
    const void* found = ::memmem(json.data(), json.size(), kReason.data(), kReason.size());
    if (found == nullptr) return false;
    const auto at = static_cast<std::size_t>(static_cast<const char*>(found) - json.data());
    const std::string_view behind = json.substr(at + kReason.size());
    if (!behind.starts_with("null")) return false;
    if (contains(behind, "finish_reason") || contains(behind, "\"index\"")) return false;
    if (!contains(json.substr(0, at), kChoice)) return false;
    if (contains(json, "\"error\"") || contains(json, "\\u00")) return false;
    return !may_tell_usage(json);
}

bool set_bit(std::vector<std::uint64_t>& bits, std::uint64_t index) {
    const std::size_t word = index / 64;
    if (bits.size() <= word) bits.resize(word + 1);
    const std::uint64_t bit = std::uint64_t{1} << (index % 64);
    if ((bits[word] & bit) != 0) return false;
    bits[word] |= bit;
    return true;
}

}  // namespace

StreamWatch::StreamWatch(Shape shape, std::uint64_t choices, bool limit_set)
    : shape_(shape), choices_(choices), limit_set_(limit_set) {}

bool StreamWatch::see(std::string_view block) {
    // Nothing behind a terminal changes what the answer was. The other shapes have terminals that
    // may come once per part of the answer.
    if (terminal_ && shape_ != Shape::kOther) return true;
    if (shape_ == Shape::kMessage && is_piece_of_message(block)) {
        any_ = true;
        return true;
    }
    SseEvent parsed;
    std::string_view json;
    if (const auto plain = plain_data(block)) {
        json = *plain;
    } else {
        parsed = parse_event(block);
        if (parsed.event == "error") error_ = true;
        if (!parsed.has_data) return true;
        json = parsed.data;
    }
    any_ = true;
    if (json.starts_with("[DONE]")) {
        if (shape_ != Shape::kResponse && shape_ != Shape::kMessage) terminal_ = true;
        return true;
    }
    bool usage_only = false;
    switch (shape_) {
        case Shape::kChat:
        case Shape::kCompletion:
            see_choices(json, usage_only);
            break;
        case Shape::kResponse:
            see_response(json, parsed.event);
            break;
        case Shape::kMessage:
            see_message(json, parsed.event);
            break;
        case Shape::kEmbedding:
        case Shape::kOther:
            see_other(json, parsed.event);
            break;
    }
    return !usage_only;
}

bool StreamWatch::is_like_last(std::string_view json) const noexcept {
    if (front_.empty() || json.size() < front_.size() + back_.size()) return false;
    if (!json.starts_with(front_) || !json.ends_with(back_)) return false;
    json.remove_prefix(front_.size());
    json.remove_suffix(back_.size());
    // A quote would end the text before its time, a backslash might make text of the quote.
    return std::memchr(json.data(), '"', json.size()) == nullptr &&
           std::memchr(json.data(), '\\', json.size()) == nullptr;
}

// REQUIRES: surely_unfinished().
void StreamWatch::remember(std::string_view json) {
    for (const std::string_view name : {"\"content\":", "\"text\":"}) {
        const std::size_t member = json.find(name);
        if (member == std::string_view::npos) continue;
        std::size_t begin = member + name.size();
        if (begin < json.size() && json[begin] == ' ') ++begin;
        if (begin >= json.size() || json[begin] != '"') continue;
        ++begin;
        const std::size_t end = json.find_first_of("\"\\", begin);
        if (end == std::string_view::npos || json[end] != '"') continue;
        front_ = json.substr(0, begin);
        back_ = json.substr(end);
        return;
    }
}

void StreamWatch::see_choices(std::string_view json, bool& usage_only) {
    if (is_like_last(json)) return;
    if (surely_unfinished(json)) {
        set_bit(begun_, 0);
        remember(json);
        return;
    }
    dom::element chunk;
    if (event_parser().parse(json, chunk) != simdjson::SUCCESS || !chunk.is_object()) {
        bad_chunk_ = no_cache_ = true;
        return;
    }
    if (holds_error(chunk)) error_ = true;
    note(usage_at(chunk));
    dom::array choices;
    if (chunk["choices"].get(choices) != simdjson::SUCCESS) return;
    if (choices.size() == 0) usage_only = chunk["usage"].is_object();
    for (const dom::element choice : choices) {
        std::uint64_t index = 0;
        if (choice["index"].get(index) != simdjson::SUCCESS) index = 0;
        if (index > kMaxIndex) {
            no_cache_ = true;
            continue;
        }
        set_bit(begun_, index);
        // Some vendors send "" where OpenAI sends null.
        const std::string_view reason = text_at(choice, "finish_reason");
        if (!reason.empty()) finish(index, reason);
    }
}

void StreamWatch::note(const std::optional<Usage>& usage) noexcept {
    if (usage) usage_ = usage;
}

void StreamWatch::finish(std::uint64_t index, std::string_view reason) {
    if (set_bit(finished_, index)) ++finished_count_;
    // Completions have a default limit of 16 tokens, so there `length` is what was asked for.
    if (!keeps(reason, limit_set_ || shape_ == Shape::kCompletion)) no_cache_ = true;
}

void StreamWatch::see_response(std::string_view json, std::string_view event) {
    if (event.ends_with(".delta") && json.starts_with('{') && json.ends_with('}')) return;
    dom::element data;
    if (event_parser().parse(json, data) != simdjson::SUCCESS || !data.is_object()) {
        bad_chunk_ = no_cache_ = true;
        return;
    }
    std::string_view type = text_at(data, "type");
    if (type.empty()) type = event;
    if (const auto response = object_at(data, "response")) note(usage_at(*response));
    if (type == "response.completed") {
        terminal_ = true;
    } else if (type == "response.incomplete") {
        terminal_ = true;
        dom::element response;
        const bool named = data["response"].get(response) == simdjson::SUCCESS;
        if (!named || !keeps_incomplete(response, limit_set_)) no_cache_ = true;
    } else if (type == "response.failed" || type == "response.cancelled") {
        terminal_ = no_cache_ = true;
    } else if (type == "error" || (type.empty() && holds_error(data))) {
        error_ = true;
    }
}

void StreamWatch::see_message(std::string_view json, std::string_view event) {
    if (event == "content_block_delta" && json.starts_with('{') && json.ends_with('}')) return;
    dom::element data;
    if (event_parser().parse(json, data) != simdjson::SUCCESS || !data.is_object()) {
        bad_chunk_ = no_cache_ = true;
        return;
    }
    std::string_view type = text_at(data, "type");
    if (type.empty()) type = event;
    if (type == "message_start") {
        if (const auto message = object_at(data, "message")) note(usage_at(*message));
    } else if (type == "message_delta") {
        if (const auto usage = usage_at(data)) note_totals(*usage);
        const auto delta = object_at(data, "delta");
        const std::string_view reason = delta ? text_at(*delta, "stop_reason") : "";
        if (reason.empty()) return;
        stopped_ = true;
        if (!keeps_message(reason, limit_set_)) no_cache_ = true;
    } else if (type == "message_stop") {
        terminal_ = true;
        if (!stopped_) no_cache_ = true;
    } else if (type == "error" || (type.empty() && holds_error(data))) {
        error_ = true;
    }
}

// The counts of a message_delta are running totals of the message, but need not repeat those of its
// start.
void StreamWatch::note_totals(Usage usage) noexcept {
    if (usage_) {
        if (usage.input < usage_->input) {
            usage.input = usage_->input;
            usage.cached_input = usage_->cached_input;
        }
        usage.output = std::max(usage.output, usage_->output);
    }
    usage_ = usage;
}

void StreamWatch::see_other(std::string_view json, std::string_view event) {
    dom::element data;
    if (event_parser().parse(json, data) != simdjson::SUCCESS || !data.is_object()) {
        bad_chunk_ = no_cache_ = true;
        return;
    }
    std::string_view type = text_at(data, "type");
    if (type.empty()) type = event;
    if (type == "error" || holds_error(data)) error_ = true;
    note(usage_at(data));
    if (type == "speech.audio.done" || type == "transcript.text.done") terminal_ = true;
    // One per picture.
    if (type == "image_generation.completed" || type == "image_edit.completed") {
        ++finished_count_;
        if (finished_count_ >= choices_) terminal_ = true;
    }
    if (type.starts_with("image_")) needs_terminal_ = true;
}

bool StreamWatch::choices_done() const noexcept {
    return finished_count_ > 0 && begun_ == finished_;
}

Ending StreamWatch::judge() const noexcept {
    if (error_) return Ending::kError;
    const Ending whole = no_cache_ ? Ending::kWholeNoCache : Ending::kWhole;
    switch (shape_) {
        case Shape::kChat:
        case Shape::kCompletion: {
            if (!choices_done()) return Ending::kBroken;
            const bool all = finished_count_ >= choices_;
            // Servers that know no `n` give one choice and [DONE].
            if (terminal_) return all ? whole : Ending::kWholeNoCache;
            return all ? Ending::kWholeNoCache : Ending::kBroken;
        }
        case Shape::kResponse:
        case Shape::kMessage:
            return terminal_ ? whole : Ending::kBroken;
        case Shape::kEmbedding:
        case Shape::kOther:
            break;
    }
    if (terminal_) return whole;
    return needs_terminal_ || !any_ ? Ending::kBroken : Ending::kWholeNoCache;
}

Ending StreamWatch::end(std::string_view rest) {
    const bool blank = rest.find_first_not_of("\r\n \t") == std::string_view::npos;
    if (blank) return judge();
    // A last event without its blank line, or a piece of one.
    StreamWatch last = *this;
    last.bad_chunk_ = false;
    last.see(rest);
    last.no_cache_ = true;
    note(last.usage_);
    if (last.bad_chunk_ && !last.terminal_ && !last.error_) return Ending::kBroken;
    return last.judge();
}

void JsonBalance::see(std::string_view part) noexcept {
    for (const char c : part) {
        if (escaped_) {
            escaped_ = false;
        } else if (in_string_) {
            if (c == '\\') escaped_ = true;
            if (c == '"') in_string_ = false;
        } else if (c == '"') {
            in_string_ = true;
        } else if (c == '{' || c == '[') {
            begun_ = true;
            ++depth_;
        } else if ((c == '}' || c == ']') && depth_ > 0) {
            --depth_;
        }
    }
}

Ending judge_json(Shape shape, std::string_view body, bool limit_set, std::optional<Usage>* usage) {
    if (usage != nullptr) usage->reset();
    dom::element answer;
    const simdjson::error_code parsed = event_parser().parse(body, answer);
    // simdjson says the same of a bad number and of an integer over 64 bits, which is JSON. Such an
    // answer is whole, but not judged further.
    if (parsed == simdjson::NUMBER_ERROR && nlohmann::json::accept(body)) {
        return Ending::kWholeNoCache;
    }
    if (parsed != simdjson::SUCCESS) return Ending::kBroken;
    if (!answer.is_object()) return Ending::kWholeNoCache;
    if (usage != nullptr) *usage = usage_at(answer);
    if (shape == Shape::kResponse) {
        const std::string_view status = text_at(answer, "status");
        if (status == "completed") {
            return holds_error(answer) ? Ending::kError : Ending::kWhole;
        }
        if (status == "incomplete" && keeps_incomplete(answer, limit_set)) return Ending::kWhole;
        // failed, cancelled, queued, in_progress: whole as an answer, but not the final one.
        if (!status.empty()) return Ending::kWholeNoCache;
    }
    if (holds_error(answer)) return Ending::kError;
    if (shape == Shape::kResponse) return Ending::kWholeNoCache;
    if (shape == Shape::kMessage) {
        const bool kept = keeps_message(text_at(answer, "stop_reason"), limit_set);
        return kept ? Ending::kWhole : Ending::kWholeNoCache;
    }
    if (shape == Shape::kEmbedding) {
        dom::array data;
        const bool some = answer["data"].get(data) == simdjson::SUCCESS && data.size() > 0;
        return some ? Ending::kWhole : Ending::kWholeNoCache;
    }
    if (shape != Shape::kChat && shape != Shape::kCompletion) return Ending::kWhole;
    dom::array choices;
    if (answer["choices"].get(choices) != simdjson::SUCCESS || choices.size() == 0) {
        return Ending::kWholeNoCache;
    }
    const bool length_is_whole = limit_set || shape == Shape::kCompletion;
    for (const dom::element choice : choices) {
        if (!keeps(text_at(choice, "finish_reason"), length_is_whole)) return Ending::kWholeNoCache;
    }
    return Ending::kWhole;
}

}  // namespace weir::http
