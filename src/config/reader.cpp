#include "reader.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "weir/base/text.hpp"

#include "expand.hpp"

namespace weir::config {

namespace {

constexpr std::size_t kMostShown = 60;
constexpr std::size_t kMostPatterns = 1000;
constexpr std::size_t kLongestKey = 32;

bool has_control(std::string_view text) {
    return std::ranges::any_of(text, [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < 0x20 || byte == 0x7F;
    });
}

// As OpenAI's keys, ours, and those of most others do.
bool begins_as_secret(std::string_view text) {
    return iequals(text.substr(0, 3), "sk-");
}

// Whether two neighbouring letters have changed places: the one typing error that nearest() takes
// for two.
bool is_swap(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    const auto [first, second] = std::ranges::mismatch(a, b);
    if (a.end() - first < 2) return false;
    return first[0] == second[1] && first[1] == second[0] &&
           std::equal(first + 2, a.end(), second + 2);
}

}  // namespace

std::string quoted(std::string_view text) {
    std::string out = "`";
    std::size_t shown = 0;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        // Never cut inside of a UTF-8 character.
        if (++shown > kMostShown && (byte & 0xC0) != 0x80) {
            out += "...";
            break;
        }
        if (byte < 0x20 || byte == 0x7F) {
            out += fmt::format("\\x{:02x}", byte);
        } else {
            out += c;
        }
    }
    return out + '`';
}

std::optional<std::string> shown_key(std::string_view text) {
    const auto plain = [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-';
    };
    const std::string_view key = text.substr(0, text.find(':'));
    if (text == "<<") return quoted(text);
    if (key.empty() || key.size() > kLongestKey || begins_as_secret(key) ||
        !std::ranges::all_of(key, plain)) {
        return std::nullopt;
    }
    return quoted(key);
}

std::string shown_name(std::string_view text, std::string_view instead) {
    const std::size_t colon = text.find(':');
    const bool secret = begins_as_secret(text) || (colon != std::string_view::npos &&
                                                   begins_as_secret(text.substr(colon + 1)));
    return secret ? std::string(instead) : quoted(text);
}

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
    if (word.size() > kMostShown) return {};
    const std::vector<std::string_view> views(candidates.begin(), candidates.end());
    auto near = nearest(word, views);
    for (const std::string& candidate : candidates) {
        if (is_swap(word, candidate)) near = candidate;
    }
    return near ? fmt::format("did you mean {}?", quoted(*near)) : std::string();
}

void Reader::fault(const Node& at, std::string message, std::string hint) {
    faults_.push_back({file_, at.line, at.column, std::move(message), std::move(hint)});
}

std::optional<Value> Reader::value(
    const Node& node, std::string_view label, std::string_view expected
) {
    if (node.kind != Node::Kind::kScalar) {
        fault(
            node, fmt::format("`{}`: expected {}, found {}", label, expected, kind_name(node.kind))
        );
        return std::nullopt;
    }
    if (node.folded) {
        fault(
            node,
            fmt::format("`{}`: the value goes on on the next line", label),
            "a key there needs a blank behind its `:`; else put the value on one line"
        );
        return std::nullopt;
    }
    auto expanded = expand(node.text, sources_);
    if (!expanded) {
        fault(node, std::move(expanded.error().message), std::move(expanded.error().hint));
        return std::nullopt;
    }
    Value value{std::move(expanded->text), quoted(node.text), expanded->replaced};
    if (value.replaced) value.shown = fmt::format("the value of {}", value.shown);
    return value;
}

std::optional<std::string> Reader::secret(const Node& node, std::string_view label) {
    auto found = value(node, label, "a text");
    if (!found) return std::nullopt;
    remember_secret(found->text);
    const auto visible = [](char c) { return c > ' ' && c < 0x7F; };
    if (!std::ranges::all_of(found->text, visible)) {
        // Trimming it silently would leave a wrong key that looks right.
        const bool ends =
            !found->text.empty() && (!visible(found->text.front()) || !visible(found->text.back()));
        std::string hint;
        if (found->text.starts_with("Bearer ")) {
            hint = "give the key alone, without `Bearer `";
        } else if (ends) {
            hint = "there is a blank or a line break at one of its ends";
        }
        fault(
            node, fmt::format("`{}` may only have visible ASCII characters", label), std::move(hint)
        );
        return std::nullopt;
    }
    if (found->text.size() > 8192) {
        fault(node, fmt::format("`{}` is longer than 8192 characters", label));
        return std::nullopt;
    }
    return std::move(found->text);
}

std::optional<std::int64_t> Reader::number(
    const Node& node, std::string_view label, std::int64_t least, std::int64_t most
) {
    const std::string expected = fmt::format("a whole number from {} to {}", least, most);
    const auto found = value(node, label, expected);
    if (!found) return std::nullopt;
    std::int64_t number = 0;
    const char* const end = found->text.data() + found->text.size();
    const auto [stop, error] = std::from_chars(found->text.data(), end, number);
    if (error != std::errc{} || stop != end || number < least || number > most) {
        fault(node, fmt::format("`{}`: expected {}, found {}", label, expected, found->shown));
        return std::nullopt;
    }
    return number;
}

std::optional<Value> Reader::name(const Node& node, std::string_view label) {
    auto found = value(node, label, "a name");
    if (!found) return std::nullopt;
    const std::string& text = found->text;
    if (text.empty() || text.size() > 128 || has_control(text) || trim(text) != text) {
        fault(
            node,
            fmt::format(
                "`{}`: expected a name of 1 to 128 bytes without line breaks and without blanks "
                "at its ends, found {}",
                label,
                found->shown
            )
        );
        return std::nullopt;
    }
    return found;
}

bool Reader::is_list(const Node& node, std::string_view label, std::string_view expected) {
    if (node.kind == Node::Kind::kList) return true;
    fault(node, fmt::format("`{}`: expected {}, found {}", label, expected, kind_name(node.kind)));
    return false;
}

bool Reader::patterns(
    const Node& node, std::string_view label, std::vector<std::string>& out, bool may_be_empty
) {
    const std::size_t faults = faults_.size();
    std::vector<const Node*> nodes;
    if (node.kind == Node::Kind::kList) {
        for (const NodePtr& item : node.items) nodes.push_back(item.get());
        if (nodes.empty() && !may_be_empty) {
            fault(
                node,
                fmt::format("`{}` is empty: nothing matches it", label),
                "write [\"*\"] for all"
            );
        }
        if (nodes.size() > kMostPatterns) {
            fault(node, fmt::format("`{}` has more than {} patterns", label, kMostPatterns));
            return false;
        }
    } else {
        nodes.push_back(&node);
    }
    std::vector<std::string> found;
    for (const Node* const one : nodes) {
        auto text = value(*one, label, "a model pattern such as \"gpt-*\", or a list of them");
        if (!text) continue;
        const bool several = text->text.find_first_of(" ,") != std::string::npos;
        if (text->text.empty() || text->text.size() > 256 || several || has_control(text->text)) {
            fault(
                *one,
                fmt::format("`{}`: expected a model pattern, found {}", label, text->shown),
                several ? "write several as a list: [\"gpt-*\", \"o*\"]" : ""
            );
            continue;
        }
        found.push_back(std::move(text->text));
    }
    out = std::move(found);
    return faults_.size() == faults;
}

std::vector<Fault> Reader::take_faults() {
    const auto order = [](const Fault& fault) {
        return std::tie(fault.line, fault.column, fault.message, fault.hint);
    };
    std::ranges::sort(faults_, {}, order);
    // An aliased part of the file is read once for each use.
    const auto repeated = std::ranges::unique(faults_, {}, order);
    faults_.erase(repeated.begin(), repeated.end());
    if (faults_.size() > kMostFaults) {
        const std::size_t more = faults_.size() - kMostFaults;
        faults_.resize(kMostFaults);
        faults_.push_back({file_, 0, 0, fmt::format("and {} more faults", more), ""});
    }
    for (Fault& fault : faults_) {
        fault.message = redact(fault.message, secrets_);
        fault.hint = redact(fault.hint, secrets_);
    }
    return std::move(faults_);
}

std::vector<Named> named_entries(
    Reader& reader, const Node& node, std::string_view label, std::string_view expected
) {
    std::vector<Named> found;
    if (node.kind != Node::Kind::kMap) {
        reader.fault(
            node, fmt::format("`{}`: expected {}, found {}", label, expected, kind_name(node.kind))
        );
        return found;
    }
    std::map<std::string_view, const Node*> seen;
    for (const Node::Entry& entry : node.entries) {
        const Node& key = *entry.key;
        const auto fresh = key.kind == Node::Kind::kScalar ? seen.emplace(key.text, &key)
                                                           : std::pair(seen.end(), false);
        if (key.kind != Node::Kind::kScalar || key.text.empty() || key.text.size() > 256 ||
            has_control(key.text) || trim(key.text) != key.text) {
            reader.fault(key, fmt::format("a name in `{}` is 1 to 256 bytes of text", label));
        } else if (key.text.find("${") != std::string::npos) {
            reader.fault(
                key,
                fmt::format("a `${{...}}` as a name in `{}`", label),
                "variables are replaced in values only"
            );
        } else if (!fresh.second) {
            reader.fault(
                key,
                fmt::format(
                    "{} stands twice in `{}`; first on line {}",
                    shown_name(key.text, "a name"),
                    label,
                    fresh.first->second->line
                )
            );
        } else {
            found.push_back({key.text, &key, entry.value.get()});
        }
    }
    return found;
}

}  // namespace weir::config
