#include "weir/http/write.hpp"

#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

#include "weir/http/parser.hpp"

namespace weir::http {
namespace {

using namespace std::string_literals;

TEST(WriteHead, RequestReadsBackAsItWas) {
    Fields fields;
    fields.add("Host", "h");
    fields.add("A", "b c");
    const std::string bytes = write_request_head("GET", "/v1/models?a=b", fields);
    EXPECT_EQ(bytes, "GET /v1/models?a=b HTTP/1.1\r\nHost: h\r\nA: b c\r\n\r\n");
    RequestParser parser;
    EXPECT_EQ(parser.feed(bytes), bytes.size());
    ASSERT_EQ(parser.state(), RequestParser::State::kDone);
    EXPECT_EQ(parser.head().fields.find("a"), "b c");
}

TEST(WriteHead, ResponseReadsBackAsItWas) {
    Fields fields;
    fields.add("content-length", "0");
    EXPECT_EQ(
        write_response_head(0, 429, {&fields}),
        "HTTP/1.0 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"
    );
    const std::string bytes = write_response_head(1, 299, {&fields});
    ResponseParser parser;
    EXPECT_EQ(parser.feed(bytes), bytes.size());
    EXPECT_EQ(parser.state(), ResponseParser::State::kDone);
    EXPECT_EQ(parser.head().status, 299);
}

TEST(WriteHead, FieldsThatCouldSplitTheHeadAreLeftOut) {
    Fields fields;
    fields.add("cr", "a\rb");
    fields.add("lf", "a\nb");
    fields.add("crlf", "a\r\nset-cookie: b");
    fields.add("nul", "a\0b"s);
    fields.add("na\nme", "x");
    fields.add("na:me", "x");
    fields.add("", "x");
    fields.add("kept", "a\tb \xc3\xa9");
    EXPECT_EQ(
        write_response_head(1, 200, {&fields}), "HTTP/1.1 200 OK\r\nkept: a\tb \xc3\xa9\r\n\r\n"
    );
    EXPECT_EQ(
        write_request_head("GET", "/", fields), "GET / HTTP/1.1\r\nkept: a\tb \xc3\xa9\r\n\r\n"
    );
}

TEST(WriteHead, TargetCannotEndTheRequestLine) {
    EXPECT_EQ(
        write_request_head("GET", "/a b\r\nX: y", {}), "GET /a%20b%0D%0AX:%20y HTTP/1.1\r\n\r\n"
    );
    EXPECT_THROW((void)write_request_head("GET /", "/", {}), std::logic_error);
    EXPECT_THROW((void)write_request_head("GET", "", {}), std::logic_error);
}

TEST(WriteChunk, ReadsBackAsItWas) {
    std::string body;
    append_chunk(body, std::string(300, 'a'));
    append_chunk(body, "b");
    body += kLastChunk;
    EXPECT_EQ(chunk_head(300), "12c\r\n");
    ResponseParser parser;
    (void)parser.feed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    std::string read;
    EXPECT_EQ(parser.feed(body, &read), body.size());
    EXPECT_EQ(parser.state(), ResponseParser::State::kDone);
    EXPECT_EQ(read, std::string(300, 'a') + "b");
}

TEST(HttpDate, HasTheFixedLengthForm) {
    const std::string_view date = http_date();
    ASSERT_EQ(date.size(), 29u) << date;
    EXPECT_EQ(date.substr(3, 2), ", ");
    EXPECT_EQ(date.substr(25), " GMT");
    EXPECT_EQ(date[19], ':');
    EXPECT_EQ(date[22], ':');
}

}  // namespace
}  // namespace weir::http
