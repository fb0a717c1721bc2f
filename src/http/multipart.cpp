#include "weir/http/multipart.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

#include <fmt/format.h>

#include "weir/base/text.hpp"

#include "characters.hpp"

namespace weir::http {

namespace {

constexpr std::size_t kLongestBoundary = 70;  // RFC 2046 5.1.1

bool is_boundary(std::string_view text) noexcept {
    constexpr std::string_view kOthers = "'()+_,-./:=? ";
    return !text.empty() && text.size() <= kLongestBoundary && !text.ends_with(' ') &&
           std::ranges::all_of(text, [kOthers](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      kOthers.find(c) != std::string_view::npos;
           });
}

struct Parameter {
    std::string name;  // lower case
    std::string value;
    bool escaped = false;  // readers differ about the backslashes in it
};

std::string_view skip_blanks(std::string_view text) noexcept {
    const std::size_t at = text.find_first_not_of(" \t");
    return at == std::string_view::npos ? std::string_view() : text.substr(at);
}

// "a=b; c=\"d\"", each behind a semicolon. nullopt: it is no such list.
std::optional<std::vector<Parameter>> read_parameters(std::string_view text) {
    std::vector<Parameter> parameters;
    text = skip_blanks(text);
    while (!text.empty()) {
        if (text.front() != ';') return std::nullopt;
        text = skip_blanks(text.substr(1));
        if (text.empty()) break;  // a last semicolon
        const std::size_t equals = text.find('=');
        if (equals == std::string_view::npos || !is_token(text.substr(0, equals))) {
            return std::nullopt;
        }
        Parameter& parameter = parameters.emplace_back();
        parameter.name = to_lower(text.substr(0, equals));
        text.remove_prefix(equals + 1);
        if (text.starts_with('"')) {
            std::size_t at = 1;
            for (; at < text.size() && text[at] != '"'; ++at) {
                if (text[at] == '\\' && at + 1 < text.size()) {
                    parameter.escaped = true;
                    const char next = text[at + 1];
                    if (next == '"' || next == '\\') ++at;
                }
                parameter.value += text[at];
            }
            if (at >= text.size()) return std::nullopt;
            text.remove_prefix(at + 1);
        } else {
            const std::size_t end = std::min(text.find_first_of("; \t"), text.size());
            parameter.value = text.substr(0, end);
            text.remove_prefix(end);
        }
        text = skip_blanks(text);
    }
    return parameters;
}

// The only one of that name; nullptr: none or several.
const Parameter* only(const std::vector<Parameter>& all, std::string_view name) noexcept {
    const Parameter* found = nullptr;
    for (const Parameter& parameter : all) {
        if (parameter.name != name) continue;
        if (found != nullptr) return nullptr;
        found = &parameter;
    }
    return found;
}

bool has(const std::vector<Parameter>& all, std::string_view name) noexcept {
    return std::ranges::any_of(all, [name](const Parameter& p) { return p.name == name; });
}

// Text whose bytes are what they seem to be.
bool is_utf8_text(std::string_view content_type) {
    const std::size_t end = std::min(content_type.find(';'), content_type.size());
    const auto parameters = read_parameters(content_type.substr(end));
    if (!parameters) return false;
    return std::ranges::all_of(*parameters, [](const Parameter& p) {
        return p.name != "charset" || iequals(p.value, "utf-8") || iequals(p.value, "us-ascii");
    });
}

}  // namespace

std::optional<std::string> form_boundary(std::string_view content_type) {
    const std::size_t end = std::min(content_type.find(';'), content_type.size());
    if (!iequals(trim(content_type.substr(0, end)), "multipart/form-data")) return std::nullopt;
    const auto parameters = read_parameters(content_type.substr(end));
    if (!parameters) return std::nullopt;
    const Parameter* const boundary = only(*parameters, "boundary");
    if (boundary == nullptr || boundary->escaped || !is_boundary(boundary->value)) {
        return std::nullopt;
    }
    return boundary->value;
}

MultipartReader::MultipartReader(std::string_view boundary)
    : delimiter_("\r\n--" + std::string(boundary)) {}

bool MultipartReader::broken(std::string_view why) {
    state_ = State::kBroken;
    why_ = why;
    return false;
}

std::string_view MultipartReader::take(std::string_view& bytes, std::size_t count) noexcept {
    const std::string_view taken = bytes.substr(0, count);
    bytes.remove_prefix(taken.size());
    offset_ += taken.size();
    return taken;
}

bool MultipartReader::feed(std::string_view bytes) {
    while (!bytes.empty()) {
        bool fine = true;
        switch (state_) {
            case State::kText:
                fine = feed_text(bytes);
                break;
            case State::kBehindBoundary:
                fine = feed_behind_boundary(bytes);
                break;
            case State::kHead:
                fine = feed_head(bytes);
                break;
            case State::kEpilogue:
                take(bytes, bytes.size());
                break;
            case State::kBroken:
                return false;
        }
        if (!fine) return false;
    }
    return state_ != State::kBroken;
}

bool MultipartReader::finish() {
    if (state_ == State::kEpilogue) return true;
    // "--" may be the body's last bytes.
    if (state_ == State::kBehindBoundary && tail_ == "--") {
        state_ = State::kEpilogue;
        return true;
    }
    if (state_ != State::kBroken) broken("it ends before its final boundary");
    return false;
}

// The preamble, or a part's content. A carriage return stands in the delimiter's first place and
// nowhere else, so that a match that fails begins anew with the byte that failed it, or not at all.
bool MultipartReader::feed_text(std::string_view& bytes) {
    std::size_t i = 0;
    while (i < bytes.size()) {
        if (matched_ == 0) {
            const void* const at = std::memchr(bytes.data() + i, '\r', bytes.size() - i);
            if (at == nullptr) {
                i = bytes.size();
                break;
            }
            i = static_cast<std::size_t>(static_cast<const char*>(at) - bytes.data());
        }
        if (bytes[i] == delimiter_[matched_]) {
            ++i;
            if (++matched_ < delimiter_.size()) continue;
            take(bytes, i);
            found_boundary();
            return true;
        }
        const bool again = matched_ > 0 && bytes[i] == '\r';
        matched_ = again ? 1 : 0;
        ++i;
    }
    take(bytes, i);
    return true;
}

void MultipartReader::found_boundary() {
    const std::size_t dashes = offset_ - (delimiter_.size() - 2);
    if (in_part_) {
        FormPart& part = parts_.back();
        part.content.length = dashes - 2 - part.content.offset;
    } else {
        first_boundary_ = dashes;
    }
    in_part_ = false;
    matched_ = 0;
    tail_.clear();
    state_ = State::kBehindBoundary;
}

bool MultipartReader::feed_behind_boundary(std::string_view& bytes) {
    tail_ += take(bytes, 1);
    if (tail_ == "-" || tail_ == "--") {
        if (tail_.size() == 2) state_ = State::kEpilogue;
        return true;
    }
    if (tail_.ends_with("\r\n")) {
        head_.clear();
        state_ = State::kHead;
        return true;
    }
    // Blanks may stand there, and nothing else: what only begins like a boundary is one to some
    // readers and none to others.
    const std::size_t end = tail_.find_first_not_of(" \t");
    const bool fine = end == std::string::npos || (end + 1 == tail_.size() && tail_[end] == '\r');
    if (!fine || tail_.size() > kLongestBoundary) {
        return broken("something stands behind a boundary");
    }
    return true;
}

bool MultipartReader::feed_head(std::string_view& bytes) {
    // Up to the end of a line at a time.
    const std::size_t end = std::min(bytes.find('\n'), bytes.size() - 1);
    head_ += take(bytes, end + 1);
    if (head_.size() > kLongestHead) return broken("the head of a part is too long");
    if (head_ != "\r\n" && !head_.ends_with("\r\n\r\n")) return true;
    if (!read_head()) return false;
    parts_.back().content.offset = offset_;
    in_part_ = true;
    // An empty part's content is followed by the delimiter at once, its line break included.
    matched_ = 0;
    state_ = State::kText;
    return true;
}

bool MultipartReader::read_head() {
    if (parts_.size() == kMostParts) return broken("it has too many parts");
    FormPart part;
    bool named = false;
    std::string_view rest = head_;
    while (rest != "\r\n") {
        const std::string_view line = rest.substr(0, rest.find("\r\n"));
        rest.remove_prefix(line.size() + 2);
        constexpr std::string_view kNever("\r\n\0", 3);
        const std::size_t colon = line.find(':');
        if (line.find_first_of(kNever) != std::string_view::npos ||
            colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
            return broken("a line in the head of a part is not a field");
        }
        const std::string_view name = line.substr(0, colon);
        const std::string_view value = trim(line.substr(colon + 1));
        if (iequals(name, "content-disposition")) {
            const std::size_t end = std::min(value.find(';'), value.size());
            const auto parameters = read_parameters(value.substr(end));
            const Parameter* const own = parameters ? only(*parameters, "name") : nullptr;
            if (named || !iequals(trim(value.substr(0, end)), "form-data") || own == nullptr ||
                own->escaped || has(*parameters, "name*")) {
                return broken("the Content-Disposition of a part does not name it clearly");
            }
            named = true;
            part.name = own->value;
            part.file = has(*parameters, "filename") || has(*parameters, "filename*");
        } else if (iequals(name, "content-transfer-encoding")) {
            const bool none =
                iequals(value, "binary") || iequals(value, "8bit") || iequals(value, "7bit");
            part.plain = part.plain && none;
        } else if (iequals(name, "content-type")) {
            part.plain = part.plain && is_utf8_text(value);
        }
    }
    if (!named) return broken("a part has no Content-Disposition");
    parts_.push_back(std::move(part));
    return true;
}

}  // namespace weir::http
