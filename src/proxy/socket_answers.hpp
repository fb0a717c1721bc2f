// The answers of one WebSocket: asked for, under way, ended, and what each of them reserved. No
// I/O; home worker only.
//
// A client's `response.create` is answered by `response.created` with an id, or by an error; its
// end names the id. Answers are made in the order in which they were asked for (responses: on each
// lane), so the oldest that was asked for is the one that is created.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/config/config.hpp"
#include "weir/http/socket_event.hpp"
#include "weir/quota/ledger.hpp"

namespace weir::proxy {

struct SocketAnswer {
    quota::Reservation reservation;
    config::Price price;
    std::string event_id;     // of the client's event that asked for it; empty: none
    std::string stream_id;    // its lane; empty: none
    std::string response_id;  // empty: not created yet
    bool warm_up = false;     // nothing is to be made
    bool refused = false;     // the upstream began it, and no cap admitted it: nobody is to see it
};

class SocketAnswers {
public:
    // `lanes`: an error ends what is under way on its lane (responses); else it only refuses what
    // is not created yet (realtime).
    explicit SocketAnswers(bool lanes) noexcept : lanes_(lanes) {}

    void add(SocketAnswer answer) { answers_.push_back(std::move(answer)); }
    // The one that this event creates; nullptr: nobody asked for it.
    [[nodiscard]] SocketAnswer* created(const http::ServerEvent& event);
    // Takes out the one that ended; nullopt: it is not known.
    [[nodiscard]] std::optional<SocketAnswer> ended(const http::ServerEvent& event);
    // Takes out the one that this error is about; nullopt: none.
    [[nodiscard]] std::optional<SocketAnswer> failed(const http::ServerEvent& event);
    // The one that was added last. REQUIRES: nothing was told of it yet.
    [[nodiscard]] std::optional<SocketAnswer> take_last();
    [[nodiscard]] const SocketAnswer* find(std::string_view response_id) const noexcept;
    [[nodiscard]] std::vector<SocketAnswer> take_all() noexcept {
        return std::exchange(answers_, {});
    }
    [[nodiscard]] std::size_t size() const noexcept { return answers_.size(); }

private:
    using Place = std::vector<SocketAnswer>::iterator;
    [[nodiscard]] std::optional<SocketAnswer> take(Place place);

    bool lanes_;
    std::vector<SocketAnswer> answers_;  // as they were asked for
};

}  // namespace weir::proxy
