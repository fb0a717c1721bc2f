// The process log: one line an event, on stderr, written by a thread of its own, which gathers what
// comes within 50 ms (errors go at once). The queue is bounded: past 4 MiB the newest lines are
// dropped and counted; it never blocks a worker. Thread-safe.
//
// Lines are either JSON or text for a terminal. Values are escaped here, so that no value can make
// a second line. Never pass a body or a secret.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

namespace weir::log {

enum class Level : std::uint8_t { kDebug, kInfo, kWarn, kError, kOff };
enum class Format : std::uint8_t { kAuto, kJson, kText };  // kAuto: text on a terminal

struct Settings {
    Level level = Level::kInfo;
    Format format = Format::kAuto;
};

// Once, by main, before threads; tests that do not call it get level kOff.
void start(Settings settings);
void set_level(Level level);
// Writes what is queued. Nothing may be logged afterwards.
void stop();

struct Field {
    std::string_view name;
    std::variant<std::string_view, std::int64_t, double, bool> value;
};

[[nodiscard]] bool enabled(Level level) noexcept;
// `event` is a short fixed phrase ("config reloaded"); what varies goes into fields.
void write(Level level, std::string_view event, std::initializer_list<Field> fields = {});
// A finished line without its newline, already in the right format (the request log uses it).
void write_line(Level level, std::string line);
[[nodiscard]] bool is_json() noexcept;

inline void debug(std::string_view event, std::initializer_list<Field> fields = {}) {
    if (enabled(Level::kDebug)) write(Level::kDebug, event, fields);
}
inline void info(std::string_view event, std::initializer_list<Field> fields = {}) {
    if (enabled(Level::kInfo)) write(Level::kInfo, event, fields);
}
inline void warn(std::string_view event, std::initializer_list<Field> fields = {}) {
    if (enabled(Level::kWarn)) write(Level::kWarn, event, fields);
}
inline void error(std::string_view event, std::initializer_list<Field> fields = {}) {
    if (enabled(Level::kError)) write(Level::kError, event, fields);
}

}  // namespace weir::log
