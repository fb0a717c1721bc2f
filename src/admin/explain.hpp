// What would become of a message, and why. Private to src/admin.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "weir/config/config.hpp"
#include "weir/http/api.hpp"
#include "weir/keys/key_table.hpp"
#include "weir/quota/ledger.hpp"
#include "weir/upstream/route.hpp"

namespace weir::admin {

// Which line of the plan decides on a model; `pattern` is empty where none fits.
struct Ruling {
    bool allowed = false;
    std::string_view list;
    std::string_view pattern;
};

[[nodiscard]] inline bool refuses(const quota::CapState& state) noexcept {
    return !state.cap->warn && state.window.remaining() == 0;
}

// The rules for one model: that which is asked for, or one that answers instead.
struct Way {
    std::string asked;
    std::string served;
    Ruling ruling;
    upstream::Route route;
    const config::Price* price = nullptr;
    std::vector<quota::CapState> caps;      // that cover it
    const config::Cap* unpriced = nullptr;  // one of money that covers it, and nobody knows a price

    // But for the caps.
    [[nodiscard]] bool open() const {
        return ruling.allowed && !route.upstreams.empty() && unpriced == nullptr;
    }
    [[nodiscard]] bool has_room() const { return std::ranges::none_of(caps, refuses); }
};

struct Fallback {
    Way way;
    std::string cap;  // that it stands on
};

struct Explained {
    std::vector<std::string> why;  // in sentences, the verdict last
    bool goes = false;             // answered now, by whichever model
};
// `path`: of the endpoint, behind "/v1/".
[[nodiscard]] Explained in_words(
    const config::Plan& plan,
    const http::Endpoint& endpoint,
    std::string_view path,
    const Way& way,
    const std::vector<Fallback>& fallbacks
);
[[nodiscard]] std::vector<std::string> in_words(const keys::SetAside& aside);

}  // namespace weir::admin
