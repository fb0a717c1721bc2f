// Which requests become WebSockets. Private to the room.
#pragma once

#include <string_view>

namespace weir::proxy {

// A GET there is a WebSocket, or nothing.
[[nodiscard]] bool is_socket_path(std::string_view path) noexcept;

}  // namespace weir::proxy
