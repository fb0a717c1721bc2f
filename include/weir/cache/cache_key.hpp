// What makes two requests equal, as 32 bytes and as the text that is compared on a hit. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weir/base/crypto.hpp"
#include "weir/config/config.hpp"

namespace weir::cache {

// All that can change an answer. The route is the rule (names, urls, serve_as), not who answered.
struct CacheKeyParts {
    std::string_view scope;     // "key:<account>", "team:<name>" or "all"
    std::string_view endpoint;  // "/v1/chat/completions"
    std::string_view query;
    std::span<const std::string> fields;  // shaping_fields(), sorted
    std::string_view route;
    std::string_view shape;    // "json" or "stream" where the two do not cross; empty where they do
    std::string_view variant;  // what the client asked to keep apart (x-weir-cache-key)
    std::string_view canonical;  // the body's canonical form
};

struct CacheKey {
    Digest hash{};
    // The parts, each with its length before it: injective. Compared on a hit. A canonical form of
    // more than kLongestWhole bytes stands there by its length and SHA-256 (ADR 13).
    std::string text;
    static constexpr std::size_t kLongestWhole = std::size_t{256} << 10;
    friend bool operator==(const CacheKey&, const CacheKey&) = default;
};

// Who shares a key's answers. `team` may be empty: then the key is a scope of its own.
[[nodiscard]] std::string scope_of(
    config::Scope scope, std::string_view key, std::string_view team
);

[[nodiscard]] CacheKey make_cache_key(const CacheKeyParts& parts);

struct DigestHash {
    std::size_t operator()(const Digest& digest) const noexcept;
};

}  // namespace weir::cache
