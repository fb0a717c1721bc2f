// The groups of closed endpoints that a plan may open by name (`endpoints: [files]`). The paths of
// each are in http/api, whose table a test holds equal to this list.
#pragma once

#include <array>
#include <string_view>

namespace weir::config {

inline constexpr auto kEndpointGroups = std::to_array<std::string_view>({
    "assistants",
    "batches",
    "chatkit",
    "containers",
    "conversations",
    "evals",
    "files",
    "fine_tuning",
    "message_batches",
    "provenance",
    "realtime",
    "skills",
    "stored_completions",
    "stored_responses",
    "threads",
    "uploads",
    "vector_stores",
    "videos",
    "voices",
});

}  // namespace weir::config
