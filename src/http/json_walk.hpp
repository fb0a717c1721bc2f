// The walk behind read_json_request(): the grammar in json_walk.cpp, what is picked out of the body
// in json_request.cpp. Private to the room.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "weir/http/json_request.hpp"

#include "canonical.hpp"
#include "json_text.hpp"

namespace weir::http::json {

// Where in the body a value stands, as far as it can name something stored upstream or be a
// picture, a sound or a file. A tool's parameter schema may have a property called file_id, so the
// name alone does not tell.
enum class Where : std::uint8_t {
    kElsewhere,
    kRoot,
    kStreamOptions,
    kPrompt,
    kVariables,
    kMessages,
    kMessage,
    kMessageAudio,
    kInput,
    kInputItem,
    kContent,
    kPart,
    kPartFile,
    kTools,
    kTool,
    kContainer,
    kEnvironment,
    kSkills,
    kSkill,
};

enum class Medium : std::uint8_t { kNone, kImage, kAudio, kFile };

// An object of these may be a part with a medium.
[[nodiscard]] constexpr bool is_part(Where where) noexcept {
    return where == Where::kPart || where == Where::kContent || where == Where::kInputItem ||
           where == Where::kInput;
}
// Whether a name begins as those of media do. Most members are let go by this.
[[nodiscard]] constexpr bool begins_as_medium(std::string_view name) noexcept {
    if (name.size() < 4) return false;
    const char c = name.front();
    return c == 'i' || c == 'a' || c == 'f' || c == 'd' || c == 'v';
}
[[nodiscard]] Medium medium_of_name(std::string_view key) noexcept;
// The medium that a part's member of this name holds. Not `source`, which its type tells.
[[nodiscard]] inline Medium medium_of_key(std::string_view key) noexcept {
    return begins_as_medium(key) ? medium_of_name(key) : Medium::kNone;
}

[[nodiscard]] Where inside_array(Where where) noexcept;
[[nodiscard]] Where inside_object(Where where, std::string_view key) noexcept;

// A walk over one body. The buffers live as long as the thread and are emptied for each body.
class Walk {
public:
    std::expected<JsonRequest, JsonFault> run(
        std::string_view body, bool want_canonical, std::span<const std::string> ignored
    );

private:
    // One member of an object that is still open.
    struct Member {
        std::uint32_t key = 0;  // in the body, or in arena_ if the key had escapes
        std::uint32_t key_length = 0;
        CanonicalWriter::Range written;
        bool in_arena = false;
    };

    // Data that the objects just read hold, until it is known what they are.
    struct Carried {
        std::uint64_t bytes = 0;
        bool elsewhere = false;  // an address or an id stands there
    };
    // What is known of the part that is being read.
    struct Part {
        Carried carried;
        Carried source;  // or an image_generation_call's `result`
        Medium type = Medium::kNone;
        std::uint8_t noted = 0;  // a bit for each Medium that was counted by its key
        bool has_source = false;
        bool generated = false;   // an image_generation_call
        bool referenced = false;  // by file_id
    };

    // --- faults ---
    bool wrong(std::string_view what, const char* at) {
        fault_.message =
            fmt::format("The body is not valid JSON: {} at byte {}.", what, at - base_);
        return false;
    }
    bool refuse(std::string message, std::string_view param) {
        fault_.message = std::move(message);
        fault_.param = param;
        return false;
    }
    bool ended() { return wrong("it ends too early", end_); }

    // --- grammar ---
    void space() noexcept {
        while (p_ < end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\t' || *p_ == '\r')) ++p_;
    }
    bool whole(std::string_view body);
    bool value(Where where);
    bool object(Where where);
    bool array(Where where);
    std::size_t numbers();
    bool string();
    bool literal(std::string_view text, char tag);
    bool scan(ScannedString& out);
    bool key(Member& member, ScannedString& scanned);
    bool close_object(std::size_t first, bool sorted, std::uint32_t begin);
    [[nodiscard]] std::string_view key_of(const Member& member) const noexcept {
        return {(member.in_arena ? arena_.data() : base_) + member.key, member.key_length};
    }
    bool twice(std::string_view name);

    // --- what the gateway decides by; `text` is the value just read ---
    bool picked(Where where, std::string_view key, std::string_view text);
    bool picked_root(std::string_view key, std::string_view text);
    void picked_output_limit(std::string_view key, std::string_view text);
    bool picked_stream_options(std::string_view key, std::string_view text);
    void picked_part(Where where, std::string_view key, std::string_view text);
    void picked_part_file(std::string_view key, std::string_view text);
    void note_medium(Medium medium, std::string_view key, std::string_view text);
    void add_medium(Medium medium, std::uint64_t count, const Carried& data, std::uint64_t bytes);
    void end_part() {
        if (part_.type != Medium::kNone || part_.has_source || part_.referenced) count_part();
    }
    void count_part();
    // REQUIRES: a name of this program's, not the body's.
    void stored(std::string_view field) {
        std::vector<std::string_view>& fields = request_.stateful_fields;
        if (std::ranges::find(fields, field) == fields.end()) fields.push_back(field);
    }
    [[nodiscard]] bool last_string_is(std::string_view text) const;
    [[nodiscard]] bool last_string_is_clients_tool() const;
    [[nodiscard]] bool left_out(std::string_view name) const noexcept;
    [[nodiscard]] TextSpan span(std::string_view text) const noexcept {
        return {static_cast<std::size_t>(text.data() - base_), text.size()};
    }

    std::span<const std::string> ignored_;
    const char* base_ = nullptr;
    const char* p_ = nullptr;
    const char* end_ = nullptr;
    int depth_ = 0;
    bool writing_ = false;
    bool lone_surrogate_ = false;
    ScannedString last_string_;    // the string value just read
    std::size_t last_count_ = 0;   // elements of the array just read
    std::uint64_t prompts_ = 1;    // answers per `n`: a list of prompts has one for each
    std::vector<Member> members_;  // of all open objects, innermost last
    std::string arena_;            // decoded keys of these
    std::vector<CanonicalWriter::Range> order_;
    CanonicalWriter canonical_;
    Part part_;
    JsonRequest request_;
    JsonFault fault_;
};

}  // namespace weir::http::json
