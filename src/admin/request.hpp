// Paths, queries and bodies of the admin API, and its answers. Pure. Private to src/admin.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "weir/base/crypto.hpp"
#include "weir/base/error.hpp"
#include "weir/base/time_zone.hpp"
#include "weir/http/error_body.hpp"
#include "weir/http/message.hpp"

namespace weir::admin {

using Json = nlohmann::ordered_json;
template <class T>
using Checked = std::expected<T, http::ApiError>;

// %XX decoded. nullopt: a broken escape, or a control byte.
[[nodiscard]] std::optional<std::string> percent_decode(std::string_view text);

using Query = std::vector<std::pair<std::string, std::string>>;
// Only the `allowed` names, each at most once.
[[nodiscard]] Checked<Query> read_query(
    std::string_view query, std::span<const std::string_view> allowed
);
[[nodiscard]] std::optional<std::string> find(const Query& query, std::string_view name);

// A JSON object with texts as members: each of `required`, perhaps some of `optional`, none twice,
// nothing else. Those of `numbers` are whole numbers, and their text is the digits. A null counts
// as left out.
struct Texts {
    std::vector<std::pair<std::string, std::string>> members;
    [[nodiscard]] std::string get(std::string_view name) const;  // empty: left out
};
[[nodiscard]] Checked<Texts> read_texts(
    std::string_view body,
    std::span<const std::string_view> required,
    std::span<const std::string_view> optional,
    std::span<const std::string_view> numbers = {}
);
// A whole number of `least` to `most`.
[[nodiscard]] Checked<std::uint64_t> read_number(
    std::string_view name, std::string_view digits, std::uint64_t least, std::uint64_t most
);
// 64 hexadecimal digits.
[[nodiscard]] Checked<Digest> read_digest(std::string_view name, std::string_view hex);
// "2026-11-25T18:00:00Z", "18:00" (the next time that clocks of `zone` show it), or "4h" (from
// now). Later than `now`, and by at most 32 days.
[[nodiscard]] Checked<WallTime> read_until(
    std::string_view text, WallTime now, const TimeZone& zone
);

[[nodiscard]] http::Response answer(int status, const Json& json);
[[nodiscard]] http::Response refuse(const http::ApiError& error);
[[nodiscard]] http::ApiError bad_request(
    std::string message, std::string code, std::string param = ""
);
// A failed operation as an admin sees it: the detail is for operators, and here one is asking.
[[nodiscard]] http::ApiError failure(const Error& error);

// What this API could not be asked about later: why a new key may not have `name`, or nullopt. (The
// store has its own rule for the letters.)
[[nodiscard]] std::optional<std::string> name_fault(std::string_view name);

// " Did you mean `x`?" or nothing.
[[nodiscard]] std::string did_you_mean(
    std::string_view word, std::span<const std::string_view> candidates
);

}  // namespace weir::admin
