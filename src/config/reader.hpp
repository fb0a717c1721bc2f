// Reads typed values out of the tree and collects what is wrong with them. Private to the room.
// Nothing here throws or stops at the first fault: each read writes its result only if it was
// right, and goes on.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weir/config/load.hpp"

#include "document.hpp"

namespace weir::config {

// `text` in backticks for a message: control bytes as \xNN, at most 60 characters.
[[nodiscard]] std::string quoted(std::string_view text);

// A key that nobody knows, for a message: up to its first `:`, in backticks. Behind the `:` may be
// a secret whose blank is missing, and a secret may stand where a key should: what does not look
// like a plain key is not shown, nullopt.
[[nodiscard]] std::optional<std::string> shown_key(std::string_view text);
inline constexpr std::string_view kHiddenKey =
    "a key that is not shown, since it may hold a secret";
// A name that people choose (of a plan or model), for a message; `instead` if it looks like a
// secret.
[[nodiscard]] std::string shown_name(std::string_view text, std::string_view instead);

// A value with its variables replaced.
struct Value {
    std::string text;
    std::string shown;      // for messages: as written in the file, so never what a variable held
    bool replaced = false;  // whether a variable or a file is in it
};

// The faults of one file, and how values are read. Lives as long as one load.
class Reader {
public:
    Reader(std::string file, const Sources& sources) : file_(std::move(file)), sources_(sources) {}

    void fault(const Node& at, std::string message, std::string hint = {});
    // A single value; a list, a map or nothing is a fault that calls it `label` and says what was
    // `expected`.
    [[nodiscard]] std::optional<Value> value(
        const Node& node, std::string_view label, std::string_view expected
    );
    // As value(), for what must never be shown.
    [[nodiscard]] std::optional<std::string> secret(const Node& node, std::string_view label);
    [[nodiscard]] std::optional<std::int64_t> number(
        const Node& node, std::string_view label, std::int64_t least, std::int64_t most
    );
    // A name people give: 1 to 128 bytes of printable text.
    [[nodiscard]] std::optional<Value> name(const Node& node, std::string_view label);
    // One pattern or a list of them; `empty` tells whether the list may be empty. Whether all are
    // right; a fault is told.
    bool patterns(
        const Node& node, std::string_view label, std::vector<std::string>& out, bool may_be_empty
    );
    // Whether `node` is a list, and the fault if not.
    [[nodiscard]] bool is_list(const Node& node, std::string_view label, std::string_view expected);

    // Blacked out in all messages, whatever went wrong elsewhere.
    void remember_secret(std::string text) { secrets_.push_back(std::move(text)); }
    [[nodiscard]] const Sources& sources() const noexcept { return sources_; }
    [[nodiscard]] bool clean() const noexcept { return faults_.empty(); }
    [[nodiscard]] std::size_t faults() const noexcept { return faults_.size(); }
    // By place, each told once, at most kMostFaults.
    [[nodiscard]] std::vector<Fault> take_faults();

private:
    std::string file_;
    const Sources& sources_;
    std::vector<Fault> faults_;
    std::vector<std::string> secrets_;
};

inline constexpr std::size_t kMostFaults = 100;

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;

template <class T>
struct Choice {
    std::string_view word;
    T value;
};

// One map of the file. Ask for each key that exists, then call finish(), which tells the unknown
// and repeated ones.
class Section {
public:
    // `prefix` goes before key names in messages: "limits." or "".
    Section(Reader& reader, const Node& node, std::string_view what, std::string_view prefix);

    [[nodiscard]] const Node& node() const noexcept { return node_; }
    // The value of `key`, or nullptr.
    [[nodiscard]] const Node* find(std::string_view key);
    // A key that the design has and this version does not.
    // Returns whether it is there.
    bool later(std::string_view key, std::string_view instead = {});
    void finish();
    [[nodiscard]] std::string label(std::string_view key) const {
        return prefix_ + std::string(key);
    }

    // Whether it is right or left out; a fault is told.
    bool size(std::string_view key, std::uint64_t& out, std::uint64_t least, std::uint64_t most);
    template <class Duration>
    void duration(std::string_view key, Duration& out, Duration least, Duration most) {
        if (const auto span = duration_in(key, least, most)) {
            out = std::chrono::duration_cast<Duration>(*span);
        }
    }
    void flag(std::string_view key, bool& out);
    template <std::integral T>
    void number(std::string_view key, T& out, std::int64_t least, std::int64_t most) {
        if (const auto number = number_in(key, least, most)) out = static_cast<T>(*number);
    }
    // `later` are words that a later version will know, `instead` is what to write today.
    template <class T>
    void choice(
        std::string_view key,
        T& out,
        std::initializer_list<Choice<T>> choices,
        std::initializer_list<std::string_view> later = {},
        std::string_view instead = {}
    ) {
        std::vector<std::string_view> words;
        for (const Choice<T>& one : choices) words.push_back(one.word);
        const auto index = choice_of(key, words, {later.begin(), later.size()}, instead);
        if (index) out = (choices.begin() + *index)->value;
    }

private:
    [[nodiscard]] std::optional<std::chrono::microseconds> duration_in(
        std::string_view key, std::chrono::microseconds least, std::chrono::microseconds most
    );
    [[nodiscard]] std::optional<std::int64_t> number_in(
        std::string_view key, std::int64_t least, std::int64_t most
    );
    [[nodiscard]] std::optional<std::size_t> choice_of(
        std::string_view key,
        std::span<const std::string_view> words,
        std::span<const std::string_view> later,
        std::string_view instead
    );

    Reader& reader_;
    const Node& node_;
    std::string what_;
    std::string prefix_;
    std::vector<std::string> known_;
    std::vector<std::string> later_;
};

// The entries of a map whose keys are names (models, plans): each name with its value; repeated
// and unreadable names are faults and left out.
struct Named {
    std::string name;
    const Node* key = nullptr;
    const Node* value = nullptr;
};
[[nodiscard]] std::vector<Named> named_entries(
    Reader& reader, const Node& node, std::string_view label, std::string_view expected
);

// " (did you mean `x`?)"-style hint for `word`, or nothing.
[[nodiscard]] std::string did_you_mean(
    std::string_view word, std::span<const std::string> candidates
);

}  // namespace weir::config
