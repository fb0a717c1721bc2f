// Faults in a stream. What came whole is relayed; what broke off ends with an error event and no
// terminal.
#include <algorithm>
#include <iterator>

#include "fault_matrix.hpp"

namespace weir::test {

namespace {

constexpr const char* kBroke = "broke off in the middle";
constexpr const char* kGarbled = "cannot be understood";

const std::string kErrorData =
    R"({"error":{"message":"overloaded","type":"server_error","code":null}})";

Row streamed(std::string name, std::string said, Then then, Told told) {
    const bool unheard = told.end == End::kWhole && !told.code.empty();
    return {
        .name = std::move(name),
        .asked = Asked::kStreamed,
        .does = say(std::move(said), then),
        .told = std::move(told),
        .tries = unheard ? Tries{"broke-off", 1, true} : Tries{}
    };
}

Told late(std::string says, std::string text) {
    Told told = broke_off(std::move(says), std::move(text));
    told.code = "upstream_timeout";
    return told;
}

// Whatever it says, no more than it said: an upstream's own error, which costs nothing.
Row telling(std::string name, const std::string& events, std::string text) {
    Told told = answered(std::move(text));
    told.says = "overloaded";
    Row row = streamed(std::move(name), stream_head() + events + kLastChunk, Then::kKeep, told);
    row.counted = 0;
    return row;
}

std::vector<Row> streams_that_break() {
    const std::string piece = event(chat_chunk("lost"));
    const std::string in_event = piece.substr(0, piece.size() / 2);
    const std::string finish = event(chat_chunk("", "stop"));
    const std::string plain_head = head("Content-Type: text/event-stream\r\n");
    const std::string bare = "data: " + chat_chunk("half ") + "\n\n";
    return {
        {.name = "reset before the first event",
         .asked = Asked::kStreamed,
         .does = drip({stream_head(), ""}, 40ms, Then::kReset),
         .told = failed(kBroke),
         .tries = {"broke-off", 1, true}},
        {.name = "closed before the first event",
         .asked = Asked::kStreamed,
         .does = drip({stream_head(), ""}, 40ms, Then::kClose),
         .told = failed(kBroke),
         .tries = {"broke-off", 1, true}},
        streamed("reset in an event", half() + in_event, Then::kReset, broke_off(kBroke)),
        streamed("closed in an event", half() + in_event, Then::kClose, broke_off(kBroke)),
        streamed("reset between events", half(), Then::kReset, broke_off(kBroke)),
        streamed("closed between events", half(), Then::kClose, broke_off(kBroke)),
        streamed("reset behind the finish", half() + finish, Then::kReset, broke_off(kBroke)),
        streamed("ends between events", half() + kLastChunk, Then::kKeep, broke_off(kBroke)),
        streamed(
            "ends in an event",
            half() + chunk("data: {\"choices\":[{") + kLastChunk,
            Then::kKeep,
            broke_off(kBroke)
        ),
        streamed("a stream with a bad chunk", half() + "zz\r\n", Then::kStay, broke_off(kGarbled)),
        streamed(
            "a stream until the end of the connection, cut",
            plain_head + bare,
            Then::kClose,
            broke_off(kBroke)
        ),
        streamed(
            "a stream shorter than its length",
            head("Content-Type: text/event-stream\r\nContent-Length: 9999\r\n") + bare,
            Then::kClose,
            broke_off(kBroke)
        ),
        streamed("no event at all", stream_head() + kLastChunk, Then::kKeep, failed(kBroke)),
        streamed(
            "HTML that says it is a stream",
            stream_head() + chunk("<html>busy</html>") + kLastChunk,
            Then::kKeep,
            failed(kBroke)
        ),
        {.name = "no first event",
         .asked = Asked::kStreamed,
         .does = say(stream_head(), Then::kStay),
         .told = failed("stopped in the middle", 504),
         // Far less than a head waits for its first event.
         .timeouts = "idle: 200ms",
         .least = 190ms,
         .tries = {"broke-off", 1, true}},
        // Nobody waits longer for a head than that.
        {.name = "no first event in a second",
         .asked = Asked::kStreamed,
         .does = drip({stream_head(), ""}, 1300ms, Then::kReset),
         .told = broke_off(kBroke, ""),
         .least = 1000ms},
        {.name = "stops between events",
         .asked = Asked::kStreamed,
         .does = say(half(), Then::kStay),
         .told = late("stopped in the middle", "half "),
         .timeouts = "idle: 400ms",
         .least = 390ms},
        {.name = "comments for ever",
         .asked = Asked::kStreamed,
         .does = endless(half(), chunk(": still here\n\n"), 20ms),
         .told = late("did not finish its answer in time", "half "),
         .timeouts = "idle: 2s, total: 900ms",
         .least = 890ms},
        // A plain request gets it gathered, so that it can be told with a status.
        {.name = "a stream nobody asked for, reset",
         .asked = Asked::kPlain,
         .does = say(half(), Then::kReset),
         .told = failed(kBroke)},
    };
}

std::vector<Row> streams_that_are_whole() {
    const std::string no_done = half() + event(chat_chunk("", "stop")) + kLastChunk;
    std::string bare;
    for (const std::string& data :
         {chat_chunk("an "), chat_chunk("answer", "stop"), std::string("[DONE]")}) {
        bare += "data: " + data + "\n\n";
    }
    Told encoded = bytes("\x1f\x8b!");
    encoded.field = {"content-encoding", "gzip"};
    return {
        streamed("no [DONE]", no_done, Then::kKeep, answered("half ")),
        streamed("reset behind the terminal", whole(), Then::kReset, answered()),
        streamed("closed behind the terminal", whole(), Then::kClose, answered()),
        streamed(
            "goes on behind the terminal",
            whole() + event(chat_chunk("more")) + kLastChunk,
            Then::kKeep,
            answered("an answermore")
        ),
        streamed(
            "a stream until the end of the connection",
            head("Content-Type: text/event-stream\r\n") + bare,
            Then::kClose,
            answered()
        ),
        streamed(
            "a stream of a length",
            head(
                "Content-Type: text/event-stream\r\nContent-Length: " +
                std::to_string(bare.size()) + "\r\n"
            ) + bare,
            Then::kKeep,
            answered()
        ),
        streamed(
            "a stream with trailers", whole() + "0\r\nX-Trailer: 1\r\n\r\n", Then::kKeep, answered()
        ),
        streamed(
            "an encoded stream",
            head(
                "Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n"
            ) + "\x1f\x8b!",
            Then::kKeep,
            encoded
        ),
        streamed(
            "a plain answer to who asked for a stream",
            json_answer(chat_json()),
            Then::kKeep,
            answered()
        ),
        streamed(
            "a chunk that is no JSON",
            stream_head() + event("{\"choices\":") + event(chat_chunk("an answer", "stop")) +
                event("[DONE]") + kLastChunk,
            Then::kKeep,
            answered()
        ),
        streamed(
            "our key in a stream",
            stream_head() + event(chat_chunk("sent " + std::string(kUpstreamKey), "stop")) +
                event("[DONE]") + kLastChunk,
            Then::kKeep,
            answered("sent " + std::string(sizeof kUpstreamKey - 1, '*'))
        ),
        {.name = "a stream that drips",
         .asked = Asked::kStreamed,
         .does = drip(each_byte(whole() + kLastChunk), 0ms),
         .told = answered()},
        {.name = "a stream nobody asked for",
         .asked = Asked::kPlain,
         .does = say(whole() + kLastChunk),
         .told = answered()},
        telling("an error event", event(chat_chunk("half ")) + event(kErrorData), "half "),
        telling("an error as the first event", event(kErrorData), ""),
        telling(
            "an error by its event's name",
            event(chat_chunk("half ")) +
                chunk("event: error\ndata: {\"message\":\"overloaded\"}\n\n"),
            "half "
        ),
    };
}

}  // namespace

std::vector<Row> rows_of_streams() {
    std::vector<Row> rows = streams_that_break();
    std::ranges::move(streams_that_are_whole(), std::back_inserter(rows));
    return rows;
}

}  // namespace weir::test
