// Caps as they stand in a config: at each place, with all that may stand under them; fallbacks; and
// what models cost.
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "helpers.hpp"

namespace weir::config::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> words_of(const CapSet& caps) {
    std::vector<std::string> words;
    for (const Cap& cap : caps) words.push_back(cap.in_words());
    return words;
}

TEST(Caps, StandAtFourPlaces) {
    const auto config = good_with_upstream(R"(
caps: [{allow: 200 usd/month}]
timezone: Asia/Shanghai
plans:
  plus:
    caps:
      - {models: "gpt-4*", allow: 100/4h, then: gpt-3.5-turbo}
      - {allow: 4 at once, queue: 30s, endpoints: [chat/completions, "/v1/images/*", /embeddings]}
      - {models: o1, allow: 1000/day, mode: warn, endpoints: responses}
      - {allow: 9 tokens/1d fixed, mode: enforce}
      - {models: tiny, allow: unlimited}
teams:
  research: {caps: [{allow: 5000/1d}]}
  empty: {}
keys:
  - {name: a, plan: plus, team: research, secret: 0123456789abcdef, caps: [{allow: 1/week}]}
  - {name: b, plan: plus, team: nowhere, secret: 1123456789abcdef}
)");
    EXPECT_THAT(
        words_of(config->find_plan("plus")->caps),
        ElementsAre(
            "100 messages in any 4 h for gpt-4*; then gpt-3.5-turbo answers",
            "4 messages at once for all models on chat/completions, images/*, embeddings; up to "
            "30 s in the queue",
            "1000 messages per calendar day (Asia/Shanghai) for o1 on responses; only a warning",
            "9 tokens per 1 day, counted from the first message, for all models",
            "no limit for tiny"
        )
    );
    EXPECT_EQ(config->find_plan("plus")->caps[1].queue, 30s);
    EXPECT_THAT(
        words_of(config->caps),
        ElementsAre("200 usd per calendar month (Asia/Shanghai) for all models")
    );
    EXPECT_EQ(config->caps[0].zone, config->timezone);
    EXPECT_THAT(
        words_of(config->find_team("research")->caps),
        ElementsAre("5000 messages in any 1 day for all models")
    );
    EXPECT_TRUE(config->find_team("empty")->caps.empty());
    EXPECT_EQ(config->find_team("nowhere"), nullptr);  // a label, no fault
    ASSERT_NE(config->find_key_caps("a"), nullptr);
    EXPECT_THAT(
        words_of(*config->find_key_caps("a")),
        ElementsAre("1 message per calendar week (Asia/Shanghai) for all models")
    );
    EXPECT_EQ(config->find_key_caps("b"), nullptr);
    EXPECT_EQ(config->find_key_caps("nobody"), nullptr);
}

TEST(Caps, CountForThemselvesIfAnythingThatIsCountedDiffers) {
    const auto config = good_with_upstream(R"(
caps:
  - {allow: 9/1d}
  - {allow: 9/1d fixed}
  - {allow: 9/day}
  - {allow: 9/week}
  - {allow: 9 tokens/1d}
  - {allow: 9 usd/1d}
  - {allow: 9 at once}
  - {allow: 9/1d, endpoints: embeddings}
  - {allow: 9/1d, models: gpt-4}
plans: {p: {caps: [{allow: 9/1d}]}}
)");
    EXPECT_EQ(config->caps.size(), 9U);
}

TEST(Caps, PlansHaveInputsAndBounds) {
    const auto config = good_with_upstream(R"(
plans:
  all: {}
  some: {inputs: [image, text, text], max_input: 1MiB, max_output: 4096}
  plain: {inputs: [text]}
  every: {inputs: [text, image, audio, file]}
models: {m: {max_output: 10000000}, n: {}}
cache: {hits: counted}
)");
    const auto inputs = [&](std::string_view plan) {
        const Inputs& found = config->find_plan(plan)->inputs;
        return std::string(found.image ? "i" : "") + (found.audio ? "a" : "") +
               (found.file ? "f" : "");
    };
    EXPECT_EQ(inputs("all"), "iaf");
    EXPECT_EQ(inputs("some"), "i");
    EXPECT_EQ(inputs("plain"), "");
    EXPECT_EQ(inputs("every"), "iaf");
    EXPECT_EQ(config->find_plan("some")->max_input_bytes, 1U << 20);
    EXPECT_EQ(config->find_plan("some")->max_output, 4096U);
    EXPECT_EQ(config->find_plan("all")->max_input_bytes, 0U);
    EXPECT_EQ(config->find_plan("all")->max_output, 0U);
    EXPECT_EQ(config->find_model("m")->max_output, 10'000'000U);
    EXPECT_EQ(config->find_model("n")->max_output, 0U);
    EXPECT_TRUE(config->cache.hits_counted);
    EXPECT_FALSE(good_with_upstream("cache: {hits: free}")->cache.hits_counted);
}

// Fallbacks that look as if they led back, and do not.
TEST(Fallbacks, MayLeadOnAsLongAsTheyEnd) {
    for (const std::string_view yaml : {
             // A chain, written in any order.
             "plans: {p: {caps: [{models: a, allow: 1/1d, then: b}, {models: b, allow: 1/1d, then: "
             "c}, {models: c, allow: 1/1d}]}}",
             "plans: {p: {caps: [{models: c, allow: 1/1d, then: d}, {models: b, allow: 1/1d, then: "
             "c}, {models: a, allow: 1/1d, then: b}, {models: a, allow: 4 at once, then: d}]}}",
             // The way back is a cap without `then`, of another plan, or of another team's key.
             "plans: {p: {caps: [{models: a, allow: 1/1d, then: b}, {allow: 9/1d}]}}",
             "plans: {p: {caps: [{models: a, allow: 1/1d, then: b}]}, q: {caps: [{models: b, "
             "allow: "
             "1/1d, then: a}]}}",
             "plans: {p: {caps: [{models: a, allow: 1/1d, then: b}]}, q: {}}\n"
             "teams: {t: {caps: [{models: b, allow: 1/1d, then: a}]}}\n"
             "keys: [{name: k, plan: p, secret: 0123456789abcdef}, "
             "{name: l, plan: q, team: t, secret: 1123456789abcdef}]",
             // They never hold on the same endpoint.
             "caps: [{models: a, allow: 1/1d, then: b, endpoints: embeddings}, "
             "{models: b, allow: 1/1d, then: a, endpoints: [responses, chat/completions]}]",
             "caps: [{models: a, allow: 1/1d, then: b, endpoints: embeddings}, "
             "{models: b, allow: 1/1d, then: a, endpoints: \"images/*\"}]",
             // An alias that is counted under another name.
             "models: {a2: {serve_as: c}}\ncaps: [{models: \"a*\", allow: 1/1d, then: a2}]",
             // Allowed by the asked name.
             "models: {x: {serve_as: b}}\n"
             "plans: {p: {models: [a, x], caps: [{models: a, allow: 1/1d, then: x}]}}",
             // One plan that allows it is enough for what everybody has.
             "plans: {p: {deny: b}, q: {}}\ncaps: [{models: a, allow: 1/1d, then: b}]",
         }) {
        good_with_upstream(yaml);
    }
}

TEST(Fallbacks, CirclesAreFoundAcrossAllThatAKeyIsUnder) {
    struct Case {
        std::string_view yaml;
        int line;
        std::string_view way;
    };
    for (const Case& c : {
             Case{
                 "caps:\n- {models: a, allow: 1/1d, then: b}\n- {models: b, allow: 1/1d, then: c}\n"
                 "- {models: c, allow: 1/1d, then: a}",
                 4,
                 "`a` -> `b` -> `c` -> `a`"
             },
             Case{// the plan with the top
                  "caps: [{models: a, allow: 1/1d, then: b}]\n"
                  "plans:\n  p: {caps: [{models: b, allow: 4 at once, then: a}]}",
                  3,
                  "`a` -> `b` -> `a`"
             },
             Case{// the team with the top
                  "teams:\n  t: {caps: [{models: b, allow: 1/1d, then: a}]}\n"
                  "caps: [{models: a, allow: 1/1d, then: b}]",
                  3,
                  "`b` -> `a` -> `b`"
             },
             Case{// a key's own caps with its plan's
                  "plans: {p: {caps: [{models: b, allow: 1/1d, then: a}]}}\nkeys:\n"
                  "- {name: k, plan: p, secret: 0123456789abcdef, caps: [{models: a, allow: 1/1d, "
                  "then: b}]}",
                  3,
                  "`b` -> `a` -> `b`"
             },
             Case{// a key's plan with its team
                  "plans: {p: {caps: [{models: b, allow: 1/1d, then: a}]}}\n"
                  "teams: {t: {caps: [{models: a, allow: 1/1d, then: b}]}}\n"
                  "keys: [{name: k, plan: p, team: t, secret: 0123456789abcdef}, "
                  "{name: l, plan: p, team: t, secret: 1123456789abcdef}]",
                  2,
                  "`b` -> `a` -> `b`"
             },
             Case{// through an alias, with a warning, on one endpoint of many
                  "models: {fast: {serve_as: b-mini}}\n"
                  "caps:\n- {models: a, allow: 1/1d, then: fast, mode: warn, endpoints: "
                  "[\"images/*\", "
                  "embeddings]}\n- {models: \"b-*\", allow: 1 usd/day, then: A, endpoints: "
                  "Embeddings}",
                  4,
                  "`A` -> `fast` -> `A`"
             },
             Case{// patterns of endpoints may hold on the same one
                  "caps:\n- {models: a, allow: 1/1d, then: b, endpoints: \"chat/*\"}\n"
                  "- {models: b, allow: 1/1d, then: a, endpoints: \"*/completions\"}",
                  3,
                  "`a` -> `b` -> `a`"
             },
             Case{
                 // behind a way that is none
                 "caps:\n- {models: x, allow: 1/1d, then: a}\n- {models: a, allow: 1/1d, then: b}\n"
                 "- {models: b, allow: 1/1d, then: a}",
                 4,
                 "`a` -> `b` -> `a`"
             },
         }) {
        const auto faults =
            faults_of(std::string(c.yaml) + "\nupstreams: [{name: u, url: \"http://h\"}]");
        ASSERT_EQ(faults.size(), 1U) << c.yaml << "\n" << all_texts(faults);
        EXPECT_EQ(faults[0].message, "`then` leads in a circle") << c.yaml;
        EXPECT_EQ(faults[0].line, c.line) << c.yaml;
        EXPECT_EQ(faults[0].hint, c.way) << c.yaml;
    }
}

// What is wrong elsewhere is not told again as a wrong fallback.
TEST(Fallbacks, AreNotBlamedForOthersFaults) {
    for (const std::string_view yaml : {
             "upstreams: [{name: u, url: \"http://h\", models: [\"a, b\"]}]\n"
             "caps: [{models: a, allow: 1/1d, then: b}]",
             "upstreams: [{name: u, url: \"http://h\"}]\nplans: {p: {models: [\"a, b\"], caps: "
             "[{models: a, allow: 1/1d, then: b}]}}",
             "upstreams: [{name: u, url: \"http://h\"}]\nmodels: {b: {serve_as: \"c*\"}}\n"
             "caps: [{models: b, allow: 1/1d, then: b}]",
             "upstreams: [{name: u, url: \"http://h\"}]\nplans: {p: {caps: [{models: a, allow: "
             "1/x, "
             "then: b}, {models: b, allow: 1/1d, then: a}]}}",
         }) {
        EXPECT_EQ(faults_of(yaml).size(), 1U) << yaml << "\n" << all_texts(faults_of(yaml));
    }
    // But a fault in the process's part hides none.
    EXPECT_EQ(
        faults_of("workers: 0\nupstreams: [{name: u, url: \"http://h\"}]\n"
                  "caps: [{allow: 1/1d, then: b}]")
            .size(),
        2U
    );
}

TEST(Prices, TheFirstThatFitsIsTakenAndOnesOwnComeFirst) {
    const auto config = good_with_upstream(R"(
prices:
  gpt-4o-mini: {input: 7}
  "GPT-4o*": {input: 30, cached_input: 0.0000005, output: 60.25}
  "my-*": {input: 0, output: 0.1}
)");
    const auto price = [&](std::string_view model) -> std::vector<std::uint64_t> {
        const Price* const found = config->find_price(model);
        if (found == nullptr) return {};
        return {found->input, found->cached_input, found->output};
    };
    using P = std::vector<std::uint64_t>;
    EXPECT_EQ(price("gpt-4o-mini"), (P{7'000'000'000, 7'000'000'000, 0}));
    EXPECT_EQ(price("gpt-4o-mini-2024-07-18"), (P{30'000'000'000, 500, 60'250'000'000}));
    EXPECT_EQ(price("gpt-4o"), (P{30'000'000'000, 500, 60'250'000'000}));
    EXPECT_EQ(price("MY-model"), (P{0, 0, 100'000'000}));
    EXPECT_EQ(price("nobody-knows"), P{});
    EXPECT_EQ(config->prices[0].models, "gpt-4o-mini");
}

TEST(Prices, OfWellKnownModelsAreShipped) {
    const auto config = good_with_upstream("");
    struct Case {
        std::string_view model;
        std::uint64_t input;  // millionths of a usd
        std::uint64_t cached;
        std::uint64_t output;
    };
    for (const Case& c : {
             Case{"gpt-4o", 2'500'000, 1'250'000, 10'000'000},
             Case{"gpt-4o-2024-05-13", 5'000'000, 5'000'000, 15'000'000},
             Case{"gpt-4o-mini", 150'000, 75'000, 600'000},
             Case{"gpt-4o-mini-2024-07-18", 150'000, 75'000, 600'000},
             Case{"gpt-4.1-mini", 400'000, 100'000, 1'600'000},
             Case{"gpt-4.1", 2'000'000, 500'000, 8'000'000},
             Case{"gpt-4", 30'000'000, 30'000'000, 60'000'000},
             Case{"gpt-4-0613", 30'000'000, 30'000'000, 60'000'000},
             Case{"gpt-4-1106-preview", 10'000'000, 10'000'000, 30'000'000},
             Case{"gpt-4-turbo-preview", 10'000'000, 10'000'000, 30'000'000},
             Case{"gpt-3.5-turbo", 500'000, 500'000, 1'500'000},
             Case{"gpt-3.5-turbo-0125", 500'000, 500'000, 1'500'000},
             Case{"gpt-5", 1'250'000, 125'000, 10'000'000},
             Case{"gpt-5-mini-2025-08-07", 250'000, 25'000, 2'000'000},
             Case{"gpt-5-2025-08-07", 1'250'000, 125'000, 10'000'000},
             Case{"gpt-5.2-pro", 21'000'000, 21'000'000, 168'000'000},
             Case{"o1", 15'000'000, 7'500'000, 60'000'000},
             Case{"o1-pro-2025-03-19", 150'000'000, 150'000'000, 600'000'000},
             Case{"o3", 2'000'000, 500'000, 8'000'000},
             Case{"o3-mini", 1'100'000, 550'000, 4'400'000},
             Case{"o4-mini", 1'100'000, 275'000, 4'400'000},
             Case{"text-embedding-3-small", 20'000, 20'000, 0},
             Case{"claude-opus-4-1-20250805", 15'000'000, 1'500'000, 75'000'000},
             Case{"claude-opus-4-20250514", 15'000'000, 1'500'000, 75'000'000},
             Case{"claude-opus-4-5", 5'000'000, 500'000, 25'000'000},
             Case{"claude-sonnet-4-20250514", 3'000'000, 300'000, 15'000'000},
             Case{"claude-3-5-haiku-latest", 800'000, 80'000, 4'000'000},
             Case{"deepseek-chat", 280'000, 28'000, 420'000},
         }) {
        const Price* const price = config->find_price(c.model);
        ASSERT_NE(price, nullptr) << c.model;
        EXPECT_EQ(price->input, c.input * 1000) << c.model;
        EXPECT_EQ(price->cached_input, c.cached * 1000) << c.model;
        EXPECT_EQ(price->output, c.output * 1000) << c.model;
    }
    for (const std::string_view unknown : {"gpt-6", "gpt-40", "claude-9", "llama-3", "gpt-5.9"}) {
        EXPECT_EQ(config->find_price(unknown), nullptr) << unknown;
    }
}

TEST(Prices, NoneThatIsShippedHidesBehindAnother) {
    const auto prices = good_with_upstream("")->prices;
    EXPECT_GE(prices.size(), 40U);
    // A config of the same lines in the same order has no line that is never used.
    std::string yaml = "prices:\n";
    for (const PricedModels& one : prices) yaml += "  \"" + one.models + "\": {input: 1}\n";
    good_with_upstream(yaml);
    for (const PricedModels& one : prices) {
        EXPECT_LE(one.price.cached_input, one.price.input) << one.models;
    }
}

}  // namespace
}  // namespace weir::config::testing
