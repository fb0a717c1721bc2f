// The fault matrix: each way in which an upstream fails, and exactly what must come of it: for the
// client, for its caps, for the number of calls, and for what the gateway holds afterwards. The
// rows are in fault_rows_*.cpp, a file for each stage of a call.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/black_hole.hpp"
#include "support/certificates.hpp"
#include "support/script_server.hpp"
#include "tools.hpp"

namespace weir::test {

// How an answer ends for the client.
enum class End : std::uint8_t {
    kWhole,
    kErrorEvent,  // a stream's last event says what happened
    kCut,         // the framing is left unfinished
};

// What the client is told.
struct Told {
    int status = 200;
    End end = End::kWhole;
    std::string code = {};  // of an error in our words; empty: it is none
    std::string type = {};  // of the same
    std::string says = {};  // a part of its message; of what is no such error: of the body
    std::optional<std::string> body = {};            // exact
    std::string text = {};                           // exact, of the chat that it is
    std::pair<std::string, std::string> field = {};  // one that it has; a name alone: has not
    std::string retry_after = {};                    // empty: none
    std::string should_retry = {};                   // empty: none
    [[nodiscard]] bool counts() const { return status < 300 && end == End::kWhole; }
};

// An error in our words, in OpenAI's shape.
[[nodiscard]] Told failed(std::string says, int status = 502);
// The upstream's own answer, as it is.
[[nodiscard]] Told passed_on(int status, std::string body);
// The whole answer that the rows' upstreams give, plain or as a stream.
[[nodiscard]] Told answered(std::string text = "an answer");
// A stream that began with "half " and ends with an error event.
[[nodiscard]] Told broke_off(std::string says, std::string text = "half ");
// Bytes, whole or cut.
[[nodiscard]] Told bytes(std::string body, End end = End::kWhole);

enum class Asked : std::uint8_t { kPlain, kStreamed, kBoth };
// Where a row's upstream is, and how it proves who it is.
enum class Place : std::uint8_t {
    kHttp,
    kRefused,
    kBlackHole,
    kNoSuchName,
    kTls,  // as it should be
    kTlsWrongName,
    kTlsExpired,
    kTlsUnknownCa,
    kTlsInName,  // https in the address, and no TLS on the wire but what the script says
};

// What the policy makes of it.
struct Tries {
    std::string word = "200";  // of a call, as x-weir-attempts has it; empty: a matter of luck
    int alone = 1;             // calls to an upstream that is the only one
    bool mended = false;       // by a second upstream, which is asked then
};

using Script = std::function<void(Peer&)>;

struct Row {
    std::string name;
    Asked asked = Asked::kBoth;
    Place place = Place::kHttp;
    Script accepted = {};  // does all of a connection; empty: requests are read, and for each ...
    Script does = {};
    Told told = {};
    std::string timeouts = {};   // of the upstream: "idle: 200ms"
    std::size_t body_bytes = 0;  // the request is as long as that at least
    std::chrono::milliseconds least{0};
    std::optional<int> counted = {};  // messages that its cap counts; told.counts() if not set
    Tries tries = {};
};

// ---- what scripts are made of

enum class Then : std::uint8_t { kKeep, kClose, kReset, kStay };
// Says it at once, then does that to the connection. kStay: says nothing more.
[[nodiscard]] Script say(std::string all, Then then = Then::kKeep);
// Says one after the other, with pauses.
[[nodiscard]] Script drip(
    std::vector<std::string> parts, std::chrono::milliseconds pause, Then then = Then::kKeep
);
[[nodiscard]] std::vector<std::string> each_byte(const std::string& text);
// Says the first, then the second again and again while anybody listens.
[[nodiscard]] Script endless(
    std::string first, std::string again, std::chrono::milliseconds pause = {}
);
[[nodiscard]] std::string head(
    const std::string& fields, const std::string& status = "200 OK"
);  // with the blank line; `fields`: each with its line end
[[nodiscard]] std::string json_answer(
    const std::string& body, const std::string& status = "200 OK", const std::string& fields = ""
);
[[nodiscard]] std::string chunk(const std::string& text);
[[nodiscard]] std::string event(const std::string& data);  // as a chunk of its own
[[nodiscard]] const std::string& chat_json();              // "an answer"
[[nodiscard]] const std::string& stream_head();            // chunked
inline const std::string kLastChunk = "0\r\n\r\n";
[[nodiscard]] const std::string& half();   // the head of a stream and the event "half "
[[nodiscard]] const std::string& whole();  // a whole stream, "an answer", but for the last chunk

[[nodiscard]] std::vector<Row> rows_of_connecting();
[[nodiscard]] std::vector<Row> rows_of_requests();
[[nodiscard]] std::vector<Row> rows_of_heads();
[[nodiscard]] std::vector<Row> rows_of_bodies();
[[nodiscard]] std::vector<Row> rows_of_streams();
[[nodiscard]] std::vector<Row> rows_of_statuses();

// ---- the runner

// What became of one row.
struct Seen {
    Answer answer;
    std::chrono::milliseconds took{0};
    int counted = -1;
    int at_once = -1;  // slots still taken
};

// A gateway with an upstream, a key and a model for each row, so that no row sees another.
class FaultMatrix {
public:
    // `second`: a healthy upstream stands behind each.
    explicit FaultMatrix(const std::vector<Row>& rows, bool second = false);
    ~FaultMatrix();
    FaultMatrix(const FaultMatrix&) = delete;
    FaultMatrix& operator=(const FaultMatrix&) = delete;

    // Asks for all rows, many at a time, and tells what each became.
    void run();
    // Of the last run, in the rows' order.
    void judge() const;
    [[nodiscard]] TestGateway& gateway() noexcept { return *gateway_; }
    [[nodiscard]] std::size_t size() const noexcept { return cases_.size(); }
    // The most that one row took.
    [[nodiscard]] std::chrono::milliseconds longest() const;

private:
    struct Case;
    void open(Case& one) const;
    [[nodiscard]] std::string upstream_of(const Case& one) const;
    void ask_for(Case& one);
    [[nodiscard]] Told told(const Case& one) const;
    void judge_calls(const Case& one) const;

    const bool second_;
    ScriptServer healthy_;
    Certificates certificates_;
    std::vector<std::unique_ptr<Case>> cases_;
    std::unique_ptr<TestGateway> gateway_;
    int runs_ = 0;
};

}  // namespace weir::test
