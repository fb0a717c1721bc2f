#include "relay.hpp"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "weir/http/response_id.hpp"
#include "weir/proxy/meters.hpp"
#include "weir/proxy/proxy.hpp"

#include "crossed.hpp"
#include "endpoint.hpp"

namespace weir::proxy {

namespace {

using Next = cache::Subscription::Next;

// An own call's answer that is of the other kind; what is longer goes out as it is.
constexpr std::size_t kLongestOwn = 64 << 20;

// The first event of a stream has the response's id; some upstreams send something before it.
constexpr int kLookedAt = 4;

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
        key_number_ = head.key_number;
        // Of a stream it is known now that it will not tell; of a plain answer at its end.
        const bool tells_none = event_stream_ && !head.usage_asked && head.status == 200;
        if (!own_ && tells_none && needs_usage(x_, way_, true)) return false;
        x_.attempts = head.fields.find("x-weir-attempts").value_or("");
        if (!head.error_code.empty()) x_.error_code = head.error_code;
        if (head.status >= 400) x_.caps_known = false;  // the message was given back
        decorate(worker_, x_, fields_);
        if (way_ == Way::kAsItIs) begin();
        return true;
    }

    // What of them is to be written now: borrowed from them, and until the next call. Empty:
    // nothing.
    [[nodiscard]] const std::vector<std::string_view>& take(std::vector<cache::ChunkPtr>& chunks) {
        pieces_.clear();
        note_response(chunks);
        if (way_ != Way::kAsItIs) {
            std::size_t bytes = 0;
            for (const cache::ChunkPtr& chunk : chunks) bytes += chunk->bytes.size();
            gathered_bytes_ += bytes;
            std::ranges::move(chunks, std::back_inserter(gathered_));
            if (may_gather(bytes)) return pieces_;
            overlong_ = !own_;
            if (overlong_) return pieces_;
            give_up_gathering(chunks);
        }
        pieces_.reserve(chunks.size());
        for (const cache::ChunkPtr& chunk : chunks) {
            if (!chunk->usage_only || x_.json.include_usage) pieces_.push_back(chunk->bytes);
        }
        return pieces_;
    }

    // False: a joined flight's answer cannot be crossed; nothing was sent.
    [[nodiscard]] Awaitable<bool> end(const cache::FlightEnd& end) {
        if (x_.joined && end.clean && !end.tells_error) x_.saved = end.usage;
        if (!end.clean) {
            x_.attempts = end.attempts;
            x_.caps_known = false;  // the message was given back
            co_await tell_error(
                worker_, x_, client_, end.error ? *end.error : http::internal_error()
            );
        } else if (way_ != Way::kAsItIs) {
            const bool tells_none = !event_stream_ && !end.tells_error && !end.usage;
            if (!own_ && tells_none && needs_usage(x_, way_, false)) co_return false;
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
            std::vector<cache::ChunkPtr> chunks;
            give_up_gathering(chunks);
            bool sent = co_await client_.write(take(chunks));
            if (sent) sent = co_await client_.finish();
            x_.client_gone = !sent;
        } else if (begun_) {
            const bool sent = co_await client_.finish();
            x_.client_gone = !sent;
        }
        co_return true;
    }

    // When the wait for more is to be broken off.
    [[nodiscard]] Deadline wakes_at() const noexcept {
        if (keeps_alive()) return Deadline::in(x_.snapshot->config->stream_keep_alive);
        return client_.begun() ? Deadline::never() : x_.patience;
    }
    // A comment between two events, which clients skip. False: the client is gone.
    [[nodiscard]] Awaitable<bool> keep_alive() {
        if (!keeps_alive()) co_return true;
        static constexpr std::string_view kComment = ": keep-alive\n\n";
        const std::vector<std::string_view> pieces = {kComment};
        co_return co_await client_.write(pieces);
    }

    [[nodiscard]] bool event_stream() const noexcept { return event_stream_; }
    // Too long to be crossed, and not this exchange's own.
    [[nodiscard]] bool overlong() const noexcept { return overlong_; }

private:
    [[nodiscard]] bool keeps_alive() const noexcept {
        return begun_ && event_stream_ && way_ == Way::kAsItIs &&
               x_.snapshot->config->stream_keep_alive.count() > 0;
    }
    // What the flight keeps is not held twice, and is in the budget. Past that a listener would
    // hold all of it for itself: only its own exchange may, as far as the budget goes.
    [[nodiscard]] bool may_gather(std::size_t more_bytes) {
        if (gathered_bytes_ > (own_ ? kLongestOwn : kLongestCrossed)) return false;
        if (flight_.shareable()) return true;
        const bool first = !std::exchange(holds_alone_, true);
        return own_ && held_.take(first ? gathered_bytes_ : more_bytes);
    }
    // Before the client has it: its next request may go on from this response at once.
    void note_response(const std::vector<cache::ChunkPtr>& chunks) {
        if (status_ != 200 || !may_go_on(x_)) return;
        for (const cache::ChunkPtr& chunk : chunks) {
            if (looked_at_ == kLookedAt) return;
            ++looked_at_;
            const std::string_view id = http::response_id(chunk->bytes, event_stream_);
            if (id.empty()) continue;
            const Pin where{upstream_, key_number_};
            worker_.shared.stored_responses.add(id, x_.member->account, where);
            looked_at_ = kLookedAt;
        }
    }
    void begin() {
        if (event_stream_) add_stream_fields(fields_);
        mark_head(x_, status_);
        client_.begin(status_, std::move(fields_), length_);
        begun_ = true;
    }
    // It goes out as it is: `chunks` are all of it so far.
    void give_up_gathering(std::vector<cache::ChunkPtr>& chunks) {
        way_ = Way::kAsItIs;
        begin();
        chunks = std::exchange(gathered_, {});
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
    std::size_t key_number_ = 0;
    int looked_at_ = 0;  // chunks, for the response's id
    http::Fields fields_;
    std::vector<std::string_view> pieces_;
    std::vector<cache::ChunkPtr> gathered_;
    std::size_t gathered_bytes_ = 0;
    BudgetShare held_;
    bool holds_alone_ = false;
    bool overlong_ = false;
};

}  // namespace

Awaitable<> tell_error(
    Worker& worker, Exchange& x, ClientStream& client, const http::ApiError& error
) {
    x.error_code = error.code.empty() ? error.type : error.code;
    http::Response answer = error.response(x.api, x.id);
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
                const bool woken = co_await signal->wait(relay.wakes_at());
                if (woken) break;
                if (!client.begun() && x.patience.passed()) {
                    // It is about to leave; others may have more time.
                    co_await tell_error(worker, x, client, http::out_of_patience());
                    co_return Relayed::kDone;
                }
                const bool kept = co_await relay.keep_alive();
                if (!kept) x.client_gone = true;
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
                const std::vector<std::string_view>& pieces = relay.take(next.chunks);
                const bool sent = pieces.empty() || co_await client.write(pieces);
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
                    (next.end.error ? *next.end.error : http::internal_error()).event(x.api);
                bool told = co_await client.write({event});
                if (told) told = co_await client.finish();
                x.client_gone = !told;
                co_return Relayed::kDone;
            }
        }
        if (x.client_gone) co_return Relayed::kDone;
    }
}

}  // namespace weir::proxy
