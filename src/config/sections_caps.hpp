// Caps, and the models that answer when they are used up. Private to the room.
#pragma once

#include <string>
#include <vector>

#include "weir/config/config.hpp"

#include "reader.hpp"

namespace weir::config {

// Where the `then` of a cap stands.
struct ThenPlace {
    const Node* node = nullptr;  // nullptr: the cap has none
    std::string shown;           // for messages
};
// Of a CapSet, cap by cap.
using ThenPlaces = std::vector<ThenPlace>;

// `caps` of the section, if it has any. Calendar caps are in the config's `timezone`, which is read
// before. Right ones are in `caps` and `places`, whatever else is wrong.
void read_caps(
    Section& section, Reader& reader, const Config& config, CapSet& caps, ThenPlaces& places
);

// A model's own name: of `serve_as` and `then`.
[[nodiscard]] bool is_model_name(
    Reader& reader,
    const Node& node,
    std::string_view name,
    std::string_view shown,
    std::string_view what
);

// The places of all caps: one entry for each plan, team and key of the config, in its order.
struct CapPlaces {
    std::vector<ThenPlaces> plans;
    std::vector<ThenPlaces> teams;
    std::vector<ThenPlaces> keys;
    ThenPlaces global;
};
// Which parts were read without a fault. A fallback that leads into a wrong part is not blamed.
struct RightParts {
    bool upstreams = true;
    bool models = true;
    bool plans = true;
};
// Each `then` names a model that is served and allowed, that its own cap does not count, and from
// which no way of caps leads back.
void check_fallbacks(
    Reader& reader, const Config& config, const CapPlaces& places, const RightParts& right
);

}  // namespace weir::config
