// Random streams of every API that crosses: what they add up to is known, nothing is lost, and
// there and back again changes nothing.
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "weir/http/answer.hpp"
#include "weir/http/crossing.hpp"
#include "weir/http/sse.hpp"

#include "http/random_message.hpp"
#include "http/random_response.hpp"
#include "http/random_stream.hpp"

namespace weir::http {
namespace {

using Json = nlohmann::json;
using test::Random;
using test::RandomStream;

// The bytes of a stream in one of the ways that upstreams write them.
std::string written(Random& random, Shape shape, const std::vector<Json>& events) {
    const std::string line = random.one_in(3) ? "\r\n" : "\n";
    const bool named = random.one_in(2);
    std::string out;
    for (const Json& event : events) {
        if (random.one_in(10)) out += ": comment" + line + line;
        if (named && event.contains("type")) {
            out += "event: " + event["type"].get<std::string>() + line;
        }
        out += "data: " + event.dump() + line + line;
    }
    if (has_usage_chunk(shape)) out += "data: [DONE]" + line + line;
    return out;
}

// The blocks of a stream that comes in pieces of any size.
std::vector<std::string> cut(Random& random, std::string_view bytes) {
    SseSplitter splitter;
    std::vector<std::string> blocks;
    while (!bytes.empty()) {
        const std::size_t size = 1 + random.below(random.one_in(2) ? 5 : 500);
        EXPECT_TRUE(splitter.feed(bytes.substr(0, size), blocks));
        bytes.remove_prefix(std::min(size, bytes.size()));
    }
    EXPECT_EQ(splitter.rest(), "");
    return blocks;
}

Json to_json(Shape shape, const std::vector<std::string>& blocks) {
    const auto json = stream_to_json(shape, {blocks.begin(), blocks.end()});
    EXPECT_TRUE(json) << blocks.size();
    return json ? Json::parse(*json) : Json();
}

void cross(Random& random, Shape shape, const RandomStream& stream) {
    const auto blocks = cut(random, written(random, shape, stream.events));
    const Json json = to_json(shape, blocks);
    ASSERT_EQ(json, stream.answer) << Json::diff(stream.answer, json).dump(2);
    const auto again = json_to_stream(shape, json.dump(), true);
    ASSERT_TRUE(again);
    ASSERT_EQ(to_json(shape, *again), json) << json.dump(2);
    ASSERT_EQ(json_to_stream(shape, to_json(shape, *again).dump(), true), *again);
    // What it became is whole to those who watch it, too.
    StreamWatch watch(shape, has_usage_chunk(shape) ? json["choices"].size() : 1, true);
    for (const std::string& block : *again) watch.see(block);
    ASSERT_EQ(watch.end(""), Ending::kWhole);
    // A usage chunk is there exactly if it was asked for.
    if (!has_usage_chunk(shape)) return;
    const auto without = json_to_stream(shape, json.dump(), false);
    ASSERT_TRUE(without);
    Json bare = json;
    bare.erase("usage");
    ASSERT_EQ(to_json(shape, *without), bare);
    ASSERT_EQ(again->size() - without->size(), json.contains("usage") ? 1U : 0U);
}

TEST(CrossingProperty, ChatIsThereAndBackTheSame) {
    Random random("ChatIsThereAndBackTheSame");
    for (int round = 0; round < 500 && !testing::Test::HasFatalFailure(); ++round) {
        cross(random, Shape::kChat, test::random_chunks(random, true));
    }
}

TEST(CrossingProperty, CompletionsAreThereAndBackTheSame) {
    Random random("CompletionsAreThereAndBackTheSame");
    for (int round = 0; round < 500 && !testing::Test::HasFatalFailure(); ++round) {
        cross(random, Shape::kCompletion, test::random_chunks(random, false));
    }
}

TEST(CrossingProperty, ResponsesAreThereAndBackTheSame) {
    Random random("ResponsesAreThereAndBackTheSame");
    for (int round = 0; round < 500 && !testing::Test::HasFatalFailure(); ++round) {
        cross(random, Shape::kResponse, test::random_response_stream(random));
    }
}

TEST(CrossingProperty, MessagesAreThereAndBackTheSame) {
    Random random("MessagesAreThereAndBackTheSame");
    for (int round = 0; round < 500 && !testing::Test::HasFatalFailure(); ++round) {
        cross(random, Shape::kMessage, test::random_message_stream(random));
    }
}

// What a client puts together from the events of a response, without looking at what is said whole.
Json gathered(const std::vector<std::string>& blocks) {
    Json items = Json::array();
    std::size_t number = 0;
    for (const std::string& block : blocks) {
        const SseEvent event = parse_event(block);
        const Json data = Json::parse(event.data);
        const std::string type = data["type"];
        EXPECT_EQ(type, event.event);
        EXPECT_EQ(data["sequence_number"], number++);
        if (type == "response.output_item.added") {
            EXPECT_EQ(data["output_index"], items.size());
            items.push_back(data["item"]);
            continue;
        }
        if (!data.contains("output_index") || items.empty()) continue;
        Json& item = items.back();
        if (type == "response.output_item.done") {
            if (item.contains("status")) item["status"] = data["item"]["status"];
            EXPECT_EQ(item, data["item"]);
            continue;
        }
        EXPECT_EQ(data["item_id"], item["id"]);
        const bool summary = data.contains("summary_index");
        Json* part = &item;
        if (summary || data.contains("content_index")) {
            Json& parts = item[summary ? "summary" : "content"];
            const std::size_t place = data[summary ? "summary_index" : "content_index"];
            if (type.ends_with("part.added")) {
                EXPECT_EQ(place, parts.size());
                parts.push_back(data["part"]);
            }
            part = &parts[place];
        }
        const char* key = "text";
        if (type.starts_with("response.refusal")) key = "refusal";
        if (type.starts_with("response.function_call")) key = "arguments";
        if (type.starts_with("response.custom_tool_call")) key = "input";
        if (type.ends_with(".delta")) {
            (*part)[key] = (*part)[key].get<std::string>() + data["delta"].get<std::string>();
            if (part->contains("logprobs")) (*part)["logprobs"] = data["logprobs"];
        } else if (type.ends_with("annotation.added")) {
            (*part)["annotations"].push_back(data["annotation"]);
        } else if (type.ends_with("part.done")) {
            EXPECT_EQ(*part, data["part"]);
        } else if (type.ends_with(".done")) {
            EXPECT_EQ((*part)[key], data[key]);
            // No text, no delta: its logprobs are here.
            if (part->contains("logprobs")) (*part)["logprobs"] = data["logprobs"];
        }
    }
    return items;
}

TEST(CrossingProperty, TheEventsOfAResponseSayAllOfIt) {
    Random random("TheEventsOfAResponseSayAllOfIt");
    for (int round = 0; round < 500; ++round) {
        const Json response = test::random_response(random);
        const auto blocks = json_to_stream(Shape::kResponse, response.dump(), false);
        ASSERT_TRUE(blocks);
        const Json items = gathered(*blocks);
        ASSERT_EQ(items, response["output"]) << Json::diff(response["output"], items).dump(2);
        ASSERT_EQ(Json::parse(parse_event(blocks->back()).data)["response"], response);
    }
}

}  // namespace
}  // namespace weir::http
