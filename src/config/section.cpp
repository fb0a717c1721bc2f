#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "weir/base/text.hpp"

#include "reader.hpp"

namespace weir::config {

namespace {

std::string span_text(std::chrono::microseconds span) {
    return span.count() == 0 ? "0s" : human_duration(span);
}

}  // namespace

Section::Section(Reader& reader, const Node& node, std::string_view what, std::string_view prefix)
    : reader_(reader), node_(node), what_(what), prefix_(prefix) {
    if (node.kind == Node::Kind::kMap) return;
    reader.fault(
        node,
        fmt::format("{}: expected a map of keys and values, found {}", what, kind_name(node.kind)),
        node.kind == Node::Kind::kEmpty ? "fill it in, or remove it" : ""
    );
}

const Node* Section::find(std::string_view key) {
    known_.emplace_back(key);
    for (const Node::Entry& entry : node_.entries) {
        if (entry.key->kind == Node::Kind::kScalar && entry.key->text == key) {
            return entry.value.get();
        }
    }
    return nullptr;
}

bool Section::later(std::string_view key, std::string_view instead) {
    later_.emplace_back(key);
    for (const Node::Entry& entry : node_.entries) {
        if (entry.key->kind == Node::Kind::kScalar && entry.key->text == key) {
            reader_.fault(
                *entry.key,
                fmt::format("`{}` is not yet supported", label(key)),
                std::string(instead)
            );
            return true;
        }
    }
    return false;
}

void Section::finish() {
    std::map<std::string_view, const Node*> seen;
    for (const Node::Entry& entry : node_.entries) {
        const Node& key = *entry.key;
        if (key.kind != Node::Kind::kScalar) {
            reader_.fault(key, fmt::format("a key is a word, found {}", kind_name(key.kind)));
            continue;
        }
        const std::optional<std::string> shown = shown_key(key.text);
        const auto [first, fresh] = seen.emplace(key.text, &key);
        if (!fresh) {
            reader_.fault(
                key,
                fmt::format(
                    "{} stands twice; first on line {}",
                    shown ? "the key " + *shown : std::string(kHiddenKey),
                    first->second->line
                )
            );
            continue;
        }
        if (std::ranges::find(known_, key.text) != known_.end()) continue;
        if (std::ranges::find(later_, key.text) != later_.end()) continue;
        const bool no_blank =
            key.text.find(':') != std::string::npos && entry.value->kind == Node::Kind::kEmpty;
        std::string hint;
        if (key.text == "<<") {
            hint = "YAML merge keys are not supported";
        } else if (key.text.find("${") != std::string::npos) {
            hint = "variables are replaced in values only";
        } else if (no_blank) {
            hint = "put a blank behind the `:`";
        } else {
            hint = did_you_mean(key.text, known_);
            if (hint.empty()) {
                hint = did_you_mean(key.text, later_);
                if (!hint.empty()) hint += " It is not yet supported";
            }
            if (hint.empty()) hint = fmt::format("known here: {}", fmt::join(known_, ", "));
        }
        std::string message;
        if (!shown) {
            message = fmt::format("unknown in {}: {}", what_, kHiddenKey);
        } else if (no_blank) {
            message = fmt::format("the key {} in {} has no blank behind its `:`", *shown, what_);
        } else {
            message = fmt::format("unknown key {} in {}", *shown, what_);
        }
        reader_.fault(key, std::move(message), std::move(hint));
    }
}

bool Section::size(
    std::string_view key, std::uint64_t& out, std::uint64_t least, std::uint64_t most
) {
    const Node* const node = find(key);
    if (node == nullptr) return true;
    const auto value = reader_.value(*node, label(key), "a size such as 64KiB");
    if (!value) return false;
    const auto bytes = parse_size(value->text);
    if (!bytes) {
        reader_.fault(
            *node,
            fmt::format(
                "`{}`: expected a size such as 512, 64KiB or 1.5GiB, found {}",
                label(key),
                value->shown
            ),
            !value->text.empty() && value->text.front() >= '0' && value->text.front() <= '9'
                ? "units are B, KB, MB, GB, KiB, MiB, GiB and TiB"
                : ""
        );
    } else if (*bytes < least || *bytes > most) {
        reader_.fault(
            *node,
            fmt::format(
                "`{}` is from {} to {}, found {}",
                label(key),
                human_size(least),
                human_size(most),
                value->shown
            )
        );
    } else {
        out = *bytes;
        return true;
    }
    return false;
}

std::optional<std::chrono::microseconds> Section::duration_in(
    std::string_view key, std::chrono::microseconds least, std::chrono::microseconds most
) {
    const Node* const node = find(key);
    if (node == nullptr) return std::nullopt;
    const auto value = reader_.value(*node, label(key), "a duration such as 30s");
    if (!value) return std::nullopt;
    const auto span = parse_duration(value->text);
    if (!span) {
        const bool bare = parse_duration(value->text + "s").has_value();
        reader_.fault(
            *node,
            fmt::format(
                "`{}`: expected a duration such as 250ms, 30s, 5m or 1h30m, found {}",
                label(key),
                value->shown
            ),
            bare ? "the unit is missing: for seconds write `s` behind the number" : ""
        );
        return std::nullopt;
    }
    if (*span < least || *span > most) {
        reader_.fault(
            *node,
            fmt::format(
                "`{}` is from {} to {}, found {}",
                label(key),
                span_text(least),
                span_text(most),
                value->shown
            )
        );
        return std::nullopt;
    }
    return span;
}

std::optional<std::int64_t> Section::number_in(
    std::string_view key, std::int64_t least, std::int64_t most
) {
    const Node* const node = find(key);
    if (node == nullptr) return std::nullopt;
    return reader_.number(*node, label(key), least, most);
}

void Section::flag(std::string_view key, bool& out) {
    const Node* const node = find(key);
    if (node == nullptr) return;
    const auto value = reader_.value(*node, label(key), "true or false");
    if (!value) return;
    if (value->text == "true" || value->text == "false") {
        out = value->text == "true";
        return;
    }
    std::string hint;
    for (const std::string_view word : {"yes", "on", "True", "TRUE", "1"}) {
        if (value->text == word) hint = "write `true`";
    }
    for (const std::string_view word : {"no", "off", "False", "FALSE", "0"}) {
        if (value->text == word) hint = "write `false`";
    }
    reader_.fault(
        *node,
        fmt::format("`{}`: expected true or false, found {}", label(key), value->shown),
        std::move(hint)
    );
}

std::optional<std::size_t> Section::choice_of(
    std::string_view key,
    std::span<const std::string_view> words,
    std::span<const std::string_view> later,
    std::string_view instead
) {
    const Node* const node = find(key);
    if (node == nullptr) return std::nullopt;
    const std::string expected = fmt::format("`{}`", fmt::join(words, "`, `"));
    const auto value = reader_.value(*node, label(key), expected);
    if (!value) return std::nullopt;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (words[i] == value->text) return i;
    }
    if (std::ranges::find(later, value->text) != later.end()) {
        reader_.fault(
            *node,
            fmt::format("`{}: {}` is not yet supported", label(key), value->text),
            instead.empty() ? fmt::format("write {}", expected) : std::string(instead)
        );
        return std::nullopt;
    }
    const std::vector<std::string> candidates(words.begin(), words.end());
    reader_.fault(
        *node,
        fmt::format(
            "`{}`: expected {}{}, found {}",
            label(key),
            words.size() == 1 ? "" : "one of ",
            expected,
            value->shown
        ),
        did_you_mean(value->text, candidates)
    );
    return std::nullopt;
}

}  // namespace weir::config
