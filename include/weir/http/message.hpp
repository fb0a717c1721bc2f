// Heads of HTTP messages as Weir sees them: parsed once, checked, then immutable. No sockets here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::http {

struct Field {
    std::string name;   // as sent
    std::string value;  // without surrounding blanks
};

// Fields in their order. Looking up ignores case.
class Fields {
public:
    void add(std::string_view name, std::string_view value) {
        // What a head usually has: growing there step by step moves them all each time.
        if (fields_.capacity() == 0) fields_.reserve(kUsual);
        fields_.emplace_back(std::string(name), std::string(value));
    }
    void set(std::string_view name, std::string_view value);  // replaces all of that name
    void remove(std::string_view name);
    // The first value of that name.
    [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const noexcept;
    [[nodiscard]] std::size_t count(std::string_view name) const noexcept;
    [[nodiscard]] bool empty() const noexcept { return fields_.empty(); }
    [[nodiscard]] auto begin() noexcept { return fields_.begin(); }
    [[nodiscard]] auto end() noexcept { return fields_.end(); }
    [[nodiscard]] auto begin() const noexcept { return fields_.begin(); }
    [[nodiscard]] auto end() const noexcept { return fields_.end(); }
    [[nodiscard]] std::size_t size() const noexcept { return fields_.size(); }
    void clear() noexcept { fields_.clear(); }
    void reserve(std::size_t fields) { fields_.reserve(fields); }

private:
    static constexpr std::size_t kUsual = 12;
    std::vector<Field> fields_;
};

// How the end of a body is known.
enum class Framing : std::uint8_t { kNone, kLength, kChunked, kUntilClose };

struct RequestHead {
    std::string method;
    std::string target;  // as sent, origin form
    int minor_version = 1;
    Fields fields;
    Framing framing = Framing::kNone;
    std::uint64_t content_length = 0;
    bool keep_alive = true;
    bool expect_continue = false;

    [[nodiscard]] std::string_view path() const noexcept;   // before '?'
    [[nodiscard]] std::string_view query() const noexcept;  // behind '?', without it
};

struct ResponseHead {
    int status = 200;
    int minor_version = 1;
    Fields fields;
    Framing framing = Framing::kNone;
    std::uint64_t content_length = 0;
    bool keep_alive = true;
    // The media type without parameters: lower-case if it is one that Weir knows
    // (text/event-stream, application/json, ...), else as sent. Empty: none.
    [[nodiscard]] std::string_view content_type() const noexcept;
};

// A whole small answer of our own.
struct Response {
    int status = 200;
    Fields fields;
    std::string body;
    std::string error;  // its code if it is a refusal, for the log
};

[[nodiscard]] std::string_view reason_phrase(int status) noexcept;

}  // namespace weir::http
