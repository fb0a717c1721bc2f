// The parts of a config, each read from its keys at the top of the file. Private to the room.
#pragma once

#include "weir/config/config.hpp"

#include "reader.hpp"

namespace weir::config {

struct CapPlaces;

// workers, drain, limits, admin, log, store.
void read_process(Section& root, Reader& reader, Config& config);
// listen, data.
void read_place(Section& root, Reader& reader, Config& config);
// upstreams, demo.
void read_upstreams(Section& root, Reader& reader, Config& config);
// timezone, prices.
void read_calendar(Section& root, Reader& reader, Config& config);
void read_prices(Section& root, Reader& reader, Config& config);
void read_models(Section& root, Reader& reader, Config& config);
// plans, teams, caps; those with faults too, so that what names them is not blamed.
void read_holders(Section& root, Reader& reader, Config& config, CapPlaces& places);
void read_keys(Section& root, Reader& reader, Config& config, CapPlaces& places);
void read_cache(Section& root, Reader& reader, Config& config);
void read_retry(Section& root, Reader& reader, Config& config);
void read_stream(Section& root, Reader& reader, Config& config);
// cors, realtime.
void read_web(Section& root, Reader& reader, Config& config);

}  // namespace weir::config
