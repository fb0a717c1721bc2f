#include "weir/http/api.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

#include "weir/base/text.hpp"

namespace weir::http {

namespace {

using enum BodyKind;

constexpr Endpoint open_json(
    std::string_view path, Shape shape, bool cacheable, std::string_view default_model = {}
) {
    return {
        .path = path,
        .method = "POST",
        .shape = shape,
        .cacheable = cacheable,
        .group = {},
        .default_model = default_model
    };
}
constexpr Endpoint open_form(
    std::string_view path, Files files, std::string_view default_model = {}
) {
    return {
        .path = path,
        .method = "POST",
        .body = kForm,
        .files = files,
        .group = {},
        .default_model = default_model
    };
}
constexpr Endpoint free_json(
    std::string_view path, std::string_view default_model = {}, bool cacheable = false
) {
    return {
        .path = path,
        .method = "POST",
        .cacheable = cacheable,
        .counts = false,
        .group = {},
        .default_model = default_model
    };
}
constexpr Endpoint free_get(std::string_view path) {
    return {
        .path = path,
        .method = "GET",
        .body = kNone,
        .counts = false,
        .names_model = false,
        .group = {},
        .default_model = {}
    };
}

// Of a closed group: a POST that makes a model work, or that hands out what makes one work.
constexpr Endpoint work(
    std::string_view group,
    std::string_view path,
    BodyKind body = kJson,
    Files files = Files::kNone,
    std::string_view default_model = {}
) {
    return {
        .path = path,
        .method = "POST",
        .access = Access::kClosed,
        .body = body,
        .files = files,
        .names_model = false,
        .group = group,
        .default_model = default_model
    };
}
// Of a closed group: everything else.
constexpr Endpoint rest(
    std::string_view group, std::string_view path, BodyKind body, std::string_view method = "*"
) {
    return {
        .path = path,
        .method = method,
        .access = Access::kClosed,
        .body = body,
        .counts = false,
        .names_model = false,
        .group = group,
        .default_model = {}
    };
}
constexpr Endpoint never(std::string_view path) {
    return {
        .path = path,
        .method = "*",
        .access = Access::kNever,
        .body = kNone,
        .counts = false,
        .names_model = false,
        .group = {},
        .default_model = {}
    };
}

// docs/endpoints.md is this table for people. The busiest are in front; the first row whose path
// and method fit holds.
constexpr auto kTable = std::to_array<Endpoint>({
    open_json("/chat/completions", Shape::kChat, true),
    open_json("/responses", Shape::kResponse, true),
    open_json("/embeddings", Shape::kEmbedding, true),
    open_json("/completions", Shape::kCompletion, true),
    free_get("/models"),
    free_json("/moderations", "omni-moderation-latest", true),
    free_json("/responses/input_tokens"),
    open_json("/responses/compact", Shape::kOther, false),
    open_json("/images/generations", Shape::kOther, false, "dall-e-2"),
    open_form("/images/edits", Files::kImage, "gpt-image-1.5"),
    open_form("/images/variations", Files::kImage, "dall-e-2"),
    open_json("/audio/speech", Shape::kOther, false),
    open_form("/audio/transcriptions", Files::kAudio),
    open_form("/audio/translations", Files::kAudio),
    open_json("/messages", Shape::kMessage, true),
    free_json("/messages/count_tokens"),
    free_get("/models/*"),

    rest("files", "/files", kRelayed),
    rest("files", "/files/*", kRelayed),
    rest("uploads", "/uploads", kRelayed),
    rest("uploads", "/uploads/*", kRelayed),
    work("batches", "/batches"),
    rest("batches", "/batches", kJson),
    rest("batches", "/batches/*", kJson),
    work("message_batches", "/messages/batches"),
    rest("message_batches", "/messages/batches", kJson),
    rest("message_batches", "/messages/batches/*", kJson),
    rest("stored_responses", "/responses/*", kJson),
    rest("stored_completions", "/chat/completions", kNone, "GET"),
    rest("stored_completions", "/chat/completions/*", kJson),
    rest("conversations", "/conversations", kJson),
    rest("conversations", "/conversations/*", kJson),
    rest("vector_stores", "/vector_stores", kJson),
    work("vector_stores", "/vector_stores/{id}/search"),
    rest("vector_stores", "/vector_stores/*", kJson),
    rest("containers", "/containers", kJson),
    rest("containers", "/containers/*", kRelayed),
    rest("assistants", "/assistants", kJson),
    rest("assistants", "/assistants/*", kJson),
    rest("threads", "/threads", kJson),
    work("threads", "/threads/runs"),
    work("threads", "/threads/{id}/runs"),
    work("threads", "/threads/{id}/runs/{id}/submit_tool_outputs"),
    rest("threads", "/threads/*", kJson),
    work("fine_tuning", "/fine_tuning/jobs"),
    work("fine_tuning", "/fine_tuning/alpha/graders/run"),
    rest("fine_tuning", "/fine_tuning/*", kJson),
    rest("fine_tuning", "/models/*", kNone, "DELETE"),
    rest("evals", "/evals", kJson),
    work("evals", "/evals/{id}/runs"),
    rest("evals", "/evals/*", kJson),
    work("videos", "/videos", kForm, Files::kFile, "sora-2"),
    rest("videos", "/videos", kJson),
    work("videos", "/videos/edits", kForm, Files::kFile),
    work("videos", "/videos/extensions", kForm, Files::kFile),
    work("videos", "/videos/{id}/remix", kForm, Files::kFile),
    rest("videos", "/videos/*", kRelayed),
    rest("skills", "/skills", kRelayed),
    rest("skills", "/skills/*", kRelayed),
    work("voices", "/audio/voices", kForm, Files::kAudio),
    rest("voices", "/audio/voices", kJson),
    rest("voices", "/audio/voices/*", kJson),
    rest("voices", "/audio/voice_consents", kRelayed),
    rest("voices", "/audio/voice_consents/*", kJson),
    rest("provenance", "/content_provenance_checks", kRelayed, "POST"),
    work("chatkit", "/chatkit/sessions"),
    rest("chatkit", "/chatkit/*", kJson),
    work("realtime", "/realtime/calls", kRelayed),
    work("realtime", "/realtime/sessions"),
    work("realtime", "/realtime/client_secrets"),
    work("realtime", "/realtime/transcription_sessions"),
    work("realtime", "/realtime/translations/client_secrets"),
    rest("realtime", "/realtime/*", kJson),

    never("/organization"),
    never("/organization/*"),
    never("/projects"),
    never("/projects/*"),
});

bool path_fits(std::string_view pattern, std::string_view path) noexcept {
    // Both begin with a slash: a segment each time around.
    while (!pattern.empty()) {
        if (pattern == "/*") return path.size() > 1;
        if (!path.starts_with('/')) return false;
        const std::size_t end = std::min(path.find('/', 1), path.size());
        const std::size_t pattern_end = std::min(pattern.find('/', 1), pattern.size());
        const bool any = pattern.substr(1).starts_with('{') && end > 1;
        if (!any && pattern.substr(0, pattern_end) != path.substr(0, end)) return false;
        path.remove_prefix(end);
        pattern.remove_prefix(pattern_end);
    }
    return path.empty();
}

// Whether every reader of the path sees the same place: an upstream that decodes %2e%2e or %2f,
// or that takes a backslash for a slash, must not be led out of an opened group.
bool is_plain(std::string_view path) noexcept {
    std::size_t dots = 0;  // of the segment so far
    std::size_t others = 0;
    const auto segment_ends = [&dots, &others](bool last) {
        const bool fine = others > 0 || dots > 2 || (last && dots == 0);
        dots = others = 0;
        return fine;
    };
    bool first = true;
    for (std::size_t i = 0; i < path.size(); ++i) {
        char c = path[i];
        if (c == '%') {
            const std::string_view code = path.substr(i, 3);
            if (code == "%00" || code == "%25") return false;
            if (iequals(code, "%2e")) c = '.';
            if (iequals(code, "%2f")) c = '/';
            if (iequals(code, "%5c")) c = '\\';
            if (c != '%') i += 2;
        }
        if (c == '\\') c = '/';
        if (c == '/') {
            if (!first && !segment_ends(false)) return false;
            first = false;
        } else if (c == '.') {
            ++dots;
        } else {
            ++others;
        }
    }
    return segment_ends(true);
}

}  // namespace

Found find_endpoint(std::string_view method, std::string_view path) noexcept {
    constexpr std::string_view kPrefix = "/v1";
    if (!path.starts_with(kPrefix)) return {};
    path.remove_prefix(kPrefix.size());
    if (!path.starts_with('/')) return {};
    Found found;
    for (const Endpoint& row : kTable) {
        if (!path_fits(row.path, path)) continue;
        // What a resource can do is not asked of an upstream: browsers ask it of us.
        const bool any = row.method == "*" && method != "OPTIONS";
        if (any || row.method == method) {
            found = {Match::kFound, &row};
            break;
        }
        // A later row may take the method; if none does, an open one is the better hint.
        if (found.endpoint == nullptr) found = {Match::kWrongMethod, &row};
    }
    if (found.match != Match::kUnknown && !is_plain(path)) return {};
    return found;
}

Api api_of(std::string_view path) noexcept {
    constexpr std::string_view kMessages = "/v1/messages";
    if (!path.starts_with(kMessages)) return Api::kOpenAi;
    const bool itself = path.size() == kMessages.size();
    return itself || path[kMessages.size()] == '/' ? Api::kAnthropic : Api::kOpenAi;
}

std::string_view path_behind_v1(std::string_view path) noexcept {
    constexpr std::string_view kPrefix = "/v1/";
    return path.starts_with(kPrefix) ? path.substr(kPrefix.size()) : std::string_view();
}

bool is_group(std::string_view name) noexcept {
    return !name.empty() &&
           std::ranges::any_of(kTable, [name](const Endpoint& row) { return row.group == name; });
}

const Endpoint* endpoints_begin() noexcept {
    return kTable.data();
}
const Endpoint* endpoints_end() noexcept {
    return kTable.data() + kTable.size();
}

}  // namespace weir::http
