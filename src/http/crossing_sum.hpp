// What the crossings of all APIs share: JSON that keeps its order, and how the parts of a stream
// add up. Pure.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "weir/base/error.hpp"

namespace weir::http::crossing {

using Json = nlohmann::ordered_json;

// nullopt: not an object, or past the bounds of parse_bounded_json().
[[nodiscard]] std::optional<Json> parse_object(std::string_view text);
[[nodiscard]] std::string dump(const Json& json);

template <std::size_t N>
bool one_of(const std::array<std::string_view, N>& names, std::string_view name) {
    return std::ranges::find(names, name) != names.end();
}

// The blocks of a stream that an answer becomes. Each says again what all of them say (an id, where
// its piece belongs), so that a small answer with a long id could become gigabytes: past some times
// its size it does not cross.
class Blocks {
public:
    // OpenAI's own responses say each text five times over.
    explicit Blocks(std::size_t answer_bytes) noexcept
        : left_((8 * answer_bytes) + (std::size_t{1} << 20)) {}

    void put(std::string block) {
        full_ = full_ || block.size() > left_;
        if (full_) return;
        left_ -= block.size();
        blocks_.push_back(std::move(block));
    }
    // Nothing more is taken: stop.
    [[nodiscard]] bool full() const noexcept { return full_; }
    [[nodiscard]] std::size_t size() const noexcept { return blocks_.size(); }
    [[nodiscard]] Result<std::vector<std::string>> take() && {
        if (full_) {
            return fail(
                ErrorCode::kUpstreamProtocol, "the stream would be far larger than the answer"
            );
        }
        return std::move(blocks_);
    }

private:
    std::size_t left_;
    bool full_ = false;
    std::vector<std::string> blocks_;
};

// How the lists of a part add up.
enum class Lists : std::uint8_t {
    kFragments,  // elements with an `index`, and those of tool_calls, are pieces of one another
    kWhole,      // each element is whole: what a model says may have any name, `index` too
};

// Adds parts up. What says false when the parts are of kinds that do not add up, or so many that
// looking through them would take too long: then the stream has no JSON that would lose nothing.
class Sum {
public:
    // A value on top of what came before: strings are joined (what names something is replaced),
    // objects merged, lists as `lists` says; of all else the last that says something holds.
    [[nodiscard]] bool add_member(
        Json& into, std::string_view key, const Json& from, Lists lists = Lists::kFragments
    );
    [[nodiscard]] bool add_object(Json& into, const Json& from, Lists lists = Lists::kFragments);

    // A member that every part says whole: the last one that says something holds; objects are
    // merged the same way.
    [[nodiscard]] bool replace_member(Json& into, const std::string& key, const Json& from);

    // What stands beside the pieces of a choice: lists are joined, and texts if they are `pieces`;
    // all else is replaced.
    [[nodiscard]] bool add_other(
        Json& into, const std::string& key, const Json& from, bool pieces, Lists lists
    );

private:
    [[nodiscard]] bool add_list(Json& into, const Json& from, bool pieces, Lists lists);
    // Looks through `size` things. False: that was too much in all.
    [[nodiscard]] bool look(std::size_t size) noexcept;

    // Objects and lists are looked through from one end, so an upstream could make a small stream
    // take hours. A good one of 64 MiB takes some 2^25; all of this, less than a second.
    std::uint64_t looks_left_ = std::uint64_t{1} << 26;
};

}  // namespace weir::http::crossing
