// Vendors by name, and the page that lists them.
#include "weir/config/presets.hpp"

#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "weir/base/text.hpp"

#include "helpers.hpp"

namespace weir::config::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Presets, AreWholeAndTheirAddressesRight) {
    std::set<std::string_view> names;
    std::set<std::string_view> variables;
    for (const Preset& preset : presets()) {
        EXPECT_TRUE(names.insert(preset.name).second) << preset.name;
        EXPECT_EQ(find_preset(preset.name), &preset);
        EXPECT_FALSE(preset.model_globs().empty()) << preset.name;
        if (!preset.key_variable.empty()) {
            EXPECT_TRUE(variables.insert(preset.key_variable).second) << preset.name;
        }
        if (!preset.trial_model.empty()) {
            bool fits = false;
            for (const std::string& glob : preset.model_globs()) {
                fits = fits || glob_match(glob, preset.trial_model);
            }
            EXPECT_TRUE(fits) << preset.name;
        }
        const std::string url = preset.url.empty() ? ", url: \"https://h\"" : "";
        const auto config =
            good("upstreams: [{use: " + std::string(preset.name) + url + "}]", sources_of());
        ASSERT_EQ(config->upstreams.size(), 1U);
        const Upstream& upstream = config->upstreams[0];
        EXPECT_EQ(upstream.name, preset.name);
        EXPECT_EQ(upstream.kind, preset.kind);
        EXPECT_EQ(upstream.models, preset.model_globs());
        EXPECT_EQ(upstream.stream_usage, preset.stream_usage);
        EXPECT_TRUE(upstream.keys.empty());
        if (!preset.url.empty()) EXPECT_EQ(upstream.url, preset.url);
        EXPECT_EQ(upstream.tls, !preset.key_variable.empty()) << "keys travel over TLS alone";
    }
    EXPECT_EQ(find_preset("nobody"), nullptr);
    EXPECT_EQ(find_preset(""), nullptr);
}

TEST(Presets, TheKeyComesFromTheirVariable) {
    const auto set = sources_of({{"DEEPSEEK_API_KEY", "sk-env"}, {"OTHER", "sk-other"}});
    EXPECT_THAT(
        good("upstreams: [{use: deepseek}]", set)->upstreams[0].keys, ElementsAre("sk-env")
    );
    EXPECT_THAT(
        good("upstreams: [{use: deepseek, key: \"${OTHER}\"}]", set)->upstreams[0].keys,
        ElementsAre("sk-other")
    );
    EXPECT_TRUE(good("upstreams: [{use: deepseek, key: \"\"}]", set)->upstreams[0].keys.empty());
    EXPECT_TRUE(good("upstreams: [{use: ollama}]", set)->upstreams[0].keys.empty());
    const auto faults =
        faults_of("upstreams: [{use: deepseek}]", sources_of({{"DEEPSEEK_API_KEY", "sk-env\n"}}));
    ASSERT_EQ(faults.size(), 1U);
    EXPECT_EQ(faults[0].column, 19);
    EXPECT_THAT(faults[0].message, HasSubstr("visible ASCII"));
}

TEST(Presets, FieldsOfTheEntryAreStronger) {
    const auto config = good(
        "upstreams: [{use: deepseek, name: d2, url: \"http://127.0.0.1:9/x\", models: [\"a*\"], "
        "kind: anthropic, stream_usage: false}]",
        sources_of()
    );
    const Upstream& upstream = config->upstreams[0];
    EXPECT_EQ(upstream.name, "d2");
    EXPECT_EQ(upstream.url, "http://127.0.0.1:9/x");
    EXPECT_EQ(upstream.kind, Kind::kAnthropic);
    EXPECT_THAT(upstream.models, ElementsAre("a*"));
    EXPECT_FALSE(upstream.stream_usage);
}

// A server of one's own has no key and is no reason for the demo.
TEST(Presets, AServerOfOnesOwnKeepsTheDemoAway) {
    constexpr std::string_view kDemo = "demo: when no upstream has a key\n";
    EXPECT_FALSE(
        good(std::string(kDemo) + "upstreams: [{use: ollama}]", sources_of())->upstreams[0].demo
    );
    EXPECT_TRUE(
        good(std::string(kDemo) + "upstreams: [{use: openai}]", sources_of())->upstreams[0].demo
    );
}

TEST(Presets, TheTableInTheDocsIsTheCodes) {
    std::ifstream file(std::string(WEIR_SOURCE_DIR) + "/docs/upstreams.md", std::ios::binary);
    const std::string page{std::istreambuf_iterator<char>(file), {}};
    std::string table = "| `use` | `url` | key's variable | `models` |\n|---|---|---|---|\n";
    for (const Preset& preset : presets()) {
        const auto code = [](std::string_view text, std::string_view otherwise) {
            return text.empty() ? std::string(otherwise) : "`" + std::string(text) + "`";
        };
        std::string globs;
        for (const std::string& glob : preset.model_globs()) {
            globs += (globs.empty() ? "" : " ") + code(glob, "");
        }
        table += "| `" + std::string(preset.name) + "` | " + code(preset.url, "yours") + " | " +
                 code(preset.key_variable, "none needed") + " | " + globs + " |\n";
    }
    EXPECT_THAT(page, HasSubstr(table)) << "it should have:\n" << table;
}

}  // namespace
}  // namespace weir::config::testing
