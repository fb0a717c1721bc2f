// A WebSocket from its request to its first message: who asks, for which model, the caps, the
// upstream's side, and then the 101 to the client. Everything that can be refused is refused
// before that, in plain HTTP.
#include "socket_open.hpp"

#include <algorithm>
#include <utility>

#include "weir/base/text.hpp"
#include "weir/http/write.hpp"
#include "weir/proxy/meters.hpp"
#include "weir/proxy/proxy.hpp"

#include "classify.hpp"
#include "estimate.hpp"
#include "socket_dial.hpp"
#include "socket_session.hpp"

namespace weir::proxy {

namespace {

constexpr std::string_view kRealtime = "/v1/realtime";
constexpr std::string_view kResponses = "/v1/responses";
// What a transcription session that names no model uses: the session says so later.
constexpr std::string_view kTranscriber = "gpt-4o-transcribe";

bool lists(const http::Fields& fields, std::string_view name, std::string_view wanted) {
    return std::ranges::any_of(fields, [&](const http::Field& field) {
        if (!iequals(field.name, name)) return false;
        std::string_view rest = field.value;
        while (!rest.empty()) {
            const std::size_t end = std::min(rest.find(','), rest.size());
            if (iequals(trim(rest.substr(0, end)), wanted)) return true;
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
        return false;
    });
}

// 16 bytes in base64.
bool is_nonce(std::string_view key) noexcept {
    if (key.size() != 24 || !key.ends_with("==")) return false;
    return std::ranges::all_of(key.substr(0, 22), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '+' || c == '/';
    });
}

// RFC 6455 4.2.1. Empty: it is a request for a WebSocket.
std::string_view what_lacks(const http::RequestHead& head) {
    const http::Fields& fields = head.fields;
    if (head.minor_version < 1) return "it is HTTP/1.0";
    if (!lists(fields, "upgrade", "websocket")) return "there is no `Upgrade: websocket`";
    if (!lists(fields, "connection", "upgrade")) return "there is no `Connection: Upgrade`";
    if (fields.count("sec-websocket-version") != 1 ||
        *fields.find("sec-websocket-version") != "13") {
        return "`Sec-WebSocket-Version` is not 13";
    }
    if (fields.count("sec-websocket-key") != 1 || !is_nonce(*fields.find("sec-websocket-key"))) {
        return "`Sec-WebSocket-Key` is not 16 bytes in base64";
    }
    if (head.framing != http::Framing::kNone) return "it has a body";
    return {};
}

// The model of the query, if it is one, and what kind of session.
struct Asked {
    std::string model;
    bool transcribes = false;
    bool call = false;  // joins a call that the upstream's account has
};

std::expected<Asked, http::ApiError> read_query(const http::RequestHead& head) {
    const QueryValue model = query_value(head.query(), "model");
    // Two readers might take different ones.
    if (model.count > 1) return std::unexpected(http::invalid_field("model", "There are several."));
    Asked asked;
    asked.model = model.first;
    asked.call = query_value(head.query(), "call_id").count > 0;
    asked.transcribes = query_value(head.query(), "intent").first == "transcription";
    if (asked.model.empty() && asked.transcribes) asked.model = kTranscriber;
    if (asked.model.empty() && !asked.call) {
        return std::unexpected(http::invalid_field(
            "model", "The request names no model; add `?model=...` to the address."
        ));
    }
    return asked;
}

// What the 101 says beside its own fields.
http::Fields answer_fields(const std::vector<std::string>& offered, const DialledSocket* upstream) {
    http::Fields fields;
    if (upstream != nullptr) {
        for (const http::Field& field : upstream->fields) fields.add(field.name, field.value);
    }
    // A client that offered some wants one of them back: the upstream's choice, or `realtime`.
    std::string_view chosen;
    for (const std::string& one : offered) {
        if (upstream != nullptr && one == upstream->protocol) chosen = one;
    }
    if (chosen.empty() && std::ranges::find(offered, "realtime") != offered.end()) {
        chosen = "realtime";
    }
    if (chosen.empty() && !offered.empty()) chosen = offered.front();
    if (!chosen.empty()) fields.set("Sec-WebSocket-Protocol", chosen);
    fields.set("date", http::http_date());
    return fields;
}

}  // namespace

bool is_socket_path(std::string_view path) noexcept {
    return path == kRealtime || path == kResponses;
}

Awaitable<Proxy::Problem> Proxy::serve_socket(Exchange& x, ClientStream& client) {
    const http::RequestHead& head = client.head();
    if (const std::string_view lacks = what_lacks(head); !lacks.empty()) {
        co_return http::needs_websocket(x.path, lacks);
    }
    SocketSession::Parts parts;
    parts.api = x.path == kRealtime ? SocketApi::kRealtime : SocketApi::kResponses;
    // Also of realtime: what counts, and how its estimate is made, is as for an answer.
    x.endpoint = http::find_endpoint("POST", kResponses).endpoint;
    x.body = std::make_shared<const Buffer>();
    const auto signal = Signal::create(worker_.context.get_executor());
    const SocketRequest request = socket_request(head);
    if (parts.api == SocketApi::kRealtime) {
        auto asked = read_query(head);
        if (!asked) co_return std::move(asked.error());
        if (asked->call) {
            co_return http::closed_endpoint(
                "a session with `call_id`", x.member->plan->name, "realtime"
            );
        }
        parts.transcribes = asked->transcribes;
        x.json.model = std::move(asked->model);
        if (auto problem = choose_route(x)) co_return problem;
        if (auto problem = estimate(x)) co_return problem;
        const auto unit = x.snapshot->config->realtime_count;
        // A transcription has no answers.
        parts.counts_answers = unit == config::RealtimeCount::kResponse && !parts.transcribes;
        if (!parts.counts_answers) {
            const Waiting waiting(worker_, signal);
            client.watch(signal);
            Problem problem = co_await ask_caps(x, client, signal, parts.reservation);
            if (problem && x.refusal) worker_.shared.meters.messages_refused.add();
            if (problem || x.client_gone) co_return problem;
        }
        SocketDialler dialler(worker_);
        auto dialled = co_await dialler.dial(x, request);
        if (!dialled) {
            if (parts.reservation.open()) worker_.shared.meters.messages_refunded.add();
            parts.reservation.refund();
            x.caps_known = false;  // the message was given back
            http::Response told = std::move(dialled.error());
            x.error_code = told.error;
            x.status = told.status;
            decorate(worker_, x, told.fields);
            const bool sent = co_await client.send(told);
            x.client_gone = !sent;
            co_return std::nullopt;
        }
        parts.upstream = std::move(*dialled);
        // Nothing is told before the charge is on disk.
        while (parts.reservation.open()) {
            const auto passed = worker_.shared.ledger.gate(parts.reservation.sequence(), signal);
            if (passed && *passed) break;
            if (passed) co_return http::storage_down();
            co_await signal->wait();
        }
    } else {
        parts.counts_answers = true;
    }

    http::Fields fields = answer_fields(request.protocols, parts.upstream.get());
    decorate(worker_, x, fields);
    SocketOptions options;
    const config::Limits& limits = x.snapshot->config->limits;
    options.deflate = request.deflate;
    options.message_limit_bytes = limits.body_bytes;
    options.budget = &worker_.shared.bodies;
    options.write_stall = limits.write_stall;
    x.socket = std::make_unique<SocketReport>();
    x.status = 101;
    x.first_byte =
        std::chrono::duration_cast<std::chrono::microseconds>(Deadline::Clock::now() - x.begun);
    parts.client = std::make_unique<WebSocket>(client.take_over(), options);
    const bool accepted = co_await parts.client->accept(head, std::move(fields));
    x.client_gone = !accepted;
    if (!accepted) {
        // The upstream had its request whole.
        parts.reservation.charge();
        co_return std::nullopt;
    }
    const auto session = std::make_shared<SocketSession>(*this, x, head, std::move(parts));
    co_await session->run();
    co_return std::nullopt;
}

}  // namespace weir::proxy
