#include "weir/http/api.hpp"

#include <array>
#include <cstddef>

#include "weir/base/text.hpp"

namespace weir::http {

namespace {

constexpr Endpoint open_json(
    std::string_view path, Shape shape, bool cacheable, std::string_view default_model = {}
) {
    return {path, "POST", Access::kOpen, shape, true, cacheable, true, {}, default_model};
}
// Bodies that are multipart, or JSON that only says where stored files are.
constexpr Endpoint open_raw(std::string_view path, std::string_view default_model = {}) {
    return {path, "POST", Access::kOpen, Shape::kOther, false, false, true, {}, default_model};
}
constexpr Endpoint open_free(
    std::string_view path,
    std::string_view method,
    bool json,
    std::string_view default_model = {},
    bool cacheable = false
) {
    return {path, method, Access::kOpen, Shape::kOther, json, cacheable, false, {}, default_model};
}
constexpr Endpoint closed(
    std::string_view path, std::string_view method, std::string_view group, bool counts
) {
    return {path, method, Access::kClosed, Shape::kOther, false, false, counts, group, {}};
}
constexpr Endpoint never(std::string_view path) {
    return {path, "*", Access::kNever, Shape::kOther, false, false, false, {}, {}};
}

// First the exact paths, the busiest in front; the first row whose path and method fit holds.
constexpr auto kOpen = std::to_array<Endpoint>({
    open_json("/chat/completions", Shape::kChat, true),
    open_json("/responses", Shape::kResponse, true),
    open_json("/embeddings", Shape::kEmbedding, true),
    open_json("/completions", Shape::kCompletion, true),
    open_free("/models", "GET", false),
    open_free("/moderations", "POST", true, "omni-moderation-latest", true),
    open_free("/responses/input_tokens", "POST", true),
    open_json("/responses/compact", Shape::kOther, false),
    open_json("/images/generations", Shape::kOther, false, "dall-e-2"),
    open_raw("/images/edits", "gpt-image-1.5"),
    open_raw("/images/variations", "dall-e-2"),
    open_json("/audio/speech", Shape::kOther, false),
    open_raw("/audio/transcriptions"),
    open_raw("/audio/translations"),
    open_json("/messages", Shape::kMessage, true),
    open_free("/messages/count_tokens", "POST", true),
    open_free("/models/*", "GET", false),
});

struct Group {
    std::string_view name;
    std::string_view path;
    bool itself;  // the path without anything below is part of it
};
constexpr auto kClosed = std::to_array<Group>({
    {"files", "/files", true},
    {"uploads", "/uploads", true},
    {"batches", "/batches", true},
    {"fine_tuning", "/fine_tuning", true},
    {"assistants", "/assistants", true},
    {"threads", "/threads", true},
    {"vector_stores", "/vector_stores", true},
    {"conversations", "/conversations", true},
    {"containers", "/containers", true},
    {"evals", "/evals", true},
    {"realtime", "/realtime", true},
    {"videos", "/videos", true},
    {"skills", "/skills", true},
    {"chatkit", "/chatkit", true},
    {"voices", "/audio/voices", true},
    {"voices", "/audio/voice_consents", true},
    {"message_batches", "/messages/batches", true},
    {"stored_responses", "/responses", false},
    {"stored_completions", "/chat/completions", false},
});

constexpr std::array<std::string_view, kClosed.size()> kBelow = {
    "/files/*",
    "/uploads/*",
    "/batches/*",
    "/fine_tuning/*",
    "/assistants/*",
    "/threads/*",
    "/vector_stores/*",
    "/conversations/*",
    "/containers/*",
    "/evals/*",
    "/realtime/*",
    "/videos/*",
    "/skills/*",
    "/chatkit/*",
    "/audio/voices/*",
    "/audio/voice_consents/*",
    "/messages/batches/*",
    "/responses/*",
    "/chat/completions/*",
};

constexpr auto kLast = std::to_array<Endpoint>({
    closed("/chat/completions", "GET", "stored_completions", false),
    closed("/models/*", "DELETE", "fine_tuning", false),
    never("/organization"),
    never("/organization/*"),
    never("/projects"),
    never("/projects/*"),
});

// Two rows for each closed path: only POSTs are messages.
constexpr std::size_t closed_rows() {
    std::size_t rows = 0;
    for (const Group& group : kClosed) rows += group.itself ? 4 : 2;
    return rows;
}

constexpr std::size_t kRows = kOpen.size() + closed_rows() + kLast.size();

constexpr std::array<Endpoint, kRows> make_table() {
    std::array<Endpoint, kRows> table{};
    std::size_t at = 0;
    for (const Endpoint& row : kOpen) table[at++] = row;
    for (std::size_t i = 0; i < kClosed.size(); ++i) {
        const Group& group = kClosed[i];
        if (group.itself) {
            table[at++] = closed(group.path, "POST", group.name, true);
            table[at++] = closed(group.path, "*", group.name, false);
        }
        table[at++] = closed(kBelow[i], "POST", group.name, true);
        table[at++] = closed(kBelow[i], "*", group.name, false);
    }
    for (const Endpoint& row : kLast) table[at++] = row;
    return table;
}

constexpr std::array<Endpoint, kRows> kTable = make_table();

bool path_fits(std::string_view pattern, std::string_view path) noexcept {
    if (!pattern.ends_with("/*")) return pattern == path;
    pattern.remove_suffix(1);
    return path.size() > pattern.size() && path.starts_with(pattern);
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
        if (row.method == "*" || row.method == method) {
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

const Endpoint* endpoints_begin() noexcept {
    return kTable.data();
}
const Endpoint* endpoints_end() noexcept {
    return kTable.data() + kTable.size();
}

}  // namespace weir::http
