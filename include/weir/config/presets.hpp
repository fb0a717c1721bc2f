// Vendors that Weir knows: `use: deepseek` in place of an address. Pure.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weir/config/config.hpp"

namespace weir::config {

struct Preset {
    std::string_view name = {};  // what `use` says, and the upstream's name unless it has another
    std::string_view url = {};   // empty: each customer has an address of their own
    Kind kind = Kind::kOpenAi;
    std::string_view key_variable = {};  // where the key is if `key` is left out; empty: needs none
    std::string_view url_variable = {};  // where another address may be; empty: nowhere
    std::array<std::string_view, 16> models = {};  // globs; empty ones mean nothing
    std::string_view trial_model = {};             // one that it has, to try with; empty: not known
    bool stream_usage = true;                      // takes stream_options.include_usage

    [[nodiscard]] std::vector<std::string> model_globs() const;
};

// In the order in which a start without a config asks for keys.
[[nodiscard]] std::span<const Preset> presets() noexcept;
// nullptr: there is none of that name.
[[nodiscard]] const Preset* find_preset(std::string_view name) noexcept;

}  // namespace weir::config
