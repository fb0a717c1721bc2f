#include "weir/http/parser.hpp"

#include <random>
#include <set>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "http/connection.hpp"
#include "http/request_corpus.hpp"

namespace weir::http {
namespace {

using test::byte_by_byte;
using test::random_cuts;
using test::read_connection;
using test::request_corpus;
using test::Seen;
using test::whole;
using State = RequestParser::State;

constexpr std::string_view kGet = "GET /v1/models?x=1 HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n";

std::string body_of(const std::string& described) {
    return described.substr(described.find("|body=") + 6);
}

RequestHead head_of(std::string_view bytes) {
    RequestParser parser;
    EXPECT_EQ(parser.feed(bytes), bytes.size());
    EXPECT_NE(parser.state(), State::kHead);
    EXPECT_NE(parser.state(), State::kRefused) << parser.refused().message;
    return parser.take_head();
}

TEST(RequestCorpus, IsLargeAndItsNamesAreUnique) {
    const auto corpus = request_corpus();
    EXPECT_GE(corpus.size(), 200u);
    std::set<std::string> names;
    for (const auto& entry : corpus) EXPECT_TRUE(names.insert(entry.name).second) << entry.name;
}

TEST(RequestParser, TakesOrRefusesEachRequestOfTheCorpus) {
    for (const auto& entry : request_corpus()) {
        const Seen seen = read_connection(entry.bytes, whole());
        EXPECT_EQ(seen.refused, entry.refused) << entry.name << ": " << seen.message;
        ASSERT_EQ(seen.requests.size(), entry.requests) << entry.name << ": " << seen.message;
        EXPECT_EQ(seen.message.empty(), entry.refused == 0) << entry.name;
        if (entry.requests > 0) {
            EXPECT_EQ(body_of(seen.requests[0]), entry.body) << entry.name;
        }
        if (entry.refused == 0) {
            EXPECT_EQ(seen.used_whole, entry.bytes.size()) << entry.name;
            EXPECT_FALSE(seen.unfinished) << entry.name;
        }
    }
}

TEST(RequestParser, NeverRunsARequestHiddenBehindARefusedOne) {
    for (const auto& entry : request_corpus()) {
        if (entry.refused == 0) continue;
        const Seen seen = read_connection(entry.bytes, byte_by_byte());
        for (const std::string& request : seen.requests) {
            EXPECT_EQ(request.find("/v1/hidden"), std::string::npos) << entry.name;
        }
    }
}

TEST(RequestParser, SeesTheSameByteByByte) {
    for (const auto& entry : request_corpus()) {
        EXPECT_EQ(
            read_connection(entry.bytes, byte_by_byte()), read_connection(entry.bytes, whole())
        ) << entry.name;
    }
}

TEST(RequestParser, SeesTheSameAtEverySplitPoint) {
    for (const auto& entry : request_corpus()) {
        if (entry.bytes.size() > 400) continue;
        const Seen expected = read_connection(entry.bytes, whole());
        for (std::size_t at = 1; at < entry.bytes.size(); ++at) {
            std::size_t next = at;
            const Seen seen = read_connection(entry.bytes, [&next] {
                return std::exchange(next, std::string::npos);
            });
            ASSERT_EQ(seen, expected) << entry.name << " cut at " << at;
        }
    }
}

TEST(RequestParser, SeesTheSameInRandomPieces) {
    std::mt19937_64 random(test::test_seed());
    const auto corpus = request_corpus();
    for (int round = 0; round < 3000; ++round) {
        // Several good ones on one connection, so that a piece spans their borders, and any last.
        std::string bytes;
        for (auto left = random() % 6; left > 0;) {
            const auto& entry = corpus[random() % corpus.size()];
            if (entry.refused != 0) continue;
            bytes += entry.bytes;
            --left;
        }
        bytes += corpus[random() % corpus.size()].bytes;
        const Seen expected = read_connection(bytes, whole());
        ASSERT_EQ(read_connection(bytes, random_cuts(random, 1 + random() % 200)), expected)
            << bytes;
    }
}

TEST(RequestParser, SeesTheSameInRandomPiecesOfMutatedInput) {
    std::mt19937_64 random(test::test_seed() + 1);
    const auto corpus = request_corpus();
    constexpr std::string_view kBytes =
        "\r\n\t :;,0123456789abcdefFG/*\"\\\0\x7f\xff"
        "HTPchunked";
    for (int round = 0; round < 20'000; ++round) {
        std::string bytes = corpus[random() % corpus.size()].bytes;
        if (bytes.size() > 2000) continue;
        for (auto left = 1 + random() % 4; left > 0; --left) {
            const std::size_t at = random() % bytes.size();
            const char c = kBytes[random() % kBytes.size()];
            switch (random() % 4) {
                case 0:
                    bytes[at] = c;
                    break;
                case 1:
                    bytes.insert(at, 1, c);
                    break;
                case 2:
                    if (bytes.size() > 1) bytes.erase(at, 1);
                    break;
                default:
                    bytes.insert(at, bytes.substr(random() % bytes.size(), random() % 20));
            }
        }
        const Seen expected = read_connection(bytes, whole());
        ASSERT_EQ(read_connection(bytes, random_cuts(random, 40)), expected) << bytes;
        // A refusal is always one that the session can answer with.
        static const std::set<int> kStatuses = {0, 400, 405, 414, 417, 431};
        ASSERT_TRUE(kStatuses.contains(expected.refused)) << expected.refused;
    }
}

TEST(RequestParser, StopsBehindTheHead) {
    RequestParser parser;
    const std::string bytes = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    std::string body;
    EXPECT_EQ(parser.feed(bytes, &body), bytes.size() - 5);
    EXPECT_EQ(parser.state(), State::kBody);
    EXPECT_EQ(body, "");
    EXPECT_EQ(parser.head().framing, Framing::kLength);
    EXPECT_EQ(parser.head().content_length, 5u);
    EXPECT_EQ(parser.feed("hello", &body), 5u);
    EXPECT_EQ(parser.state(), State::kDone);
    EXPECT_EQ(body, "hello");
}

TEST(RequestParser, UsesNothingBehindTheEndUntilReset) {
    RequestParser parser;
    const std::string two = std::string(kGet) + std::string(kGet);
    EXPECT_EQ(parser.feed(two), kGet.size());
    EXPECT_EQ(parser.state(), State::kDone);
    EXPECT_EQ(parser.feed(kGet), 0u);
    EXPECT_EQ(parser.state(), State::kDone);
    parser.reset();
    EXPECT_EQ(parser.state(), State::kHead);
    EXPECT_FALSE(parser.started());
    EXPECT_EQ(parser.feed(kGet), kGet.size());
    EXPECT_EQ(parser.state(), State::kDone);
}

TEST(RequestParser, SwallowsEverythingBehindARefusal) {
    RequestParser parser;
    EXPECT_EQ(parser.feed("BAD\r\n"), 5u);
    ASSERT_EQ(parser.state(), State::kRefused);
    EXPECT_EQ(parser.refused().status, 400);
    EXPECT_EQ(parser.feed(kGet), kGet.size());
    EXPECT_EQ(parser.state(), State::kRefused);
}

TEST(RequestParser, SwallowsWhatCameTogetherWithTheRefused) {
    const std::string hidden(kGet);
    for (const std::string refused :
         {"GET / HTTP/1.1\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: x\r\n\r\n",
          "BREW / HTTP/1.1\r\n\r\n"}) {
        RequestParser parser;
        EXPECT_EQ(parser.feed(refused + hidden), refused.size() + hidden.size());
        EXPECT_EQ(parser.state(), State::kRefused) << refused;
    }
    RequestParser parser;
    const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    EXPECT_EQ(parser.feed(head), head.size());
    EXPECT_EQ(parser.feed("z\r\n" + hidden), 3 + hidden.size());
    EXPECT_EQ(parser.state(), State::kRefused);
}

// A client that sends nothing more must get its answer, not wait for the head's time limit.
TEST(RequestParser, RefusesABadByteAtOnce) {
    for (const std::string_view bytes :
         {"GET / HTTP/1.1\r\nA: b\rc",
          "GET / HTTP/1.1\r\nA: b\n",
          "GET / HTTP/1.1\r\nA: \x01",
          "GET / HTTP/1.1\r\nA: b\r\n ",
          "\x16",
          "GET / HTTP/3.0\r\n"}) {
        RequestParser parser;
        (void)parser.feed(bytes.substr(0, bytes.size() - 1));
        EXPECT_EQ(parser.state(), State::kHead) << bytes;
        (void)parser.feed(bytes.substr(bytes.size() - 1));
        EXPECT_EQ(parser.state(), State::kRefused) << bytes;
    }
}

TEST(RequestParser, HeadKeepsFieldsInOrderAsSent) {
    const RequestHead head = head_of(kGet);
    EXPECT_EQ(head.method, "GET");
    EXPECT_EQ(head.target, "/v1/models?x=1");
    EXPECT_EQ(head.path(), "/v1/models");
    EXPECT_EQ(head.query(), "x=1");
    EXPECT_EQ(head.minor_version, 1);
    EXPECT_EQ(head.framing, Framing::kNone);
    ASSERT_EQ(head.fields.size(), 2u);
    EXPECT_EQ((*head.fields.begin()).name, "Host");
    EXPECT_EQ(head.fields.find("a"), "b");
}

TEST(RequestParser, TrailersNeverReachTheHead) {
    RequestParser parser;
    const std::string head =
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n";
    const std::string rest = "1\r\nx\r\n0\r\nAuthorization: Bearer stolen\r\nA: b\r\n\r\n";
    EXPECT_EQ(parser.feed(head + rest), head.size());
    ASSERT_EQ(parser.state(), State::kBody);
    std::string body;
    EXPECT_EQ(parser.feed(rest, &body), rest.size());
    ASSERT_EQ(parser.state(), State::kDone);
    EXPECT_EQ(body, "x");
    EXPECT_EQ(parser.head().fields.size(), 3u);
    EXPECT_FALSE(parser.head().fields.find("authorization"));
}

TEST(RequestParser, TakenHeadLeavesTheBodyReadable) {
    for (const std::string framing : {"Content-Length: 2", "Transfer-Encoding: chunked"}) {
        RequestParser parser;
        const std::string head = "POST / HTTP/1.1\r\nHost: h\r\n" + framing + "\r\n\r\n";
        EXPECT_EQ(parser.feed(head), head.size());
        EXPECT_EQ(parser.take_head().fields.size(), 2u);
        const std::string rest = framing[0] == 'C' ? "hi" : "2\r\nhi\r\n0\r\n\r\n";
        std::string body;
        EXPECT_EQ(parser.feed(rest, &body), rest.size());
        EXPECT_EQ(parser.state(), State::kDone);
        EXPECT_EQ(body, "hi");
    }
}

TEST(RequestParser, DropsBodyBytesWithoutAPlaceForThem) {
    RequestParser parser;
    const std::string bytes = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n";
    EXPECT_EQ(parser.feed(bytes), bytes.size());
    EXPECT_EQ(parser.feed("hiGET"), 2u);
    EXPECT_EQ(parser.state(), State::kDone);
}

TEST(RequestParser, BodyReadOutsideEndsTheRequest) {
    RequestParser parser;
    const std::string bytes = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n";
    EXPECT_EQ(parser.feed(bytes), bytes.size());
    std::string body;
    EXPECT_EQ(parser.feed("he", &body), 2u);
    parser.body_was_read_outside();
    EXPECT_EQ(parser.state(), State::kDone);
    parser.reset();
    EXPECT_EQ(parser.feed(kGet), kGet.size());
    EXPECT_EQ(parser.state(), State::kDone);
}

TEST(RequestParser, StartedTellsACleanCloseFromABrokenOne) {
    RequestParser parser;
    EXPECT_FALSE(parser.started());
    EXPECT_EQ(parser.feed("\r\n"), 2u);
    EXPECT_FALSE(parser.started());
    EXPECT_EQ(parser.feed("G"), 1u);
    EXPECT_TRUE(parser.started());
}

TEST(RequestParser, KeepAliveFollowsVersionAndConnection) {
    const auto keeps = [](const std::string& version, const std::string& connection) {
        return head_of("GET / HTTP/" + version + "\r\nHost: h\r\n" + connection + "\r\n")
            .keep_alive;
    };
    EXPECT_TRUE(keeps("1.1", ""));
    EXPECT_FALSE(keeps("1.1", "Connection: close\r\n"));
    EXPECT_FALSE(keeps("1.1", "Connection: x, CLOSE\r\n"));
    EXPECT_FALSE(keeps("1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
    EXPECT_TRUE(keeps("1.1", "Connection: keep-alive\r\n"));
    EXPECT_TRUE(keeps("1.1", "Connection: not-close\r\n"));
    EXPECT_FALSE(keeps("1.0", ""));
    EXPECT_TRUE(keeps("1.0", "Connection: Keep-Alive\r\n"));
    EXPECT_FALSE(keeps("1.0", "Connection: keep-alive, close\r\n"));
}

TEST(RequestParser, ExpectContinueOnlyWhereABodyComes) {
    const std::string expect = "Expect: 100-continue\r\n";
    const auto head = [](const std::string& version, const std::string& fields) {
        return head_of("POST / HTTP/" + version + "\r\nHost: h\r\n" + fields + "\r\n");
    };
    EXPECT_TRUE(head("1.1", expect + "Content-Length: 1\r\n").expect_continue);
    EXPECT_TRUE(head("1.1", expect + "Transfer-Encoding: chunked\r\n").expect_continue);
    EXPECT_FALSE(head("1.1", expect).expect_continue);
    EXPECT_FALSE(head("1.1", expect + "Content-Length: 0\r\n").expect_continue);
    EXPECT_FALSE(head("1.0", expect + "Content-Length: 1\r\n").expect_continue);
}

TEST(RequestParser, HeadLimitIsExact) {
    const std::string head(kGet);
    for (const bool bytewise : {false, true}) {
        const auto cut = [bytewise] { return bytewise ? byte_by_byte() : whole(); };
        EXPECT_EQ(read_connection(head, cut(), head.size()).requests.size(), 1u);
        EXPECT_EQ(read_connection("\r\n\r\n" + head, cut(), head.size()).requests.size(), 1u);
        EXPECT_EQ(read_connection(head, cut(), head.size() - 1).refused, 431);
        EXPECT_EQ(read_connection(head, cut(), 20).refused, 414);
    }
}

TEST(RequestParser, RefusesAHeadOverTheLimitBeforeItsEnd) {
    RequestParser parser(1000);
    EXPECT_EQ(parser.feed("GET / HTTP/1.1\r\nA: "), 19u);
    (void)parser.feed(std::string(1000 - 19 - 1, 'x'));
    EXPECT_EQ(parser.state(), State::kHead);
    (void)parser.feed("x");
    ASSERT_EQ(parser.state(), State::kRefused);
    EXPECT_EQ(parser.refused().status, 431);
}

TEST(RequestParser, RefusesHttp2AtItsFirstLine) {
    RequestParser parser;
    (void)parser.feed("PRI * HTTP/2.0\r\n");
    ASSERT_EQ(parser.state(), State::kRefused);
    EXPECT_EQ(parser.refused().status, 400);
}

TEST(RequestParser, LargestLengthIsBelowTwoToThe63) {
    const RequestHead head =
        head_of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9223372036854775807\r\n\r\n");
    EXPECT_EQ(head.content_length, 9223372036854775807u);
}

TEST(RequestParser, EndlessExtensionsAreNotKept) {
    RequestParser parser;
    const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    EXPECT_EQ(parser.feed(head), head.size());
    EXPECT_EQ(parser.feed("3;a="), 4u);
    std::size_t fed = 0;
    while (parser.state() == State::kBody && fed < 5000) {
        (void)parser.feed("x");
        ++fed;
    }
    EXPECT_EQ(parser.state(), State::kRefused);
    EXPECT_LE(fed, 1100u);
}

TEST(RequestParser, MovesInTheMiddleOfARequest) {
    RequestParser first;
    EXPECT_EQ(first.feed(kGet.substr(0, 20)), 20u);
    RequestParser second = std::move(first);
    EXPECT_EQ(second.feed(kGet.substr(20)), kGet.size() - 20);
    EXPECT_EQ(second.state(), State::kDone);
    EXPECT_EQ(second.head().fields.find("a"), "b");
}

}  // namespace
}  // namespace weir::http
