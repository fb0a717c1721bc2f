// Heads of HTTP messages as Weir sees them: parsed once, checked, then immutable. No sockets here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::http {

// One field of a list: views that live until the list is changed.
struct Field {
    std::string_view name;   // as sent
    std::string_view value;  // without surrounding blanks
};

// Fields in their order, as the bytes that they are on the wire: a head is copied, written and
// searched for secrets in one piece. Looking up ignores case. What is given to a call must not be a
// view into this list.
class Fields {
public:
    class Iterator;

    void add(std::string_view name, std::string_view value);
    void set(std::string_view name, std::string_view value);  // replaces all of that name
    void remove(std::string_view name);
    // The first value of that name.
    [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const noexcept;
    [[nodiscard]] std::size_t count(std::string_view name) const noexcept;
    [[nodiscard]] bool empty() const noexcept { return places_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return places_.size(); }
    [[nodiscard]] Iterator begin() const noexcept;
    [[nodiscard]] Iterator end() const noexcept;
    void clear() noexcept;
    // Appends "name: value" and a line's end for each. A field that could end the head early, or
    // begin another one, is left out.
    void append_to(std::string& out) const;
    // What append_to() appends, and what it leaves out.
    [[nodiscard]] std::string_view text() const noexcept { return text_; }
    // For what is written over. REQUIRES: what is written may stand in a value.
    [[nodiscard]] std::span<char> value_bytes(std::size_t index) noexcept;

private:
    struct Place {
        std::uint32_t at;
        std::uint32_t name_size;
        std::uint32_t value_size;
        bool sound;  // may go out
        [[nodiscard]] std::uint32_t size() const noexcept { return name_size + value_size + 4; }
    };
    static constexpr std::size_t kUsualBytes = 480;
    static constexpr std::size_t kUsual = 12;

    [[nodiscard]] Field at(std::size_t index) const noexcept;
    [[nodiscard]] std::size_t index_of(std::string_view name, std::size_t from = 0) const noexcept;
    void erase(std::size_t index);

    std::string text_;
    std::vector<Place> places_;
    std::size_t unsound_ = 0;
};

class Fields::Iterator {
public:
    // NOLINTBEGIN(readability-identifier-naming): the standard's names
    using iterator_concept = std::forward_iterator_tag;
    using iterator_category = std::input_iterator_tag;
    // NOLINTEND(readability-identifier-naming)
    using value_type = Field;
    using difference_type = std::ptrdiff_t;

    Iterator() noexcept = default;
    Iterator(const Fields& fields, std::size_t index) noexcept : fields_(&fields), index_(index) {}
    [[nodiscard]] Field operator*() const noexcept { return fields_->at(index_); }
    Iterator& operator++() noexcept {
        ++index_;
        return *this;
    }
    Iterator operator++(int) noexcept { return {*fields_, index_++}; }
    friend bool operator==(const Iterator& a, const Iterator& b) noexcept {
        return a.index_ == b.index_;
    }

private:
    const Fields* fields_ = nullptr;
    std::size_t index_ = 0;
};

inline Fields::Iterator Fields::begin() const noexcept {
    return {*this, 0};
}
inline Fields::Iterator Fields::end() const noexcept {
    return {*this, size()};
}

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
