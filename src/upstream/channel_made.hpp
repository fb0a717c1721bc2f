// How the client makes a Channel. Private to the room.
#pragma once

#include <cstddef>
#include <memory>

#include "weir/upstream/channel.hpp"

#include "client_state.hpp"

namespace weir::upstream {

[[nodiscard]] std::unique_ptr<Channel> make_channel(
    std::shared_ptr<ClientState> client,
    std::shared_ptr<const config::Upstream> upstream,
    std::size_t key
);

}  // namespace weir::upstream
