// Paths, queries and bodies of the admin API, and its answers. Pure. Private to src/admin.
#pragma once

#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "weir/base/error.hpp"
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
// nothing else. A null counts as left out.
struct Texts {
    std::vector<std::pair<std::string, std::string>> members;
    [[nodiscard]] std::string get(std::string_view name) const;  // empty: left out
};
[[nodiscard]] Checked<Texts> read_texts(
    std::string_view body,
    std::span<const std::string_view> required,
    std::span<const std::string_view> optional
);

[[nodiscard]] http::Response answer(int status, const Json& json);
[[nodiscard]] http::Response refuse(const http::ApiError& error);
[[nodiscard]] http::ApiError bad_request(
    std::string message, std::string code, std::string param = ""
);
// A failed operation as an admin sees it: the detail is for operators, and here one is asking.
[[nodiscard]] http::ApiError failure(const Error& error);

// "2026-11-23T15:16:01Z"
[[nodiscard]] std::string iso_time(std::int64_t unix_us);

// What this API could not be asked about later: why a new key may not have `name`, or nullopt. (The
// store has its own rule for the letters.)
[[nodiscard]] std::optional<std::string> name_fault(std::string_view name);

// " Did you mean `x`?" or nothing.
[[nodiscard]] std::string did_you_mean(
    std::string_view word, std::span<const std::string_view> candidates
);

}  // namespace weir::admin
