// Forms: multipart/form-data (RFC 7578 on RFC 2046), as SDKs send pictures and sounds. Strict where
// two readers could understand a form differently: the gateway decides by what the upstream is to
// read. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/base/buffer.hpp"
#include "weir/http/api.hpp"
#include "weir/http/json_request.hpp"

namespace weir::http {

// Of "multipart/form-data; boundary=...", quoted or not. nullopt: it is not that, has none, two, or
// one that RFC 2046 does not allow.
[[nodiscard]] std::optional<std::string> form_boundary(std::string_view content_type);

struct FormPart {
    std::string name;
    bool file = false;  // it has a file name
    bool plain = true;  // its bytes are its value: UTF-8, no transfer encoding
    TextSpan content;   // in the body
    friend bool operator==(const FormPart&, const FormPart&) = default;
};

// Finds the parts of a form, however its bytes are cut. Holds at most the head of one part.
class MultipartReader {
public:
    static constexpr std::size_t kMostParts = 1000;
    static constexpr std::size_t kLongestHead = 16 << 10;

    explicit MultipartReader(std::string_view boundary);

    // False: it is broken, why() says how; the reader is of no further use.
    [[nodiscard]] bool feed(std::string_view bytes);
    // The body has ended. False: before its final boundary.
    [[nodiscard]] bool finish();
    [[nodiscard]] const std::string& why() const noexcept { return why_; }
    // Those that are whole.
    [[nodiscard]] const std::vector<FormPart>& parts() const noexcept { return parts_; }
    // Where a part can be put in: the offset of the first boundary's "--".
    [[nodiscard]] std::size_t first_boundary() const noexcept { return first_boundary_; }

private:
    enum class State : std::uint8_t { kText, kBehindBoundary, kHead, kEpilogue, kBroken };

    bool broken(std::string_view why);
    bool feed_text(std::string_view& bytes);
    bool feed_behind_boundary(std::string_view& bytes);
    bool feed_head(std::string_view& bytes);
    bool read_head();
    void found_boundary();
    std::string_view take(std::string_view& bytes, std::size_t count) noexcept;

    std::string delimiter_;    // "\r\n--" and the boundary
    std::size_t matched_ = 2;  // of it: the first one may stand at the very beginning
    State state_ = State::kText;
    bool in_part_ = false;    // kText is the content of parts_.back(), not the preamble
    std::size_t offset_ = 0;  // of the next byte, in the body
    std::size_t first_boundary_ = 0;
    std::string tail_;  // what stands behind a boundary, up to its line's end
    std::string head_;
    std::vector<FormPart> parts_;
    std::string why_;
};

// What a form says, in the terms of a JSON body, as far as the gateway decides by it: model,
// stream, n, what it carries. `model_at` is the value's own bytes.
struct FormPlace {
    std::string boundary;
    std::size_t first = 0;  // the offset of the first boundary's "--": a part can be put in there
};
struct FormRequest {
    JsonRequest request;
    FormPlace place;
};

// `files`: what the endpoint's files are.
[[nodiscard]] std::expected<FormRequest, JsonFault> read_form(
    std::string_view body, std::string_view content_type, Files files
);

// The same form with that model, in the place of the one at `model_at` or as a first part. All
// other bytes stay. kOverloaded: the budget has no room for it.
[[nodiscard]] Result<Buffer> rewrite_form(
    std::string_view body,
    const JsonRequest& request,
    const FormPlace& place,
    std::string_view model,
    BufferBudget* budget = nullptr
);

}  // namespace weir::http
