// What the upstream says: which answer it belongs to, what that took, and whether the client is to
// see it.
#include <algorithm>
#include <utility>

#include "weir/base/log.hpp"
#include "weir/base/text.hpp"
#include "weir/proxy/meters.hpp"

#include "estimate.hpp"
#include "socket_session.hpp"

namespace weir::proxy {

namespace {

// Ids that a client may go on from, of each connection.
constexpr std::size_t kIdsKept = 1024;
// Of our own messages to an upstream, until it takes them.
constexpr std::size_t kMostUnsaid = 64;

}  // namespace

Awaitable<> SocketSession::pump_upstream(std::shared_ptr<SocketSession> self) {
    DialledSocket& upstream = *self->upstream_;
    while (!self->ending_) {
        auto message = co_await upstream.socket->read();
        if (self->ending_) break;
        if (!message) {
            self->upstream_ended(message.error());
            break;
        }
        if (message->text) {
            const http::ServerEvent event = http::read_server_event(message->bytes);
            const bool shown = co_await self->hear(event);
            // The answer that used a cap up is whole; what it ends with goes out before our word.
            if (self->ending_ && self->ending_->why != SocketEnding::Why::kOverdrawn) break;
            if (!shown) continue;
        }
        if (self->asked_) self->answered_ = true;
        // Length stays, and so does the text's being UTF-8.
        std::string masked;
        std::string_view bytes = message->bytes.view();
        for (http::SecretMask& mask : upstream.masks) {
            if (!mask.stands_in(bytes)) continue;
            if (masked.empty()) masked = bytes;
            mask.mask_whole(masked);
            bytes = masked;
        }
        if (!masked.empty()) {
            log::warn(
                "an event repeated the upstream's key: it was blacked out",
                {{"upstream", std::string_view(upstream.upstream->name)},
                 {"id", std::string_view(self->x_.id)}}
            );
        }
        const bool written = co_await self->client_->write(bytes, message->text);
        if (!written) {
            self->client_ended({SocketEnd::Kind::kBroken, {}, "it takes nothing"});
            break;
        }
        ++self->x_.socket->messages_out;
        self->x_.socket->bytes_out += bytes.size();
        self->worker_.shared.meters.socket_messages_out.add();
    }
}

// An upstream that breaks off must not look as if it had said goodbye.
void SocketSession::upstream_ended(const SocketEnd& end_of_it) {
    using Kind = SocketEnd::Kind;
    SocketEnding ending;
    ending.why = SocketEnding::Why::kUpstreamBroke;
    const std::string& name = upstream_->upstream->name;
    if (end_of_it.kind == Kind::kClosed) {
        ending.why = SocketEnding::Why::kUpstreamLeft;
        ending.to_client = end_of_it.close;
        for (http::SecretMask& mask : upstream_->masks) mask.mask_whole(ending.to_client.reason);
    } else if (end_of_it.kind == Kind::kNoRoom) {
        ending.to_client = {1013, "the gateway holds as many messages as it may; try again"};
        ending.to_upstream.code = 1013;
        ending.error = http::bodies_full();
    } else {
        const bool broke = end_of_it.kind == Kind::kBroken;
        ending.to_client = {1011, "the upstream " + name + " broke off"};
        ending.to_upstream.code = 1011;
        ending.error = http::upstream_failed(
            broke ? http::UpstreamFault::kBrokeOff : http::UpstreamFault::kProtocol, name
        );
        log::warn(
            "an upstream broke a session off",
            {{"upstream", std::string_view(name)},
             {"why", std::string_view(end_of_it.detail)},
             {"id", std::string_view(x_.id)}}
        );
    }
    end(std::move(ending));
}

Awaitable<bool> SocketSession::hear(const http::ServerEvent& event) {
    using Kind = http::ServerEvent::Kind;
    switch (event.kind) {
        case Kind::kCreated: {
            if (api_ == SocketApi::kResponses && !event.response_id.empty()) {
                own_ids_.push_back(event.response_id);
                if (own_ids_.size() > kIdsKept) own_ids_.pop_front();
            }
            const SocketAnswer* const asked = answers_.created(event);
            if (asked == nullptr) {
                const bool admitted = co_await begin_unasked(event);
                if (!admitted) co_return false;
            }
            break;
        }
        case Kind::kEnded: {
            const SocketAnswer* const known = answers_.find(event.response_id);
            const bool refused = known != nullptr && known->refused;
            // The end is told behind the gate as well, and what follows is settled by it.
            const bool durable = co_await gate();
            if (!durable) co_return false;
            answer_ended(event);
            co_return !refused;
        }
        case Kind::kError:
            answer_failed(event);
            co_return true;
        case Kind::kTranscribed:
            if (transcribes_ && event.usage) spent(*event.usage);
            break;
        case Kind::kOther:
            break;
    }
    const SocketAnswer* const answer = answers_.find(event.response_id);
    if (answer != nullptr && answer->refused) co_return false;
    co_return co_await gate();
}

// The upstream began an answer by itself (it heard the speaker stop). It is a message all the same;
// if no cap admits it, it is cancelled and nothing of it is shown.
Awaitable<bool> SocketSession::begin_unasked(const http::ServerEvent& event) {
    SocketAnswer answer;
    answer.response_id = event.response_id;
    answer.stream_id = event.stream_id;
    answer.price = x_.price;
    Problem problem;
    if (counts_answers_) {
        reserve_for(std::nullopt);
        problem = proxy_.decide(x_, false, nullptr, answer.reservation);
    }
    answer.refused = static_cast<bool>(problem);
    if (!problem) gate_ = std::max(gate_, answer.reservation.sequence());
    answers_.add(std::move(answer));
    if (!problem) co_return true;
    if (x_.refusal) worker_.shared.meters.messages_refused.add();
    x_.refusal.reset();
    if (unsaid_ >= kMostUnsaid) {
        upstream_ended({SocketEnd::Kind::kProtocol, {}, "it takes no response.cancel"});
        co_return false;
    }
    ++unsaid_;
    const std::string id = json_quote(event.response_id);
    spawn(say(shared_from_this(), R"({"type":"response.cancel","response_id":)" + id + "}"));
    const http::ErrorContext context{
        .responses = api_ == SocketApi::kResponses, .event_id = {}, .stream_id = event.stream_id
    };
    const bool told = co_await tell(http::error_event(*problem, context));
    if (!told) client_ended({SocketEnd::Kind::kBroken, {}, "it takes nothing"});
    co_return false;
}

Awaitable<> SocketSession::say(std::shared_ptr<SocketSession> self, std::string text) {
    static_cast<void>(co_await self->upstream_->socket->write(text, true));
    --self->unsaid_;
}

void SocketSession::answer_ended(const http::ServerEvent& event) {
    std::optional<SocketAnswer> answer = answers_.ended(event);
    if (event.usage) last_ = *event.usage;
    ++x_.socket->answers;
    if (worker_.draining) signal_->notify_home();  // it may have been the last one
    if (!counts_answers_) {
        if (event.usage) spent(*event.usage);
        untold_ = untold_ || !event.usage;
        return;
    }
    if (!answer || !answer->reservation.open()) return;
    const bool nothing_made = answer->warm_up && event.usage && event.usage->output == 0;
    if (event.failed || nothing_made) {
        worker_.shared.meters.messages_refunded.add();
        answer->reservation.refund();
        return;
    }
    // What nobody told stays as it was reserved.
    std::optional<quota::Amounts> used;
    if (event.usage) used = amounts_of(answer->price, *event.usage);
    answer->reservation.charge(used);
}

void SocketSession::answer_failed(const http::ServerEvent& event) {
    std::optional<SocketAnswer> answer = answers_.failed(event);
    if (!answer || !answer->reservation.open()) return;
    worker_.shared.meters.messages_refunded.add();
    answer->reservation.refund();
}

// Where the session is the message: its tokens and money are seen by all caps as they are used, and
// it ends when one of these is used up.
void SocketSession::spent(const http::Usage& usage) {
    used_.input += usage.input;
    used_.cached_input += usage.cached_input;
    used_.output += usage.output;
    if (!reservation_.open()) return;
    quota::Amounts used = amounts_of(x_.price, used_);
    used.tokens = std::max<std::uint64_t>(used.tokens, 1);  // in flight it has to be seen
    reservation_.restate(used);
    if (auto problem = proxy_.overdrawn(x_)) {
        end(
            {.why = SocketEnding::Why::kOverdrawn,
             .to_client = {1008, "a cap is used up"},
             .to_upstream = {1001, ""},
             .error = std::move(*problem)}
        );
    }
}

// Nothing is told of an answer whose charge is not on disk. Normally it is long there.
Awaitable<bool> SocketSession::gate() {
    if (gate_ == 0) co_return true;
    const quota::Sequence sequence = gate_;
    const auto signal = Signal::create(worker_.context.get_executor());
    while (true) {
        const std::optional<bool> passed = worker_.shared.ledger.gate(sequence, signal);
        if (passed && *passed) {
            if (gate_ == sequence) gate_ = 0;
            co_return true;
        }
        if (passed) {
            end(
                {.why = SocketEnding::Why::kStorage,
                 .to_client = {1011, "the gateway cannot count messages now"},
                 .to_upstream = {1001, ""},
                 .error = http::storage_down()}
            );
            co_return false;
        }
        if (ending_) co_return false;
        co_await signal->wait();
    }
}

}  // namespace weir::proxy
