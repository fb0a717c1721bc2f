// Faults before a byte of the answer: reaching the upstream, and giving it the request.
#include "fault_matrix.hpp"

namespace weir::test {

namespace {

constexpr const char* kUnreachable = "connecting to it failed";
constexpr const char* kTooLong = "connecting to it took too long";
constexpr const char* kHandshake = "TLS handshake with it failed";
constexpr const char* kNoAnswer = "closed the connection before it answered";
// More than two sockets hold.
constexpr std::size_t kLong = 6 << 20;

void wait(Peer& peer) {
    peer.wait_for_close();
}
// Of a handshake, the client's first word alone.
Script hello(std::string said, Then then) {
    return [say_it = say(std::move(said), then)](Peer& peer) {
        peer.read_some();
        say_it(peer);
    };
}
Script in_the_request(Then then) {
    return [then](Peer& peer) {
        if (peer.read_head() && peer.read_body(64 << 10)) say("", then)(peer);
    };
}

}  // namespace

std::vector<Row> rows_of_connecting() {
    return {
        {.name = "refused",
         .place = Place::kRefused,
         .told = failed(kUnreachable),
         .tries = {"connect", 3, true}},
        {.name = "black hole",
         .place = Place::kBlackHole,
         .told = failed(kTooLong, 504),
         .timeouts = "connect: 200ms",
         .least = 190ms,
         .tries = {"timeout", 3, true}},
        {.name = "a host that has no address",
         .place = Place::kNoSuchName,
         .told = failed(kUnreachable),
         .tries = {"connect", 3, true}},
        {.name = "TLS",
         .asked = Asked::kPlain,
         .place = Place::kTls,
         .does = say(json_answer(chat_json())),
         .told = answered()},
        {.name = "TLS with the name of another",
         .place = Place::kTlsWrongName,
         .accepted = wait,
         .told = failed(kHandshake),
         .tries = {"tls", 3, true}},
        {.name = "TLS with a certificate that has expired",
         .place = Place::kTlsExpired,
         .accepted = wait,
         .told = failed(kHandshake),
         .tries = {"tls", 3, true}},
        {.name = "TLS that nobody vouches for",
         .place = Place::kTlsUnknownCa,
         .accepted = wait,
         .told = failed(kHandshake),
         .tries = {"tls", 3, true}},
        {.name = "TLS closed in the handshake",
         .place = Place::kTlsInName,
         .accepted = hello("", Then::kClose),
         .told = failed(kHandshake),
         .tries = {"tls", 3, true}},
        {.name = "TLS reset in the handshake",
         .place = Place::kTlsInName,
         .accepted = hello("", Then::kReset),
         .told = failed(kHandshake),
         .tries = {"tls", 3, true}},
        {.name = "TLS cut in the middle of its hello",
         .place = Place::kTlsInName,
         .accepted = hello(std::string("\x16\x03\x03\x00\x7a\x02\x00\x00", 8), Then::kClose),
         .told = failed(kHandshake),
         .tries = {"tls", 3, true}},
        {.name = "HTTP where TLS was asked for",
         .place = Place::kTlsInName,
         .accepted = hello("HTTP/1.1 400 Bad Request\r\n\r\n", Then::kClose),
         .told = failed(kHandshake),
         .tries = {"tls", 3, true}},
        {.name = "a handshake that never ends",
         .place = Place::kTlsInName,
         .accepted = wait,
         .told = failed(kTooLong, 504),
         .timeouts = "tls: 200ms",
         .least = 190ms,
         .tries = {"timeout", 3, true}},
        {.name = "TLS without a goodbye where the end of the connection is the answer's",
         .asked = Asked::kPlain,
         .place = Place::kTls,
         .does =
             [](Peer& peer) {
                 peer.send(head("Content-Type: application/json\r\n") + chat_json());
                 peer.cut();
             },
         .told = failed("broke off in the middle"),
         .tries = {"broke-off", 1, true}},
    };
}

std::vector<Row> rows_of_requests() {
    return {
        // Whether it broke while connecting, while writing or behind it is a matter of luck.
        {.name = "reset on accept",
         .accepted = [](Peer& peer) { peer.reset(); },
         .told = failed(""),
         .tries = {"", 3, true}},
        {.name = "closed on accept",
         .accepted =
             [](Peer& peer) {
                 peer.close();
                 wait(peer);
             },
         .told = failed(kNoAnswer),
         .tries = {"closed", 1, true}},
        {.name = "reset in the request",
         .asked = Asked::kPlain,
         .accepted = in_the_request(Then::kReset),
         .told = failed(kNoAnswer),
         .body_bytes = kLong,
         .tries = {"write", 3, true}},
        {.name = "closed in the request",
         .asked = Asked::kPlain,
         .accepted = in_the_request(Then::kClose),
         .told = failed(kNoAnswer),
         .body_bytes = kLong,
         .tries = {"write", 3, true}},
        {.name = "takes no more of the request",
         .asked = Asked::kPlain,
         .accepted =
             [](Peer& peer) {
                 if (peer.read_head()) std::this_thread::sleep_for(1s);
             },
         .told = failed("did not begin to answer in time", 504),
         .timeouts = "write: 200ms",
         .body_bytes = kLong,
         .least = 190ms,
         .tries = {"timeout", 3, true}},
        {.name = "refuses in the middle of the request",
         .asked = Asked::kPlain,
         .accepted =
             [](Peer& peer) {
                 if (!peer.read_head()) return;
                 const std::string body = R"({"error":{"message":"too long"}})";
                 // Else the connection would be used again where all of the request got out.
                 peer.send(json_answer(body, "413 Too Large", "Connection: close\r\n"));
                 peer.wait_for_close();
             },
         .told = passed_on(413, R"({"error":{"message":"too long"}})"),
         .body_bytes = kLong,
         .tries = {"413"}},
        {.name = "reset behind the request",
         .does = say("", Then::kReset),
         .told = failed(kNoAnswer),
         .tries = {"closed", 1, true}},
        {.name = "closed behind the request",
         .does = say("", Then::kClose),
         .told = failed(kNoAnswer),
         .tries = {"closed", 1, true}},
        {.name = "never answers",
         .does = wait,
         .told = failed("did not begin to answer in time", 504),
         .timeouts = "first_byte: 200ms",
         .least = 190ms,
         .tries = {"timeout", 1, true}},
        {.name = "never answers in all the time",
         .does = wait,
         .told = failed("did not finish its answer in time", 504),
         .timeouts = "total: 200ms",
         .least = 190ms,
         .tries = {"timeout"}},
    };
}

}  // namespace weir::test
