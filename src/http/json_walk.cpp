#include "json_walk.hpp"

#include <algorithm>
#include <limits>
#include <span>

#include <simdjson.h>

#include "weir/base/text.hpp"

namespace weir::http::json {
namespace {

constexpr int kMaxDepth = 64;
// Members of all open objects together: bounds what sorting and the search for duplicates hold.
constexpr std::size_t kMaxMembers = std::size_t{1} << 20;
constexpr std::size_t kKeepMembers = 4096;  // kept for the next body of this thread

}  // namespace

std::expected<JsonRequest, JsonFault> Walk::run(
    std::string_view body, bool want_canonical, std::span<const std::string> ignored
) {
    ignored_ = ignored;
    base_ = p_ = body.data();
    end_ = base_ + body.size();
    depth_ = 0;
    writing_ = want_canonical;
    lone_surrogate_ = false;
    request_ = {};
    fault_ = {};
    part_ = {};
    members_.clear();
    arena_.clear();
    canonical_.clear();
    const bool good = whole(body);
    std::expected<JsonRequest, JsonFault> result = std::unexpected(JsonFault{});
    if (good) {
        request_.canonical_complete = want_canonical && !lone_surrogate_;
        if (request_.canonical_complete) request_.canonical = canonical_.finish();
        result = std::move(request_);
    } else {
        result = std::unexpected(std::move(fault_));
    }
    canonical_.shrink();
    if (members_.capacity() > kKeepMembers) std::vector<Member>().swap(members_);
    if (arena_.capacity() > kKeepMembers) std::string().swap(arena_);
    return result;
}

bool Walk::whole(std::string_view body) {
    if (body.empty()) return refuse("The body is empty; a JSON object was expected.", "");
    if (body.size() > std::numeric_limits<std::uint32_t>::max() / 2) {
        return refuse("The body is too large.", "");
    }
    if (!simdjson::validate_utf8(body.data(), body.size())) {
        return wrong("it is not UTF-8", base_ + json::first_bad_utf8(body));
    }
    if (body.starts_with("\xEF\xBB\xBF")) return wrong("a byte order mark", base_);
    prompts_ = 1;
    space();
    const bool is_object = p_ < end_ && *p_ == '{';
    if (!value(Where::kRoot)) return false;
    space();
    if (p_ != end_) return wrong("something stands behind its end", p_);
    if (!is_object) return refuse("The body must be a JSON object.", "");
    if (__builtin_mul_overflow(request_.choices, prompts_, &request_.choices)) {
        request_.choices = std::numeric_limits<std::uint64_t>::max();
    }
    return true;
}

bool Walk::value(Where where) {
    if (p_ >= end_) return ended();
    switch (*p_) {
        case '{':
            return object(where);
        case '[':
            return array(where);
        case '"':
            return string();
        case 't':
            return literal("true", 't');
        case 'f':
            return literal("false", 'f');
        case 'n':
            return literal("null", 'n');
        default:
            break;
    }
    const char* behind = json::scan_number(p_, end_);
    if (behind == nullptr) return wrong("a value was expected", p_);
    if (writing_) canonical_.number({p_, behind});
    p_ = behind;
    return true;
}

bool Walk::literal(std::string_view text, char tag) {
    if (!std::string_view(p_, end_).starts_with(text)) return wrong("a value was expected", p_);
    p_ += text.size();
    if (writing_) canonical_.mark(tag);
    return true;
}

bool Walk::scan(ScannedString& out) {
    if (!scan_string(p_ + 1, end_, out)) {
        if (out.error == StringError::kControlByte) {
            return wrong("a control character in a string", out.error_at);
        }
        if (out.error == StringError::kBadEscape) {
            return wrong("a bad escape in a string", out.error_at);
        }
        return wrong("a string is not closed", p_);
    }
    lone_surrogate_ = lone_surrogate_ || out.lone_surrogate;
    p_ = out.text + out.raw_length + 1;
    return true;
}

bool Walk::string() {
    if (!scan(last_string_)) return false;
    if (writing_) canonical_.string(last_string_);
    return true;
}

// The numbers that follow at p_, each behind a comma, as in lists of tokens or vectors: the same as
// the loop of array(), without its calls. Stops at whatever looks different.
std::size_t Walk::numbers() {
    const char* p = p_;
    std::size_t count = 0;
    while (end_ - p >= 2 && *p == ',' && p[1] >= '0' && p[1] <= '9') {
        const char* const number = p + 1;
        const char* const behind = scan_number(number, end_);
        if (behind == nullptr) break;
        if (writing_) canonical_.number({number, behind});
        p = behind;
        ++count;
    }
    p_ = p;
    return count;
}

bool Walk::array(Where where) {
    if (++depth_ > kMaxDepth) return wrong("it nests deeper than 64", p_);
    const Where inner = inside_array(where);
    if (writing_) canonical_.mark('[');
    ++p_;
    space();
    std::size_t count = 0;
    if (p_ < end_ && *p_ == ']') {
        ++p_;
    } else {
        for (;;) {
            if (!value(inner)) return false;
            ++count;
            count += numbers();
            space();
            if (p_ >= end_) return ended();
            const char c = *p_;
            if (c != ',' && c != ']') return wrong("a comma or ] was expected", p_);
            ++p_;
            if (c == ']') break;
            space();
        }
    }
    if (writing_) canonical_.mark(']');
    last_count_ = count;
    --depth_;
    return true;
}

// The key at p_, with everything up to its value.
bool Walk::key(Member& member, ScannedString& scanned) {
    if (p_ >= end_) return ended();
    if (*p_ != '"') return wrong("a key was expected", p_);
    if (!scan(scanned)) return false;
    member.key_length = static_cast<std::uint32_t>(scanned.decoded_length);
    if (scanned.escaped) {
        member.in_arena = true;
        member.key = static_cast<std::uint32_t>(arena_.size());
        json::append_decoded(arena_, scanned);
    } else {
        member.key = static_cast<std::uint32_t>(scanned.text - base_);
    }
    space();
    if (p_ >= end_) return ended();
    if (*p_ != ':') return wrong("a colon was expected", p_);
    ++p_;
    space();
    return true;
}

bool Walk::object(Where where) {
    if (++depth_ > kMaxDepth) return wrong("it nests deeper than 64", p_);
    const std::size_t first = members_.size();
    const std::size_t arena_first = arena_.size();
    const bool root = where == Where::kRoot;
    if (writing_) canonical_.mark('{');
    const std::uint32_t begin = canonical_.size();
    ++p_;
    if (root) request_.body_open = static_cast<std::size_t>(p_ - base_);
    space();
    if (p_ < end_ && *p_ == '}') {
        ++p_;
        if (root) request_.body_empty = true;
        if (where == Where::kStreamOptions) request_.stream_options_empty = true;
        if (writing_) canonical_.mark('}');
        --depth_;
        return true;
    }
    bool sorted = true;
    const bool part = is_part(where);
    Part outer;
    if (part) outer = std::exchange(part_, {});
    // An item of `input` with an id but neither type nor role is a reference to a stored one.
    bool has_id = false;
    bool has_type_or_role = false;
    for (;;) {
        if (members_.size() >= kMaxMembers) return wrong("too many members", p_);
        const bool was_writing = writing_;
        Member member;
        ScannedString scanned;
        if (!key(member, scanned)) return false;
        std::string_view name = key_of(member);
        if (root && left_out(name)) writing_ = false;
        member.written.begin = canonical_.size();
        if (writing_) canonical_.string(scanned);
        if (members_.size() > first) {
            const int order = key_of(members_.back()).compare(name);
            if (order == 0) return twice(name);
            if (order > 0) sorted = false;
        }
        const std::size_t index = members_.size();
        members_.push_back(member);
        const char* const at = p_;
        if (!value(inside_object(where, name))) return false;
        name = key_of(members_[index]);  // the arena may have moved
        if (where != Where::kElsewhere && !picked(where, name, {at, p_})) return false;
        if (where == Where::kInputItem) {
            has_id = has_id || name == "id";
            has_type_or_role = has_type_or_role || name == "type" || name == "role";
        }
        members_[index].written.end = canonical_.size();
        writing_ = was_writing;
        space();
        if (p_ >= end_) return ended();
        const char c = *p_;
        if (c != ',' && c != '}') return wrong("a comma or } was expected", p_);
        ++p_;
        if (c == '}') break;
        space();
    }
    if (has_id && !has_type_or_role) stored("item_reference");
    if (part) {
        end_part();
        part_ = outer;
    }
    if (!close_object(first, sorted, begin)) return false;
    members_.resize(first);
    arena_.resize(arena_first);
    if (writing_) canonical_.mark('}');
    --depth_;
    return true;
}

// How an answer is sent, not what it is; and what the config does not want to count.
bool Walk::left_out(std::string_view name) const noexcept {
    return name == "stream" || name == "stream_options" ||
           std::ranges::find(ignored_, name) != ignored_.end();
}

// Sorts the members that stand at the end of members_ and finds keys that stand twice.
bool Walk::close_object(std::size_t first, bool sorted, std::uint32_t begin) {
    if (sorted) return true;  // strictly ascending: nothing stands twice
    const auto mine = std::span(members_).subspan(first);
    std::ranges::sort(mine, [this](const Member& a, const Member& b) {
        return key_of(a) < key_of(b);
    });
    const auto equal = std::ranges::adjacent_find(mine, [this](const Member& a, const Member& b) {
        return key_of(a) == key_of(b);
    });
    if (equal != mine.end()) return twice(key_of(*equal));
    if (!writing_) return true;
    order_.clear();
    for (const Member& member : mine) order_.push_back(member.written);
    canonical_.reorder(begin, order_);
    return true;
}

bool Walk::twice(std::string_view name) {
    // Long enough to find it; the bytes cut off may be half a character, which quoting replaces.
    constexpr std::size_t kShown = 64;
    const bool cut = name.size() > kShown;
    return refuse(
        fmt::format(
            "The body is ambiguous: the key {}{} appears twice in one object.",
            json_quote(name.substr(0, kShown)),
            cut ? "..." : ""
        ),
        ""
    );
}

}  // namespace weir::http::json
