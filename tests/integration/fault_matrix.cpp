#include "fault_matrix.hpp"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <thread>

#include <fmt/format.h>

namespace weir::test {

namespace {

constexpr std::size_t kAtATime = 24;
constexpr int kAllowed = 99;  // messages in four hours
constexpr int kAttempts = 3;
// More than the longest row waits for, less than any of the gateway's own timeouts.
constexpr auto kPatience = 4s;

std::string slug(const std::string& name) {
    std::string out;
    for (const char c : name) {
        const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0;
        if (plain) out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        if (!plain && !out.empty() && out.back() != '-') out += '-';
    }
    return out;
}

std::string secret_of(const std::string& id) {
    return "key-of-" + id + "-0123456789";
}

// Answers whatever it is asked, and keeps nothing of it.
void answer_well(Peer& peer, int) {
    while (peer.read_request()) {
        const bool streamed = peer.body().find("\"stream\":true") != std::string::npos;
        peer.send(streamed ? whole() + kLastChunk : json_answer(chat_json()));
    }
}

// Messages counted and slots taken, as soon as they are as they should be, or in the end.
void read_caps(const TestGateway& gateway, const std::string& key, int counted, Seen& seen) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    do {
        const auto caps = parsed(admin(gateway, "GET", "keys/" + key))["caps"];
        if (!caps.is_array() || caps.size() != 2) return;
        seen.counted = caps[0]["used"].get<int>();
        seen.at_once = caps[1]["used"].get<int>();
        if (seen.counted == counted && seen.at_once == 0) return;
        std::this_thread::sleep_for(5ms);
    } while (std::chrono::steady_clock::now() < until);
}

std::string last_event(const std::string& body) {
    const std::size_t at = body.rfind("data: ");
    return at == std::string::npos || !body.ends_with("\n\n") ? "" : body.substr(at + 6);
}

void judge_error(const Told& told, const std::string& json) {
    const auto body = nlohmann::json::parse(json, nullptr, false);
    ASSERT_TRUE(body.is_object() && body.contains("error")) << json;
    EXPECT_EQ(body["error"].value("code", ""), told.code) << json;
    EXPECT_EQ(body["error"].value("type", ""), told.type) << json;
    EXPECT_NE(body["error"].value("message", "").find(told.says), std::string::npos) << json;
}

void judge_answer(const Told& told, const Answer& answer) {
    const std::string all = answer.raw_head + answer.body;
    EXPECT_EQ(answer.status, told.status) << all;
    EXPECT_EQ(answer.complete, told.end != End::kCut);
    EXPECT_EQ(all.find(kUpstreamKey), std::string::npos) << all;
    EXPECT_TRUE(answer.field("x-request-id").starts_with("req_")) << all;
    for (const char* const never : {"location", "retry-after-ms", "x-trailer", "upgrade"}) {
        EXPECT_FALSE(answer.has(never)) << never << ": " << all;
    }
    EXPECT_EQ(answer.field("retry-after"), told.retry_after);
    EXPECT_EQ(answer.field("x-should-retry"), told.should_retry);
    const auto& [name, value] = told.field;
    EXPECT_EQ(answer.field(name), value) << name;
    if (!told.text.empty()) EXPECT_EQ(chat_text(answer), told.text) << all;
    if (told.body) EXPECT_EQ(answer.body, *told.body);
    if (told.end == End::kErrorEvent) {
        EXPECT_EQ(answer.field("content-type").find("text/event-stream"), 0U) << all;
        EXPECT_EQ(answer.body.find("[DONE]"), std::string::npos) << all;
        judge_error(told, last_event(answer.body));
    } else if (!told.code.empty()) {
        const auto error = expect_error(answer, told.status, told.code);
        EXPECT_EQ(error.value("type", ""), told.type) << all;
        EXPECT_NE(error.value("message", "").find(told.says), std::string::npos) << all;
    } else {
        EXPECT_NE(answer.body.find(told.says), std::string::npos) << all;
    }
}

}  // namespace

// One row, plain or streamed.
struct FaultMatrix::Case {
    const Row row;
    const bool streamed;
    const std::string id;
    std::atomic<int> calls = 0;
    ServerTls tls = {};
    std::unique_ptr<ScriptServer> server = {};
    std::unique_ptr<BlackHole> hole = {};
    std::unique_ptr<FakeUpstream> down = {};
    Seen seen = {};
    int counted = 0;  // of all runs

    Case(const Row& from, bool as_stream)
        : row(from), streamed(as_stream), id(slug(from.name) + (as_stream ? "-streamed" : "")) {}
};

FaultMatrix::FaultMatrix(const std::vector<Row>& rows, bool second)
    : second_(second), healthy_(&answer_well) {
    std::string upstreams;
    std::string keys;
    for (const Row& row : rows) {
        for (const bool streamed : {false, true}) {
            if (row.asked == (streamed ? Asked::kPlain : Asked::kStreamed)) continue;
            Case& one = *cases_.emplace_back(std::make_unique<Case>(row, streamed));
            open(one);
            upstreams += upstream_of(one);
            keys += fmt::format(
                "  - {{name: {0}, plan: plus, secret: {1}}}\n", one.id, secret_of(one.id)
            );
        }
    }
    // Those that take long first, so that the others do not wait for them in the end.
    std::ranges::sort(cases_, std::ranges::greater(), [](const auto& one) {
        return std::pair(one->row.least, one->row.body_bytes);
    });
    GatewaySetup setup;
    setup.upstream_url = fmt::format("http://127.0.0.1:{}/v1", healthy_.port());
    setup.upstream_more = second ? ", priority: 2" : ", models: [nobody]";
    setup.more_upstreams = upstreams;
    setup.more = keys;
    setup.cache = "{ttl: 1h, memory: 64KiB}";  // full after a round
    setup.caps = fmt::format(
        "[{{models: \"*\", allow: {}/4h}}, {{models: \"*\", allow: 100 at once}}]", kAllowed
    );
    setup.retry = fmt::format(
        "{{attempts: {}, backoff: 1ms, longest_wait: 20ms, budget: 100%, break_after: 1000}}",
        kAttempts
    );
    gateway_ = std::make_unique<TestGateway>(setup);
}

FaultMatrix::~FaultMatrix() = default;

void FaultMatrix::open(Case& one) const {
    const Place place = one.row.place;
    if (place == Place::kRefused) {
        one.down = std::make_unique<FakeUpstream>(say_an_answer, FakeUpstream::Begin::kDown);
    } else if (place == Place::kBlackHole) {
        one.hole = std::make_unique<BlackHole>();
    } else if (place != Place::kNoSuchName) {
        Certificates::Wanted wanted{.names = "DNS:localhost,IP:127.0.0.1"};
        if (place == Place::kTlsWrongName) wanted.names = "DNS:other.example";
        if (place == Place::kTlsExpired) wanted.valid_until_s = wanted.valid_from_s + 60;
        if (place == Place::kTlsUnknownCa) wanted.signed_by_ca = false;
        if (place != Place::kHttp && place != Place::kTlsInName) {
            one.tls = certificates_.server(wanted);
        }
        const auto serve = [&one](Peer& peer, int) {
            if (one.row.accepted) {
                ++one.calls;
                one.row.accepted(peer);
                return;
            }
            while (peer.read_request()) {
                ++one.calls;
                one.row.does(peer);
            }
        };
        one.server = std::make_unique<ScriptServer>(serve, one.tls.get());
    }
}

std::string FaultMatrix::upstream_of(const Case& one) const {
    const Place place = one.row.place;
    const bool tls = place >= Place::kTls;
    std::string host = "127.0.0.1";
    std::uint16_t port = 1;
    if (one.server) port = one.server->port();
    if (one.hole) port = one.hole->port();
    if (one.down) port = one.down->port();
    // A label longer than DNS allows: nobody is asked.
    if (place == Place::kNoSuchName) host = std::string(64, 'x') + ".invalid";
    return fmt::format(
        "  - {{name: {0}, url: \"{1}://{2}:{3}/v1\", key: {4}, models: [{0}]{5}{6}}}\n",
        one.id,
        tls ? "https" : "http",
        host,
        port,
        kUpstreamKey,
        tls ? ", ca: \"" + certificates_.ca_file() + "\"" : "",
        one.row.timeouts.empty() ? "" : ", timeouts: {" + one.row.timeouts + "}"
    );
}

void FaultMatrix::ask_for(Case& one) {
    const std::string content =
        fmt::format("run {} {}", runs_, std::string(one.row.body_bytes, 'x'));
    const Ask request{
        .key = secret_of(one.id), .body = chat_body(content, one.streamed, one.id), .fields = {}
    };
    one.seen = {};
    one.calls = 0;
    const auto begun = std::chrono::steady_clock::now();
    one.seen.answer = ask(gateway_->port(), request);
    one.seen.took = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - begun
    );
    one.counted += one.row.counted.value_or(told(one).counts() ? 1 : 0);
    read_caps(*gateway_, one.id, one.counted, one.seen);
}

void FaultMatrix::run() {
    ++runs_;
    std::atomic<std::size_t> next = 0;
    const auto work = [&] {
        for (std::size_t i = next++; i < cases_.size(); i = next++) ask_for(*cases_[i]);
    };
    std::vector<std::thread> threads;
    threads.reserve(kAtATime);
    for (std::size_t i = 0; i < kAtATime; ++i) threads.emplace_back(work);
    for (std::thread& thread : threads) thread.join();
}

// With a second upstream, what mends is as if nothing had happened.
Told FaultMatrix::told(const Case& one) const {
    return second_ && one.row.tries.mended ? answered() : one.row.told;
}

void FaultMatrix::judge_calls(const Case& one) const {
    const Tries& tries = one.row.tries;
    const int most = second_ && tries.mended ? 1 : tries.alone;
    const bool luck = tries.word.empty();
    if (one.server) {
        // Its thread may not have come to count the last one yet.
        EXPECT_TRUE(eventually([&] { return one.calls >= (luck ? 1 : most); })) << one.calls;
        EXPECT_LE(one.calls, most);
    }
    const std::string listed = one.seen.answer.field("x-weir-attempts");
    if (luck) return;
    std::string expected;
    for (int i = 0; i < most; ++i) {
        expected += (i > 0 ? ", " : "") + one.id + " " + tries.word;
    }
    if (second_ && tries.mended) expected += ", fake 200";
    EXPECT_EQ(listed, expected);
}

void FaultMatrix::judge() const {
    for (const auto& one : cases_) {
        SCOPED_TRACE(one->row.name + (one->streamed ? ", streamed" : ", plain"));
        const Seen& seen = one->seen;
        judge_answer(told(*one), seen.answer);
        judge_calls(*one);
        EXPECT_EQ(seen.counted, one->counted);
        if (seen.answer.status >= 400) {
            EXPECT_EQ(
                seen.answer.field("x-ratelimit-remaining-requests"),
                std::to_string(kAllowed - one->counted)
            );
        }
        EXPECT_EQ(seen.at_once, 0);
        EXPECT_GE(seen.took, one->row.least);
        EXPECT_LE(seen.took, kPatience);
    }
}

std::chrono::milliseconds FaultMatrix::longest() const {
    std::chrono::milliseconds most{0};
    for (const auto& one : cases_) most = std::max(most, one->seen.took);
    return most;
}

}  // namespace weir::test
