// A start without a config.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "weir/config/presets.hpp"

#include "helpers.hpp"

namespace weir::config::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::shared_ptr<const Config> from(const Sources& sources) {
    const Loaded loaded = load_environment(sources);
    EXPECT_TRUE(loaded.has_value()) << all_texts(loaded.error());
    return loaded.has_value() ? *loaded : std::make_shared<const Config>();
}

TEST(Environment, WithoutAKeyTheDemoAnswers) {
    const auto config = from(sources_of({{"OPENAI_API_KEY", ""}}));
    ASSERT_EQ(config->upstreams.size(), 1U);
    EXPECT_TRUE(config->upstreams[0].demo);
    ASSERT_EQ(config->plans.size(), 1U);
    EXPECT_EQ(config->plans[0].name, "default");
    EXPECT_TRUE(config->plans[0].caps.empty());
    EXPECT_EQ(config->listen[0].host, "127.0.0.1");
    EXPECT_EQ(config->data, "./data");
}

TEST(Environment, EachVendorWhoseKeyIsSetIsAnUpstream) {
    const auto config = from(sources_of(
        {{"DEEPSEEK_API_KEY", "sk-d"},
         {"ANTHROPIC_API_KEY", "sk-a"},
         {"OPENAI_API_KEY", "sk-o"},
         {"AZURE_OPENAI_API_KEY", "sk-without-an-endpoint"},
         {"WEIR_LISTEN", "0.0.0.0:80"},
         {"WEIR_DATA", "/d"}}
    ));
    ASSERT_EQ(config->upstreams.size(), 3U);
    EXPECT_EQ(config->upstreams[0].name, "openai");
    EXPECT_THAT(config->upstreams[0].keys, ElementsAre("sk-o"));
    EXPECT_EQ(config->upstreams[0].url, "https://api.openai.com/v1");
    EXPECT_TRUE(config->upstreams[0].last_resort);
    EXPECT_EQ(config->upstreams[1].name, "anthropic");
    EXPECT_EQ(config->upstreams[1].kind, Kind::kAnthropic);
    EXPECT_TRUE(config->upstreams[1].last_resort) << "of its own API";
    EXPECT_EQ(config->upstreams[2].name, "deepseek");
    EXPECT_FALSE(config->upstreams[2].last_resort);
    EXPECT_EQ(config->upstreams[2].models, find_preset("deepseek")->model_globs());
    EXPECT_EQ(config->listen[0].host, "0.0.0.0");
    EXPECT_EQ(config->data, "/d");
    EXPECT_FALSE(config->upstreams[0].demo);
}

TEST(Environment, EveryVendorOfTheTableStartsByItsKey) {
    for (const Preset& preset : presets()) {
        if (preset.key_variable.empty()) continue;
        Texts variables = {{std::string(preset.key_variable), "sk-1"}};
        if (preset.url.empty()) variables.emplace(preset.url_variable, "https://h");
        const auto config = from(sources_of(variables));
        ASSERT_EQ(config->upstreams.size(), 1U) << preset.name;
        EXPECT_EQ(config->upstreams[0].name, preset.name);
        EXPECT_TRUE(config->upstreams[0].last_resort);
    }
}

TEST(Environment, AddressesOfTheEnvironmentAreHonoured) {
    const auto config = from(sources_of(
        {{"OPENAI_API_KEY", "sk-o"},
         {"OPENAI_BASE_URL", "http://127.0.0.1:9/v1"},
         {"AZURE_OPENAI_API_KEY", "sk-z"},
         {"AZURE_OPENAI_ENDPOINT", "https://east.openai.azure.com/"}}
    ));
    ASSERT_EQ(config->upstreams.size(), 2U);
    EXPECT_EQ(config->upstreams[0].url, "http://127.0.0.1:9/v1");
    EXPECT_EQ(config->upstreams[1].url, "https://east.openai.azure.com");
    EXPECT_EQ(config->upstreams[1].kind, Kind::kAzure);
}

// The text is shown to people.
TEST(Environment, TheTextHasNoSecretAndSaysTheSame) {
    const Sources sources = sources_of({{"XAI_API_KEY", "hunter2-hunter2"}});
    const std::string text = environment_config(sources);
    EXPECT_THAT(text, Not(HasSubstr("hunter2")));
    EXPECT_THAT(text, HasSubstr("- {use: xai, key: \"${XAI_API_KEY}\", priority: 1}"));
    EXPECT_EQ(good(text, sources)->upstreams[0].name, "xai");
}

TEST(Environment, FaultsAreToldAsThoseOfAFile) {
    const Loaded loaded = load_environment(
        sources_of({{"WEIR_LISTEN", "8080"}, {"XAI_API_KEY", "Bearer hunter2-hunter2"}})
    );
    ASSERT_FALSE(loaded.has_value());
    const std::string all = all_texts(loaded.error());
    EXPECT_THAT(all, HasSubstr("the config made of the environment:1:9: `listen`"));
    EXPECT_THAT(all, HasSubstr("without `Bearer `"));
    EXPECT_THAT(all, Not(HasSubstr("hunter2")));
    const auto place = load_environment_place(sources_of({{"WEIR_LISTEN", "127.0.0.1:9"}}));
    ASSERT_TRUE(place);
    EXPECT_EQ(place->listen[0].port, 9);
    EXPECT_EQ(place->data, "./data");
}

}  // namespace
}  // namespace weir::config::testing
