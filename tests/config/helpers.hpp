// Sources of a test's own, and short ways to load a text.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "weir/config/load.hpp"

namespace weir::config::testing {

using Texts = std::map<std::string, std::string>;

inline Sources sources_of(Texts environment = {}, Texts files = {}) {
    const auto look_up = [](Texts texts) {
        return [texts = std::move(texts)](const std::string& name) -> std::optional<std::string> {
            const auto found = texts.find(name);
            if (found == texts.end()) return std::nullopt;
            return found->second;
        };
    };
    return {look_up(std::move(environment)), look_up(std::move(files))};
}

inline std::string all_texts(const std::vector<Fault>& faults) {
    std::string all;
    for (const Fault& fault : faults) all += fault.text() + "\n";
    return all;
}

// The config, which must be good.
inline std::shared_ptr<const Config> good(std::string_view yaml, const Sources& sources) {
    const Loaded loaded = load_text(yaml, "t.yaml", sources);
    EXPECT_TRUE(loaded.has_value()) << all_texts(loaded.error()) << yaml;
    return loaded.has_value() ? *loaded : std::make_shared<const Config>();
}

// As above, with an upstream added behind.
inline std::shared_ptr<const Config> good_with_upstream(
    std::string_view yaml, const Sources& sources = sources_of()
) {
    return good(std::string(yaml) + "\nupstreams: [{name: a, url: \"http://h\"}]\n", sources);
}

// The faults, which there must be.
inline std::vector<Fault> faults_of(std::string_view yaml, const Sources& sources = sources_of()) {
    const Loaded loaded = load_text(yaml, "t.yaml", sources);
    EXPECT_FALSE(loaded.has_value()) << "taken as right:\n" << yaml;
    return loaded.has_value() ? std::vector<Fault>{} : loaded.error();
}

}  // namespace weir::config::testing
