#include "weir/cache/cache_key.hpp"

#include <charconv>
#include <cstring>

namespace weir::cache {
namespace {

void append_number(std::string& out, std::size_t number) {
    char digits[20];
    const auto [end, error] = std::to_chars(digits, digits + sizeof(digits), number);
    out.append(digits, end);
    out.push_back(':');
}

// The length first: whatever bytes a part has, it cannot reach into the next one.
void append_part(std::string& out, std::string_view part) {
    append_number(out, part.size());
    out.append(part);
}

}  // namespace

std::string scope_of(config::Scope scope, std::string_view key, std::string_view team) {
    if (scope == config::Scope::kAll) return "all";
    const bool shared = scope == config::Scope::kTeam && !team.empty();
    return std::string(shared ? "team:" : "key:").append(shared ? team : key);
}

CacheKey make_cache_key(const CacheKeyParts& parts) {
    // Stored keys of another layout must never match: a change of layout is a new name here.
    constexpr std::string_view kLayout = "weir-key-2;";
    // By its first byte never a form: those are of objects.
    std::string digested;
    std::string_view canonical = parts.canonical;
    if (canonical.size() > CacheKey::kLongestWhole) {
        const Digest digest = sha256(canonical);
        append_number(digested, canonical.size());
        digested.append(digest.begin(), digest.end());
        canonical = digested;
    }
    CacheKey key;
    std::size_t size = kLayout.size() + parts.scope.size() + parts.endpoint.size() +
                       parts.query.size() + parts.route.size() + parts.shape.size() +
                       parts.variant.size() + canonical.size() + 8 * 21;
    for (const std::string& field : parts.fields) size += field.size() + 21;
    key.text.reserve(size);
    key.text.append(kLayout);
    append_part(key.text, parts.scope);
    append_part(key.text, parts.endpoint);
    append_part(key.text, parts.query);
    append_number(key.text, parts.fields.size());
    for (const std::string& field : parts.fields) append_part(key.text, field);
    append_part(key.text, parts.route);
    append_part(key.text, parts.shape);
    append_part(key.text, parts.variant);
    append_part(key.text, canonical);
    key.hash = sha256(key.text);
    return key;
}

std::size_t DigestHash::operator()(const Digest& digest) const noexcept {
    // A digest is as good as random everywhere.
    std::size_t hash = 0;
    static_assert(sizeof(hash) <= sizeof(Digest));
    std::memcpy(&hash, digest.data(), sizeof(hash));
    return hash;
}

}  // namespace weir::cache
