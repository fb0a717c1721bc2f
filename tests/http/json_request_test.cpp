#include "weir/http/json_request.hpp"

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "weir/base/crypto.hpp"

#include "http/random_json.hpp"

namespace weir::http {
namespace {

using test::Node;
using test::Random;
using testing::HasSubstr;

std::expected<JsonRequest, JsonFault> read(std::string_view body, bool canonical = true) {
    return read_json_request(Buffer::copy_of(body), canonical);
}

std::string_view at(std::string_view body, const TextSpan& span) {
    return body.substr(span.offset, span.length);
}

std::string nested(int depth) {
    const auto times = static_cast<std::size_t>(depth - 1);
    return R"({"a":)" + std::string(times, '[') + std::string(times, ']') + "}";
}

// Reads a canonical form back. That this is possible without any doubt is what makes it injective.
class CanonicalReader {
public:
    explicit CanonicalReader(std::string_view text) : text_(text) {}
    Node whole() {
        Node node = value();
        EXPECT_EQ(at_, text_.size());
        return node;
    }

private:
    std::string string() {
        const char tag = text_.at(at_++);
        EXPECT_TRUE(tag == '"' || tag == '#') << tag;
        std::size_t length = 0;
        for (unsigned shift = 0;; shift += 7) {
            const auto byte = static_cast<unsigned char>(text_.at(at_++));
            length |= static_cast<std::size_t>(byte & 0x7FU) << shift;
            if (byte < 0x80) break;
        }
        if (tag == '#') length = sizeof(Digest);  // a long one stands there by its digest
        std::string out(text_.substr(at_, length));
        at_ += length;
        return out;
    }
    Node value() {
        switch (text_.at(at_)) {
            case 't':
                ++at_;
                return Node::word("true");
            case 'f':
                ++at_;
                return Node::word("false");
            case 'n':
                ++at_;
                return Node::word("null");
            case '"':
            case '#':
                return Node::string(string());
            case '[': {
                ++at_;
                std::vector<Node> items;
                while (text_.at(at_) != ']') items.push_back(value());
                ++at_;
                return Node::array(std::move(items));
            }
            case '{': {
                ++at_;
                std::vector<std::pair<std::string, Node>> members;
                while (text_.at(at_) != '}') {
                    std::string key = string();
                    members.emplace_back(std::move(key), value());
                }
                ++at_;
                return Node::object(std::move(members));
            }
            default: {
                const std::size_t comma = text_.find(',', at_);
                if (comma == std::string_view::npos) throw std::out_of_range("no value");
                std::string number(text_.substr(at_, comma - at_));
                at_ = comma + 1;
                return Node::number(std::move(number));
            }
        }
    }
    std::string_view text_;
    std::size_t at_ = 0;
};

TEST(JsonRequest, PicksWhatTheGatewayDecidesBy) {
    const std::string body =
        R"({ "messages": [{"role":"user","content":"hi"}], "model" : "gpt-\u0034", "stream":true,
            "stream_options": {"x":1, "include_usage" : false}, "n": 3, "max_tokens": 5})";
    const auto request = read(body);
    ASSERT_TRUE(request);
    EXPECT_EQ(request->model, "gpt-4");
    EXPECT_EQ(at(body, *request->model_at), R"("gpt-\u0034")");
    EXPECT_TRUE(request->stream);
    EXPECT_FALSE(request->include_usage);
    EXPECT_TRUE(request->has_stream_options);
    EXPECT_FALSE(request->stream_options_empty);
    EXPECT_EQ(at(body, *request->stream_options_at), R"({"x":1, "include_usage" : false})");
    EXPECT_EQ(at(body, *request->include_usage_at), "false");
    EXPECT_EQ(request->body_open, 1U);
    EXPECT_EQ(request->choices, 3U);
    EXPECT_TRUE(request->output_limit_set);
    EXPECT_TRUE(request->stateful_fields.empty());
    EXPECT_TRUE(request->canonical_complete);
}

TEST(JsonRequest, KnowsKeysThatAreWrittenWithEscapes) {
    const auto request =
        read(R"({"\u006dodel":"m","strea\u006d":true,"previous\u005fresponse_id":"r"})");
    ASSERT_TRUE(request);
    EXPECT_EQ(request->model, "m");
    EXPECT_TRUE(request->stream);
    EXPECT_EQ(request->previous_response_id, "r");
    EXPECT_EQ(request->canonical, read(R"({"previous_response_id":"r","model":"m"})")->canonical);
}

TEST(JsonRequest, NullIsAsGoodAsAbsent) {
    const auto request = read(
        R"({"stream":null,"stream_options":null,"previous_response_id":null,"background":null,
            "conversation":null,"max_tokens":null,"n":null})"
    );
    ASSERT_TRUE(request);
    EXPECT_FALSE(request->stream);
    EXPECT_TRUE(request->has_stream_options);
    EXPECT_TRUE(request->stream_options_empty);
    EXPECT_TRUE(request->stateful_fields.empty());
    EXPECT_FALSE(request->output_limit_set);
    EXPECT_EQ(request->choices, 1U);
    EXPECT_FALSE(request->model);
}

TEST(JsonRequest, CountsAChoiceForEachPrompt) {
    const auto choices = [](std::string_view body) { return read(body)->choices; };
    EXPECT_EQ(choices(R"({"prompt":"a","n":2})"), 2U);
    EXPECT_EQ(choices(R"({"prompt":["a","b"],"n":2})"), 4U);
    EXPECT_EQ(choices(R"({"n":2,"prompt":[ [1,2],[3],[4,5,6] ]})"), 6U);
    EXPECT_EQ(choices(R"({"prompt":[1,2,3]})"), 1U);
    EXPECT_EQ(choices(R"({"prompt":[]})"), 1U);
    EXPECT_EQ(choices(R"({"n":"2"})"), 1U);
    EXPECT_EQ(choices(R"({"n":0})"), 1U);
    EXPECT_EQ(choices(R"({"n":18446744073709551615,"prompt":["a","b"]})"), UINT64_MAX);
}

TEST(JsonRequest, FindsStoredStateWhereItIsNamed) {
    const std::pair<std::string_view, std::string_view> cases[] = {
        {R"({"conversation":"c"})", "conversation"},
        {R"({"conversation":{"id":"c"}})", "conversation"},
        {R"({"prompt":{"id":"p","version":"2"}})", "prompt"},
        {R"({"previous_response_id":"r"})", "previous_response_id"},
        {R"({"background":true})", "background"},
        {R"({"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}]})",
         "file_id"},
        {R"({"input":[{"role":"user","content":[{"type":"input_image","file_id":"f"}]}]})",
         "file_id"},
        {R"({"input":[{"type":"function_call_output","output":[{"type":"input_file","file_id":"f"}]}]})",
         "file_id"},
        {R"({"input":[{"type":"computer_call_output","output":{"file_id":"f"}}]})", "file_id"},
        {R"({"input":[{"type":"item_reference","id":"i"}]})", "item_reference"},
        {R"({"input":[{"id":"i"}]})", "item_reference"},
        {R"({"tools":[{"type":"file_search","vector_store_ids":["v"]}]})", "vector_store_ids"},
        {R"({"tools":[{"type":"code_interpreter","container":"c"}]})", "container"},
        {R"({"tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":["f"]}}]})",
         "file_ids"},
        {R"({"tools":[{"type":"shell","environment":{"type":"container_reference","container_id":"c"}}]})",
         "container_id"},
        {R"({"tools":[{"type":"shell","environment":{"type":"container_auto","file_ids":["f"]}}]})",
         "file_ids"},
        {R"({"tools":[{"type":"shell","environment":{"skills":[{"type":"skill_reference","skill_id":"s"}]}}]})",
         "skill_id"},
        {R"({"tools":[{"type":"code_interpreter","container":{"type":"auto","skills":[{"skill_id":"s"}]}}]})",
         "skill_id"},
        {R"({"input":[{"type":"code_interpreter_call","container_id":"c"}]})", "container_id"},
        {R"({"input":[{"type":"shell_call","environment":{"container_id":"c"}}]})", "container_id"},
        {R"({"messages":[{"role":"assistant","audio":{"id":"a"}}]})", "audio.id"},
        {R"({"background":true,"conversation":"c"})", "background"},
    };
    for (const auto& [body, field] : cases) {
        const auto request = read(body);
        ASSERT_TRUE(request) << body;
        ASSERT_FALSE(request->stateful_fields.empty()) << body;
        EXPECT_EQ(request->stateful_fields.front(), field) << body;
    }
}

TEST(JsonRequest, DoesNotTakeOtherThingsForStoredState) {
    const std::string_view cases[] = {
        R"({"prompt":"conversation"})",
        R"({"prompt":{"version":"2"}})",
        R"({"background":false})",
        R"({"metadata":{"conversation":"c","file_id":"f"}})",
        R"({"tools":[{"type":"function","function":{"parameters":{"properties":
            {"file_id":{"type":"string"},"container":{"type":"string"},"conversation":{}}}}}]})",
        R"({"tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":[]}}]})",
        R"({"messages":[{"role":"user","content":"file_id","file_id_hint":"x"}]})",
        R"({"input":[{"id":"i","type":"message","role":"assistant","content":[]}]})",
        R"({"input":"previous_response_id"})",
        R"({"audio":{"voice":"alloy","format":"wav"},"messages":[{"audio":null}]})",
        R"({"tools":[{"type":"shell","environment":{"type":"local","skills":[{"name":"x"}]}}]})",
        R"({"tools":[{"type":"function","function":{"parameters":{"properties":
            {"environment":{"container_id":"c"},"skill_id":{"type":"string"}}}}}]})",
        R"({"store":true})",
    };
    for (const std::string_view body : cases) {
        const auto request = read(body);
        ASSERT_TRUE(request) << body;
        EXPECT_TRUE(request->stateful_fields.empty()) << body;
    }
    EXPECT_TRUE(read(R"({"store":true})")->store);
    EXPECT_FALSE(read(R"({"store":false})")->store);
}

TEST(JsonRequest, RefusesControlFieldsOfTheWrongType) {
    const std::pair<std::string_view, std::string_view> cases[] = {
        {R"({"model":1})", "model"},
        {R"({"model":null})", "model"},
        {R"({"model":["m"]})", "model"},
        {R"({"model":"\ud800"})", "model"},
        {R"({"stream":1})", "stream"},
        {R"({"stream":"true"})", "stream"},
        {R"({"stream_options":true})", "stream_options"},
        {R"({"stream_options":[]})", "stream_options"},
        {R"({"stream_options":{"include_usage":1}})", "stream_options.include_usage"},
        {R"({"previous_response_id":7})", "previous_response_id"},
    };
    for (const auto& [body, param] : cases) {
        const auto request = read(body);
        ASSERT_FALSE(request) << body;
        EXPECT_EQ(request.error().param, param) << body;
        EXPECT_FALSE(read(body, false)) << body;
    }
}

TEST(JsonRequest, RefusesWhatIsNotStrictJson) {
    const std::string_view cases[] = {
        "",
        " ",
        "{",
        "}",
        "{}}",
        "{} {}",
        "{}x",
        R"({"a":1,})",
        R"({,"a":1})",
        R"({"a" 1})",
        R"({"a"})",
        R"({"a":})",
        R"({a:1})",
        R"({'a':1})",
        R"({"a":1 "b":2})",
        R"({"a":"b":1})",
        R"({"a":["b":1]})",
        R"({"a":[1,]})",
        R"({"a":[1 2]})",
        R"({"a":[,1]})",
        R"({"a":[1})",
        R"({"a":[1}])",
        R"({"a":01})",
        R"({"a":+1})",
        R"({"a":.5})",
        R"({"a":1.})",
        R"({"a":1e})",
        R"({"a":1e+})",
        R"({"a":-})",
        R"({"a":0x10})",
        R"({"a":1"b"})",
        R"({"a":NaN})",
        R"({"a":Infinity})",
        R"({"a":True})",
        R"({"a":nul})",
        R"({"a":nulll})",
        R"({"a":"x)",
        R"({"a":"x\"})",
        R"({"a":"\x"})",
        R"({"a":"\u12"})",
        R"({"a":"\u12g4"})",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\x01\"}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"\xc0\xaf\"}",
        "{\"a\":\"\xed\xa0\x80\"}",
        "{\"a\":\"\xf4\x90\x80\x80\"}",
        "{\"a\":\"\xe2\x82\"}",
        "{\"a\":\f1}",
        "{\"a\":\x1a 1}",
        "{/**/}",
        "{}//",
        "\xEF\xBB\xBF{}",
        "[]",
        "1",
        "\"a\"",
        "null",
    };
    for (const std::string_view body : cases) {
        EXPECT_FALSE(read(body)) << body;
        EXPECT_FALSE(read(body, false)) << body;
    }
    EXPECT_FALSE(read(std::string_view("{}\0", 3)));
    EXPECT_FALSE(read(std::string_view("{\"a\":\"\0\"}", 9)));
}

TEST(JsonRequest, SaysWhatIsWrongAndWhere) {
    EXPECT_EQ(
        read(R"({"a":1,})").error().message,
        "The body is not valid JSON: a key was expected at byte 7."
    );
    EXPECT_EQ(
        read("{\"a\":\"b\xff\"}").error().message,
        "The body is not valid JSON: it is not UTF-8 at byte 7."
    );
    EXPECT_THAT(read(R"({"abc":1,"b":2,"abc":1})").error().message, HasSubstr(R"("abc")"));
    EXPECT_EQ(read("[1]").error().message, "The body must be a JSON object.");
}

TEST(JsonRequest, RefusesRepeatedKeysAtAnyDepthHoweverWritten) {
    const std::string_view cases[] = {
        R"({"a":1,"a":1})",
        R"({"a":1,"b":2,"a":3})",
        R"({"b":1,"a":2,"b":3})",
        R"({"a":1,"\u0061":2})",
        R"({"x":[{"y":{"a":1,"c":2,"b":3,"a":4}}]})",
        R"({"stream":true,"stream":true})",
        R"({"stream_options":{"a":1,"a":2}})",
        R"({"":1,"":2})",
        R"({"\ud83d\ude00":1,"😀":2})",
        R"({"\ud800":1,"\uD800":2})",
    };
    for (const std::string_view body : cases) {
        EXPECT_FALSE(read(body)) << body;
        EXPECT_FALSE(read(body, false)) << body;
    }
    EXPECT_TRUE(read(R"({"a":{"a":1},"b":[{"a":1},{"a":1}],"A":1})"));
    EXPECT_TRUE(read(R"({"\ud800":1,"\ud801":2})"));
}

TEST(JsonRequest, AllowsDepth64AndRefuses65AndAnythingDeeper) {
    EXPECT_TRUE(read(nested(64)));
    EXPECT_FALSE(read(nested(65)));
    EXPECT_FALSE(read(nested(100'000)));
    EXPECT_FALSE(read("{\"a\":" + std::string(1'000'000, '[')));
    std::string objects;
    for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
    EXPECT_FALSE(read(objects));
}

TEST(JsonRequest, BoundsTheMembersOfOpenObjects) {
    std::string body = "{";
    for (int i = 0; i < (1 << 20) + 1; ++i) body += '"' + std::to_string(i) + "\":1,";
    body.back() = '}';
    EXPECT_FALSE(read(body, false));
}

TEST(JsonRequest, HalfASurrogatePairIsForwardedButNotKept) {
    for (const std::string_view text :
         {R"(\ud800)", R"(\udc00)", R"(\ud800\ud800)", R"(\ud800x)"}) {
        const auto request = read(R"({"model":"m","a":")" + std::string(text) + R"("})");
        ASSERT_TRUE(request) << text;
        EXPECT_FALSE(request->canonical_complete) << text;
        EXPECT_TRUE(request->canonical.empty()) << text;
    }
    EXPECT_TRUE(read(R"({"a":"\ud83d\ude00"})")->canonical_complete);
    // Nothing is left over for the next body of the thread.
    EXPECT_TRUE(read(R"({"a":"b"})")->canonical_complete);
}

TEST(JsonRequest, KeepsNumbersByTheirText) {
    const auto form = [](std::string_view number) {
        const auto request = read(R"({"a":)" + std::string(number) + "}");
        EXPECT_TRUE(request) << number;
        EXPECT_TRUE(request->canonical_complete) << number;
        return request->canonical;
    };
    const std::string_view numbers[] = {
        "1",
        "1.0",
        "1e0",
        "1E0",
        "-0",
        "0",
        "10",
        "1e400",
        "-1e400",
        "1e-400",
        "123456789012345678901234567890",
        "123456789012345678901234567891",
    };
    for (const auto a : numbers) {
        for (const auto b : numbers) EXPECT_EQ(form(a) == form(b), a == b) << a << ' ' << b;
    }
}

TEST(JsonRequest, MakesNoFormWhenNotAskedTo) {
    const auto request = read(R"({"model":"m"})", false);
    ASSERT_TRUE(request);
    EXPECT_TRUE(request->canonical.empty());
    EXPECT_FALSE(request->canonical_complete);
    EXPECT_EQ(request->model, "m");
}

TEST(JsonRequest, LeavesStreamAndItsOptionsOutOnlyAtTheTop) {
    const std::string plain = read(R"({"model":"m","a":{"stream":true}})")->canonical;
    EXPECT_EQ(
        plain,
        read(R"({"stream":true,"model":"m","a":{"stream":true},"stream_options":{"z":1,"a":2}})")
            ->canonical
    );
    EXPECT_NE(plain, read(R"({"model":"m","a":{"stream":false}})")->canonical);
    EXPECT_NE(plain, read(R"({"model":"m","a":{}})")->canonical);
    EXPECT_NE(plain, read(R"({"model":"m","a":{"stream":true},"streams":1})")->canonical);
}

TEST(JsonRequestProperty, TheFormCanBeReadBackAndIsTheSameForEveryWayToWrite) {
    Random random("TheFormCanBeReadBack");
    const Node stream = Node::word("true");
    for (int round = 0; round < 4000; ++round) {
        const Node body = test::random_body(random);
        const std::string plain = test::write(random, {}, body);
        const auto first = read(plain);
        ASSERT_TRUE(first) << plain << '\n' << first.error().message;
        ASSERT_EQ(CanonicalReader(first->canonical).whole(), body.sorted()) << plain;
        // About as long as the body: bounded memory.
        ASSERT_LE(first->canonical.size(), plain.size() + 16);
        Node streamed = body;
        streamed.members.emplace_back("stream", stream);
        const std::string other =
            test::write(random, {.shuffle = true, .space = true, .escapes = true}, streamed);
        const auto second = read(other);
        ASSERT_TRUE(second) << other << '\n' << second.error().message;
        ASSERT_EQ(first->canonical, second->canonical) << plain << '\n' << other;
    }
}

// Our verdict against nlohmann's, where both have the same rules.
void expect_same_verdict(const std::string& text) {
    const auto ours = read(text);
    std::string id;
    bool theirs = true;
    try {
        (void)nlohmann::json::parse(text);
    } catch (const nlohmann::json::exception& error) {
        theirs = false;
        if (error.id == 406) id = "number";  // legal for us: kept by its text
    }
    if (ours) {
        const bool allowed = theirs || !ours->canonical_complete || id == "number";
        EXPECT_TRUE(allowed) << text;
        return;
    }
    const std::string& message = ours.error().message;
    const bool grammar = message.starts_with("The body is not valid JSON") ||
                         message.starts_with("The body is empty");
    const bool our_own_rule = message.find("deeper") != std::string::npos ||
                              message.find("byte order") != std::string::npos ||
                              text.find('\0') != std::string::npos;  // theirs takes it for the end
    if (grammar && !our_own_rule) {
        EXPECT_FALSE(theirs) << text << '\n' << message;
    }
}

TEST(JsonRequestProperty, AgreesWithAnotherParserOnWhatIsJson) {
    Random random("AgreesWithAnotherParser");
    constexpr std::string_view kPieces[] = {
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u",
        "\\ud800",
        "\\udc00",
        "0",
        "1",
        "-",
        "+",
        ".",
        "e",
        "E5",
        "true",
        "null",
        "fals",
        " ",
        "\n",
        "\t",
        "\x01",
        "\x7f",
        "\xC3",
        "\xA9",
        "\xED\xA0\x80",
        "\xF0\x9F\x98\x80",
        "\xF0\x9F",
        "/",
        "a",
        "\"a\":",
        "\"model\":",
        "1e999",
        "\x0c",
        "\x1a",
        "\xEF\xBB\xBF",
    };
    for (int round = 0; round < 4000; ++round) {
        std::string text = test::write(
            random,
            {.shuffle = false, .space = random.one_in(2), .escapes = random.one_in(2)},
            test::random_body(random)
        );
        ASSERT_TRUE(nlohmann::json::accept(text)) << text;
        ASSERT_TRUE(read(text)) << text << '\n' << read(text).error().message;
        for (int change = 0; change < 6; ++change) {
            const std::size_t place = random.below(text.size() + 1);
            switch (random.below(5)) {
                case 0:
                    text.insert(place, random.pick(kPieces));
                    break;
                case 1:
                    text.erase(place, 1 + random.below(3));
                    break;
                case 2:
                    if (place < text.size()) text[place] = static_cast<char>(random.below(256));
                    break;
                case 3:
                    text.resize(place);
                    break;
                default:
                    if (place < text.size()) {
                        text.replace(place, 1, random.pick(kPieces));
                    }
                    break;
            }
            ASSERT_NO_FATAL_FAILURE(expect_same_verdict(text));
            if (text.empty() || testing::Test::HasFailure()) break;
        }
        if (testing::Test::HasFailure()) return;
    }
}

TEST(JsonRequest, GivesItsMemoryBackAfterAHugeBodyAndGoesOn) {
    const std::string huge = R"({"b":")" + std::string(5'000'000, 'x') + R"(\n","a":1})";
    const auto request = read(huge);
    ASSERT_TRUE(request);
    EXPECT_EQ(CanonicalReader(request->canonical).whole().members.size(), 2U);
    EXPECT_EQ(
        read(R"({"a":1})")->canonical,
        "{\"\x01"
        "a1,}"
    );
}

}  // namespace
}  // namespace weir::http
