// The whole configuration: validated, immutable, shared by snapshots as shared_ptr<const Config>.
// Every value has its unit in its type. docs/config.md is the reference for people.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "weir/base/log.hpp"
#include "weir/config/cap.hpp"

namespace weir::config {

using std::chrono::milliseconds;

struct Listen {
    std::string
        host;  // as written: "127.0.0.1", "::1", "0.0.0.0"; a socket path is not yet supported
    std::uint16_t port = 8080;
};

struct Limits {
    std::uint64_t head_bytes = 64 << 10;
    std::uint64_t body_bytes = 64 << 20;
    std::uint64_t bodies_bytes = 512 << 20;  // of all bodies in flight together
    std::uint64_t upload_bytes = 512 << 20;  // one body that is relayed as it comes
    milliseconds head_time{10'000};          // for the whole head
    milliseconds body_idle{15'000};          // between two reads of a body
    milliseconds keep_alive{75'000};         // between two requests of a connection
    milliseconds write_stall{60'000};        // a client that takes nothing is cut off
    std::uint32_t connections = 8192;
};

struct Timeouts {
    milliseconds connect{5'000};       // resolve and connect, a proxy's tunnel too
    milliseconds tls{5'000};           // the handshake
    milliseconds write{60'000};        // between two writes of a request
    milliseconds first_byte{600'000};  // from the request written to the answer's head
    milliseconds idle{300'000};        // between two reads of an answer
    milliseconds total{1'800'000};     // the whole call
};

// Whose ways an upstream has: how it is told the key, where its endpoints are, which it has.
enum class Kind : std::uint8_t {
    kOpenAi,     // Authorization: Bearer
    kAzure,      // api-key; /openai/deployments/<deployment>/... with an api-version
    kAnthropic,  // x-api-key; /messages alone
};

// An HTTP proxy on the way to an upstream. `host` is lower case.
struct HttpProxy {
    bool tls = false;  // to the proxy itself
    std::string host;
    std::uint16_t port = 0;
    std::string credentials;  // secret; "user:password", or empty

    friend bool operator==(const HttpProxy&, const HttpProxy&) = default;
};

// Sent with each call, beside what the client's request has. The value may be secret.
struct ExtraField {
    std::string name;
    std::string value;

    friend bool operator==(const ExtraField&, const ExtraField&) = default;
};

// Calls in flight to one upstream, of all workers together; who finds no room waits in line, fair
// between keys.
struct UpstreamLine {
    std::uint32_t calls = 0;     // 0: no bound
    std::uint32_t queue = 1000;  // who may wait
    milliseconds wait{60'000};   // for how long
};

struct Upstream {
    std::string name;
    std::string url;  // as written, without a final slash
    Kind kind = Kind::kOpenAi;
    bool tls = false;
    std::string host;  // lower case, for SNI and verification; IPv6 without its brackets
    std::uint16_t port = 0;
    std::string base_path;          // "/v1"; the part of our path behind "/v1" is appended
    std::vector<std::string> keys;  // secret, none empty, used in turn; none: nothing is sent
    std::vector<std::string> models = {"*"};  // globs on the served model
    int priority = 1;                         // lower is asked first
    int weight = 1;                           // the share among those of its priority
    UpstreamLine at_once;
    Timeouts timeouts;
    std::vector<ExtraField> headers;
    std::vector<ExtraField> query;  // parameters of each call, as they are before encoding
    std::string api_version;  // of kAzure: "2024-10-21"; empty, "preview", "latest": surface v1
    // Of kAzure: served model -> deployment. One that is not here is a deployment of its own name.
    std::vector<std::pair<std::string, std::string>> deployments;
    std::optional<HttpProxy> proxy;
    std::string ca_file;               // PEM, beside the system's store; empty: the system's only
    std::string certificate_file;      // PEM, the client's own chain; empty: none
    std::string certificate_key_file;  // PEM
    bool stream_usage = true;          // ask streams for usage (stream_options.include_usage)
    bool demo = false;                 // the demo upstream inside this binary
    bool needs_key = true;             // false: a server of one's own, by its preset
    // Serves also what the `models` of no other one fit: the first of a start without a config.
    bool last_resort = false;

    // The key that a call with that number of a key sends; empty: none.
    [[nodiscard]] std::string_view key_at(std::size_t number) const noexcept {
        return number < keys.size() ? std::string_view(keys[number]) : std::string_view();
    }
    // All that nobody may be shown: keys, values of headers and parameters, a proxy's password.
    [[nodiscard]] std::vector<std::string_view> secrets() const;
};

// What is done when an upstream fails before its first byte. For all upstreams alike, since a
// message may go from one to the next.
struct Retry {
    std::uint32_t attempts = 3;  // calls for one message, the first one too
    // Answers that another call may mend.
    std::vector<int> statuses = {408, 409, 429, 500, 502, 503, 504, 529};
    milliseconds backoff{500};          // before the first retry; doubles, with jitter
    milliseconds longest_wait{10'000};  // an upstream's retry-after past it is not waited out
    std::uint32_t budget_percent = 20;  // extra calls at most, of the calls of late
    std::uint32_t break_after = 5;  // failures in a row until an upstream (or key) is left alone
    milliseconds rest{10'000};      // for so long; then one call tries whether it is back
};

// What browsers of other sites may do. No origins: nothing is said (off).
struct Cors {
    std::vector<std::string> origins;  // globs: "https://app.example.org", "*"
    std::chrono::seconds max_age{600};
};

// What of a WebSocket session is a message under the caps.
enum class RealtimeCount : std::uint8_t { kSession, kResponse };

struct Model {
    std::string name;
    std::string serve_as;          // empty: as it is; chains of aliases are followed when loading
    std::uint64_t max_output = 0;  // tokens of one answer; 0: not told
};

// What a model costs, in nano-dollars per million tokens.
struct Price {
    std::uint64_t input = 0;
    std::uint64_t cached_input = 0;
    std::uint64_t output = 0;
};
struct PricedModels {
    std::string models;  // a name or a glob, case-insensitive, on the served model
    Price price;
};

// What a body may carry beside text.
struct Inputs {
    bool image = true;
    bool audio = true;
    bool file = true;
};

struct Plan {
    std::string name;
    CapSet caps;
    std::vector<std::string> models = {"*"};  // allow list, globs
    std::vector<std::string> deny;            // globs, stronger than `models`
    Inputs inputs;
    std::uint64_t max_input_bytes = 0;  // of a body; 0: limits.body alone
    std::uint64_t max_output = 0;       // tokens of one answer at most; 0: no bound
    std::vector<std::string>
        endpoints;  // groups of closed endpoints that it opens (docs/endpoints.md)
};

// Keys that share caps (and the cache, see Scope). A key may name a team that is not here: then the
// team has no caps.
struct Team {
    std::string name;
    CapSet caps;
};

struct Key {
    std::string name;
    std::string plan;    // names a Plan
    std::string team;    // empty: none
    std::string secret;  // secret, 16 or more characters
    CapSet caps = {};    // beside its plan's
};

enum class Scope : std::uint8_t { kKey, kTeam, kAll };

enum class CacheWhen : std::uint8_t {
    kAlways,
    kDeterministic,  // at temperature 0 or with a seed; embeddings and moderations always
    kNever,
};

[[nodiscard]] std::string_view name_of(CacheWhen when) noexcept;

// For some models, of some plans; what it does not say, the next rule or the cache itself says.
struct CacheRule {
    std::vector<std::string> models = {"*"};  // globs; the asked or the served name
    std::vector<std::string> plans;           // empty: all
    std::optional<CacheWhen> when;
    std::optional<std::chrono::seconds> ttl;
};

// How a stored stream is sent: at full speed, or as its events came.
enum class Replay : std::uint8_t { kFast, kPaced };

struct Cache {
    bool enabled = true;
    CacheWhen when = CacheWhen::kAlways;
    std::chrono::seconds ttl{24 * 3600};
    std::vector<CacheRule> rules;     // the first that says a thing holds
    std::vector<std::string> ignore;  // members of a body's top level that do not count
    Replay replay = Replay::kFast;
    // How long a call that nobody listens to any more may go on, to be kept. 0: it ends at once.
    milliseconds finish_abandoned{0};
    std::uint64_t max_size_bytes = 2ULL << 30;  // cache.db
    std::uint64_t max_entry_bytes = 8 << 20;
    std::uint64_t max_request_bytes = 4 << 20;
    std::uint64_t memory_bytes = 64 << 20;
    Scope scope = Scope::kTeam;
    bool hits_counted = false;  // `hits: counted`: hits and followers are messages of their own

    // What holds for that model of that plan.
    [[nodiscard]] CacheWhen when_of(
        std::string_view asked, std::string_view served, std::string_view plan
    ) const noexcept;
    [[nodiscard]] std::chrono::seconds ttl_of(
        std::string_view asked, std::string_view served, std::string_view plan
    ) const noexcept;
};

// When the built-in demo upstream answers.
enum class Demo : std::uint8_t { kNever, kWhenNoUpstreamHasAKey };

struct Config {
    std::vector<Listen> listen = {{"127.0.0.1", 8080}};
    std::string data = "./data";
    std::uint32_t workers = 0;  // 0 never reaches a reader: the loader puts the number of cores
    milliseconds drain{30'000};
    Limits limits;
    log::Settings log;
    bool log_requests = true;
    std::vector<Upstream> upstreams;  // by priority, then as written
    std::vector<Model> models;
    std::vector<PricedModels> prices;  // the config's own in the order written, then those shipped
    std::shared_ptr<const TimeZone> timezone = TimeZone::find("UTC");  // for calendar caps
    std::vector<Plan> plans;
    std::vector<Team> teams;
    CapSet caps;  // global: everybody together
    std::vector<Key> keys;
    Cache cache;
    Retry retry;
    Cors cors;
    RealtimeCount realtime_count = RealtimeCount::kSession;
    milliseconds stream_keep_alive{0};  // a comment in a silent stream, so often; 0: none
    Demo demo = Demo::kNever;

    [[nodiscard]] const Plan* find_plan(std::string_view name) const noexcept;
    [[nodiscard]] const Model* find_model(std::string_view name) const noexcept;
    [[nodiscard]] const Team* find_team(std::string_view name) const noexcept;
    // The caps under a declared key of that name; nullptr: it has none.
    [[nodiscard]] const CapSet* find_key_caps(std::string_view name) const noexcept;
    // The first line of `prices` that fits the served model; nullptr: nobody knows what it costs.
    [[nodiscard]] const Price* find_price(std::string_view model) const noexcept;
};

}  // namespace weir::config
