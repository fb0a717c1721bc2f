#include "socket_dial.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "weir/base/log.hpp"
#include "weir/base/text.hpp"
#include "weir/base/watchdog.hpp"
#include "weir/http/error_body.hpp"
#include "weir/http/hygiene.hpp"
#include "weir/http/upstream_error.hpp"
#include "weir/proxy/meters.hpp"
#include "weir/upstream/target.hpp"

namespace weir::proxy {

namespace {

// No upstream thinks long about whether it takes a session.
constexpr std::chrono::seconds kHandshakeTime{30};
// One event of an upstream. Those with sound are some 100 KB.
constexpr std::uint64_t kLongestEvent = 16 << 20;

constexpr std::string_view kKeyProtocol = "openai-insecure-api-key.";

// Whose parameters the client's credentials may stand in; they end here.
bool is_credential(std::string_view name) noexcept {
    return iequals(name, "api-key") || iequals(name, "api_key") || iequals(name, "key") ||
           iequals(name, "authorization") || iequals(name, "access_token");
}

int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::string decoded(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool coded = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
                           hex_digit(text[i + 2]) >= 0;
        if (coded) {
            out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
            i += 2;
        } else {
            out += text[i] == '+' ? ' ' : text[i];
        }
    }
    return out;
}

template <class See>
void for_each_parameter(std::string_view query, See see) {
    while (!query.empty()) {
        const std::size_t end = std::min(query.find('&'), query.size());
        const std::string_view one = query.substr(0, end);
        const std::size_t equals = std::min(one.find('='), one.size());
        see(one, decoded(one.substr(0, equals)), one.substr(std::min(equals + 1, one.size())));
        query.remove_prefix(std::min(end + 1, query.size()));
    }
}

http::UpstreamFault fault_of(const Error& error, upstream::Call::Stage stage) {
    if (error.code == ErrorCode::kUpstreamTimeout) return http::UpstreamFault::kConnectTimeout;
    return stage == upstream::Call::Stage::kTls ? http::UpstreamFault::kTls
                                                : http::UpstreamFault::kConnect;
}

// The status says that it is this upstream's trouble, not the request's.
bool may_be_elsewhere(int status) noexcept {
    return status >= 500 || status == 408 || status == 429;
}

}  // namespace

QueryValue query_value(std::string_view query, std::string_view name) {
    QueryValue value;
    for_each_parameter(query, [&](std::string_view, const std::string& one, std::string_view text) {
        if (one == name && value.count++ == 0) value.first = decoded(text);
    });
    return value;
}

std::vector<std::string> offered_protocols(const http::Fields& fields) {
    std::vector<std::string> offered;
    for (const http::Field& field : fields) {
        if (!iequals(field.name, "sec-websocket-protocol")) continue;
        std::string_view rest = field.value;
        while (!rest.empty()) {
            const std::size_t end = std::min(rest.find(','), rest.size());
            const std::string_view one = trim(rest.substr(0, end));
            rest.remove_prefix(std::min(end + 1, rest.size()));
            // Keys, and whose account it is, are ours to say.
            const bool ours = one.starts_with(kKeyProtocol) ||
                              one.starts_with("openai-organization.") ||
                              one.starts_with("openai-project.");
            if (!one.empty() && !ours) offered.emplace_back(one);
        }
    }
    return offered;
}

SocketRequest socket_request(const http::RequestHead& head) {
    SocketRequest request;
    for_each_parameter(
        head.query(),
        [&](std::string_view raw, const std::string& name, std::string_view) {
            if (is_credential(name)) return;
            if (!request.query.empty()) request.query += '&';
            request.query += raw;
        }
    );
    request.names_model = query_value(head.query(), "model").count > 0;
    request.protocols = offered_protocols(head.fields);
    request.fields = http::forwarded_request_fields(head.fields);
    request.fields.remove("content-type");
    request.deflate = offers_deflate(head.fields);
    return request;
}

Awaitable<std::expected<std::unique_ptr<DialledSocket>, http::Response>> SocketDialler::dial(
    Exchange& x, const SocketRequest& request
) {
    const upstream::Route route = x.route;
    std::optional<http::Response> told;
    for (const config::Upstream* const one : route.upstreams) {
        if (one->kind == config::Kind::kAnthropic) continue;  // has no such endpoint
        auto dialled = co_await dial_one(x, request, *one);
        if (dialled) co_return std::move(*dialled);
        told = std::move(dialled.error().told);
        if (!dialled.error().elsewhere || cancelled_) break;
    }
    if (!told) told = http::model_not_found(x.asked_model).response();
    co_return std::unexpected(std::move(*told));
}

Awaitable<std::expected<std::unique_ptr<DialledSocket>, SocketDialler::Failed>>
SocketDialler::dial_one(
    Exchange& x, const SocketRequest& request, const config::Upstream& upstream
) {
    const auto begun = Deadline::Clock::now();
    const auto since = [begun] {
        return std::chrono::duration_cast<std::chrono::microseconds>(
            Deadline::Clock::now() - begun
        );
    };
    const auto failed = [&](http::Response told, std::string_view why, bool elsewhere) {
        worker_.shared.meters.upstream_failures.add();
        log::warn(
            "an upstream took no session",
            {{"upstream", std::string_view(upstream.name)},
             {"why", why},
             {"id", std::string_view(x.id)}}
        );
        return std::unexpected(Failed{std::move(told), elsewhere});
    };
    worker_.shared.meters.upstream_calls.add();
    x.call = std::make_shared<CallReport>();
    x.call->upstream = upstream.name;
    const std::size_t key = 0;
    auto dialled = std::make_unique<DialledSocket>();
    dialled->upstream = {x.snapshot->config, &upstream};
    connecting_ = worker_.client->channel(dialled->upstream, key);
    if (cancelled_) connecting_->cancel();
    const auto stream = co_await connecting_->run();
    const upstream::Call::Stage stage = connecting_->stage();
    connecting_.reset();
    x.call->connect = since();
    if (!stream) {
        const auto error = http::upstream_failed(fault_of(stream.error(), stage), upstream.name);
        co_return failed(error.response(), stream.error().detail, true);
    }

    SocketOptions options;
    options.deflate = request.deflate;
    options.message_limit_bytes = kLongestEvent;
    options.budget = &worker_.shared.bodies;
    options.write_stall = upstream.timeouts.write;
    dialled->socket = std::make_unique<WebSocket>(*stream, options);
    const std::string& model = x.serve_as.empty() ? x.asked_model : x.serve_as;
    std::string target = upstream::target_on(
        upstream, x.path, request.query, request.names_model ? std::string_view(model) : ""
    );
    http::Fields fields = request.fields;
    fields.set("x-request-id", x.id);
    upstream::add_own_fields(fields, upstream, key);
    std::string protocols;
    for (const std::string& one : request.protocols) {
        protocols += (protocols.empty() ? "" : ", ") + one;
    }
    if (!protocols.empty()) fields.set("Sec-WebSocket-Protocol", protocols);
    greeting_ = dialled->socket.get();
    WebSocket::Handshake answer;
    {
        Watchdog watchdog(worker_.context.get_executor(), [socket = greeting_] { socket->cut(); });
        watchdog.set(Deadline::in(
            std::min<std::chrono::milliseconds>(kHandshakeTime, upstream.timeouts.first_byte)
        ));
        answer = co_await dialled->socket->handshake(
            upstream::host_of(upstream), std::move(target), std::move(fields)
        );
        greeting_ = nullptr;
        if (!answer.broken.empty()) {
            const auto fault = watchdog.expired() ? http::UpstreamFault::kFirstByteTimeout
                                                  : http::UpstreamFault::kClosedEarly;
            const auto error = http::upstream_failed(fault, upstream.name);
            co_return failed(error.response(), answer.broken, true);
        }
    }
    x.call->first_byte = since();
    if (!answer.accepted) {
        http::Explained told = http::explain_upstream_answer(
            answer.head, answer.body, upstream.name, x.snapshot->secrets
        );
        told.answer.error = told.code;
        const std::string why = "it answered " + std::to_string(answer.head.status);
        co_return failed(std::move(told.answer), why, may_be_elsewhere(answer.head.status));
    }
    for (const std::string_view secret : upstream.secrets()) dialled->masks.emplace_back(secret);
    dialled->fields = http::forwarded_response_fields(answer.head.fields);
    dialled->protocol = answer.head.fields.find("sec-websocket-protocol").value_or("");
    for (http::SecretMask& mask : dialled->masks) {
        mask.mask_values(dialled->fields);
        mask.mask_whole(dialled->protocol);
    }
    co_return dialled;
}

void SocketDialler::cancel() noexcept {
    cancelled_ = true;
    if (connecting_) connecting_->cancel();
    if (greeting_ != nullptr) greeting_->cut();
}

}  // namespace weir::proxy
