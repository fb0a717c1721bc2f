#include <utility>

#include "weir/http/parser.hpp"

#include "message_reader.hpp"

namespace weir::http {

namespace {

using boost::beast::http::field;

constexpr std::size_t kHeadLimit = 64 << 10;
constexpr std::size_t kMaxInterim = 10;

std::optional<Fault> check_status_line(std::string_view line) {
    if (!line.starts_with("HTTP/1.1 ") && !line.starts_with("HTTP/1.0 ")) {
        return Fault{502, "The answer does not begin with an HTTP/1.1 status line."};
    }
    return std::nullopt;
}

struct ResponseSink {
    ResponseHead head;
    FramingFacts framing;

    std::optional<Fault> on_start(int status, std::string_view, std::string_view, int minor) {
        // 101 is never asked for.
        if (status < 100 || status > 599 || status == 101) {
            return Fault{502, "The answer has an impossible status."};
        }
        head.status = status;
        head.minor_version = minor;
        return std::nullopt;
    }

    std::optional<Fault> on_field(field id, std::string_view name, std::string_view value) {
        if (head.fields.size() >= kMaxFields) return Fault{502, "The head has over 100 fields."};
        if (auto fault = framing.see(id, value)) return fault;
        head.fields.add(name, value);
        return std::nullopt;
    }

    std::optional<Fault> finish(bool to_head) {
        if (auto fault = framing.judge(head.minor_version)) return fault;
        const bool interim = head.status < 200;
        if (interim && (framing.encodings > 0 || framing.lengths > 0)) {
            return Fault{502, "An interim answer claims a body."};
        }
        const bool has_length = framing.lengths > 0;
        head.content_length = framing.length;
        head.keep_alive = framing.persistent(head.minor_version);
        if (interim || to_head || head.status == 204 || head.status == 304) {
            head.framing = Framing::kNone;
            // RFC 9110 8.6 forbids a 204 with a length: what it means to send is unclear.
            if (head.status == 204 && (framing.encodings > 0 || framing.length > 0)) {
                head.keep_alive = false;
            }
        } else if (framing.encodings > 0) {
            head.framing = Framing::kChunked;
        } else if (has_length) {
            head.framing = Framing::kLength;
        } else {
            head.framing = Framing::kUntilClose;
            head.keep_alive = false;
        }
        return std::nullopt;
    }

    [[nodiscard]] bool ends_with_head() const noexcept {
        return head.framing == Framing::kNone ||
               (head.framing == Framing::kLength && head.content_length == 0);
    }
};

}  // namespace

struct ResponseParser::Impl {
    explicit Impl(bool head_request)
        : gatherer(kHeadLimit, 0, check_status_line),
          reader(std::in_place, sink),
          to_head(head_request) {}

    HeadGatherer gatherer;
    ResponseSink sink;
    std::optional<MessageReader<false, ResponseSink>> reader;
    State state = State::kHead;
    std::string broken;
    std::size_t interim = 0;
    bool to_head;

    void next_head() {
        gatherer.reset();
        sink = {};
        reader.emplace(sink);
    }

    void break_off(std::string_view why) {
        state = State::kBroken;
        broken = why;
    }

    // Reads one head, interim or final.
    std::size_t feed_head(std::string_view bytes) {
        std::size_t used = 0;
        switch (gatherer.take(bytes, used)) {
            case HeadGatherer::Found::kMore:
                return used;
            case HeadGatherer::Found::kFault:
                break_off(gatherer.fault().text);
                return bytes.size();
            case HeadGatherer::Found::kWhole:
                break;
        }
        auto fault = reader->read_head(gatherer.text(), to_head);
        if (!fault) fault = sink.finish(to_head);
        if (!fault && sink.ends_with_head() != reader->done()) {
            fault = Fault{502, "The framing is ambiguous."};
        }
        if (!fault && sink.head.status < 200 && ++interim > kMaxInterim) {
            fault = Fault{502, "Too many interim answers."};
        }
        if (fault) {
            break_off(fault->text);
            return bytes.size();
        }
        if (sink.head.status < 200) {
            next_head();
        } else {
            state = reader->done() ? State::kDone : State::kBody;
        }
        return used;
    }

    std::size_t feed_body(std::string_view bytes, std::string* out) {
        std::size_t used = 0;
        const bool chunked = sink.head.framing == Framing::kChunked;
        if (const auto fault = reader->read_body(bytes, chunked, out, used)) {
            break_off(fault->text);
            return bytes.size();
        }
        if (reader->done()) state = State::kDone;
        return used;
    }
};

ResponseParser::ResponseParser(bool to_head) : impl_(std::make_unique<Impl>(to_head)) {}
ResponseParser::~ResponseParser() = default;
ResponseParser::ResponseParser(ResponseParser&&) noexcept = default;
ResponseParser& ResponseParser::operator=(ResponseParser&&) noexcept = default;

std::size_t ResponseParser::feed(std::string_view bytes, std::string* body_out) {
    std::size_t used = 0;
    while (impl_->state == State::kHead && used < bytes.size()) {
        used += impl_->feed_head(bytes.substr(used));
        if (impl_->state != State::kHead) return used;
    }
    if (impl_->state == State::kBody) return used + impl_->feed_body(bytes.substr(used), body_out);
    return impl_->state == State::kBroken ? bytes.size() : used;
}

void ResponseParser::feed_eof() {
    switch (impl_->state) {
        case State::kHead:
            impl_->break_off(
                started() ? "The connection was closed within the head."
                          : "The connection was closed before an answer."
            );
            break;
        case State::kBody:
            if (impl_->reader->close_ends_it()) {
                impl_->state = State::kDone;
            } else {
                impl_->break_off("The connection was closed before the body was whole.");
            }
            break;
        case State::kDone:
        case State::kBroken:
            break;
    }
}

ResponseParser::State ResponseParser::state() const noexcept {
    return impl_->state;
}
bool ResponseParser::started() const noexcept {
    return impl_->interim > 0 || impl_->gatherer.started();
}
const ResponseHead& ResponseParser::head() const noexcept {
    return impl_->sink.head;
}
const std::string& ResponseParser::broken() const noexcept {
    return impl_->broken;
}

void ResponseParser::reset(bool to_head) {
    impl_->next_head();
    impl_->state = State::kHead;
    impl_->broken.clear();
    impl_->interim = 0;
    impl_->to_head = to_head;
}

}  // namespace weir::http
