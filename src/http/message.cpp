#include "weir/http/message.hpp"

#include <algorithm>

#include "weir/base/text.hpp"

#include "characters.hpp"

namespace weir::http {

namespace {
bool same_name(std::string_view a, std::string_view b) noexcept {
    return a.size() == b.size() && iequals(a, b);
}
}  // namespace

void Fields::add(std::string_view name, std::string_view value) {
    // What a head usually has: growing there step by step moves it all each time.
    if (places_.capacity() == 0) {
        places_.reserve(kUsual);
        text_.reserve(std::max(kUsualBytes, name.size() + value.size() + 4));
    }
    const Place place{
        .at = static_cast<std::uint32_t>(text_.size()),
        .name_size = static_cast<std::uint32_t>(name.size()),
        .value_size = static_cast<std::uint32_t>(value.size()),
        .sound = is_token(name) && is_field_value(value)
    };
    text_.append(name).append(": ").append(value).append("\r\n");
    places_.push_back(place);
    if (!place.sound) ++unsound_;
}

void Fields::set(std::string_view name, std::string_view value) {
    const std::size_t first = index_of(name);
    if (first == size()) return add(name, value);
    for (std::size_t i = size(); --i > first;) {
        if (same_name(at(i).name, name)) erase(i);
    }
    Place& place = places_[first];
    text_.replace(place.at + place.name_size + 2, place.value_size, value);
    // Unsigned arithmetic wraps around to the right place, for a shorter value too.
    const auto moved = static_cast<std::uint32_t>(value.size()) - place.value_size;
    place.value_size += moved;
    for (std::size_t i = first + 1; i < size(); ++i) places_[i].at += moved;
    if (!place.sound) --unsound_;
    place.sound = is_token(at(first).name) && is_field_value(value);
    if (!place.sound) ++unsound_;
}

void Fields::remove(std::string_view name) {
    for (std::size_t i = index_of(name); i < size(); i = index_of(name, i)) erase(i);
}

void Fields::erase(std::size_t index) {
    const Place place = places_[index];
    text_.erase(place.at, place.size());
    places_.erase(places_.begin() + static_cast<std::ptrdiff_t>(index));
    for (std::size_t i = index; i < size(); ++i) places_[i].at -= place.size();
    if (!place.sound) --unsound_;
}

void Fields::clear() noexcept {
    text_.clear();
    places_.clear();
    unsound_ = 0;
}

Field Fields::at(std::size_t index) const noexcept {
    const Place& place = places_[index];
    const std::string_view text = text_;
    return {
        text.substr(place.at, place.name_size),
        text.substr(place.at + place.name_size + 2, place.value_size)
    };
}

std::span<char> Fields::value_bytes(std::size_t index) noexcept {
    const Place& place = places_[index];
    return std::span(text_).subspan(place.at + place.name_size + 2, place.value_size);
}

std::size_t Fields::index_of(std::string_view name, std::size_t from) const noexcept {
    std::size_t i = from;
    while (i < size() && !(places_[i].name_size == name.size() && iequals(at(i).name, name))) ++i;
    return i;
}

std::optional<std::string_view> Fields::find(std::string_view name) const noexcept {
    const std::size_t index = index_of(name);
    if (index == size()) return std::nullopt;
    return at(index).value;
}

std::size_t Fields::count(std::string_view name) const noexcept {
    std::size_t count = 0;
    for (std::size_t i = index_of(name); i < size(); i = index_of(name, i + 1)) ++count;
    return count;
}

void Fields::append_to(std::string& out) const {
    if (unsound_ == 0) {
        out += text_;
        return;
    }
    for (const Place& place : places_) {
        if (place.sound) out.append(text_, place.at, place.size());
    }
}

std::string_view RequestHead::path() const noexcept {
    return std::string_view(target).substr(0, std::min(target.find('?'), target.size()));
}

std::string_view RequestHead::query() const noexcept {
    const std::size_t mark = target.find('?');
    if (mark == std::string::npos) return {};
    return std::string_view(target).substr(mark + 1);
}

std::string_view ResponseHead::content_type() const noexcept {
    const std::string_view value = fields.find("content-type").value_or("");
    const std::string_view type = trim(value.substr(0, std::min(value.find(';'), value.size())));
    for (const std::string_view known :
         {"text/event-stream",
          "application/json",
          "text/plain",
          "text/html",
          "application/octet-stream",
          "application/problem+json",
          "multipart/form-data"}) {
        if (same_name(type, known)) return known;
    }
    return type;
}

std::string_view reason_phrase(int status) noexcept {
    switch (status) {
        case 100:
            return "Continue";
        case 101:
            return "Switching Protocols";
        case 200:
            return "OK";
        case 201:
            return "Created";
        case 202:
            return "Accepted";
        case 204:
            return "No Content";
        case 206:
            return "Partial Content";
        case 301:
            return "Moved Permanently";
        case 302:
            return "Found";
        case 303:
            return "See Other";
        case 304:
            return "Not Modified";
        case 307:
            return "Temporary Redirect";
        case 308:
            return "Permanent Redirect";
        case 400:
            return "Bad Request";
        case 401:
            return "Unauthorized";
        case 402:
            return "Payment Required";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 406:
            return "Not Acceptable";
        case 408:
            return "Request Timeout";
        case 409:
            return "Conflict";
        case 410:
            return "Gone";
        case 411:
            return "Length Required";
        case 412:
            return "Precondition Failed";
        case 413:
            return "Content Too Large";
        case 414:
            return "URI Too Long";
        case 415:
            return "Unsupported Media Type";
        case 416:
            return "Range Not Satisfiable";
        case 417:
            return "Expectation Failed";
        case 421:
            return "Misdirected Request";
        case 422:
            return "Unprocessable Content";
        case 424:
            return "Failed Dependency";
        case 426:
            return "Upgrade Required";
        case 428:
            return "Precondition Required";
        case 429:
            return "Too Many Requests";
        case 431:
            return "Request Header Fields Too Large";
        case 500:
            return "Internal Server Error";
        case 501:
            return "Not Implemented";
        case 502:
            return "Bad Gateway";
        case 503:
            return "Service Unavailable";
        case 504:
            return "Gateway Timeout";
        case 505:
            return "HTTP Version Not Supported";
        case 529:
            return "Overloaded";
        default:
            return "Unknown";
    }
}

}  // namespace weir::http
