// Faults in a plain answer's body. JSON is gathered, so that a broken one is an error with a
// status; what is not gathered is cut.
#include <algorithm>
#include <iterator>

#include "fault_matrix.hpp"

namespace weir::test {

namespace {

constexpr const char* kBroke = "broke off in the middle";
constexpr const char* kGarbled = "cannot be understood";
constexpr const char* kStopped = "stopped in the middle of its answer";

const std::string kJsonHead = "Content-Type: application/json\r\n";
const std::string kAudioHead = "Content-Type: audio/mpeg\r\n";
const std::string kChunked = "Transfer-Encoding: chunked\r\n";

std::string length(std::size_t bytes) {
    return "Content-Length: " + std::to_string(bytes) + "\r\n";
}

Row plain(std::string name, std::string said, Then then, Told told) {
    Tries tries{.word = std::to_string(told.status)};
    if (!told.code.empty()) tries = {"broke-off", 1, true};
    return {
        .name = std::move(name),
        .asked = Asked::kPlain,
        .does = say(std::move(said), then),
        .told = std::move(told),
        .tries = std::move(tries)
    };
}

// A body of which a part goes out before it breaks.
Row cut(std::string name, const std::string& said_head, const std::string& said, Then then) {
    return {
        .name = std::move(name),
        .asked = Asked::kPlain,
        .does = drip({said_head + said, ""}, 30ms, then),
        .told = {.end = End::kCut}
    };
}

std::vector<Row> json_that_breaks() {
    const std::string& json = chat_json();
    const std::string part = json.substr(0, json.size() / 2);
    const std::string sized = head(kJsonHead + length(json.size()));
    const std::string chunked = head(kJsonHead + kChunked);
    return {
        plain("reset between head and body", sized, Then::kReset, failed(kBroke)),
        plain("closed between head and body", sized, Then::kClose, failed(kBroke)),
        plain("reset in the body", sized + part, Then::kReset, failed(kBroke)),
        plain("closed in the body", sized + part, Then::kClose, failed(kBroke)),
        plain("closed before the first chunk", chunked, Then::kClose, failed(kBroke)),
        plain("closed in a chunk", chunked + "fff\r\n" + part, Then::kClose, failed(kBroke)),
        plain(
            "closed behind all of the body and before the last chunk",
            chunked + chunk(json),
            Then::kClose,
            failed(kBroke)
        ),
        plain("reset before the last chunk", chunked + chunk(json), Then::kReset, failed(kBroke)),
        plain(
            "closed in the last chunk",
            chunked + chunk(json) + "0\r\n",
            Then::kClose,
            failed(kBroke)
        ),
        plain(
            "a size of a chunk that is no number",
            chunked + "zz\r\n" + json,
            Then::kStay,
            failed(kGarbled)
        ),
        plain(
            "a size of a chunk that no machine has",
            chunked + "fffffffffffffffff\r\n" + json,
            Then::kStay,
            failed(kGarbled)
        ),
        plain(
            "a chunk longer than its size",
            chunked + "5\r\n" + json + "\r\n" + kLastChunk,
            Then::kStay,
            failed(kGarbled)
        ),
        plain(
            "a length too short",
            head(kJsonHead + length(json.size() - 1)) + json,
            Then::kKeep,
            failed(kGarbled)
        ),
        plain("JSON that ends too early", json_answer(part), Then::kKeep, failed(kGarbled)),
        plain("no JSON at all", json_answer(""), Then::kKeep, failed(kGarbled)),
        plain(
            "HTML that says it is JSON",
            json_answer("<html>busy</html>"),
            Then::kKeep,
            failed(kGarbled)
        ),
        plain(
            "JSON until the end of the connection which is cut",
            head(kJsonHead) + part,
            Then::kClose,
            failed(kGarbled)
        ),
        plain(
            "JSON until the end of the connection which is reset",
            head(kJsonHead) + json,
            Then::kReset,
            failed(kBroke)
        ),
        {.name = "stops in the body",
         .asked = Asked::kPlain,
         .does = say(sized + part, Then::kStay),
         .told = failed(kStopped, 504),
         .timeouts = "idle: 400ms",
         .least = 390ms,
         .tries = {"broke-off", 1, true}},
        {.name = "a body that drips for longer than it may",
         .asked = Asked::kPlain,
         .does = endless(head(kJsonHead + kChunked), chunk(" "), 20ms),
         .told = failed("did not finish its answer in time", 504),
         .timeouts = "idle: 2s, total: 900ms",
         .least = 890ms,
         .tries = {"broke-off"}},
    };
}

std::vector<Row> json_that_is_whole() {
    const std::string& json = chat_json();
    const std::string sized = head(kJsonHead + length(json.size()));
    Row drips{
        .name = "a body that drips",
        .asked = Asked::kPlain,
        .does = drip(each_byte(json), 1ms),
        .told = answered()
    };
    drips.does = [sized, rest = drips.does](Peer& peer) {
        peer.send(sized);
        rest(peer);
    };
    const std::string error = R"({"error":{"message":"of status 200","code":"x"}})";
    Told told_error = bytes(error);
    return {
        std::move(drips),
        plain("reset behind the answer", sized + json, Then::kReset, answered()),
        plain(
            "more than its length",
            sized + json + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            Then::kKeep,
            answered()
        ),
        plain(
            "JSON until the end of the connection", head(kJsonHead) + json, Then::kClose, answered()
        ),
        plain(
            "JSON of HTTP 1.0",
            "HTTP/1.0 200 OK\r\n" + kJsonHead + "\r\n" + json,
            Then::kClose,
            answered()
        ),
        plain(
            "trailers",
            head(kJsonHead + kChunked + "Trailer: x-trailer\r\n") + chunk(json) +
                "0\r\nX-Trailer: 1\r\nRetry-After: 9\r\n\r\n",
            Then::kKeep,
            answered()
        ),
        {.name = "an error of status 200",
         .asked = Asked::kPlain,
         .does = say(json_answer(error)),
         .told = told_error,
         .counted = 0},
        plain(
            "our key in the answer",
            json_answer(
                R"({"you sent":")" + std::string(kUpstreamKey) + "\"}",
                "200 OK",
                "OpenAI-Model: " + std::string(kUpstreamKey) + "\r\n"
            ),
            Then::kKeep,
            bytes(R"({"you sent":")" + std::string(sizeof kUpstreamKey - 1, '*') + "\"}")
        ),
    };
}

std::vector<Row> other_bodies() {
    const std::string& json = chat_json();
    const std::string part(100'000, 'a');
    Told encoded = bytes("\x1f\x8b!");
    encoded.field = {"content-encoding", "gzip"};
    Told html = bytes("<html>busy</html>");
    html.field = {"content-type", "text/html"};
    return {
        plain(
            "HTML",
            head("Content-Type: text/html\r\nContent-Length: 17\r\n") + "<html>busy</html>",
            Then::kKeep,
            html
        ),
        plain(
            "JSON that says it is text",
            head("Content-Type: text/plain\r\n" + length(json.size())) + json,
            Then::kKeep,
            bytes(json)
        ),
        plain(
            "JSON that does not say what it is",
            head(length(json.size())) + json,
            Then::kKeep,
            bytes(json)
        ),
        plain(
            "an encoded answer",
            head(kJsonHead + "Content-Encoding: gzip\r\nContent-Length: 3\r\n") + "\x1f\x8b!",
            Then::kKeep,
            encoded
        ),
        plain("status 204", head("", "204 No Content"), Then::kKeep, passed_on(204, "")),
        plain(
            "status 205",
            head("Content-Length: 0\r\n", "205 Reset Content"),
            Then::kKeep,
            passed_on(205, "")
        ),
        plain("audio", head(kAudioHead + length(part.size())) + part, Then::kKeep, bytes(part)),
        // Nothing of it went out, so that it can still be told with a status.
        {.name = "audio whose first chunk is bad",
         .asked = Asked::kPlain,
         .does = say(head(kAudioHead + kChunked) + "xyz\r\n", Then::kStay),
         .told = failed(kGarbled)},
        cut("audio shorter than its length", head(kAudioHead + length(200'000)), part, Then::kClose
        ),
        cut("audio that is reset", head(kAudioHead + length(200'000)), part, Then::kReset),
        cut("audio without a last chunk", head(kAudioHead + kChunked), chunk(part), Then::kClose),
        cut("audio with a bad chunk",
            head(kAudioHead + kChunked),
            chunk(part) + "zz\r\n",
            Then::kStay),
        cut("audio until the end of the connection, reset", head(kAudioHead), part, Then::kReset),
        cut("JSON too long to be gathered",
            head(kJsonHead + length(3'000'000)),
            std::string(2'000'000, ' '),
            Then::kClose),
        {.name = "audio that stops",
         .asked = Asked::kPlain,
         .does = say(head(kAudioHead + length(200'000)) + part, Then::kStay),
         .told = {.end = End::kCut},
         .timeouts = "idle: 400ms",
         .least = 390ms},
    };
}

}  // namespace

std::vector<Row> rows_of_bodies() {
    std::vector<Row> rows = json_that_breaks();
    std::ranges::move(json_that_is_whole(), std::back_inserter(rows));
    std::ranges::move(other_bodies(), std::back_inserter(rows));
    return rows;
}

}  // namespace weir::test
