// Whatever is done to a config, loading it ends in a Config or in faults, and each fault has its
// place in the file and shows no secret.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "helpers.hpp"

namespace weir::config::testing {
namespace {

constexpr std::string_view kSecret = "hunter2-hunter2-hunter2";

class Mutations : public ::testing::Test {
protected:
    Mutations() : seed_(seed()), random_(seed_) {
        std::cout << "WEIR_TEST_SEED=" << seed_ << '\n';
        for (const char* const name : {"config/weir.yaml", "config/weir.example.yaml"}) {
            std::ifstream file(std::string(WEIR_SOURCE_DIR) + "/" + name, std::ios::binary);
            shipped_.emplace_back(
                std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()
            );
        }
    }

    static std::uint64_t seed() {
        const char* const given = std::getenv("WEIR_TEST_SEED");
        return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    }
    std::size_t below(std::size_t bound) {
        return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random_);
    }

    void mutate(std::string& text) {
        static constexpr std::string_view kPieces[] = {
            "${",
            "}",
            "{",
            "[",
            "]",
            ":",
            ": ",
            "- ",
            "*",
            "&a ",
            "*a",
            "\n",
            "\t",
            "  ",
            "\"",
            "'",
            "#",
            " #",
            "~",
            "0",
            "-1",
            "99999999999999999999",
            "${ALICE_KEY}",
            "${file:/f}",
            "\xFF",
            "\xC3\xA9",
            "|",
            ">",
            "? ",
            "!x ",
            "---\n",
            "<<: ",
            ",",
            "null",
            "64KiB",
            "4h",
            " fixed",
            " at once",
            " tokens",
            " usd",
            "/day",
            "/month",
            "unlimited",
            "then: ",
            "gpt-4",
            "queue",
            "teams",
            "prices",
            "models",
            "serve_as",
            "caps",
            std::string_view("\0", 1),
        };
        const std::size_t at = below(text.size() + 1);
        switch (below(7)) {
            case 0:
                text.insert(at, kPieces[below(std::size(kPieces))]);
                break;
            case 1:
                text.erase(at, 1 + below(8));
                break;
            case 2: {  // a line twice
                const std::size_t start = text.rfind('\n', at) + 1;
                text.insert(start, text.substr(start, text.find('\n', start) - start) + "\n");
                break;
            }
            case 3: {  // a line less
                const std::size_t start = text.rfind('\n', at) + 1;
                text.erase(start, text.find('\n', start) - start + 1);
                break;
            }
            case 4:
                if (at < text.size()) text[at] = static_cast<char>(below(256));
                break;
            case 5: {  // a word elsewhere
                const std::string word = text.substr(at, 1 + below(20));
                text.insert(below(text.size() + 1), word);
                break;
            }
            default:
                text.resize(std::max<std::size_t>(at, 1));
                break;
        }
        if (text.empty()) text = "a";
    }

    static void expect_caps_in_order(const CapSet& caps) {
        std::set<std::string> counters;
        for (const Cap& cap : caps) {
            EXPECT_TRUE(counters.insert(cap.counter()).second) << cap.in_words();
            EXPECT_TRUE(cap.queue.count() == 0 || cap.period == Period::kAtOnce);
            const auto again = parse_allow(cap.allow, cap.zone);
            ASSERT_TRUE(again.has_value()) << cap.allow;
            EXPECT_EQ(again->limit, cap.limit);
            EXPECT_EQ(again->period, cap.period);
        }
    }

    std::uint64_t seed_;
    std::mt19937_64 random_;
    std::vector<std::string> shipped_;
};

TEST_F(Mutations, NeverCrashAndAlwaysSayWhere) {
    const Sources sources = sources_of(
        {{"ALICE_KEY", std::string(kSecret)}, {"OPENAI_API_KEY", "sk-" + std::string(kSecret)}},
        {{"/etc/weir/internal-ca.pem", kCertificate}, {"/f", std::string(kSecret)}}
    );
    int right = 0;
    int wrong = 0;
    for (int round = 0; round < 4000; ++round) {
        std::string text = shipped_[below(shipped_.size())];
        for (std::size_t i = 0, count = 1 + below(4); i < count; ++i) mutate(text);
        const Loaded loaded = load_text(text, "t.yaml", sources);
        if (loaded.has_value()) {
            ++right;
            ASSERT_FALSE((*loaded)->upstreams.empty()) << text;
            ASSERT_GE((*loaded)->workers, 1U);
            for (const Key& key : (*loaded)->keys) {
                ASSERT_GE(key.secret.size(), 16U) << text;
                ASSERT_NE((*loaded)->find_plan(key.plan), nullptr) << text;
            }
            for (const Plan& plan : (*loaded)->plans) expect_caps_in_order(plan.caps);
            for (const Team& team : (*loaded)->teams) expect_caps_in_order(team.caps);
            expect_caps_in_order((*loaded)->caps);
            continue;
        }
        ++wrong;
        ASSERT_FALSE(loaded.error().empty()) << text;
        const auto lines = std::ranges::count(text, '\n') + 1;
        for (const Fault& fault : loaded.error()) {
            ASSERT_FALSE(fault.message.empty()) << text;
            ASSERT_GE(fault.line, 0) << text;
            ASSERT_LE(fault.line, lines) << fault.text() << "\n" << text;
            ASSERT_EQ(fault.text().find('\n'), std::string::npos) << fault.text();
            ASSERT_EQ(fault.text().find(kSecret), std::string::npos) << fault.text();
        }
    }
    // Both ways were gone.
    EXPECT_GT(right, 50);
    EXPECT_GT(wrong, 500);
}

}  // namespace
}  // namespace weir::config::testing
