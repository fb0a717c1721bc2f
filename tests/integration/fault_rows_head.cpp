// Faults in the head of an answer. Nothing of it can have reached the client yet.
#include "fault_matrix.hpp"

namespace weir::test {

namespace {

constexpr const char* kGarbled = "cannot be understood";
constexpr const char* kNoAnswer = "closed the connection before it answered";
constexpr const char* kLate = "did not begin to answer in time";

Row broken(std::string name, std::string said) {
    return {
        .name = std::move(name),
        .does = say(std::move(said), Then::kClose),
        .told = failed(kGarbled),
        .tries = {"protocol", 1, true}
    };
}

std::string fields(int count, std::size_t bytes) {
    std::string all = "Content-Length: 2\r\n";
    for (int i = 0; i < count; ++i) {
        all += "X-" + std::to_string(i) + ": " + std::string(bytes, 'a') + "\r\n";
    }
    return all;
}

}  // namespace

std::vector<Row> rows_of_heads() {
    const std::string interim = "HTTP/1.1 102 Processing\r\n\r\n";
    const std::string early = "HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n";
    return {
        {.name = "reset in the status line",
         .does = say("HTTP/1.1 2", Then::kReset),
         .told = failed(kNoAnswer),
         .tries = {"closed", 1, true}},
        {.name = "closed in the status line",
         .does = say("HTTP/1.1 2", Then::kClose),
         .told = failed(kNoAnswer),
         .tries = {"closed", 1, true}},
        {.name = "reset in the head",
         .does = say("HTTP/1.1 200 OK\r\nContent-T", Then::kReset),
         .told = failed(kNoAnswer),
         .tries = {"closed", 1, true}},
        {.name = "closed in the head",
         .does = say("HTTP/1.1 200 OK\r\nContent-T", Then::kClose),
         .told = failed(kNoAnswer),
         .tries = {"closed", 1, true}},
        {.name = "a head that drips",
         .does = endless("HTTP/1.1 200 OK\r\nX: ", "x", 20ms),
         .told = failed(kLate, 504),
         .timeouts = "first_byte: 500ms",
         .least = 490ms,
         .tries = {"timeout", 1, true}},
        {.name = "a head that drips and comes whole",
         .asked = Asked::kPlain,
         .does = drip(each_byte(json_answer(chat_json())), 1ms),
         .told = answered()},
        broken("a huge head", head(fields(60, 8000)) + "{}"),
        {.name = "a line of the head that does not end",
         .does = endless("HTTP/1.1 200 OK\r\nX: ", std::string(8000, 'a')),
         .told = failed(kGarbled),
         .tries = {"protocol", 1, true}},
        broken("too many fields", head(fields(101, 1)) + "{}"),
        broken("a field without its colon", head("Content-Length 2\r\n") + "{}"),
        broken("a length that is no number", head("Content-Length: two\r\n") + "{}"),
        broken("a length below zero", head("Content-Length: -2\r\n") + "{}"),
        broken("two lengths", head("Content-Length: 2\r\nContent-Length: 3\r\n") + "{} "),
        broken(
            "both framings",
            head("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n") + chunk("{}") + kLastChunk
        ),
        broken(
            "a transfer coding that nobody knows",
            head("Transfer-Encoding: gzip, chunked\r\n") + chunk("{}") + kLastChunk
        ),
        broken("garbage", "\x16\x03\x01 what?\r\n\r\n"),
        broken("HTTP 0.9", "<html>It works!</html>\r\n\r\n"),
        broken("the preface of HTTP 2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        broken(
            "a settings frame of HTTP 2", std::string("\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64", 15)
        ),
        broken("HTTP 2 in the status line", "HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        broken("a status of two digits", head("Content-Length: 2\r\n", "20 OK") + "{}"),
        broken("a status that there is not", head("Content-Length: 2\r\n", "999 What") + "{}"),
        {.name = "interim answers for ever",
         .does = endless(interim, interim),
         .told = failed(kGarbled),
         .tries = {"protocol", 1, true}},
        broken(
            "an interim answer that claims a body",
            head("Content-Length: 2\r\n", "102 Processing") + "{}"
        ),
        broken(
            "another protocol that nobody asked for",
            head("Upgrade: websocket\r\nConnection: upgrade\r\n", "101 Switching")
        ),
        {.name = "an interim answer and then nothing",
         .does = say(interim, Then::kStay),
         .told = failed(kLate, 504),
         .timeouts = "first_byte: 500ms",
         .least = 490ms,
         .tries = {"timeout", 1, true}},
        {.name = "interim answers and then the answer",
         .asked = Asked::kPlain,
         .does = say("HTTP/1.1 100 Continue\r\n\r\n" + interim + early + json_answer(chat_json())),
         .told = answered()},
        {.name = "interim answers and then a stream",
         .asked = Asked::kStreamed,
         .does = say("HTTP/1.1 100 Continue\r\n\r\n" + early + whole() + kLastChunk),
         .told = answered()},
    };
}

}  // namespace weir::test
