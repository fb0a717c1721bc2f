// What the client says: looked at, counted, and passed on.
#include <algorithm>
#include <utility>

#include "weir/http/hygiene.hpp"
#include "weir/proxy/meters.hpp"
#include "weir/upstream/target.hpp"

#include "classify.hpp"
#include "endpoint.hpp"
#include "estimate.hpp"
#include "socket_session.hpp"

namespace weir::proxy {

namespace {

constexpr std::string_view kCreate = "response.create";
// Of answers that were asked for and did not end. Nobody needs so many at once.
constexpr std::size_t kMostAnswers = 64;
// What an answer takes beyond what the one before it took: a question, and an answer.
constexpr std::uint64_t kMoreTokens = 8'192;

http::ApiError not_first() {
    return http::invalid_field("type", "The first message has to be a `response.create`.");
}

http::ApiError too_many_answers() {
    return http::invalid_field(
        "type", "This connection has 64 responses under way; wait until some of them have ended."
    );
}

}  // namespace

Awaitable<> SocketSession::pump_client(std::shared_ptr<SocketSession> self) {
    while (!self->ending_) {
        auto message = co_await self->client_->read();
        if (self->ending_) break;
        if (!message) {
            self->client_ended(message.error());
            break;
        }
        ++self->x_.socket->messages_in;
        self->x_.bytes_in += message->bytes.size();
        self->worker_.shared.meters.socket_messages_in.add();
        const bool go_on = co_await self->pass_on(std::move(*message));
        if (!go_on) break;
    }
}

void SocketSession::client_ended(const SocketEnd& end_of_it) {
    using Kind = SocketEnd::Kind;
    SocketEnding ending;
    ending.why = SocketEnding::Why::kClientLeft;
    switch (end_of_it.kind) {
        case Kind::kClosed:
            ending.to_client = end_of_it.close;  // it was answered already; for the log
            ending.to_upstream = end_of_it.close;
            break;
        case Kind::kTooBig:
            ending.to_client.code = 1009;
            ending.to_upstream.code = 1001;
            break;
        case Kind::kProtocol:
            ending.to_client.code = 1002;
            ending.to_upstream.code = 1001;
            break;
        case Kind::kNoRoom:
            ending.to_client = {1013, "the gateway holds as many messages as it may; try again"};
            ending.to_upstream.code = 1001;
            ending.error = http::bodies_full();
            break;
        case Kind::kBroken:
            ending.to_client.code = 1006;
            ending.to_upstream.code = 1001;
            break;
    }
    end(std::move(ending));
}

// False: the session ends.
Awaitable<bool> SocketSession::pass_on(SocketMessage message) {
    if (message.text) {
        auto json = http::read_json_request(message.bytes, false);
        const auto event = http::read_client_event(message.bytes);
        http::ErrorContext context{
            .responses = api_ == SocketApi::kResponses, .event_id = {}, .stream_id = {}
        };
        Problem problem;
        if (!json) {
            problem = http::invalid_json(json.error().message);
        } else if (!event) {
            problem = http::invalid_field("type", "An event needs a `type`, a string.");
        } else {
            context.event_id = event->event_id;
            context.stream_id = event->stream_id;
            problem = judge(*event, message.bytes.size());
        }
        if (!problem && api_ == SocketApi::kResponses) {
            problem = ask_response(*event, std::move(*json), message.bytes);
        } else if (!problem) {
            problem = ask_realtime(*event);
        }
        if (problem) {
            if (x_.refusal) worker_.shared.meters.messages_refused.add();
            x_.refusal.reset();
            co_return co_await tell(http::error_event(*problem, context));
        }
        std::optional<std::string> failed;
        if (!upstream_) failed = co_await reach_upstream(context);
        if (ending_) co_return false;
        if (!failed && api_ == SocketApi::kResponses && event->type == kCreate) {
            problem = rewrite(message.bytes);
            if (problem) failed = http::error_event(*problem, context);
        }
        if (failed) {
            take_back_last();
            co_return co_await tell(*failed);
        }
    } else if (!upstream_) {
        const http::ErrorContext context{.responses = true, .event_id = {}, .stream_id = {}};
        co_return co_await tell(http::error_event(not_first(), context));
    }
    const bool written = co_await upstream_->socket->write(message.bytes.view(), message.text);
    asked_ = true;
    // The reader of the other side knows better why, and says so.
    co_return written;
}

Awaitable<bool> SocketSession::tell(std::string event) {
    const bool told = co_await client_->write(event, true);
    if (told) {
        ++x_.socket->messages_out;
        x_.socket->bytes_out += event.size();
        worker_.shared.meters.socket_messages_out.add();
    }
    co_return told;
}

// What no plan, or not this one, allows.
SocketSession::Problem SocketSession::judge(const http::ClientEvent& event, std::size_t bytes)
    const {
    const config::Plan& plan = *x_.member->plan;
    if (plan.max_input_bytes > 0 && bytes > plan.max_input_bytes) {
        return http::input_too_large(plan.max_input_bytes, plan.name);
    }
    if (auto problem = check_kinds(*x_.member, event.image, event.audio, event.file)) {
        return problem;
    }
    for (const std::string& model : event.models) {
        const config::Model* const alias = x_.snapshot->config->find_model(model);
        const std::string served =
            alias != nullptr && !alias->serve_as.empty() ? alias->serve_as : model;
        if (!model_allowed(plan, model, served)) return http::model_not_allowed(model, plan.name);
    }
    return event.stored.empty() ? std::nullopt : check_named_state(plan, event.stored);
}

// Realtime, where the unit is an answer: every cap is asked before the event goes on.
SocketSession::Problem SocketSession::ask_realtime(const http::ClientEvent& event) {
    if (event.type != kCreate) return std::nullopt;
    if (answers_.size() >= kMostAnswers) return too_many_answers();
    SocketAnswer answer;
    if (counts_answers_) {
        reserve_for(event.output_limit);
        if (auto problem = proxy_.decide(x_, false, nullptr, answer.reservation)) return problem;
        gate_ = std::max(gate_, answer.reservation.sequence());
    }
    answer.price = x_.price;
    answer.event_id = event.event_id;
    answers_.add(std::move(answer));
    return std::nullopt;
}

// Tokens: an answer begins with all that was said before.
void SocketSession::reserve_for(std::optional<std::uint64_t> output_limit) {
    http::Usage most;
    most.input = last_.total() + kMoreTokens;
    most.output = output_limit.value_or(kMoreTokens);
    x_.reserve = amounts_of(x_.price, most);
}

// Responses: a message is what the body of a POST would be.
SocketSession::Problem SocketSession::ask_response(
    const http::ClientEvent& event, http::JsonRequest json, Buffer& bytes
) {
    const bool create = event.type == kCreate;
    if (create && answers_.size() >= kMostAnswers) return too_many_answers();
    if (!create && !upstream_) return not_first();
    x_.json = std::move(json);
    if (auto problem =
            check_kinds(*x_.member, x_.json.has_image, x_.json.has_audio, x_.json.has_file)) {
        return problem;
    }
    for (const std::string_view field : x_.json.stateful_fields) {
        if (field == "previous_response_id" && continues_own()) continue;
        if (auto problem = check_named_state(*x_.member->plan, field)) return problem;
    }
    if (!create) return std::nullopt;
    if (auto problem = choose_route(x_)) return problem;
    if (upstream_ &&
        std::ranges::find(x_.route.upstreams, upstream_->upstream->name, &config::Upstream::name) ==
            x_.route.upstreams.end()) {
        return http::invalid_field(
            "model",
            "This connection speaks to an upstream that does not serve the model `" +
                x_.asked_model + "`; open another connection for it."
        );
    }
    x_.body = {std::shared_ptr<const void>(), &bytes};  // borrowed, for its size
    Problem problem = estimate(x_);
    x_.body.reset();
    SocketAnswer answer;
    if (!problem) problem = proxy_.decide(x_, false, nullptr, answer.reservation);
    if (problem) return problem;
    gate_ = std::max(gate_, answer.reservation.sequence());
    answer.price = x_.price;
    answer.event_id = event.event_id;
    answer.stream_id = event.stream_id;
    answer.warm_up = event.warm_up;
    answers_.add(std::move(answer));
    return std::nullopt;
}

// The message as its upstream is to see it.
SocketSession::Problem SocketSession::rewrite(Buffer& bytes) {
    http::Rewrite changes;
    const std::string& name = x_.serve_as.empty() ? x_.asked_model : x_.serve_as;
    const std::string_view model = upstream::model_on(*upstream_->upstream, name);
    if (model != x_.asked_model) changes.model = model;
    if (x_.output_limit > 0) {
        changes.output_limit = x_.output_limit;
        changes.output_limit_field =
            http::output_limit_field(http::Shape::kResponse, x_.served_model);
    }
    if (!changes.model && !changes.output_limit) return std::nullopt;
    auto rewritten = http::rewrite_body(bytes.view(), x_.json, changes, &worker_.shared.bodies);
    if (!rewritten) return http::bodies_full();
    bytes = std::move(*rewritten);
    return std::nullopt;
}

// What was asked for last does not go upstream after all.
void SocketSession::take_back_last() {
    std::optional<SocketAnswer> answer = answers_.take_last();
    if (!answer || !answer->reservation.open()) return;
    worker_.shared.meters.messages_refunded.add();
    answer->reservation.refund();
}

// The answer that it goes on from is one that this connection brought.
bool SocketSession::continues_own() const {
    return x_.json.previous_response_id &&
           std::ranges::find(own_ids_, *x_.json.previous_response_id) != own_ids_.end();
}

// Responses: the first message says which model, and so which upstream. What to tell the client if
// there is none.
Awaitable<std::optional<std::string>> SocketSession::reach_upstream(
    const http::ErrorContext& context
) {
    const SocketRequest request = socket_request(head_);
    auto dialled = co_await dialler_.dial(x_, request);
    if (!dialled) {
        co_return http::error_event(dialled.error().status, dialled.error().body, context);
    }
    upstream_ = std::move(*dialled);
    if (!ending_) spawn(pump_upstream(shared_from_this()));
    signal_->notify_home();
    co_return std::nullopt;
}

}  // namespace weir::proxy
