// Small text tools: units, globs, nearest names, hex. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

// "64KiB", "1.5GiB", "10MB", "512" (bytes). nullopt: not a size.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);
// "250ms", "10s", "5m", "4h", "1d", "1h30m". nullopt: not a duration. No sign, no bare number.
[[nodiscard]] std::optional<std::chrono::microseconds> parse_duration(std::string_view text);
// As Go prints it, which is what OpenAI's reset headers use: "12ms", "1s", "6m0s", "4h0m0s",
// "1.5s".
[[nodiscard]] std::string go_duration(std::chrono::microseconds span);
// For a person: "12 min 5 s", "4 h", "2 days 3 h", "800 ms". At most two units.
[[nodiscard]] std::string human_duration(std::chrono::microseconds span);
// For a person: "64 KiB", "1.5 GiB".
[[nodiscard]] std::string human_size(std::uint64_t bytes);

// Glob with * and ?, ASCII letters case-insensitive. Linear in both lengths for one star.
[[nodiscard]] bool glob_match(std::string_view pattern, std::string_view text) noexcept;
// ASCII only.
[[nodiscard]] bool iequals(std::string_view a, std::string_view b) noexcept;
[[nodiscard]] std::string to_lower(std::string_view text);
[[nodiscard]] std::string_view trim(std::string_view text) noexcept;

// The candidate with the smallest edit distance, if it is near enough to be a typing error.
[[nodiscard]] std::optional<std::string> nearest(
    std::string_view word, std::span<const std::string_view> candidates
);

[[nodiscard]] std::string to_hex(std::span<const std::uint8_t> bytes);

// Text as a JSON string literal with its quotes; invalid UTF-8 becomes U+FFFD, control bytes
// \u00XX.
[[nodiscard]] std::string json_quote(std::string_view text);
void append_json_quoted(std::string& out, std::string_view text);

// `text` with each of `secrets` (8 characters or longer) replaced by "[redacted]".
[[nodiscard]] std::string redact(std::string_view text, std::span<const std::string> secrets);

}  // namespace weir
