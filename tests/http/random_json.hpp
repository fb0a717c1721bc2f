// Random JSON documents for property tests: a tree that keeps numbers as text, and a writer that
// can say the same tree in many ways.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weir/base/text.hpp"

namespace weir::test {

// Seeded by WEIR_TEST_SEED or at random; the seed is printed, so that a failure can be run again.
class Random {
public:
    explicit Random(std::string_view test) {
        const char* given = std::getenv("WEIR_TEST_SEED");
        const std::uint64_t seed =
            given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
        std::cout << test << ": WEIR_TEST_SEED=" << seed << '\n';
        engine_.seed(seed);
    }
    // 0 <= result < bound
    std::size_t below(std::size_t bound) {
        return std::uniform_int_distribution<std::size_t>(0, bound - 1)(engine_);
    }
    bool one_in(std::size_t n) { return below(n) == 0; }
    template <class List>
    auto pick(const List& list) {
        return list[below(std::size(list))];
    }
    std::mt19937_64& engine() { return engine_; }

private:
    std::mt19937_64 engine_;
};

struct Node {
    enum class Kind : std::uint8_t { kObject, kArray, kString, kNumber, kWord };
    Kind kind = Kind::kWord;
    std::string text = "null";  // decoded string, number or word
    std::vector<Node> items;
    std::vector<std::pair<std::string, Node>> members;

    friend bool operator==(const Node&, const Node&) = default;

    static Node word(std::string text) { return {Kind::kWord, std::move(text), {}, {}}; }
    static Node number(std::string text) { return {Kind::kNumber, std::move(text), {}, {}}; }
    static Node string(std::string text) { return {Kind::kString, std::move(text), {}, {}}; }
    static Node array(std::vector<Node> items) { return {Kind::kArray, "", std::move(items), {}}; }
    static Node object(std::vector<std::pair<std::string, Node>> members) {
        return {Kind::kObject, "", {}, std::move(members)};
    }
    [[nodiscard]] Node sorted() const {
        Node out = *this;
        for (Node& item : out.items) item = item.sorted();
        for (auto& [key, value] : out.members) value = value.sorted();
        std::ranges::sort(out.members, [](const auto& a, const auto& b) {
            return a.first < b.first;
        });
        return out;
    }
};

inline std::string random_text(Random& random, std::size_t longest = 12) {
    constexpr std::string_view kPieces[] = {
        "a",     "b",
        "Z",     "0",
        " ",     "\"",
        "\\",    "/",
        "\n",    "\t",
        "\r",    "\b",
        "\f",    "{",
        "}",     "[",
        "]",     ":",
        ",",     "\x01",
        "\x1f",  "\x7f",
        "é",     "ÿ",
        "漢",    "\xEF\xBF\xBF",
        "😀",    "𝄞",
        "u0041", "data",
    };
    std::string out;
    const std::size_t length = random.below(longest + 1);
    for (std::size_t i = 0; i < length; ++i) out += random.pick(kPieces);
    if (random.one_in(200)) out += std::string(random.below(2000), 'x');
    if (random.one_in(50)) out.push_back('\0');
    return out;
}

inline Node random_node(Random& random, int depth) {
    constexpr std::string_view kNumbers[] = {
        "0",
        "-0",
        "1",
        "1.0",
        "1e0",
        "1E+2",
        "100",
        "-7.25",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "0.1",
        "1e-7",
        "2.5e300",
        "3",
        "42",
    };
    switch (random.below(depth > 0 ? 8 : 5)) {
        case 0:
            return Node::word("true");
        case 1:
            return Node::word("false");
        case 2:
            return Node::word("null");
        case 3:
            return Node::number(std::string(random.pick(kNumbers)));
        case 4:
            return Node::string(random_text(random));
        case 5: {
            std::vector<Node> items;
            const std::size_t count = random.below(5);
            for (std::size_t i = 0; i < count; ++i) items.push_back(random_node(random, depth - 1));
            return Node::array(std::move(items));
        }
        default: {
            std::vector<std::pair<std::string, Node>> members;
            const std::size_t count = random.below(6);
            for (std::size_t i = 0; i < count; ++i) {
                std::string key = random_text(random, 4);
                const bool known = std::ranges::any_of(members, [&key](const auto& member) {
                    return member.first == key;
                });
                if (!known) members.emplace_back(std::move(key), random_node(random, depth - 1));
            }
            return Node::object(std::move(members));
        }
    }
}

// A body: an object with a model and other members.
inline Node random_body(Random& random) {
    Node body = Node::object({{"model", Node::string("gpt-4")}});
    const std::size_t count = random.below(6);
    for (std::size_t i = 0; i < count; ++i) {
        body.members.emplace_back("k" + std::to_string(i), random_node(random, 4));
    }
    std::ranges::shuffle(body.members, random.engine());
    return body;
}

struct Style {
    bool shuffle = false;
    bool space = false;
    bool escapes = false;
};

inline void write_space(Random& random, const Style& style, std::string& out) {
    constexpr char kSpaces[] = {' ', '\n', '\t', '\r'};
    if (style.space) {
        while (random.one_in(3)) out.push_back(random.pick(kSpaces));
    }
}

inline void write_string(
    Random& random, const Style& style, std::string_view text, std::string& out
) {
    const auto unit = [&out, &random](unsigned code) {
        constexpr std::string_view kLower = "0123456789abcdef";
        constexpr std::string_view kUpper = "0123456789ABCDEF";
        const std::string_view digits = random.one_in(2) ? kLower : kUpper;
        out += "\\u";
        for (int shift = 12; shift >= 0; shift -= 4) out.push_back(digits[(code >> shift) & 15U]);
    };
    out.push_back('"');
    for (std::size_t i = 0; i < text.size();) {
        const auto lead = static_cast<unsigned char>(text[i]);
        const std::size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        const std::string_view piece = text.substr(i, length);
        i += length;
        if (!style.escapes || random.one_in(2)) {
            const std::string quoted = json_quote(piece);
            out.append(quoted, 1, quoted.size() - 2);
            continue;
        }
        unsigned code = lead;
        if (length == 2) code = lead & 0x1FU;
        if (length == 3) code = lead & 0x0FU;
        if (length == 4) code = lead & 0x07U;
        for (std::size_t k = 1; k < length; ++k) {
            code = (code << 6) | (static_cast<unsigned char>(piece[k]) & 0x3FU);
        }
        if (code >= 0x10000) {
            unit(0xD800 + ((code - 0x10000) >> 10));
            unit(0xDC00 + ((code - 0x10000) & 0x3FF));
        } else {
            unit(code);
        }
    }
    out.push_back('"');
}

inline void write_node(Random& random, const Style& style, const Node& node, std::string& out) {
    write_space(random, style, out);
    switch (node.kind) {
        case Node::Kind::kWord:
        case Node::Kind::kNumber:
            out += node.text;
            break;
        case Node::Kind::kString:
            write_string(random, style, node.text, out);
            break;
        case Node::Kind::kArray: {
            out.push_back('[');
            bool first = true;
            for (const Node& item : node.items) {
                if (!first) out.push_back(',');
                first = false;
                write_node(random, style, item, out);
            }
            write_space(random, style, out);
            out.push_back(']');
            break;
        }
        case Node::Kind::kObject: {
            std::vector<std::size_t> order(node.members.size());
            for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
            if (style.shuffle) std::ranges::shuffle(order, random.engine());
            out.push_back('{');
            bool first = true;
            for (const std::size_t i : order) {
                if (!first) out.push_back(',');
                first = false;
                write_space(random, style, out);
                write_string(random, style, node.members[i].first, out);
                write_space(random, style, out);
                out.push_back(':');
                write_node(random, style, node.members[i].second, out);
            }
            write_space(random, style, out);
            out.push_back('}');
            break;
        }
    }
    write_space(random, style, out);
}

inline std::string write(Random& random, const Style& style, const Node& node) {
    std::string out;
    write_node(random, style, node, out);
    return out;
}

}  // namespace weir::test
