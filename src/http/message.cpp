#include "weir/http/message.hpp"

#include <algorithm>

#include "weir/base/text.hpp"

namespace weir::http {

namespace {
bool same_name(std::string_view a, std::string_view b) noexcept {
    return a.size() == b.size() && iequals(a, b);
}
}  // namespace

void Fields::set(std::string_view name, std::string_view value) {
    const auto first = std::ranges::find_if(fields_, [name](const Field& field) {
        return same_name(field.name, name);
    });
    if (first == fields_.end()) {
        add(name, value);
        return;
    }
    first->value = value;
    const auto rest = std::remove_if(first + 1, fields_.end(), [name](const Field& field) {
        return same_name(field.name, name);
    });
    fields_.erase(rest, fields_.end());
}

void Fields::remove(std::string_view name) {
    std::erase_if(fields_, [name](const Field& field) { return same_name(field.name, name); });
}

std::optional<std::string_view> Fields::find(std::string_view name) const noexcept {
    for (const Field& field : fields_) {
        if (same_name(field.name, name)) return field.value;
    }
    return std::nullopt;
}

std::size_t Fields::count(std::string_view name) const noexcept {
    return static_cast<std::size_t>(std::ranges::count_if(fields_, [name](const Field& field) {
        return same_name(field.name, name);
    }));
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
