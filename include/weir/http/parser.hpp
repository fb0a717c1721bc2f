// HTTP/1.1 reading on Beast's basic_parser, with the checks that Beast 1.81 lacks and bounds of our
// own. Pure: bytes in, events out. One parser per connection, reused by reset(). Not thread-safe.
//
// Refused beyond what Beast refuses (RFC 9112 and pitfalls): Transfer-Encoding other than exactly
// one `chunked` on 1.1, together with Content-Length, or on 1.0; repeated or listed Content-Length;
// missing, repeated or invalid Host; repeated Authorization; obs-fold; more than 100 fields;
// unknown methods; targets that are not origin form; control bytes; chunk extensions over 1 KiB;
// trailers over 8 KiB. Trailers are read over and never looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "weir/base/error.hpp"
#include "weir/http/message.hpp"

namespace weir::http {

// Why a request's bytes were refused; the connection is to be closed after the answer.
struct Refused {
    int status = 400;     // 400, 405, 414, 417, 431: never a 5xx
    std::string message;  // for the client
};

class RequestParser {
public:
    explicit RequestParser(std::size_t head_limit_bytes = 64 << 10);
    ~RequestParser();
    RequestParser(RequestParser&&) noexcept;
    RequestParser& operator=(RequestParser&&) noexcept;

    enum class State : std::uint8_t { kHead, kBody, kDone, kRefused };

    // Takes bytes, returns how many were used. Bytes that were not used are to be given again with
    // more behind them. Stops behind the head (state kBody or kDone), so that the caller can
    // decide; body bytes are then appended to `body_out` (null: dropped) as they come; stops at the
    // end of the message, so that leftovers are the next request: there feed() uses nothing until
    // reset(). A head or chunk line cut by a read is kept inside, so all bytes are used unless it
    // stops. Once refused, all bytes are swallowed: nothing behind a refusal is ever parsed. What
    // comes out does not depend on how the input is cut.
    [[nodiscard]] std::size_t feed(std::string_view bytes, std::string* body_out = nullptr);
    [[nodiscard]] State state() const noexcept;
    // Some byte of this request was seen (a close is then not a clean one). Up to two empty lines
    // before a request do not count.
    [[nodiscard]] bool started() const noexcept;
    [[nodiscard]] const RequestHead& head() const noexcept;  // REQUIRES: state is kBody or kDone
    [[nodiscard]] RequestHead take_head();                   // as head(), which is empty afterwards
    [[nodiscard]] const Refused& refused() const noexcept;   // REQUIRES: state is kRefused
    // For a Content-Length body that the caller reads by itself, straight into its buffer.
    void body_was_read_outside() noexcept;
    void reset();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Reads an upstream's answer: interim answers (at most 10) are read over; head limit 64 KiB, 100
// fields.
class ResponseParser {
public:
    // `to_head`: the request was a HEAD.
    explicit ResponseParser(bool to_head = false);
    ~ResponseParser();
    ResponseParser(ResponseParser&&) noexcept;
    ResponseParser& operator=(ResponseParser&&) noexcept;

    enum class State : std::uint8_t { kHead, kBody, kDone, kBroken };

    // As RequestParser::feed: stops behind the final head, appends body bytes to `body_out`.
    [[nodiscard]] std::size_t feed(std::string_view bytes, std::string* body_out = nullptr);
    // The peer closed cleanly: ends a body that is framed by it, else kBroken.
    void feed_eof();
    [[nodiscard]] State state() const noexcept;
    // Some byte of the answer was seen, an interim answer's too.
    [[nodiscard]] bool started() const noexcept;
    [[nodiscard]] const ResponseHead& head() const noexcept;   // REQUIRES: state is kBody or kDone
    [[nodiscard]] const std::string& broken() const noexcept;  // what was wrong, for the log
    void reset(bool to_head = false);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace weir::http
