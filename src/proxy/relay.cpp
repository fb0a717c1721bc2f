#include "relay.hpp"

#include <algorithm>
#include <ctime>
#include <iterator>
#include <utility>
#include <vector>

#include "weir/http/answer.hpp"
#include "weir/http/crossing.hpp"
#include "weir/http/sse.hpp"
#include "weir/proxy/meters.hpp"
#include "weir/proxy/proxy.hpp"

namespace weir::proxy {

namespace {

using Next = cache::Subscription::Next;

// An answer has to be held whole to be crossed, and its worker does nothing else meanwhile (2 MiB
// full of logprobs: half a second). What is longer is asked for anew.
constexpr std::size_t kLongestCrossed = 2 << 20;
// An own call's answer that is of the other kind; what is longer goes out as it is.
constexpr std::size_t kLongestOwn = 64 << 20;

std::int64_t age_of(const cache::Entry& entry) {
    return std::max<std::int64_t>(0, std::time(nullptr) - entry.stored_at_s);
}

enum class Way : std::uint8_t { kAsItIs, kToJson, kToStream };

Way choose_way(const Exchange& x, int status, bool event_stream, const http::Fields& fields) {
    if (!http::crosses(x.endpoint->shape) || status != 200) return Way::kAsItIs;
    if (fields.find("content-encoding")) return Way::kAsItIs;  // we cannot read it
    if (x.json.stream == event_stream) return Way::kAsItIs;
    return event_stream ? Way::kToJson : Way::kToStream;
}

// Whether a stream that was not asked for its usage lacks what this client gets of it.
bool wants_usage(const Exchange& x, Way way, bool event_stream) noexcept {
    if (!event_stream || !http::has_usage_chunk(x.endpoint->shape)) return false;
    return way == Way::kToJson || x.json.include_usage;
}

// The same of a plain answer that becomes a stream; that it lacks it is only known at its end.
bool wants_usage_chunk(const Exchange& x, Way way) noexcept {
    return way == Way::kToStream && x.json.include_usage &&
           http::has_usage_chunk(x.endpoint->shape);
}

void mark_head(Exchange& x, int status) {
    x.status = status;
    x.first_byte =
        std::chrono::duration_cast<std::chrono::microseconds>(Deadline::Clock::now() - x.begun);
}

// A proxy in between must not hold a stream back.
void add_stream_fields(http::Fields& fields) {
    fields.set("cache-control", "no-cache");
    fields.set("x-accel-buffering", "no");
}

// What one exchange took from a budget.
class BudgetShare {
public:
    explicit BudgetShare(BufferBudget& budget) noexcept : budget_(budget) {}
    ~BudgetShare() {
        if (taken_ > 0) budget_.give_back(taken_);
    }
    BudgetShare(const BudgetShare&) = delete;
    BudgetShare& operator=(const BudgetShare&) = delete;
    [[nodiscard]] bool take(std::size_t bytes) noexcept {
        if (!budget_.take(bytes)) return false;
        taken_ += bytes;
        return true;
    }

private:
    BufferBudget& budget_;
    std::size_t taken_ = 0;
};

// Sends a whole answer of the one kind as the other. False: it cannot be; nothing was sent.
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
        http::SseSplitter splitter;
        std::vector<std::string> blocks;
        bool cut = true;
        for (const std::string_view part : parts)
            cut = cut && splitter.feed(part, blocks).has_value();
        // A last event without its blank line is one as well.
        if (!splitter.rest().empty()) blocks.emplace_back(splitter.rest());
        const std::vector<std::string_view> views(blocks.begin(), blocks.end());
        Result<std::string> json = http::stream_to_json(x.endpoint->shape, views);
        if (!cut || !json || !held.take(json->size())) co_return false;
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

// One subscriber's way through its flight.
class FlightRelay {
public:
    FlightRelay(
        Worker& worker, Exchange& x, ClientStream& client, const cache::Flight& flight
    ) noexcept
        : worker_(worker),
          x_(x),
          client_(client),
          flight_(flight),
          own_(!x.joined),
          held_(worker.shared.backlogs) {}

    // False: a joined flight's answer is not what this client asks for; nothing was sent.
    [[nodiscard]] bool head(const cache::FlightHead& head) {
        event_stream_ = head.event_stream;
        status_ = head.status;
        length_ = head.content_length;
        way_ = choose_way(x_, head.status, head.event_stream, head.fields);
        fields_ = head.fields;
        upstream_ = head.upstream;
        const bool lacks_usage = !head.usage_asked && wants_usage(x_, way_, event_stream_);
        if (!own_ && lacks_usage && head.status == 200) return false;
        if (!head.error_code.empty()) x_.error_code = head.error_code;
        if (head.status >= 400) x_.caps_known = false;  // the message was given back
        decorate(worker_, x_, fields_);
        if (way_ == Way::kAsItIs) begin();
        return true;
    }

    // False: the client is gone.
    [[nodiscard]] Awaitable<bool> chunks(std::vector<cache::ChunkPtr> chunks) {
        if (way_ != Way::kAsItIs) {
            std::size_t bytes = 0;
            for (const cache::ChunkPtr& chunk : chunks) bytes += chunk->bytes.size();
            gathered_bytes_ += bytes;
            std::ranges::move(chunks, std::back_inserter(gathered_));
            if (may_gather(bytes)) co_return true;
            overlong_ = !own_;
            if (overlong_) co_return true;
            co_return co_await as_it_is();
        }
        std::vector<std::string_view> pieces;
        pieces.reserve(chunks.size());
        for (const cache::ChunkPtr& chunk : chunks) {
            if (!chunk->usage_only || x_.json.include_usage) pieces.push_back(chunk->bytes);
        }
        if (pieces.empty()) co_return true;
        co_return co_await client_.write(pieces);
    }

    // False: a joined flight's answer cannot be crossed; nothing was sent.
    [[nodiscard]] Awaitable<bool> end(const cache::FlightEnd& end) {
        if (x_.joined && end.clean && !end.tells_error) x_.saved = end.usage;
        if (!end.clean) {
            x_.caps_known = false;  // the message was given back
            co_await tell_error(
                worker_, x_, client_, end.error ? *end.error : http::internal_error()
            );
        } else if (way_ != Way::kAsItIs) {
            if (!own_ && !end.tells_error && !end.usage && wants_usage_chunk(x_, way_)) {
                co_return false;
            }
            std::vector<std::string_view> parts;
            parts.reserve(gathered_.size());
            for (const cache::ChunkPtr& chunk : gathered_) parts.push_back(chunk->bytes);
            const bool crossed = co_await send_crossed(worker_, x_, client_, way_, fields_, parts);
            if (crossed) co_return true;
            if (!own_ && end.tells_error) {
                // Each of them going upstream for itself would be a stampede on what failed.
                const auto error = http::upstream_failed(http::UpstreamFault::kError, upstream_);
                co_await tell_error(worker_, x_, client_, error);
                co_return true;
            }
            if (!own_) co_return false;
            // What the upstream gave is better than nothing.
            bool sent = co_await as_it_is();
            if (sent) sent = co_await client_.finish();
            x_.client_gone = !sent;
        } else if (begun_) {
            const bool sent = co_await client_.finish();
            x_.client_gone = !sent;
        }
        co_return true;
    }

    [[nodiscard]] bool event_stream() const noexcept { return event_stream_; }
    // Too long to be crossed, and not this exchange's own.
    [[nodiscard]] bool overlong() const noexcept { return overlong_; }

private:
    // What the flight keeps is not held twice, and is in the budget. Past that a listener would
    // hold all of it for itself: only its own exchange may, as far as the budget goes.
    [[nodiscard]] bool may_gather(std::size_t more_bytes) {
        if (gathered_bytes_ > (own_ ? kLongestOwn : kLongestCrossed)) return false;
        if (flight_.shareable()) return true;
        const bool first = !std::exchange(holds_alone_, true);
        return own_ && held_.take(first ? gathered_bytes_ : more_bytes);
    }
    void begin() {
        if (event_stream_) add_stream_fields(fields_);
        mark_head(x_, status_);
        client_.begin(status_, std::move(fields_), length_);
        begun_ = true;
    }
    [[nodiscard]] Awaitable<bool> as_it_is() {
        way_ = Way::kAsItIs;
        begin();
        co_return co_await chunks(std::exchange(gathered_, {}));
    }

    Worker& worker_;
    Exchange& x_;
    ClientStream& client_;
    const cache::Flight& flight_;
    const bool own_;  // this exchange's own call
    Way way_ = Way::kAsItIs;
    bool event_stream_ = false;
    bool begun_ = false;
    int status_ = 0;
    std::optional<std::uint64_t> length_;
    std::string upstream_;
    http::Fields fields_;
    std::vector<cache::ChunkPtr> gathered_;
    std::size_t gathered_bytes_ = 0;
    BudgetShare held_;
    bool holds_alone_ = false;
    bool overlong_ = false;
};

// A part of a stored stream, and when it is due.
struct Part {
    std::string_view bytes;
    std::chrono::milliseconds at{0};
};

// Those that only carry usage are not for clients that did not ask.
std::vector<Part> parts_for(const Exchange& x, const cache::Entry& entry) {
    std::vector<Part> parts;
    parts.reserve(entry.parts.size());
    const bool filter =
        entry.stream && !x.json.include_usage && http::has_usage_chunk(x.endpoint->shape);
    const bool timed = entry.times_ms.size() == entry.parts.size();
    for (std::size_t i = 0; i < entry.parts.size(); ++i) {
        const std::string& part = entry.parts[i];
        if (filter && part.find("\"usage\"") != std::string::npos) {
            http::StreamWatch watch(x.endpoint->shape, 1, true);
            if (!watch.see(part)) continue;
        }
        parts.push_back({part, std::chrono::milliseconds(timed ? entry.times_ms[i] : 0)});
    }
    return parts;
}

std::vector<std::string_view> bytes_of(const std::vector<Part>& parts) {
    std::vector<std::string_view> bytes;
    bytes.reserve(parts.size());
    for (const Part& part : parts) bytes.push_back(part.bytes);
    return bytes;
}

// Each part when it is due; the rest at once when the drain is over. False: the client is gone.
Awaitable<bool> write_paced(
    Worker& worker,
    ClientStream& client,
    const std::vector<Part>& parts,
    std::shared_ptr<Signal> signal
) {
    const Waiting waiting(worker, signal);
    client.watch(signal);
    const auto begun = Deadline::Clock::now();
    std::vector<std::string_view> due;
    for (std::size_t next = 0; next < parts.size();) {
        const auto now = Deadline::Clock::now();
        due.clear();
        while (next < parts.size() && (worker.stopping || begun + parts[next].at <= now)) {
            due.push_back(parts[next++].bytes);
        }
        bool sent = true;
        if (!due.empty()) sent = co_await client.write(due);
        if (sent && next < parts.size()) {
            sent = co_await client.flush();
            if (sent) co_await signal->wait(Deadline(begun + parts[next].at));
        }
        if (!sent || client.gone()) co_return false;
    }
    co_return true;
}

}  // namespace

bool wants(const Exchange& x, const cache::EntryPtr& entry) {
    if (!entry) return false;
    return !x.control.max_age || age_of(*entry) <= x.control.max_age->count();
}

Awaitable<> tell_error(
    Worker& worker, Exchange& x, ClientStream& client, const http::ApiError& error
) {
    x.error_code = error.code.empty() ? error.type : error.code;
    http::Response answer = error.response();
    decorate(worker, x, answer.fields);
    mark_head(x, answer.status);
    const bool sent = co_await client.send(answer);
    x.client_gone = !sent;
}

Awaitable<Relayed> relay_flight(
    Worker& worker,
    Exchange& x,
    ClientStream& client,
    cache::Subscription& subscription,
    std::shared_ptr<Signal> signal
) {
    FlightRelay relay(worker, x, client, *subscription.flight());
    bool begun = false;
    while (true) {
        Next next = subscription.next();
        // The drain is over, or the client left: whoever else listens goes on.
        const bool stopping = worker.stopping && next.kind != Next::Kind::kEnd;
        if (client.gone()) {
            x.client_gone = true;
            co_return Relayed::kDone;
        }
        if (stopping)
            next = {
                .kind = Next::Kind::kEnd,
                .head = nullptr,
                .chunks = {},
                .end = {false, http::draining()}
            };
        switch (next.kind) {
            case Next::Kind::kNothingYet: {
                if (begun) {
                    const bool flushed = co_await client.flush();
                    if (!flushed) break;
                }
                co_await signal->wait();
                break;
            }
            case Next::Kind::kRefused:
                co_return Relayed::kAskCaps;
            case Next::Kind::kHead:
                if (const cache::EntryPtr entry = next.head->entry) {
                    x.joined = false;
                    if (!wants(x, entry)) co_return Relayed::kTooOld;
                    const bool served = co_await relay_entry(worker, x, client, *entry, signal);
                    co_return served ? Relayed::kDone : Relayed::kAskUpstream;
                }
                if (!relay.head(*next.head)) co_return Relayed::kAskUpstream;
                begun = true;
                break;
            case Next::Kind::kChunks: {
                const bool sent = co_await relay.chunks(std::move(next.chunks));
                if (!sent) x.client_gone = true;
                if (relay.overlong()) co_return Relayed::kAskUpstream;
                break;
            }
            case Next::Kind::kEnd: {
                // A head that did not go out yet can still be another one.
                const bool midway = !next.end.clean && x.status != 0 && client.begun();
                if (!midway) {
                    const bool told = co_await relay.end(next.end);
                    co_return told ? Relayed::kDone : Relayed::kAskUpstream;
                }
                // Something of a good answer went out already: the client must see that it broke.
                x.broken = true;
                x.error_code = next.end.error ? next.end.error->code : "internal";
                worker.shared.meters.streams_broken.add();
                if (!relay.event_stream()) {
                    client.abort();
                    co_return Relayed::kDone;
                }
                const std::string event =
                    (next.end.error ? *next.end.error : http::internal_error()).event();
                bool told = co_await client.write({event});
                if (told) told = co_await client.finish();
                x.client_gone = !told;
                co_return Relayed::kDone;
            }
        }
        if (x.client_gone) co_return Relayed::kDone;
    }
}

Awaitable<bool> relay_entry(
    Worker& worker,
    Exchange& x,
    ClientStream& client,
    const cache::Entry& entry,
    std::shared_ptr<Signal> signal
) {
    x.cache = CacheUse::kHit;
    x.age_s = age_of(entry);
    x.saved = entry.usage;
    http::Fields fields;
    fields.add("content-type", entry.content_type);
    decorate(worker, x, fields);
    const Way way = choose_way(x, entry.status, entry.stream, fields);
    // Its upstream was not asked for what this client asks for, or did not tell.
    const bool usage = wants_usage(x, way, entry.stream) || wants_usage_chunk(x, way);
    if (usage && !entry.usage) co_return false;
    if (way != Way::kAsItIs) {
        if (entry.bytes() > kLongestCrossed) co_return false;
        const std::vector<std::string_view> all(entry.parts.begin(), entry.parts.end());
        co_return co_await send_crossed(worker, x, client, way, fields, all);
    }
    const std::vector<Part> parts = parts_for(x, entry);
    mark_head(x, entry.status);
    std::optional<std::uint64_t> length;
    if (entry.stream) {
        add_stream_fields(fields);
    } else {
        length = entry.parts.empty() ? 0 : entry.parts.front().size();
    }
    client.begin(entry.status, std::move(fields), length);
    bool sent = false;
    if (entry.stream && x.snapshot->config->cache.replay == config::Replay::kPaced) {
        sent = co_await write_paced(worker, client, parts, signal);
    } else {
        const std::vector<std::string_view> bytes = bytes_of(parts);
        sent = co_await client.write(bytes);
    }
    if (sent) sent = co_await client.finish();
    x.client_gone = !sent;
    co_return true;
}

}  // namespace weir::proxy
