// Changes of random JSON documents: near twins that a careless form of a body could miss, and
// strings that are too long to stand in a form whole.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "http/random_json.hpp"

namespace weir::test {

// All nodes of a tree, to change one of them.
inline void collect(Node& node, std::vector<Node*>& out) {
    out.push_back(&node);
    for (Node& item : node.items) collect(item, out);
    for (auto& [key, value] : node.members) collect(value, out);
}

// Another text of the same number.
inline void write_otherwise(std::string& number) {
    const std::size_t e = number.find_first_of("eE");
    if (e == std::string::npos) {
        number += number.find('.') == std::string::npos ? ".0" : "0";
    } else {
        number.insert(number.find_first_of("0123456789", e), "0");
    }
}

// A byte more at the end, or another one in any place.
inline void change_text(Random& random, std::string& text) {
    if (!text.empty() && random.one_in(2)) {
        char& c = text[random.below(text.size())];
        if (c >= '0' && c <= 'z') {
            c = c == 'q' ? 'p' : 'q';
            return;
        }
    }
    text += random.one_in(2) ? " " : "\n";
}

// More than 16 KiB: a form has its digest only, which is taken piece by piece where it is escaped.
inline std::string random_long_text(Random& random) {
    std::string text;
    const std::size_t size = (16 << 10) + 1 + random.below(40 << 10);
    while (text.size() < size) text += random_text(random, 200);
    return text;
}

// Now and then a long text somewhere, as a value or as a name.
inline void lengthen(Random& random, Node& body) {
    std::vector<Node*> nodes;
    collect(body, nodes);
    Node& node = *random.pick(nodes);
    if (&node != &body && node.kind != Node::Kind::kObject) {
        node = Node::string(random_long_text(random));
    } else {
        node.members.emplace_back(random_long_text(random), Node::word("true"));
    }
}

// A change that a careless form could miss. Returns false if it did not apply.
inline bool change(Random& random, Node& body) {
    std::vector<Node*> nodes;
    collect(body, nodes);
    Node& node = *random.pick(nodes);
    const bool is_body = &node == &body;
    constexpr const char* kAdded[] = {"added", "stream", "stream_options"};
    switch (random.below(9)) {
        case 0:  // another value of the same type
            if (node.kind == Node::Kind::kString) {
                change_text(random, node.text);
                return true;
            }
            if (node.kind != Node::Kind::kNumber) return false;
            write_otherwise(node.text);
            return true;
        case 1:  // another type, same look
            if (node.kind == Node::Kind::kNumber || node.kind == Node::Kind::kWord) {
                node = Node::string(node.text);
                return true;
            }
            return false;
        case 2:
            if (is_body) return false;
            node = Node::array({node});
            return true;
        case 3:
            if (is_body) return false;
            node = Node::object({{"", node}});
            return true;
        case 4:
            if (node.kind != Node::Kind::kObject) return false;
            // At the top the last two say how an answer is sent; everywhere else they count.
            node.members.emplace_back(is_body ? "added" : random.pick(kAdded), Node::word("null"));
            return true;
        case 5:
            if (node.kind != Node::Kind::kObject || node.members.empty()) return false;
            node.members.erase(
                node.members.begin() +
                static_cast<std::ptrdiff_t>(random.below(node.members.size()))
            );
            return true;
        case 6:  // an element split, or taken out
            if (node.kind != Node::Kind::kArray || node.items.empty()) return false;
            if (random.one_in(2)) {
                node.items.pop_back();
            } else {
                node.items.push_back(node.items.back());
            }
            return true;
        case 7: {  // a member moved to the level above
            if (node.kind != Node::Kind::kObject || node.members.empty()) return false;
            auto& [key, value] =
                random.pick(nodes) == &node ? node.members.front() : node.members.back();
            if (value.kind != Node::Kind::kObject || value.members.empty()) return false;
            auto moved = value.members.back();
            moved.first += "-moved";
            value.members.pop_back();
            node.members.push_back(moved);
            return true;
        }
        default:
            if (node.kind != Node::Kind::kObject || node.members.empty()) return false;
            node.members.front().first += "\x01";
            return true;
    }
}

}  // namespace weir::test
