// The API's endpoints: one table that code, docs and tests share. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace weir::http {

// Whose shapes the answers have (how a whole answer is known, what crosses between stream and
// JSON).
enum class Shape : std::uint8_t { kChat, kCompletion, kEmbedding, kResponse, kMessage, kOther };

// Whose API an endpoint belongs to: in whose shape refusals and rate headers are told, and which
// kind of upstream serves it.
enum class Api : std::uint8_t {
    kOpenAi,
    kAnthropic,  // /v1/messages and below
};

enum class Access : std::uint8_t {
    kOpen,    // stateless
    kClosed,  // reads or changes what the shared upstream account stores
    kNever,   // /v1/organization/...
};

// What a request's body is, and so what becomes of it.
enum class BodyKind : std::uint8_t {
    kNone,     // there is none; what comes all the same is read over
    kJson,     // held and read, whatever its content-type says
    kForm,     // multipart/form-data, or JSON by its content-type; held and read
    kRelayed,  // JSON by its content-type is held and read; anything else is passed on as it comes
};

// What the files of a form are, for the plan's `inputs` and for the bound of its tokens.
enum class Files : std::uint8_t { kNone, kImage, kAudio, kFile };

struct Endpoint {
    // Behind /v1. "{id}" is one segment, a final "/*" everything below.
    std::string_view path;
    std::string_view method;  // "POST"; "*": any but OPTIONS
    Access access = Access::kOpen;
    Shape shape = Shape::kOther;
    BodyKind body = BodyKind::kJson;
    Files files = Files::kNone;
    bool cacheable = false;
    bool counts = true;              // is a message under the caps
    bool names_model = true;         // its body has to name one, unless there is a default
    std::string_view group;          // the name that `endpoints:` opens it by; empty for open ones
    std::string_view default_model;  // what the API takes when the body names none
};

enum class Match : std::uint8_t { kFound, kWrongMethod, kUnknown };
struct Found {
    Match match = Match::kUnknown;
    const Endpoint* endpoint = nullptr;  // for kWrongMethod: one of the path's
};
// `path` begins with "/v1" and has no query. A trailing slash is not the same path. Paths that two
// readers could understand differently (dot segments, encoded or not, empty segments, %00, doubly
// encoded bytes) are kUnknown.
[[nodiscard]] Found find_endpoint(std::string_view method, std::string_view path) noexcept;
// Of a path that begins with "/v1", known or not: who asks for what is not there, or without a key,
// is told so in its API's own shape.
[[nodiscard]] Api api_of(std::string_view path) noexcept;
// "chat/completions" of "/v1/chat/completions": what globs on endpoints are matched with. Empty:
// not behind "/v1/".
[[nodiscard]] std::string_view path_behind_v1(std::string_view path) noexcept;
// Is there a group of closed endpoints of that name?
[[nodiscard]] bool is_group(std::string_view name) noexcept;
// All rows, for docs and tests.
[[nodiscard]] const Endpoint* endpoints_begin() noexcept;
[[nodiscard]] const Endpoint* endpoints_end() noexcept;

}  // namespace weir::http
