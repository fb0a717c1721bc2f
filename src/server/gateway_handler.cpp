#include "gateway_handler.hpp"

#include <boost/asio/post.hpp>

#include "weir/base/log.hpp"
#include "weir/proxy/meters.hpp"

#include "cors.hpp"

namespace weir::server {

namespace {

bool below(std::string_view path, std::string_view prefix) noexcept {
    return path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/');
}

bool is_poll(std::string_view path) noexcept {
    return path == "/healthz" || path == "/readyz" || path == "/metrics";
}

http::Response text(int status, std::string body, std::string_view type = "text/plain") {
    http::Response response;
    response.status = status;
    response.fields.set("content-type", type);
    response.fields.set("cache-control", "no-store");
    response.body = std::move(body);
    return response;
}

}  // namespace

Awaitable<> GatewayHandler::handle(proxy::ClientStream& client) {
    const auto begun = Deadline::Clock::now();
    const std::string_view path = client.head().path();
    const config::Cors& cors = worker_.snapshot->config->cors;
    if (!cors.origins.empty() && (below(path, "/v1") || path == "/api/me")) {
        client.answer_with(cors_fields(cors, client.head()));
        if (is_preflight(client.head())) {
            co_await send(client, begun, answer_preflight(cors, client.head()));
            co_return;
        }
    }
    if (below(path, "/v1")) {
        co_await proxy_.serve(client);
    } else if (below(path, "/api/admin")) {
        co_await administer(client, begun);
    } else if (path == "/api/me") {
        co_await send(client, begun, tell_holder(client.head()));
    } else {
        // Never asks for a body: whoever forgot the /v1 is to hear of that, and not of a limit.
        co_await send(client, begun, answer_small(client.head()));
    }
}

Awaitable<> GatewayHandler::administer(
    proxy::ClientStream& client, Deadline::Clock::time_point begun
) {
    // Nobody else's body is read, nor held in memory.
    if (const auto refusal = common_.admin->check_token(client.head())) {
        co_await send(client, begun, *refusal);
        co_return;
    }
    const auto body = co_await client.read_body(admin::Admin::kLargestBody);
    if (!body) {
        const bool large = body.error().status == 413;
        co_await send(
            client, begun, large ? admin::Admin::body_too_large() : body.error().response()
        );
        co_return;
    }
    http::Response response;
    const auto done = Signal::create(worker_.context.get_executor());
    // This frame waits until the job is done, so the job may use what the frame owns.
    asio::post(*common_.admin_thread, [this, &client, &body, &response, done] {
        response = common_.admin->handle(client.head(), body->view());
        done->notify();
    });
    co_await done->wait();
    co_await send(client, begun, std::move(response));
}

Awaitable<> GatewayHandler::send(
    proxy::ClientStream& client, Deadline::Clock::time_point begun, http::Response response
) {
    const bool sent = co_await client.send(response);
    const Answered answer = {
        .id = client.id(),
        .head = client.head(),
        .begun = begun,
        .status = response.status,
        .error = response.error,
        .bytes_out = client.bytes_sent(),
        .sent = sent
    };
    // What asks every few seconds how the process is would drown the requests of people.
    if (is_poll(client.head().path()) && response.error.empty()) {
        write_line(answer, log::Level::kDebug);
    } else {
        answered(answer);
    }
}

void GatewayHandler::answered(const Answered& answer) {
    const proxy::Meters& meters = worker_.shared.meters;
    if (!answer.sent) meters.clients_gone.add();
    if (answer.status >= 500) {
        meters.requests_5xx.add();
    } else if (answer.status >= 400) {
        meters.requests_4xx.add();
    } else {
        meters.requests_2xx.add();
    }
    write_line(answer, log::Level::kInfo);
}

void GatewayHandler::write_line(const Answered& answer, log::Level level) const {
    if (!worker_.snapshot->config->log_requests || !log::enabled(level)) return;
    proxy::Exchange x;
    x.id = answer.id;
    x.begun = answer.begun;
    x.path = answer.head.path();
    x.status = answer.status;
    x.error_code = answer.error;
    x.client_gone = !answer.sent;
    proxy::log_request(x, answer.head, answer.bytes_out, level);
}

http::Response GatewayHandler::tell_holder(const http::RequestHead& head) const {
    if (head.method != "GET" && head.method != "HEAD") {
        return http::wrong_method(head.method, head.path(), "GET").response();
    }
    return proxy::describe_holder(worker_, head);
}

http::Response GatewayHandler::answer_small(const http::RequestHead& head) const {
    const std::string_view path = head.path();
    if (!is_poll(path)) return http::unknown_path(head.method, path).response();
    if (head.method != "GET" && head.method != "HEAD") {
        return http::wrong_method(head.method, path, "GET").response();
    }
    if (path == "/metrics") {
        return text(200, common_.registry->expose(), "text/plain; version=0.0.4; charset=utf-8");
    }
    const bool storage = worker_.shared.ledger.healthy();
    // Alive though degraded: a restart would not mend a full disk.
    if (path == "/healthz")
        return text(200, storage ? "ok\n" : "degraded: the ledger cannot be written\n");
    if (common_.draining) return text(503, "draining\n");
    if (!storage) return text(503, "not ready: the ledger cannot be written\n");
    return text(200, "ready\n");
}

}  // namespace weir::server
