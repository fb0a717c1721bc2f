#include "socket_answers.hpp"

#include <algorithm>
#include <utility>

namespace weir::proxy {

SocketAnswer* SocketAnswers::created(const http::ServerEvent& event) {
    const auto place = std::ranges::find_if(answers_, [&event](const SocketAnswer& answer) {
        return answer.response_id.empty() && answer.stream_id == event.stream_id;
    });
    if (place == answers_.end()) return nullptr;
    place->response_id = event.response_id;
    return &*place;
}

std::optional<SocketAnswer> SocketAnswers::ended(const http::ServerEvent& event) {
    auto place = std::ranges::find_if(answers_, [&event](const SocketAnswer& answer) {
        return !answer.response_id.empty() && answer.response_id == event.response_id;
    });
    // One may end without ever having been created, by word at least.
    if (place == answers_.end()) {
        place = std::ranges::find_if(answers_, [&event](const SocketAnswer& answer) {
            return answer.response_id.empty() && answer.stream_id == event.stream_id;
        });
    }
    return take(place);
}

std::optional<SocketAnswer> SocketAnswers::failed(const http::ServerEvent& event) {
    return take(std::ranges::find_if(answers_, [this, &event](const SocketAnswer& answer) {
        if (lanes_) return answer.stream_id == event.stream_id;
        // An error that names no event is about one that has no name. Should it be about another
        // event, the answer that is created later is asked for anew.
        return answer.response_id.empty() && answer.event_id == event.cause;
    }));
}

std::optional<SocketAnswer> SocketAnswers::take_last() {
    return answers_.empty() ? std::nullopt : take(answers_.end() - 1);
}

const SocketAnswer* SocketAnswers::find(std::string_view response_id) const noexcept {
    const auto place = std::ranges::find(answers_, response_id, &SocketAnswer::response_id);
    return place == answers_.end() || response_id.empty() ? nullptr : &*place;
}

std::optional<SocketAnswer> SocketAnswers::take(Place place) {
    if (place == answers_.end()) return std::nullopt;
    std::optional<SocketAnswer> answer(std::move(*place));
    answers_.erase(place);
    return answer;
}

}  // namespace weir::proxy
