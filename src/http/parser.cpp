#include "weir/http/parser.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include "message_reader.hpp"

namespace weir::http {

namespace {

using boost::beast::http::field;

constexpr std::size_t kEmptyLines = 2;  // before a request: RFC 9112 2.2 asks for at least one

constexpr std::array<std::string_view, 7> kMethods = {
    "POST", "GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"
};

std::optional<Fault> check_request_line(std::string_view line) {
    const std::size_t first = line.find(' ');
    const std::size_t last = line.rfind(' ');
    if (first == last) return Fault{400, "The request line is not 'METHOD target HTTP/1.1'."};
    const std::string_view method = line.substr(0, first);
    const std::string_view target = line.substr(first + 1, last - first - 1);
    const std::string_view version = line.substr(last + 1);

    if (version.size() != 8 || !version.starts_with("HTTP/") || !is_digit(version[5]) ||
        version[6] != '.' || !is_digit(version[7])) {
        return Fault{400, "The request line does not end with an HTTP version."};
    }
    if (version != "HTTP/1.1" && version != "HTTP/1.0") {
        return Fault{400, "Only HTTP/1.1 and HTTP/1.0 are spoken here."};
    }
    if (!is_token(method)) return Fault{400, "The method is malformed."};
    if (std::ranges::find(kMethods, method) == kMethods.end()) {
        // Every fault of a client's is a 4xx, so that nobody tries again.
        return Fault{405, "The method is not served here; methods are in capital letters."};
    }
    if (!target.starts_with('/')) {
        return Fault{400, "The request target is not a path that begins with '/'."};
    }
    if (!std::ranges::all_of(target, [](char c) { return c > ' ' && c < 0x7f && c != '#'; })) {
        return Fault{400, "The request target has a byte that must be percent-encoded."};
    }
    return std::nullopt;
}

// uri-host [":" port] of RFC 3986, without percent-encoding checks.
bool is_host(std::string_view host) {
    std::string_view port;
    if (host.starts_with('[')) {
        const std::size_t end = host.find(']');
        if (end == std::string_view::npos || end < 3) return false;
        const std::string_view address = host.substr(1, end - 1);
        if (!std::ranges::all_of(address, [](char c) {
                return is_hex_digit(c) || c == ':' || c == '.';
            })) {
            return false;
        }
        port = host.substr(end + 1);
    } else {
        const std::size_t colon = std::min(host.find(':'), host.size());
        const std::string_view name = host.substr(0, colon);
        static constexpr std::string_view kMarks = "-._~%!$&'()*+;=";
        if (name.empty() || !std::ranges::all_of(name, [](char c) {
                return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       kMarks.find(c) != std::string_view::npos;
            })) {
            return false;
        }
        port = host.substr(colon);
    }
    if (port.empty()) return true;
    if (!port.starts_with(':')) return false;
    port.remove_prefix(1);
    return port.size() <= 5 && std::ranges::all_of(port, is_digit);
}

// Fields of which two would let two readers see two senders.
bool is_credential(std::string_view name) {
    return (name.size() == 9 && iequals(name, "x-api-key")) ||
           (name.size() == 7 && iequals(name, "api-key"));
}

struct RequestSink {
    RequestHead head;
    FramingFacts framing;
    std::size_t hosts = 0;
    std::size_t authorizations = 0;
    std::size_t api_keys = 0;
    bool expects = false;

    std::optional<Fault> on_start(
        int, std::string_view method, std::string_view target, int minor
    ) {
        head.method = method;
        head.target = target;
        head.minor_version = minor;
        return std::nullopt;
    }

    std::optional<Fault> on_field(field id, std::string_view name, std::string_view value) {
        if (head.fields.size() >= kMaxFields) return Fault{431, "The head has over 100 fields."};
        if (auto fault = framing.see(id, value)) return fault;
        switch (id) {
            case field::host:
                if (++hosts > 1) return Fault{400, "Host stands more than once."};
                if (!is_host(value)) return Fault{400, "Host is not a host name."};
                break;
            case field::authorization:
                if (++authorizations > 1) {
                    return Fault{400, "Authorization stands more than once."};
                }
                break;
            case field::expect:
                if (!iequals(value, "100-continue")) {
                    return Fault{417, "Expect may only be '100-continue'."};
                }
                expects = true;
                break;
            default:
                if (is_credential(name) && ++api_keys > 1) {
                    return Fault{400, "The key stands more than once."};
                }
                break;
        }
        head.fields.add(name, value);
        return std::nullopt;
    }

    // Once all fields are there.
    std::optional<Fault> finish() {
        if (auto fault = framing.judge(head.minor_version)) return fault;
        if (hosts == 0 && head.minor_version >= 1) return Fault{400, "Host is missing."};
        if (framing.encodings > 0) {
            head.framing = Framing::kChunked;
        } else if (framing.lengths > 0) {
            head.framing = Framing::kLength;
            head.content_length = framing.length;
        }
        head.keep_alive = framing.persistent(head.minor_version);
        const bool has_body = head.framing == Framing::kChunked || head.content_length > 0;
        head.expect_continue = expects && has_body && head.minor_version >= 1;
        return std::nullopt;
    }
};

}  // namespace

Fault fault_of(const boost::beast::error_code& error) noexcept {
    using boost::beast::http::error::bad_chunk;
    using boost::beast::http::error::bad_chunk_extension;
    using boost::beast::http::error::bad_content_length;
    using boost::beast::http::error::bad_field;
    using boost::beast::http::error::bad_status;
    using boost::beast::http::error::bad_transfer_encoding;
    using boost::beast::http::error::bad_value;
    using boost::beast::http::error::bad_version;
    using boost::beast::http::error::multiple_content_length;
    if (error == bad_field) return {400, "A header line is not 'name: value'."};
    if (error == bad_value) return {400, "The value of a header field is malformed."};
    if (error == bad_content_length) return {400, "Content-Length is not a number."};
    if (error == multiple_content_length) return {400, "Content-Length stands more than once."};
    if (error == bad_transfer_encoding) return {400, "Transfer-Encoding is ambiguous."};
    if (error == bad_chunk) return {400, "A chunk's size is malformed."};
    if (error == bad_chunk_extension) return {400, "A chunk's extensions are malformed."};
    if (error == bad_version) return {400, "The HTTP version is malformed."};
    if (error == bad_status) return {400, "The status is malformed."};
    return {400, "The message is malformed."};
}

struct RequestParser::Impl {
    explicit Impl(std::size_t head_limit)
        : gatherer(head_limit, kEmptyLines, check_request_line), reader(std::in_place, sink) {}

    HeadGatherer gatherer;
    RequestSink sink;
    std::optional<MessageReader<true, RequestSink>> reader;
    State state = State::kHead;
    Refused refused;

    void refuse(const Fault& fault) {
        state = State::kRefused;
        refused = {fault.status, std::string(fault.text)};
    }

    std::size_t feed_head(std::string_view bytes) {
        std::size_t used = 0;
        switch (gatherer.take(bytes, used)) {
            case HeadGatherer::Found::kMore:
                return used;
            case HeadGatherer::Found::kFault:
                refuse(gatherer.fault());
                return bytes.size();
            case HeadGatherer::Found::kWhole:
                break;
        }
        auto fault = reader->read_head(gatherer.text(), false);
        if (!fault) fault = sink.finish();
        const bool done = sink.head.framing != Framing::kChunked && sink.head.content_length == 0;
        // Both must agree on where the message ends; otherwise nothing behind it can be trusted.
        if (!fault && done != reader->done()) fault = Fault{400, "The framing is ambiguous."};
        if (fault) {
            refuse(*fault);
            return bytes.size();
        }
        state = done ? State::kDone : State::kBody;
        return used;
    }

    std::size_t feed_body(std::string_view bytes, std::string* out) {
        std::size_t used = 0;
        const bool chunked = sink.head.framing == Framing::kChunked;
        if (const auto fault = reader->read_body(bytes, chunked, out, used)) {
            refuse(*fault);
            return bytes.size();
        }
        if (reader->done()) state = State::kDone;
        return used;
    }
};

RequestParser::RequestParser(std::size_t head_limit_bytes)
    : impl_(std::make_unique<Impl>(head_limit_bytes)) {}
RequestParser::~RequestParser() = default;
RequestParser::RequestParser(RequestParser&&) noexcept = default;
RequestParser& RequestParser::operator=(RequestParser&&) noexcept = default;

std::size_t RequestParser::feed(std::string_view bytes, std::string* body_out) {
    switch (impl_->state) {
        case State::kHead:
            return impl_->feed_head(bytes);
        case State::kBody:
            return impl_->feed_body(bytes, body_out);
        case State::kRefused:
            return bytes.size();
        case State::kDone:
            break;
    }
    return 0;
}

RequestParser::State RequestParser::state() const noexcept {
    return impl_->state;
}
bool RequestParser::started() const noexcept {
    return impl_->gatherer.started();
}
const RequestHead& RequestParser::head() const noexcept {
    return impl_->sink.head;
}
const Refused& RequestParser::refused() const noexcept {
    return impl_->refused;
}

RequestHead RequestParser::take_head() {
    // The framing stays: the body is read by it.
    const Framing framing = impl_->sink.head.framing;
    RequestHead head = std::exchange(impl_->sink.head, {});
    impl_->sink.head.framing = framing;
    return head;
}

void RequestParser::body_was_read_outside() noexcept {
    assert(impl_->state != State::kBody || impl_->sink.head.framing == Framing::kLength);
    if (impl_->state == State::kBody) impl_->state = State::kDone;
}

void RequestParser::reset() {
    impl_->gatherer.reset();
    impl_->sink = {};
    impl_->reader.emplace(impl_->sink);
    impl_->state = State::kHead;
    impl_->refused = {};
}

}  // namespace weir::http
