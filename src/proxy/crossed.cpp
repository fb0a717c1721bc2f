#include "crossed.hpp"

#include <string>
#include <utility>

#include "weir/http/crossing.hpp"

namespace weir::proxy {

Way choose_way(const Exchange& x, int status, bool event_stream, const http::Fields& fields) {
    if (!http::crosses(x.endpoint->shape) || status != 200) return Way::kAsItIs;
    if (fields.find("content-encoding")) return Way::kAsItIs;  // we cannot read it
    if (x.json.stream == event_stream) return Way::kAsItIs;
    return event_stream ? Way::kToJson : Way::kToStream;
}

bool needs_usage(const Exchange& x, Way way, bool event_stream) noexcept {
    if (!http::has_usage_chunk(x.endpoint->shape)) return false;
    const bool as_stream = way == Way::kToStream || (way == Way::kAsItIs && event_stream);
    return way == Way::kToJson || (as_stream && x.json.include_usage);
}

void mark_head(Exchange& x, int status) {
    x.status = status;
    x.first_byte =
        std::chrono::duration_cast<std::chrono::microseconds>(Deadline::Clock::now() - x.begun);
}

void add_stream_fields(http::Fields& fields) {
    fields.set("cache-control", "no-cache");
    fields.set("x-accel-buffering", "no");
}

Awaitable<bool> send_crossed(
    Worker& worker,
    Exchange& x,
    ClientStream& client,
    Way way,
    const http::Fields& fields,
    const std::vector<std::string_view>& parts
) {
    BudgetShare held(worker.shared.backlogs);  // until the client took all of it
    if (way == Way::kToJson) {
        Result<std::string> json = http::stream_to_json(x.endpoint->shape, parts);
        if (!json || !held.take(json->size())) co_return false;
        http::Response answer;
        answer.fields = fields;
        answer.fields.set("content-type", "application/json");
        answer.body = std::move(*json);
        mark_head(x, 200);
        const bool sent = co_await client.send(answer);
        x.client_gone = !sent;
        co_return true;
    }
    std::string json;
    for (const std::string_view part : parts) json += part;
    const auto blocks = http::json_to_stream(x.endpoint->shape, json, x.json.include_usage);
    if (!blocks) co_return false;
    std::size_t bytes = 0;
    for (const std::string& block : *blocks) bytes += block.size();
    if (!held.take(bytes)) co_return false;
    http::Fields head = fields;
    head.set("content-type", "text/event-stream; charset=utf-8");
    add_stream_fields(head);
    mark_head(x, 200);
    client.begin(200, std::move(head), std::nullopt);
    bool sent =
        co_await client.write(std::vector<std::string_view>(blocks->begin(), blocks->end()));
    if (sent) sent = co_await client.finish();
    x.client_gone = !sent;
    co_return true;
}

}  // namespace weir::proxy
