// Is an answer whole? Watches an answer as it passes and says at its end what it was. Pure; the
// parser's memory is the thread's own.
//
// A stream is whole when every choice has finished and the API's own terminal came ([DONE];
// response.completed or .incomplete for responses; message_stop behind a stop_reason for messages).
// JSON is whole when it parses and has no error
// member. What is whole may still not be worth keeping; docs/cache.md has the list.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/http/api.hpp"

namespace weir::http {

enum class Ending : std::uint8_t {
    kWhole,         // complete; may be cached
    kWholeNoCache,  // complete for the client, but not to be kept: no [DONE] though all choices
                    // finished; [DONE] with fewer choices than asked for; finish_reason length that
                    // the client did not set a limit for, content_filter or one we do not know (of
                    // messages: refusal, pause_turn, ...); response.failed; a chunk that is not
                    // JSON; a last line without its blank line
    kBroken,        // ended too early: the client must see an error
    kError,         // carries an error event or object of the upstream
};

// The tokens that an answer took, as its upstream says.
struct Usage {
    std::uint64_t input = 0;
    std::uint64_t cached_input = 0;  // the part of `input` that the upstream had in its cache
    std::uint64_t output = 0;

    [[nodiscard]] std::uint64_t total() const noexcept { return input + output; }
    friend bool operator==(const Usage&, const Usage&) = default;
};

// One per answer. `choices`: how many choices the request asked for; `limit_set`: the client set an
// output limit itself.
class StreamWatch {
public:
    StreamWatch(Shape shape, std::uint64_t choices, bool limit_set);
    // One whole block of the stream. Returns false for a chunk that only carries usage (choices: []
    // and a usage object), so that it can be taken out for clients that did not ask.
    bool see(std::string_view block);
    // The stream ended cleanly at the HTTP level; `rest` is what stood behind the last whole block.
    [[nodiscard]] Ending end(std::string_view rest);
    // The terminal was seen: nothing more will come, an HTTP error behind it does not matter.
    [[nodiscard]] bool terminal_seen() const noexcept { return terminal_; }
    // What the stream has said so far of the tokens that it took: the last usage object counts, in
    // OpenAI's spellings or in Anthropic's (there the input of message_start and the output of
    // message_delta). A usage that only has a total is all input. Numbers that are negative, not
    // whole or over 2^40 are as absent. nullopt: nothing yet, or ever: not all upstreams tell.
    [[nodiscard]] const std::optional<Usage>& usage() const noexcept { return usage_; }

private:
    void see_choices(std::string_view json, bool& usage_only);
    [[nodiscard]] bool is_like_last(std::string_view json) const noexcept;
    void remember(std::string_view json);
    void see_response(std::string_view json, std::string_view event);
    void see_message(std::string_view json, std::string_view event);
    void see_other(std::string_view json, std::string_view event);
    void finish(std::uint64_t index, std::string_view reason);
    void note(const std::optional<Usage>& usage) noexcept;
    void note_totals(Usage usage) noexcept;
    [[nodiscard]] bool choices_done() const noexcept;
    [[nodiscard]] Ending judge() const noexcept;

    Shape shape_;
    std::uint64_t choices_;
    bool limit_set_;
    std::vector<std::uint64_t> begun_;     // choice indexes seen, a bit each
    std::vector<std::uint64_t> finished_;  // and finished
    std::uint64_t finished_count_ = 0;
    bool any_ = false;             // some event had data
    bool bad_chunk_ = false;       // one whose data was not JSON
    bool needs_terminal_ = false;  // kOther: it began as a stream whose terminal we know
    bool stopped_ = false;         // kMessage: its stop_reason came
    bool terminal_ = false;
    bool error_ = false;
    bool no_cache_ = false;
    std::optional<Usage> usage_;
    // A chunk that did not end its choice, up to its text and from the quote behind it. What
    // differs from it in nothing but the text says the same; to see that takes a tenth of looking.
    std::string front_;
    std::string back_;
};

// Does JSON end where it should? Counts brackets outside of strings, for an answer that is too long
// to be kept and parsed and whose end is the end of its connection: a cut is seen wherever it is.
class JsonBalance {
public:
    void see(std::string_view part) noexcept;
    [[nodiscard]] bool closed() const noexcept { return begun_ && depth_ == 0 && !in_string_; }

private:
    std::uint64_t depth_ = 0;
    bool begun_ = false;
    bool in_string_ = false;
    bool escaped_ = false;
};

// `body` is the whole answer, status 200. `usage`: set to what the answer says of its tokens, as
// StreamWatch::usage(); nullopt also where the body is not JSON.
[[nodiscard]] Ending judge_json(
    Shape shape, std::string_view body, bool limit_set, std::optional<Usage>* usage = nullptr
);

}  // namespace weir::http
