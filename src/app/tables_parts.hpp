// How the texts and tables read answers of the admin API, whatever these are. Private to src/app.
#pragma once

#include <cstdint>
#include <string>

#include "commands_parts.hpp"

namespace weir::app {

// Members of an answer; empty, 0, false or an empty list where they are missing or something else.
[[nodiscard]] std::string text_at(const Json& json, const char* name);  // printable
[[nodiscard]] std::uint64_t number_at(const Json& json, const char* name);
[[nodiscard]] bool flag_at(const Json& json, const char* name);
[[nodiscard]] const Json& list_at(const Json& json, const char* name);
// A whole number grouped, dollars with what they need behind the point.
[[nodiscard]] std::string amount_at(const Json& json, const char* name);

// 1234567 -> "1,234,567"
[[nodiscard]] std::string grouped(std::uint64_t number);
[[nodiscard]] std::string or_dash(std::string text);
[[nodiscard]] std::string when_made(const Json& key);
// What to know of a key that opens nothing; empty: it is in force, or the gateway is one that says
// nothing of it.
[[nodiscard]] std::string not_in_force(const Json& key);

}  // namespace weir::app
