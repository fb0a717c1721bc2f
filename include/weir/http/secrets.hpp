// An upstream's key in what that upstream says. A hostile upstream knows it anyway and can say it
// in ways that nobody can foresee; these stop the honest one that repeats its request: a debug
// server, a proxy's error page, a model list of somebody's own make. Pure; not thread-safe.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weir/http/message.hpp"

namespace weir::http {

// Keys shorter than this would black out common words; they are left alone.
inline constexpr std::size_t kShortestSecret = 8;

// The ways in which `secret` may stand in a text: as it is, escaped as in JSON, percent-encoded,
// hex, base64 (at each of the three alignments) and reversed. Longest first, each once.
[[nodiscard]] std::vector<std::string> secret_forms(std::string_view secret);

// Overwrites secrets, as they are or with JSON's `\/`, in a text that comes in parts. The length
// stays, so that no framing changes.
class SecretMask {
public:
    SecretMask() = default;
    explicit SecretMask(std::string_view secret);
    explicit SecretMask(std::span<const std::string_view> secrets);
    // An end of `part` that may be the secret's beginning is held back and comes before the next
    // part. `last`: nothing comes behind it, nothing is held back.
    void mask(std::string& part, bool last);
    [[nodiscard]] bool stands_in(std::string_view text) const noexcept;
    // A text of its own, such as a field's value.
    void mask_whole(std::span<char> text);
    void mask_values(Fields& fields);
    // It was there.
    [[nodiscard]] bool seen() const noexcept { return seen_; }

private:
    std::vector<std::string> needles_;
    std::string held_;
    bool seen_ = false;
};

}  // namespace weir::http
