// What a producer reads of its upstream's answer and publishes, and what is kept of it.
#include <algorithm>
#include <charconv>
#include <ctime>
#include <utility>

#include "weir/base/log.hpp"
#include "weir/http/hygiene.hpp"
#include "weir/http/sse.hpp"

#include "estimate.hpp"
#include "producer_call.hpp"

namespace weir::proxy {

namespace {

using std::chrono::milliseconds;

// A stream's head waits for its first event for so long: an upstream that breaks off before it can
// still be replaced by another one.
constexpr milliseconds kHeadHeld{1000};
// A plain JSON answer up to this size is gathered before it is published: then one that breaks off
// is a clean 502 instead of a cut body. Larger ones are relayed as they come.
constexpr std::size_t kGatherBytes = 1 << 20;
// The end of an answer that is too long to be kept. Most have their usage there (embeddings).
constexpr std::size_t kTailBytes = 4096;

void keep_tail(std::string& tail, std::string_view part) {
    tail += part.substr(part.size() - std::min(part.size(), kTailBytes));
    if (tail.size() > kTailBytes) tail.erase(0, tail.size() - kTailBytes);
}

// Of a member `usage` at the end of the JSON's outermost object.
std::optional<http::Usage> usage_in(std::string_view tail) {
    const std::size_t at = tail.rfind("\"usage\"");
    std::optional<http::Usage> usage;
    if (at == std::string_view::npos) return usage;
    const std::string object = "{" + std::string(tail.substr(at));
    static_cast<void>(http::judge_json(http::Shape::kOther, object, false, &usage));
    return usage;
}

// Of an answer without a body: to a HEAD it is told all the same.
std::uint64_t told_length(const http::ResponseHead& head) {
    const std::string_view text = head.fields.find("content-length").value_or("");
    std::uint64_t length = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), length);
    return read.ec == std::errc() ? length : 0;
}

}  // namespace

void Producer::publish_head(std::optional<std::uint64_t> content_length, bool event_stream) {
    if (std::exchange(head_published_, true)) return;
    cache::FlightHead head;
    head.status = call_->head().status;
    head.fields = http::forwarded_response_fields(call_->head().fields);
    mask_.mask_values(head.fields);
    const int status = call_->head().status;
    name_attempt(std::to_string(status));
    head.fields.set("x-weir-attempts", attempts_);
    head.event_stream = event_stream;
    head.usage_asked = usage_asked_;
    head.content_length = content_length;
    head.upstream = upstream_->name;
    head.key_number = target_.key;
    permit_.note({.status = status}, call_->head().fields, Deadline::Clock::now());
    // From here on there is no other call. What is still being sent needs the body to its end.
    if (call_->request_written()) plan_->bodies.clear();
    flight_->publish_head(std::move(head));
}

void Producer::publish_stream_head() {
    if (head_limit_) head_limit_->set(Deadline::never());
    publish_head(std::nullopt, true);
}

// The listeners are far behind. False: nobody listens any more.
Awaitable<bool> Producer::wait_for_room() {
    while (flight_->congested()) {
        co_await room_->wait();
        if (flight_->abandoned()) co_return false;
    }
    co_return true;
}

Awaitable<Result<>> Producer::relay_events() {
    const auto keep_alive = plan_->snapshot->config->stream_keep_alive;
    head_limit_.emplace(worker_.context.get_executor(), [this] { publish_stream_head(); });
    head_limit_->set(Deadline::in(
        keep_alive.count() > 0 ? std::min<milliseconds>(keep_alive, kHeadHeld) : kHeadHeld
    ));
    http::StreamWatch watch(plan_->shape, plan_->choices, plan_->limit_set);
    http::SseSplitter splitter;
    std::vector<std::string> blocks;
    std::string part;
    bool any = false;
    Deadline::Clock::time_point begun;  // the first block
    while (true) {
        const Result<bool> more = co_await call_->read(part);
        if (!more) {
            // Behind the terminal nothing matters to the client; but what broke is not kept, and
            // what the terminal came too early for is broken all the same.
            http::Ending ending = watch.end("");
            if (ending == http::Ending::kWhole) ending = http::Ending::kWholeNoCache;
            if (head_published_ && watch.terminal_seen() && ending != http::Ending::kBroken &&
                !flight_->abandoned()) {
                conclude(ending, true, watch.usage());
                co_return Result<>();
            }
            co_return std::unexpected(more.error());
        }
        mask_.mask(part, !*more);
        if (part.empty() && !*more) break;
        blocks.clear();
        if (const Result<> cut = splitter.feed(part, blocks); !cut) {
            co_return fail(ErrorCode::kUpstreamProtocol, cut.error().detail);
        }
        if (blocks.empty()) {
            if (!*more) break;
            continue;
        }
        const auto now = Deadline::Clock::now();
        if (!any) begun = now;
        any = true;
        publish_stream_head();
        const auto at = std::chrono::duration_cast<std::chrono::milliseconds>(now - begun);
        std::vector<cache::Chunk> chunks;
        chunks.reserve(blocks.size());
        for (std::string& block : blocks) {
            const bool content = watch.see(block);
            chunks.push_back(
                {.bytes = std::move(block),
                 .usage_only = !content && usage_asked_,
                 .at_ms = static_cast<std::uint32_t>(at.count())}
            );
        }
        bool heard = flight_->publish(std::move(chunks));
        if (heard && flight_->congested()) heard = co_await wait_for_room();
        if (!heard) co_return fail(ErrorCode::kCancelled, "nobody listens any more");
        if (!*more) break;
    }
    const http::Ending ending = watch.end(splitter.rest());
    if (ending == http::Ending::kBroken) {
        co_return fail(ErrorCode::kUpstreamClosed, "the stream ended before its terminal event");
    }
    publish_stream_head();
    if (!splitter.rest().empty()) {
        std::vector<cache::Chunk> last(1);
        last.front().bytes = splitter.rest();
        flight_->publish(std::move(last));
    }
    conclude(ending, true, watch.usage());
    co_return Result<>();
}

Awaitable<Result<>> Producer::relay_plain() {
    const http::ResponseHead& head = call_->head();
    std::optional<std::uint64_t> length;
    if (head.framing == http::Framing::kLength) length = head.content_length;
    if (head.framing == http::Framing::kNone) length = told_length(head);
    const bool json =
        head.content_type() == "application/json" && !head.fields.find("content-encoding");
    const bool gather = json && (!length || *length <= kGatherBytes);
    const bool until_close = json && head.framing == http::Framing::kUntilClose;
    std::string body;
    std::string part;
    bool whole = false;  // all of it is in `body`
    if (gather) {
        while (!whole && body.size() <= kGatherBytes) {
            const Result<bool> more = co_await call_->read(part);
            if (!more) co_return std::unexpected(more.error());
            whole = !*more;
            mask_.mask(part, whole);
            body += part;
        }
        if (whole) length = body.size();
    }
    std::optional<http::Usage> usage;
    const http::Ending judged = whole
                                    ? http::judge_json(plan_->shape, body, plan_->limit_set, &usage)
                                    : http::Ending::kWholeNoCache;
    if (whole && judged == http::Ending::kBroken) {
        co_return fail(
            ErrorCode::kUpstreamProtocol, "the answer is not the JSON that it says it is"
        );
    }
    publish_head(length, false);
    const bool unjudged = until_close && !whole;
    http::JsonBalance balance;
    if (unjudged) balance.see(body);
    std::string tail;
    if (json && !whole) keep_tail(tail, body);
    if (!body.empty()) {
        std::vector<cache::Chunk> first(1);
        first.front().bytes = std::move(body);
        bool heard = flight_->publish(std::move(first));
        if (heard && flight_->congested()) heard = co_await wait_for_room();
        if (!heard) co_return fail(ErrorCode::kCancelled, "nobody listens any more");
    }
    while (!whole) {
        const Result<bool> more = co_await call_->read(part);
        if (!more) co_return std::unexpected(more.error());
        whole = !*more;
        mask_.mask(part, whole);
        if (part.empty()) continue;
        if (unjudged) balance.see(part);
        if (json) keep_tail(tail, part);
        std::vector<cache::Chunk> next(1);
        next.front().bytes = std::move(part);
        bool heard = flight_->publish(std::move(next));
        if (heard && flight_->congested()) heard = co_await wait_for_room();
        if (!heard) co_return fail(ErrorCode::kCancelled, "nobody listens any more");
    }
    // Where the connection's end is the answer's, a cut is a clean end to HTTP.
    if (unjudged && !balance.closed()) {
        co_return fail(ErrorCode::kUpstreamClosed, "the JSON ended in its middle");
    }
    http::Ending ending = judged;
    if (json && judged == http::Ending::kWholeNoCache && plan_->key) {
        // It was relayed in pieces; if the flight kept them all, it can still be judged and kept.
        if (const auto kept = flight_->backlog()) {
            std::string all;
            for (const cache::ChunkPtr& chunk : *kept) all += chunk->bytes;
            ending = http::judge_json(plan_->shape, all, plan_->limit_set, &usage);
            if (ending == http::Ending::kBroken) {
                co_return fail(
                    ErrorCode::kUpstreamProtocol, "the answer is not the JSON that it says it is"
                );
            }
        }
    }
    if (!usage && !tail.empty()) usage = usage_in(tail);
    conclude(ending, false, usage);
    co_return Result<>();
}

// The answer came to its end. Store before leaving the board: a request that comes now finds the
// one or the other.
void Producer::conclude(
    http::Ending ending, bool event_stream, const std::optional<http::Usage>& usage
) {
    if (ending != http::Ending::kError) {
        // What nobody told stays as it was reserved.
        std::optional<quota::Amounts> used;
        if (usage) used = amounts_of(plan_->price, *usage);
        plan_->reservation.charge(used);
    } else {
        give_back();
    }
    if (mask_.seen()) {
        log::warn(
            "an answer repeated the upstream's key: it was blacked out",
            {{"upstream", std::string_view(upstream_->name)},
             {"id", std::string_view(plan_->request_id)}}
        );
    } else if (ending == http::Ending::kWhole && call_->head().status == 200) {
        keep(event_stream, usage);
    }
    leave_board();
    const bool tells_error = ending == http::Ending::kError;
    flight_->end({.clean = true, .error = std::nullopt, .tells_error = tells_error, .usage = usage}
    );
    told_ = true;
}

void Producer::keep(bool event_stream, const std::optional<http::Usage>& usage) {
    if (!plan_->key || call_->head().fields.find("content-encoding")) return;
    const auto backlog = flight_->backlog();
    if (!backlog) return;
    const config::Cache& options = plan_->snapshot->config->cache;
    auto entry = std::make_shared<cache::Entry>();
    entry->key_text = plan_->key->text;
    entry->stream = event_stream;
    std::size_t bytes = 0;
    for (const cache::ChunkPtr& chunk : *backlog) bytes += chunk->bytes.size();
    if (bytes > options.max_entry_bytes) return;
    if (event_stream) {
        entry->parts.reserve(backlog->size());
        entry->times_ms.reserve(backlog->size());
        for (const cache::ChunkPtr& chunk : *backlog) {
            entry->parts.push_back(chunk->bytes);
            entry->times_ms.push_back(chunk->at_ms);
        }
    } else {
        std::string whole;
        whole.reserve(bytes);
        for (const cache::ChunkPtr& chunk : *backlog) whole += chunk->bytes;
        entry->parts.push_back(std::move(whole));
    }
    entry->content_type =
        std::string(call_->head().fields.find("content-type").value_or("application/json"));
    entry->status = call_->head().status;
    entry->model = plan_->served_model;
    entry->owner = plan_->owner;
    entry->usage = usage;
    entry->stored_at_s = std::time(nullptr);
    entry->expires_at_s = entry->stored_at_s + plan_->ttl.count();
    worker_.shared.cache.store(*plan_->key, std::move(entry));
}

}  // namespace weir::proxy
