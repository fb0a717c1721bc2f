// A YAML file as a tree that keeps what a strict reader needs and yaml-cpp's own nodes lose: where
// each key and value stands, repeated keys, and whether a value was empty. Private to the room.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "weir/config/load.hpp"

namespace weir::config {

struct Node;
// Shared, because an alias (*x) stands for the node that its anchor (&x) names.
using NodePtr = std::shared_ptr<const Node>;

struct Node {
    enum class Kind : std::uint8_t { kEmpty, kScalar, kList, kMap };
    struct Entry {
        NodePtr key;
        NodePtr value;
    };

    Kind kind = Kind::kEmpty;
    int line = 0;                // 1-based; of an empty value: of its key
    int column = 0;              // 1-based, in bytes
    std::string text;            // kScalar
    bool folded = false;         // a kScalar without quotes that takes in lines below its own
    std::vector<NodePtr> items;  // kList
    std::vector<Entry> entries;  // kMap, as written, repeated keys included
    std::size_t weight = 1;      // nodes below and this one, aliases counted as often as used
    int height = 1;
};

// "a list", "nothing": for messages.
[[nodiscard]] std::string_view kind_name(Node::Kind kind) noexcept;

inline constexpr std::size_t kMostBytes = 1 << 20;
inline constexpr std::size_t kMostNodes = 100'000;
inline constexpr int kMostDepth = 64;

// The only document in `yaml`, or the one fault that keeps it from being read. An empty file is an
// empty map. Never throws.
[[nodiscard]] std::expected<NodePtr, Fault> read_document(
    std::string_view yaml, const std::string& file
);

}  // namespace weir::config
