#include "http/request_corpus.hpp"

#include <string_view>

namespace weir::http::test {

namespace {

using namespace std::string_literals;

// What a smuggler hopes to have run.
const std::string kHidden = "GET /v1/hidden HTTP/1.1\r\nHost: h\r\n\r\n";

std::string get(const std::string& fields) {
    return "GET /v1/models HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n";
}
std::string post(const std::string& fields, const std::string& body) {
    return "POST /v1/x HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n" + body;
}
std::string chunked(const std::string& body) {
    return post("Transfer-Encoding: chunked\r\n", body);
}
std::string line(const std::string& request_line) {
    return request_line + "\r\nHost: h\r\n\r\n";
}

struct Corpus {
    std::vector<RequestCase> cases;

    void good(std::string name, std::string bytes, std::string body = {}, std::size_t count = 1) {
        cases.push_back({std::move(name), std::move(bytes), 0, count, std::move(body)});
    }
    // Followed by a request that must not run.
    void bad(int status, std::string name, std::string bytes) {
        cases.push_back({std::move(name), std::move(bytes) + kHidden, status, 0, {}});
    }
};

void add_request_lines(Corpus& c) {
    c.good("plain GET", line("GET /v1/models HTTP/1.1"));
    c.good("HTTP/1.0", line("GET / HTTP/1.0"));
    c.good("HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n");
    c.good("query", line("GET /v1/models?a=b&c=%20 HTTP/1.1"));
    c.good("empty query", line("GET /? HTTP/1.1"));
    c.good("two slashes", line("GET //v1 HTTP/1.1"));
    for (const char* method : {"HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"}) {
        c.good("method "s + method, line(method + " /v1/x HTTP/1.1"s));
    }
    c.good("one empty line before", "\r\n" + line("GET / HTTP/1.1"));
    c.good("two empty lines before", "\r\n\r\n" + line("GET / HTTP/1.1"));
    c.bad(400, "three empty lines before", "\r\n\r\n\r\n" + line("GET / HTTP/1.1"));
    c.bad(400, "LF before", "\n" + line("GET / HTTP/1.1"));
    c.bad(400, "space before", " " + line("GET / HTTP/1.1"));
    c.bad(400, "tab before", "\t" + line("GET / HTTP/1.1"));
    c.bad(400, "no version", line("GET /"));
    c.bad(400, "no target", line("GET HTTP/1.1"));
    c.bad(400, "empty target", line("GET  HTTP/1.1"));
    c.bad(400, "no method", line("/ HTTP/1.1"));
    c.bad(400, "one word", line("GET"));
    c.bad(400, "two spaces behind the method", line("GET  / HTTP/1.1"));
    c.bad(400, "two spaces before the version", line("GET /  HTTP/1.1"));
    c.bad(400, "space in the target", line("GET /a b HTTP/1.1"));
    c.bad(400, "space behind the version", line("GET / HTTP/1.1 "));
    c.bad(400, "tab between", line("GET\t/\tHTTP/1.1"));
    c.bad(400, "word behind the version", line("GET / HTTP/1.1 x"));
    c.bad(400, "lower-case version", line("GET / http/1.1"));
    c.bad(400, "version with two digits", line("GET / HTTP/1.10"));
    c.bad(400, "version without minor", line("GET / HTTP/1"));
    c.bad(400, "version with comma", line("GET / HTTP/1,1"));
    c.bad(400, "other protocol", line("GET / ICY/1.1"));
    c.bad(400, "version of letters", line("GET / HTTP/x.y"));
    c.bad(400, "HTTP/2.0", line("GET / HTTP/2.0"));
    c.bad(400, "HTTP/1.2", line("GET / HTTP/1.2"));
    c.bad(400, "HTTP/0.9", line("GET / HTTP/0.9"));
    c.bad(400, "HTTP/9.9", line("GET / HTTP/9.9"));
    c.bad(400, "HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    c.bad(405, "TRACE", line("TRACE / HTTP/1.1"));
    c.bad(405, "CONNECT", line("CONNECT example.org:443 HTTP/1.1"));
    c.bad(405, "unknown method", line("BREW /pot HTTP/1.1"));
    c.bad(405, "lower-case method", line("get / HTTP/1.1"));
    c.bad(405, "mixed-case method", line("Post / HTTP/1.1"));
    c.bad(405, "WebDAV", line("PROPFIND / HTTP/1.1"));
    c.bad(405, "prefix of a method", line("GE / HTTP/1.1"));
    c.bad(405, "longer than a method", line("GETX / HTTP/1.1"));
    c.bad(400, "method with a colon", line("GET: / HTTP/1.1"));
    c.bad(400, "method in quotes", line("\"GET\" / HTTP/1.1"));
    c.bad(400, "method with NUL", line("GE\0T / HTTP/1.1"s));
    c.bad(400, "method with high bytes", line("G\xc3\x89T / HTTP/1.1"));
    c.bad(400, "TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01"s);
    c.bad(400, "absolute form", line("GET http://h/v1/models HTTP/1.1"));
    c.bad(400, "absolute form https", line("GET https://other/v1/models HTTP/1.1"));
    c.bad(400, "authority form", line("GET example.org:80 HTTP/1.1"));
    c.bad(400, "asterisk form", line("OPTIONS * HTTP/1.1"));
    c.bad(400, "asterisk with GET", line("GET * HTTP/1.1"));
    c.bad(400, "relative target", line("GET v1/models HTTP/1.1"));
    c.bad(400, "target is a query", line("GET ?a=b HTTP/1.1"));
    c.bad(400, "fragment", line("GET /v1#x HTTP/1.1"));
    c.bad(400, "NUL in the target", line("GET /v1\0/x HTTP/1.1"s));
    c.bad(400, "DEL in the target", line("GET /v1\x7f HTTP/1.1"));
    c.bad(400, "raw UTF-8 in the target", line("GET /v1/\xe4\xbd\xa0 HTTP/1.1"));
    c.bad(400, "tab in the target", line("GET /v1\t HTTP/1.1"));
    c.bad(400, "form feed in the target", line("GET /v1\f HTTP/1.1"));
    c.bad(400, "LF ends the request line", "GET / HTTP/1.1\nHost: h\r\n\r\n");
    c.bad(400, "CR ends the request line", "GET / HTTP/1.1\rHost: h\r\n\r\n");
    c.bad(400, "CR CR LF", "GET / HTTP/1.1\r\r\nHost: h\r\n\r\n");
}

void add_fields(Corpus& c) {
    c.good("no blank behind the colon", get("A:b\r\n"));
    c.good("blanks around the value", get("A: \t b \t\r\n"));
    c.good("empty value", get("A:\r\n"));
    c.good("high bytes in a value", get("A: \xc3\xa9\r\n"));
    c.good("tab in a value", get("A: b\tc\r\n"));
    c.good("all token marks in a name", get("!#$%&'*+-.^_`|~1aZ: b\r\n"));
    c.good("underscore name", get("Content_Length: 5\r\n"));
    c.good("one hundred fields", [] {
        std::string fields;
        for (int i = 0; i < 99; ++i) fields += "A" + std::to_string(i) + ": b\r\n";
        return get(fields);
    }());
    c.bad(431, "over one hundred fields", [] {
        std::string fields;
        for (int i = 0; i < 100; ++i) fields += "A" + std::to_string(i) + ": b\r\n";
        return get(fields);
    }());
    c.bad(400, "space before the colon", get("A : b\r\n"));
    c.bad(400, "tab before the colon", get("A\t: b\r\n"));
    c.bad(400, "space in a name", get("A b: c\r\n"));
    c.bad(400, "no colon", get("Abc\r\n"));
    c.bad(400, "empty name", get(": b\r\n"));
    c.bad(400, "name with NUL", get("A\0b: c\r\n"s));
    c.bad(400, "name with a slash", get("A/b: c\r\n"));
    c.bad(400, "name with high bytes", get("\xc3\xa9: c\r\n"));
    c.bad(400, "name in brackets", get("[A]: c\r\n"));
    c.bad(400, "folded line", get("A: b\r\n c\r\n"));
    c.bad(400, "folded with tab", get("A: b\r\n\tc\r\n"));
    c.bad(400, "folded empty value", get("A:\r\n b\r\n"));
    c.bad(400, "folded Transfer-Encoding", get("Transfer-Encoding:\r\n chunked\r\n"));
    c.bad(400, "first line folded", "GET / HTTP/1.1\r\n Host: h\r\n\r\n");
    c.bad(400, "line of blanks", get(" \r\n"));
    c.bad(400, "NUL in a value", get("A: b\0c\r\n"s));
    c.bad(400, "CR in a value", get("A: b\rc\r\n"));
    c.bad(400, "LF in a value", get("A: b\nX: c\r\n"));
    c.bad(400, "vertical tab in a value", get("A: b\vc\r\n"));
    c.bad(400, "escape in a value", get("A: \x1b[2J\r\n"));
    c.bad(400, "DEL in a value", get("A: \x7f\r\n"));
    c.bad(400, "LF ends a line", get("A: b\n"));
    c.bad(400, "LF ends the head", "GET / HTTP/1.1\r\nHost: h\r\n\n");
    c.bad(400, "LF only", "GET / HTTP/1.1\nHost: h\n\n");
    c.bad(400, "CR ends the head", "GET / HTTP/1.1\r\nHost: h\r\n\rX");
    c.bad(400, "two Authorization", get("Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"));
    c.bad(
        400, "two Authorization, one empty", get("Authorization: Bearer a\r\nauthorization:\r\n")
    );
    c.bad(400, "two x-api-key", get("X-Api-Key: a\r\nx-api-key: b\r\n"));
    c.bad(400, "malformed Connection", get("Connection: close;,=\r\n"));
}

void add_hosts(Corpus& c) {
    const auto with = [](const std::string& hosts) {
        return "GET / HTTP/1.1\r\n" + hosts + "\r\n";
    };
    c.good("Host with port", with("Host: example.org:8080\r\n"));
    c.good("Host is IPv4", with("Host: 127.0.0.1\r\n"));
    c.good("Host is IPv6", with("Host: [::1]:8080\r\n"));
    c.good("Host with underscore", with("hOsT: my_gateway\r\n"));
    c.bad(400, "no Host", with(""));
    c.bad(400, "empty Host", with("Host:\r\n"));
    c.bad(400, "two Hosts", with("Host: a\r\nHost: b\r\n"));
    c.bad(400, "two equal Hosts", with("Host: a\r\nHost: a\r\n"));
    c.bad(400, "two Hosts in 1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n");
    c.bad(400, "Host with a path", with("Host: a/b\r\n"));
    c.bad(400, "Host with a user", with("Host: u@a\r\n"));
    c.bad(400, "Host is a list", with("Host: a, b\r\n"));
    c.bad(400, "Host with a space", with("Host: a b\r\n"));
    c.bad(400, "Host with a bad port", with("Host: a:b\r\n"));
    c.bad(400, "Host with two ports", with("Host: a:1:2\r\n"));
    c.bad(400, "Host with a long port", with("Host: a:123456\r\n"));
    c.bad(400, "Host is only a port", with("Host: :80\r\n"));
    c.bad(400, "Host with open bracket", with("Host: [::1\r\n"));
    c.bad(400, "Host with text behind the bracket", with("Host: [::1]x\r\n"));
    c.bad(400, "Host with a query", with("Host: a?b\r\n"));
    c.bad(400, "Host with high bytes", with("Host: \xc3\xa9\r\n"));
}

void add_lengths(Corpus& c) {
    const auto length = [](const std::string& value) {
        return post("Content-Length: " + value + "\r\n", "hello");
    };
    c.good("length", length("5"), "hello");
    c.good("length zero", post("Content-Length: 0\r\n", ""));
    c.good("length with zeros before", length("005"), "hello");
    c.good("length in 1.0", "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", "hi");
    c.good("length with GET", get("Content-Length: 2\r\n") + "hi", "hi");
    c.good("pipelined", length("5") + kHidden + length("5"), "hello", 3);
    c.good("POST without a body, then another", post("", "") + kHidden, "", 2);
    c.good("empty line between", post("Content-Length: 2\r\n", "hi") + "\r\n" + kHidden, "hi", 2);
    for (const char* value :
         {"",
          "+5",
          "-5",
          "5 5",
          "5,5",
          "5, 5",
          "5,",
          ",5",
          "5;",
          "0x5",
          "5.0",
          "5e0",
          "five",
          "5_0",
          "\"5\"",
          "\xef\xbc\x95",
          "9223372036854775808",
          "18446744073709551616",
          "18446744073709551621",
          "99999999999999999999999999",
          "00000000000000000005",
          "5\t5"}) {
        c.bad(400, "length '"s + value + "'", length(value));
    }
    c.bad(400, "two equal lengths", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"));
    c.bad(400, "two lengths", post("Content-Length: 5\r\nContent-Length: 0\r\n", "hello"));
    c.bad(
        400, "two lengths, other case", post("Content-Length: 0\r\ncontent-length: 5\r\n", "hello")
    );
    c.bad(
        400,
        "length and chunked",
        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")
    );
    c.bad(
        400,
        "chunked and length",
        post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")
    );
    c.bad(
        400,
        "length and unknown coding",
        post("Content-Length: 5\r\nTransfer-Encoding: x\r\n", "hello")
    );
    c.bad(
        400,
        "length zero and chunked",
        post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "0\r\n\r\n")
    );
    c.bad(400, "length, space before colon", post("Content-Length : 5\r\n", "hello"));
    // The bytes behind are whatever comes; only 2 of them belong to this request.
    c.cases.push_back(
        {"more than the length", post("Content-Length: 2\r\n", "hi!\r\n"), 400, 1, "hi"}
    );
}

void add_codings(Corpus& c) {
    const auto coding = [](const std::string& value) {
        return post("Transfer-Encoding: " + value + "\r\n", "0\r\n\r\n");
    };
    c.good("chunked", coding("chunked"));
    c.good("chunked in other case", coding("cHUNked"));
    c.good("chunked with blanks", coding(" \tchunked\t "));
    for (const char* value :
         {"",
          "identity",
          "gzip",
          "chunked, gzip",
          "gzip, chunked",
          "chunked, identity",
          "identity, chunked",
          "xchunked",
          "chunkedx",
          "chunked,",
          ",chunked",
          "chunked;q=1",
          "chunked, chunked",
          "\"chunked\"",
          "chunk",
          "chunked chunked",
          "x, chunked",
          "'chunked'",
          "chunked\xa0",
          "cow"}) {
        c.bad(400, "coding '"s + value + "'", coding(value));
    }
    c.bad(400, "coding behind vertical tab", coding("\vchunked"));
    c.bad(
        400,
        "two codings",
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")
    );
    c.bad(
        400,
        "chunked then identity",
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n")
    );
    c.bad(
        400,
        "identity then chunked",
        post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")
    );
    c.bad(400, "coding in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    c.bad(
        400,
        "coding with keep-alive in 1.0",
        "POST / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n"
    );
    c.bad(400, "coding, space before colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"));
    c.bad(400, "coding, tab in the name", post("Transfer-\tEncoding: chunked\r\n", "0\r\n\r\n"));
}

void add_chunks(Corpus& c) {
    c.good("two chunks", chunked("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "abcde");
    c.good(
        "large hex",
        chunked("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"),
        "01234567890123456789"
    );
    c.good("zeros before the size", chunked("0003\r\nabc\r\n000\r\n\r\n"), "abc");
    c.good("extensions", chunked("3;a=b;c;d=\"e f\\\"\"\r\nabc\r\n0;x\r\n\r\n"), "abc");
    c.good("trailers", chunked("3\r\nabc\r\n0\r\nA: b\r\nC:\r\n\r\n"), "abc");
    c.good(
        "framing in trailers",
        chunked("0\r\nContent-Length: 9\r\nTransfer-Encoding: gzip\r\nHost: x\r\n\r\n") + kHidden,
        "",
        2
    );
    c.good(
        "credentials in trailers",
        chunked("0\r\nAuthorization: Bearer a\r\nAuthorization: b\r\n\r\n")
    );
    c.good("CRLF in data", chunked("4\r\n\r\n\r\n\r\n0\r\n\r\n"), "\r\n\r\n");
    c.good("chunked, then another", chunked("1\r\na\r\n0\r\n\r\n") + kHidden, "a", 2);
    const auto bad = [&c](const char* name, const std::string& body) {
        c.bad(400, name, chunked(body));
    };
    bad("chunk size empty", "\r\nabc\r\n0\r\n\r\n");
    bad("chunk size not hex", "g\r\nabc\r\n0\r\n\r\n");
    bad("chunk size 0x", "0x3\r\nabc\r\n0\r\n\r\n");
    bad("chunk size signed", "+3\r\nabc\r\n0\r\n\r\n");
    bad("chunk size negative", "-3\r\nabc\r\n0\r\n\r\n");
    bad("chunk size behind a space", " 3\r\nabc\r\n0\r\n\r\n");
    bad("chunk size before a space", "3 \r\nabc\r\n0\r\n\r\n");
    bad("chunk size before a tab", "3\t\r\nabc\r\n0\r\n\r\n");
    bad("chunk size with underscore", "1_0\r\nabc\r\n0\r\n\r\n");
    bad("chunk size over 64 bits", "10000000000000003\r\nabc\r\n0\r\n\r\n");
    bad("chunk size of 2^64-1", "ffffffffffffffff\r\nabc\r\n0\r\n\r\n");
    bad("chunk size of 2^63", "8000000000000000\r\nabc\r\n0\r\n\r\n");
    bad("chunk size with many zeros", "00000000000000003\r\nabc\r\n0\r\n\r\n");
    bad("chunk sizes over 2^63 together", "1\r\na\r\n7fffffffffffffff\r\nabc");
    bad("chunk too short", "4\r\nabc\r\n0\r\n\r\n");
    bad("chunk too long", "2\r\nabc\r\n0\r\n\r\n");
    bad("no line end behind a chunk", "3\r\nabc0\r\n\r\n");
    bad("LF behind a chunk", "3\r\nabc\n0\r\n\r\n");
    bad("CR behind a chunk", "3\r\nabc\r0\r\n\r\n");
    bad("two line ends behind a chunk", "3\r\nabc\r\n\r\n0\r\n\r\n");
    bad("LF behind the size", "3\nabc\r\n0\r\n\r\n");
    bad("CR behind the size", "3\rabc\r\n0\r\n\r\n");
    bad("extension without a name", "3;\r\nabc\r\n0\r\n\r\n");
    bad("extension with bare text", "3 x\r\nabc\r\n0\r\n\r\n");
    bad("extension with LF", "3;a\nb\r\nabc\r\n0\r\n\r\n");
    bad("extension with LF in quotes", "3;a=\"\n\"\r\nabc\r\n0\r\n\r\n");
    bad("extension with NUL in quotes", "3;a=\"\0\"\r\nabc\r\n0\r\n\r\n"s);
    bad("extension with CR", "3;a\rb\r\nabc\r\n0\r\n\r\n");
    bad("extension with open quotes", "3;a=\"b\r\nabc\r\n0\r\n\r\n");
    bad("extension too long", "3;a=" + std::string(2000, 'b') + "\r\nabc\r\n0\r\n\r\n");
    bad("extension of the last chunk malformed", "0;=\r\n\r\n");
    bad("LF behind the last chunk", "0\n\r\n");
    bad("trailer without colon", "0\r\nabc\r\n\r\n");
    bad("trailer with a space in its name", "0\r\na b: c\r\n\r\n");
    bad("trailer without a name", "0\r\n: c\r\n\r\n");
    bad("trailer folded", "0\r\na: b\r\n c\r\n\r\n");
    bad("trailer with NUL", "0\r\na: \0\r\n\r\n"s);
    bad("trailer ends with LF", "0\r\na: b\n\r\n");
    bad("trailer with CR", "0\r\na: b\rc\r\n\r\n");
    bad("LF ends the trailers", "0\r\na: b\r\n\n");
    bad("CR and text end the trailers", "0\r\n\rX");
    c.bad(431, "trailers too large", chunked("0\r\na: " + std::string(9000, 'b') + "\r\n\r\n"));
    c.bad(431, "trailers endless", [] {
        std::string trailers = "0\r\n";
        for (int i = 0; i < 3000; ++i) trailers += "a: b\r\n";
        return chunked(trailers);
    }());
    // A chunked body that pretends to end, with a request inside of the real one.
    c.good(
        "request inside of a chunk",
        chunked("24\r\n" + kHidden.substr(0, 36) + "\r\n0\r\n\r\n"),
        kHidden.substr(0, 36)
    );
}

void add_connections(Corpus& c) {
    c.good("Connection: close", get("Connection: close\r\n"));
    c.good("Connection is a list", get("Connection: keep-alive, x-foo\r\n"));
    c.good("Upgrade is not taken", get("Connection: Upgrade\r\nUpgrade: h2c\r\n"));
    c.good("100-continue", post("Content-Length: 2\r\nExpect: 100-continue\r\n", "hi"), "hi");
    c.good(
        "100-continue in other case",
        post("Content-Length: 2\r\nexpect: 100-Continue\r\n", "hi"),
        "hi"
    );
    c.bad(417, "other expectation", post("Content-Length: 2\r\nExpect: 200-ok\r\n", "hi"));
    c.bad(417, "empty expectation", get("Expect:\r\n"));
    c.bad(417, "two expectations", get("Expect: 100-continue, x\r\n"));
    c.bad(431, "head over the limit", get("A: " + std::string(70'000, 'b') + "\r\n"));
    c.bad(
        414, "request line over the limit", line("GET /" + std::string(70'000, 'b') + " HTTP/1.1")
    );
}

}  // namespace

std::vector<RequestCase> request_corpus() {
    Corpus corpus;
    add_request_lines(corpus);
    add_fields(corpus);
    add_hosts(corpus);
    add_lengths(corpus);
    add_codings(corpus);
    add_chunks(corpus);
    add_connections(corpus);
    return corpus.cases;
}

}  // namespace weir::http::test
