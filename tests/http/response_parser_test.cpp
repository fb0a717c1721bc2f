#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "weir/http/parser.hpp"

#include "http/connection.hpp"

namespace weir::http {
namespace {

using namespace std::string_literals;
using State = ResponseParser::State;

struct Answer {
    State state = State::kHead;
    int status = 0;
    std::string body;
    std::string broken;
    Framing framing = Framing::kNone;
    bool keep_alive = false;
    std::size_t used = 0;
    std::string fields;

    friend bool operator==(const Answer&, const Answer&) = default;
};

// Reads one answer as the upstream client does.
Answer read_answer(
    std::string_view bytes, bool to_head, bool eof, const test::Cut& cut = test::whole()
) {
    ResponseParser parser(to_head);
    Answer out;
    std::string buffer;
    std::size_t at = 0;
    for (;;) {
        const std::size_t used = parser.feed(buffer, &out.body);
        buffer.erase(0, used);
        if (parser.state() == State::kDone || parser.state() == State::kBroken) break;
        if (used > 0) continue;
        if (at == bytes.size()) break;
        const std::string_view read = bytes.substr(at, cut());
        at += read.size();
        buffer += read;
    }
    if (eof) parser.feed_eof();
    out.state = parser.state();
    out.broken = parser.broken();
    if (out.state == State::kBroken) {
        out.body.clear();  // how much came before the fault was seen depends on the cuts
        return out;
    }
    out.used = at - buffer.size();
    if (out.state != State::kHead) {
        const ResponseHead& head = parser.head();
        out.status = head.status;
        out.framing = head.framing;
        out.keep_alive = head.keep_alive;
        for (const Field& field : head.fields) {
            out.fields.append(field.name).append("=").append(field.value).append(";");
        }
    }
    return out;
}

struct Case {
    std::string name;
    std::string bytes;
    State state = State::kDone;
    std::string body;
    bool to_head = false;
    bool eof = false;
};

std::string ok(const std::string& fields, const std::string& body = {}) {
    return "HTTP/1.1 200 OK\r\n" + fields + "\r\n" + body;
}
std::string chunked(const std::string& body) {
    return ok("Transfer-Encoding: chunked\r\n", body);
}

std::vector<Case> corpus() {
    std::vector<Case> cases;
    const auto done = [&cases](std::string name, std::string bytes, std::string body = {}) {
        cases.push_back({std::move(name), std::move(bytes), State::kDone, std::move(body)});
    };
    const auto broken = [&cases](std::string name, std::string bytes) {
        cases.push_back({std::move(name), std::move(bytes), State::kBroken, {}});
    };
    const std::string interim = "HTTP/1.1 100 Continue\r\n\r\n";
    const auto many = [](const std::string& text, int times) {
        std::string out;
        while (times-- > 0) out += text;
        return out;
    };

    done("length", ok("Content-Length: 5\r\n", "hello"), "hello");
    done("length zero", ok("Content-Length: 0\r\n"));
    done("chunked", chunked("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "abcde");
    done(
        "chunked with extensions and trailers", chunked("3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\n"), "abc"
    );
    done("no reason", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n");
    done("high bytes in the reason", "HTTP/1.1 200 \xc3\xa9\r\nContent-Length: 0\r\n\r\n");
    done("status out of the usual", "HTTP/1.1 599 x\r\nContent-Length: 1\r\n\r\nx", "x");
    done("204", "HTTP/1.1 204 No Content\r\n\r\n");
    done("304 with length", "HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n");
    done("HTTP/1.0 with length", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi");
    done("one interim answer", interim + ok("Content-Length: 2\r\n", "hi"), "hi");
    done(
        "early hints",
        "HTTP/1.1 103 x\r\nLink: <a>\r\n\r\n" + ok("Content-Length: 2\r\n", "hi"),
        "hi"
    );
    done("ten interim answers", many(interim, 10) + ok("Content-Length: 2\r\n", "hi"), "hi");
    cases.push_back({"HEAD with length", ok("Content-Length: 5\r\n"), State::kDone, "", true});
    cases.push_back(
        {"HEAD with chunked", ok("Transfer-Encoding: chunked\r\n"), State::kDone, "", true}
    );
    cases.push_back({"HEAD without framing", ok(""), State::kDone, "", true});
    cases.push_back({"until close", ok("", "hello"), State::kDone, "hello", false, true});
    cases.push_back({"until close, empty", ok(""), State::kDone, "", false, true});
    cases.push_back(
        {"until close in 1.0", "HTTP/1.0 200 OK\r\n\r\nhi", State::kDone, "hi", false, true}
    );
    cases.push_back({"until close, still open", ok("", "hello"), State::kBody, "hello"});
    cases.push_back({"nothing yet", "", State::kHead, ""});
    cases.push_back({"half a head", "HTTP/1.1 200 OK\r\nA: ", State::kHead, ""});

    broken("eleven interim answers", many(interim, 11) + ok("Content-Length: 2\r\n", "hi"));
    broken("101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n");
    broken("interim with length", "HTTP/1.1 100 x\r\nContent-Length: 5\r\n\r\nhello");
    broken("interim with coding", "HTTP/1.1 100 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    broken("status 099", "HTTP/1.1 099 x\r\n\r\n");
    broken("status 600", "HTTP/1.1 600 x\r\n\r\n");
    broken("status 0", "HTTP/1.1 000 x\r\n\r\n");
    broken("status of two digits", "HTTP/1.1 20 x\r\n\r\n");
    broken("status of four digits", "HTTP/1.1 2000 x\r\n\r\n");
    broken("status of letters", "HTTP/1.1 abc x\r\n\r\n");
    broken("status signed", "HTTP/1.1 -20 x\r\n\r\n");
    broken("HTTP/2.0", "HTTP/2.0 200 OK\r\n\r\n");
    broken("HTTP/1.2", "HTTP/1.2 200 OK\r\n\r\n");
    broken("HTTP/0.9", "HTTP/0.9 200 OK\r\n\r\n");
    broken("lower-case version", "http/1.1 200 OK\r\n\r\n");
    broken("not HTTP", "SSH-2.0-OpenSSH_9.2\r\n");
    broken("a web page at once", "<html>\r\n");
    broken("bytes before", "\r\n" + ok(""));
    broken("LF before", "\n" + ok(""));
    broken("space before", " " + ok(""));
    broken("two spaces", "HTTP/1.1  200 OK\r\n\r\n");
    broken("LF ends the status line", "HTTP/1.1 200 OK\nA: b\r\n\r\n");
    broken("CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n");
    broken("NUL in the reason", "HTTP/1.1 200 O\0K\r\n\r\n"s);
    broken("NUL in a value", ok("A: b\0c\r\n"s));
    broken("CR in a value", ok("A: b\rSet-Cookie: c\r\n"));
    broken("LF in a value", ok("A: b\nSet-Cookie: c\r\n"));
    broken("escape in a value", ok("A: \x1b]0;x\x07\r\n"));
    broken("folded line", ok("A: b\r\n c\r\n"));
    broken("space before the colon", ok("A : b\r\n"));
    broken("no colon", ok("Abc\r\n"));
    broken("empty name", ok(": b\r\n"));
    broken("line of blanks", ok("  \r\n"));
    broken("over one hundred fields", ok(many("A: b\r\n", 101)));
    broken("head too large", ok("A: " + std::string(70'000, 'b') + "\r\n"));
    broken("status line too long", "HTTP/1.1 200 " + std::string(70'000, 'b'));
    broken(
        "length and coding", ok("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")
    );
    broken(
        "coding and length", ok("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")
    );
    broken("two lengths", ok("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"));
    broken("two equal lengths", ok("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"));
    for (const char* value :
         {"",
          "+5",
          "-1",
          "5, 5",
          "5 5",
          "0x5",
          "9223372036854775808",
          "99999999999999999999999",
          "x"}) {
        broken("length '"s + value + "'", ok("Content-Length: "s + value + "\r\n", "hello"));
    }
    for (const char* value :
         {"",
          "identity",
          "gzip",
          "gzip, chunked",
          "chunked, gzip",
          "xchunked",
          "chunked, chunked",
          "chunked;q=1"}) {
        broken("coding '"s + value + "'", ok("Transfer-Encoding: "s + value + "\r\n", "0\r\n\r\n"));
    }
    broken(
        "two codings",
        ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")
    );
    broken("coding in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    broken("chunk size not hex", chunked("g\r\nabc\r\n0\r\n\r\n"));
    broken("chunk size over 64 bits", chunked("fffffffffffffffff\r\nabc\r\n0\r\n\r\n"));
    broken("chunk size of 2^63", chunked("8000000000000000\r\nabc\r\n0\r\n\r\n"));
    broken("chunk too long", chunked("2\r\nabc\r\n0\r\n\r\n"));
    broken("chunk too short", chunked("4\r\nabc\r\n0\r\n\r\n"));
    broken(
        "chunk extension too long",
        chunked("3;a=" + std::string(3000, 'b') + "\r\nabc\r\n0\r\n\r\n")
    );
    broken("trailers too large", chunked("0\r\na: " + std::string(9000, 'b') + "\r\n\r\n"));
    broken("trailer with CR", chunked("0\r\na: b\rc\r\n\r\n"));

    const auto cut_off = [&cases](std::string name, std::string bytes) {
        cases.push_back({std::move(name), std::move(bytes), State::kBroken, "", false, true});
    };
    cut_off("closed at once", "");
    cut_off("closed in the head", "HTTP/1.1 200 OK\r\nA");
    cut_off("closed behind an interim answer", interim);
    cut_off("closed within the length", ok("Content-Length: 5\r\n", "hell"));
    cut_off("closed before the first chunk", chunked(""));
    cut_off("closed in a chunk", chunked("5\r\nhell"));
    cut_off("closed behind a chunk", chunked("5\r\nhello\r\n"));
    cut_off("closed in the last chunk", chunked("5\r\nhello\r\n0\r\n"));
    cut_off("closed in the trailers", chunked("5\r\nhello\r\n0\r\nA: b\r\n"));
    return cases;
}

TEST(ResponseParser, ReadsOrBreaksOnEachAnswerOfTheCorpus) {
    for (const Case& c : corpus()) {
        const Answer answer = read_answer(c.bytes, c.to_head, c.eof);
        EXPECT_EQ(static_cast<int>(answer.state), static_cast<int>(c.state))
            << c.name << ": " << answer.broken;
        EXPECT_EQ(answer.body, c.body) << c.name;
        EXPECT_EQ(answer.broken.empty(), c.state != State::kBroken) << c.name;
        if (c.state == State::kDone) {
            EXPECT_EQ(answer.used, c.bytes.size()) << c.name;
        }
    }
}

TEST(ResponseParser, SeesTheSameByteByByteAndInRandomPieces) {
    std::mt19937_64 random(test::test_seed() + 2);
    for (const Case& c : corpus()) {
        const Answer expected = read_answer(c.bytes, c.to_head, c.eof);
        EXPECT_EQ(read_answer(c.bytes, c.to_head, c.eof, test::byte_by_byte()), expected) << c.name;
        for (int round = 0; round < 20; ++round) {
            EXPECT_EQ(
                read_answer(c.bytes, c.to_head, c.eof, test::random_cuts(random, 30)), expected
            ) << c.name;
        }
    }
}

TEST(ResponseParser, SeesTheSameInRandomPiecesOfMutatedInput) {
    std::mt19937_64 random(test::test_seed() + 3);
    const auto cases = corpus();
    constexpr std::string_view kBytes = "\r\n\t :;,0123456789abcdefFG\"\\\0\x7f\xffHTP/chunked";
    for (int round = 0; round < 20'000; ++round) {
        const Case& c = cases[random() % cases.size()];
        std::string bytes = c.bytes;
        if (bytes.empty() || bytes.size() > 2000) continue;
        for (auto left = 1 + random() % 4; left > 0; --left) {
            const std::size_t at = random() % bytes.size();
            if (random() % 2 == 0) {
                bytes[at] = kBytes[random() % kBytes.size()];
            } else {
                bytes.insert(at, 1, kBytes[random() % kBytes.size()]);
            }
        }
        const Answer expected = read_answer(bytes, c.to_head, c.eof);
        ASSERT_EQ(read_answer(bytes, c.to_head, c.eof, test::random_cuts(random, 30)), expected)
            << bytes;
        // What came out of the head can be written into another one.
        for (const char bad : {'\r', '\n', '\0'}) {
            ASSERT_EQ(expected.fields.find(bad), std::string::npos) << bytes;
        }
    }
}

TEST(ResponseParser, LeavesBytesBehindTheAnswerUnused) {
    ResponseParser parser;
    const std::string answer = ok("Content-Length: 2\r\n", "hi");
    std::string body;
    const std::string bytes = answer + "HTTP/1.1 200 stray";
    std::size_t used = parser.feed(bytes, &body);
    used += parser.feed(std::string_view(bytes).substr(used), &body);
    EXPECT_EQ(used, answer.size());
    EXPECT_EQ(parser.state(), State::kDone);
    EXPECT_EQ(parser.feed("more"), 0u);
    EXPECT_EQ(body, "hi");
}

TEST(ResponseParser, StopsBehindTheFinalHead) {
    ResponseParser parser;
    const std::string head = "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    std::string body;
    EXPECT_EQ(parser.feed(head + "hi", &body), head.size());
    EXPECT_EQ(parser.state(), State::kBody);
    EXPECT_EQ(body, "");
    EXPECT_EQ(parser.head().status, 200);
    EXPECT_EQ(parser.head().content_length, 2u);
}

TEST(ResponseParser, InterimFieldsDoNotMixIntoTheFinalHead) {
    ResponseParser parser;
    (void)parser.feed("HTTP/1.1 103 x\r\nLink: <a>\r\n\r\nHTTP/1.1 204 x\r\nA: b\r\n\r\n");
    ASSERT_EQ(parser.state(), State::kDone);
    EXPECT_EQ(parser.head().fields.size(), 1u);
    EXPECT_FALSE(parser.head().fields.find("link"));
}

TEST(ResponseParser, ConnectionsThatCannotBeUsedAgainAreNotKept) {
    EXPECT_TRUE(read_answer(ok("Content-Length: 0\r\n"), false, false).keep_alive);
    EXPECT_FALSE(
        read_answer(ok("Content-Length: 0\r\nConnection: close\r\n"), false, false).keep_alive
    );
    EXPECT_FALSE(read_answer(ok("", "x"), false, false).keep_alive);
    EXPECT_FALSE(
        read_answer("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false, false).keep_alive
    );
    EXPECT_TRUE(
        read_answer(
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", false, false
        )
            .keep_alive
    );
    // A 204 that claims a body may send one: those bytes must not be the next caller's answer.
    EXPECT_FALSE(read_answer("HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n", false, false).keep_alive
    );
    EXPECT_TRUE(read_answer("HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n", false, false).keep_alive
    );
}

TEST(ResponseParser, ResetReadsTheNextAnswer) {
    ResponseParser parser;
    (void)parser.feed("nonsense\r\n");
    EXPECT_EQ(parser.state(), State::kBroken);
    parser.reset(true);
    EXPECT_EQ(parser.state(), State::kHead);
    EXPECT_FALSE(parser.started());
    EXPECT_TRUE(parser.broken().empty());
    (void)parser.feed(ok("Content-Length: 5\r\n"));
    EXPECT_EQ(parser.state(), State::kDone);
    parser.reset();
    (void)parser.feed(ok("Content-Length: 5\r\n"));
    EXPECT_EQ(parser.state(), State::kBody);
}

TEST(ResponseParser, StartedIsTrueFromTheFirstByteOn) {
    ResponseParser parser;
    EXPECT_FALSE(parser.started());
    (void)parser.feed("H");
    EXPECT_TRUE(parser.started());
    parser.reset();
    (void)parser.feed("HTTP/1.1 100 x\r\n\r\n");
    EXPECT_TRUE(parser.started());
}

}  // namespace
}  // namespace weir::http
