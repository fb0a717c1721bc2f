#include "weir/http/message.hpp"

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "weir/base/text.hpp"

namespace weir::http {
namespace {

Fields sample() {
    Fields fields;
    fields.add("A", "1");
    fields.add("B", "2");
    fields.add("a", "3");
    return fields;
}

TEST(Fields, FindsTheFirstWhateverTheCase) {
    const Fields fields = sample();
    EXPECT_EQ(fields.find("a"), "1");
    EXPECT_EQ(fields.find("b"), "2");
    EXPECT_EQ(fields.find("c"), std::nullopt);
    EXPECT_EQ(fields.find("ab"), std::nullopt);
    EXPECT_EQ(fields.count("a"), 2u);
    EXPECT_EQ(fields.count("c"), 0u);
}

TEST(Fields, SetReplacesAllInTheFirstPlace) {
    Fields fields = sample();
    fields.set("a", "x");
    ASSERT_EQ(fields.size(), 2u);
    EXPECT_EQ((*fields.begin()).value, "x");
    fields.set("new", "y");
    EXPECT_EQ(fields.find("new"), "y");
}

TEST(Fields, RemoveTakesAll) {
    Fields fields = sample();
    fields.remove("A");
    ASSERT_EQ(fields.size(), 1u);
    EXPECT_EQ((*fields.begin()).name, "B");
}

// Against the plainest list there is, whatever is done to both.
TEST(Fields, AreAListWhateverIsDoneToThem) {
    using Plain = std::vector<std::pair<std::string, std::string>>;
    const std::vector<std::string> names = {
        "a", "A", "bc", "x-long-name-of-a-field", "na me", "BC"
    };
    const std::vector<std::string> values = {"", "1", std::string(700, 'v'), "two words", "b\r\nc"};
    std::mt19937 random(7);
    const auto any_of = [&random](const std::vector<std::string>& list) {
        return list[random() % list.size()];
    };
    for (int round = 0; round < 2'000; ++round) {
        Fields fields;
        Plain plain;
        for (int step = 0; step < 12; ++step) {
            const std::string name = any_of(names);
            const std::string value = any_of(values);
            const auto same = [&name](const auto& one) { return iequals(one.first, name); };
            switch (random() % 4) {
                case 0:
                    fields.remove(name);
                    std::erase_if(plain, same);
                    break;
                case 1: {
                    fields.set(name, value);
                    const auto first = std::ranges::find_if(plain, same);
                    if (first == plain.end()) {
                        plain.emplace_back(name, value);
                    } else {
                        first->second = value;
                        plain.erase(std::remove_if(first + 1, plain.end(), same), plain.end());
                    }
                    break;
                }
                default:
                    fields.add(name, value);
                    plain.emplace_back(name, value);
            }
        }
        const Fields copy = fields;
        Plain seen;
        std::string wire;
        for (const Field& field : copy) seen.emplace_back(field.name, field.value);
        for (const auto& [name, value] : plain) {
            const bool sound = name != "na me" && value != "b\r\nc";
            if (sound) wire.append(name).append(": ").append(value).append("\r\n");
            const auto first = std::ranges::find_if(plain, [&of = name](const auto& one) {
                return iequals(one.first, of);
            });
            ASSERT_EQ(copy.find(name), first->second);
        }
        ASSERT_EQ(seen, plain);
        std::string out;
        copy.append_to(out);
        ASSERT_EQ(out, wire);
    }
}

TEST(RequestHead, SplitsPathAndQuery) {
    RequestHead head;
    head.target = "/a/b?c=d?e";
    EXPECT_EQ(head.path(), "/a/b");
    EXPECT_EQ(head.query(), "c=d?e");
    head.target = "/a";
    EXPECT_EQ(head.path(), "/a");
    EXPECT_EQ(head.query(), "");
}

TEST(ResponseHead, ContentTypeIsTheBareMediaType) {
    ResponseHead head;
    EXPECT_EQ(head.content_type(), "");
    head.fields.set("Content-Type", "Text/Event-Stream ; charset=utf-8");
    EXPECT_EQ(head.content_type(), "text/event-stream");
    head.fields.set("Content-Type", "application/json");
    EXPECT_EQ(head.content_type(), "application/json");
    head.fields.set("Content-Type", "audio/mpeg;x=y");
    EXPECT_EQ(head.content_type(), "audio/mpeg");
}

TEST(ReasonPhrase, IsThereForEveryStatusThatWeirSends) {
    for (const int status : {200, 204, 400, 401, 403, 404, 405, 408, 413, 414,
                             415, 417, 429, 431, 500, 501, 502, 503, 504, 505}) {
        EXPECT_NE(reason_phrase(status), "Unknown") << status;
    }
    EXPECT_EQ(reason_phrase(299), "Unknown");
}

}  // namespace
}  // namespace weir::http
