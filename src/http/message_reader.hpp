// What both parsers share: a Beast basic_parser that is given whole heads and whole chunk lines
// only, after they were cut and checked here. Private to the room.
//
// Beast 1.81 knows the grammar, but bounds neither chunk extensions nor trailers, merges trailers
// into the head and accepts ambiguous framing; so trailers never reach it, and FramingFacts judges
// a head before its body is touched.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/field.hpp>

#include "weir/base/text.hpp"
#include "weir/http/message.hpp"

#include "characters.hpp"
#include "head_gatherer.hpp"

namespace weir::http {

inline constexpr std::size_t kMaxFields = 100;           // as Envoy
inline constexpr std::size_t kMaxChunkLine = 1024 + 20;  // extensions, size and line ends
inline constexpr std::size_t kMaxTrailers = 8 << 10;
// Lengths stay below 2^63, so that no signed counter downstream can go wrong.
inline constexpr std::uint64_t kMaxLength = std::numeric_limits<std::int64_t>::max();

// What the fields say about where the message ends.
struct FramingFacts {
    std::size_t lengths = 0;
    std::uint64_t length = 0;
    std::size_t encodings = 0;
    bool close = false;
    bool keep_alive = false;

    [[nodiscard]] std::optional<Fault> see_length(std::string_view value) {
        if (++lengths > 1) return Fault{400, "Content-Length stands more than once."};
        // 19 digits are below 10^19 and so fit into 64 bits.
        if (value.empty() || value.size() > 19 || !std::ranges::all_of(value, is_digit)) {
            return Fault{400, "Content-Length is not a number."};
        }
        length = 0;
        for (const char c : value) length = length * 10 + static_cast<std::uint64_t>(c - '0');
        if (length > kMaxLength) return Fault{400, "Content-Length is too large."};
        return std::nullopt;
    }
    [[nodiscard]] std::optional<Fault> see_encoding(std::string_view value) {
        if (++encodings > 1) return Fault{400, "Transfer-Encoding stands more than once."};
        if (!iequals(value, "chunked")) {
            return Fault{400, "Transfer-Encoding may only be 'chunked'."};
        }
        return std::nullopt;
    }
    void see_connection(std::string_view value) {
        for_each_list_member(value, [this](std::string_view option) {
            if (iequals(option, "close")) close = true;
            if (iequals(option, "keep-alive")) keep_alive = true;
        });
    }
    // Takes the fields that frame a message, and no notice of others.
    [[nodiscard]] std::optional<Fault> see(boost::beast::http::field id, std::string_view value) {
        using boost::beast::http::field;
        if (id == field::content_length) return see_length(value);
        if (id == field::transfer_encoding) return see_encoding(value);
        if (id == field::connection) see_connection(value);
        return std::nullopt;
    }
    [[nodiscard]] std::optional<Fault> judge(int minor_version) const {
        if (encodings == 0) return std::nullopt;
        if (lengths > 0) {
            return Fault{400, "Content-Length and Transfer-Encoding stand side by side."};
        }
        if (minor_version == 0) return Fault{400, "Transfer-Encoding is not known in HTTP/1.0."};
        return std::nullopt;
    }
    [[nodiscard]] bool persistent(int minor_version) const noexcept {
        return !close && (minor_version >= 1 || keep_alive);
    }
};

// The words for what Beast refused.
[[nodiscard]] Fault fault_of(const boost::beast::error_code& error) noexcept;

// `Sink`: std::optional<Fault> on_start(status, method, target, minor), on_field(field, name,
// value). It outlives the reader.
template <bool kIsRequest, class Sink>
class MessageReader final : private boost::beast::http::basic_parser<kIsRequest> {
    using Base = boost::beast::http::basic_parser<kIsRequest>;
    using Code = boost::beast::error_code;
    using View = boost::beast::string_view;

public:
    explicit MessageReader(Sink& sink) : sink_(sink) {
        this->body_limit(boost::none);
        this->header_limit(std::numeric_limits<std::uint32_t>::max());
    }

    // The whole head, as HeadGatherer gives it. `bodiless`: nothing follows, whatever it says.
    [[nodiscard]] std::optional<Fault> read_head(std::string_view head, bool bodiless) {
        this->skip(bodiless);
        if (auto fault = put_whole(head)) return fault;
        if (!this->is_header_done()) return Fault{400, "The head is malformed."};
        return std::nullopt;
    }

    // Body bytes, chunked or plain. Stops at the message's end. Appends to `out` if not null.
    [[nodiscard]] std::optional<Fault> read_body(
        std::string_view bytes, bool chunked, std::string* out, std::size_t& used
    ) {
        out_ = out;
        used = 0;
        while (used < bytes.size() && !done()) {
            const std::string_view rest = bytes.substr(used);
            std::size_t taken = 0;
            auto fault = !chunked || chunk_left_ > 0 ? read_data(rest, chunked, taken)
                         : in_trailers_              ? read_trailers(rest, taken)
                                                     : read_chunk_line(rest, taken);
            used += taken;
            if (fault) return fault;
        }
        return std::nullopt;
    }

    [[nodiscard]] bool done() const noexcept { return this->is_done(); }
    // The peer closed: ends a body that is framed by it.
    [[nodiscard]] bool close_ends_it() {
        if (!this->need_eof()) return false;
        Code error;
        this->put_eof(error);
        return !error;
    }

private:
    [[nodiscard]] std::optional<Fault> put_whole(std::string_view bytes) {
        Code error;
        const std::size_t used =
            this->put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
        if (fault_) return fault_;
        if (error) return fault_of(error);
        if (used != bytes.size()) return Fault{400, "The message is malformed."};
        return std::nullopt;
    }

    [[nodiscard]] std::optional<Fault> read_data(
        std::string_view bytes, bool chunked, std::size_t& used
    ) {
        Code error;
        used = this->put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
        if (error) return fault_of(error);
        if (chunked) chunk_left_ -= used;
        return std::nullopt;
    }

    // Gathers "[CRLF]size[;extensions]CRLF": Beast takes the line end behind a chunk's data as the
    // beginning of the next line.
    [[nodiscard]] std::optional<Fault> read_chunk_line(std::string_view bytes, std::size_t& used) {
        const std::size_t lead = any_chunk_ ? 2 : 0;
        while (used < bytes.size()) {
            const char c = bytes[used++];
            const std::size_t at = line_.size();
            line_.push_back(c);
            if (at < lead) {
                if (c != "\r\n"[at]) return Fault{400, "A chunk is longer than its size says."};
                continue;
            }
            if (at > lead && line_[at - 1] == '\r') {
                if (c != '\n') return Fault{400, "A chunk's head has a CR without LF."};
                return end_chunk_line(std::string_view(line_).substr(lead));
            }
            if (c != '\r' && !is_text_char(c)) {
                return Fault{400, "A chunk's head has a control byte or a bare line end."};
            }
            if (line_.size() > kMaxChunkLine)
                return Fault{400, "A chunk's extensions are too long."};
        }
        return std::nullopt;
    }

    [[nodiscard]] std::optional<Fault> end_chunk_line(std::string_view line) {
        std::size_t digits = 0;
        bool zero = true;
        while (digits < line.size() && is_hex_digit(line[digits])) zero &= line[digits++] == '0';
        if (digits == 0 || digits > 16) return Fault{400, "A chunk's size is malformed."};
        if (zero) {
            in_trailers_ = true;  // Beast gets the last chunk when the trailers are over
            return std::nullopt;
        }
        if (auto fault = put_whole(line_)) return fault;
        if (chunk_left_ > kMaxLength - chunked_total_) return Fault{400, "A chunk is too large."};
        chunked_total_ += chunk_left_;
        any_chunk_ = true;
        line_.clear();
        return std::nullopt;
    }

    // Fields behind the last chunk are checked as bytes and dropped; Beast sees none of them.
    [[nodiscard]] std::optional<Fault> read_trailers(std::string_view bytes, std::size_t& used) {
        while (used < bytes.size()) {
            const char c = bytes[used++];
            if (++trailer_bytes_ > kMaxTrailers) return Fault{431, "The trailers are too large."};
            switch (trailer_) {
                case Trailer::kLineStart:
                    if (c == '\r') {
                        trailer_ = Trailer::kLastLf;
                    } else if (is_token_char(c)) {
                        trailer_ = Trailer::kName;
                    } else {
                        return Fault{400, "A trailer is malformed."};
                    }
                    break;
                case Trailer::kName:
                    if (c == ':') {
                        trailer_ = Trailer::kValue;
                    } else if (!is_token_char(c)) {
                        return Fault{400, "A trailer is malformed."};
                    }
                    break;
                case Trailer::kValue:
                    if (c == '\r') {
                        trailer_ = Trailer::kLf;
                    } else if (!is_text_char(c)) {
                        return Fault{400, "A trailer has a control byte."};
                    }
                    break;
                case Trailer::kLf:
                    if (c != '\n') return Fault{400, "A trailer has a CR without LF."};
                    trailer_ = Trailer::kLineStart;
                    break;
                case Trailer::kLastLf:
                    if (c != '\n') return Fault{400, "A trailer has a CR without LF."};
                    line_ += "\r\n";
                    if (auto fault = put_whole(line_)) return fault;
                    if (!done()) return Fault{400, "The last chunk is malformed."};
                    return std::nullopt;
            }
        }
        return std::nullopt;
    }

    void keep(std::optional<Fault> fault, Code& error) {
        if (!fault) return;
        fault_ = fault;
        error = boost::beast::http::error::bad_value;
    }

    void on_request_impl(
        boost::beast::http::verb, View method, View target, int version, Code& error
    ) override {
        keep(
            sink_.on_start(
                0, {method.data(), method.size()}, {target.data(), target.size()}, version % 10
            ),
            error
        );
    }
    void on_response_impl(int status, View, int version, Code& error) override {
        keep(sink_.on_start(status, {}, {}, version % 10), error);
    }
    void on_field_impl(boost::beast::http::field field, View name, View value, Code& error)
        override {
        keep(
            sink_.on_field(field, {name.data(), name.size()}, {value.data(), value.size()}), error
        );
    }
    void on_header_impl(Code&) override {}
    void on_body_init_impl(const boost::optional<std::uint64_t>&, Code&) override {}
    std::size_t on_body_impl(View bytes, Code&) override {
        if (out_ != nullptr) out_->append(bytes.data(), bytes.size());
        return bytes.size();
    }
    void on_chunk_header_impl(std::uint64_t size, View, Code&) override { chunk_left_ = size; }
    std::size_t on_chunk_body_impl(std::uint64_t, View bytes, Code& error) override {
        return on_body_impl(bytes, error);
    }
    void on_finish_impl(Code&) override {}

    enum class Trailer : std::uint8_t { kLineStart, kName, kValue, kLf, kLastLf };

    Sink& sink_;
    std::optional<Fault> fault_;  // set by the sink, in a callback
    std::string* out_ = nullptr;
    std::string line_;  // a chunk's head as far as it is there, with the CRLF of the chunk before
    std::uint64_t chunk_left_ = 0;
    std::uint64_t chunked_total_ = 0;
    std::size_t trailer_bytes_ = 0;
    Trailer trailer_ = Trailer::kLineStart;
    bool any_chunk_ = false;
    bool in_trailers_ = false;
};

}  // namespace weir::http
