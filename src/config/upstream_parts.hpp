// What an upstream is told, and the way to it: the parts of an upstream that have rules of their
// own. Private to the room.
#pragma once

#include <vector>

#include "weir/config/config.hpp"

#include "reader.hpp"

namespace weir::config {

// One key, or a list of keys; empty ones are left out.
void read_keys_of(Reader& reader, const Node& node, std::vector<std::string>& out);
// Maps of names to values, which may be secret.
void read_headers(Reader& reader, const Node& node, std::vector<ExtraField>& out);
void read_query(Reader& reader, const Node& node, std::vector<ExtraField>& out);
// A number of calls, or a map.
void read_at_once(Reader& reader, const Node& node, UpstreamLine& out);
void read_proxy(Reader& reader, const Node& node, std::optional<HttpProxy>& out);
void read_timeouts(Reader& reader, const Node& node, Timeouts& out);
// `api_version` and `deployments`, which are Azure's.
void read_azure(Section& section, Reader& reader, Upstream& upstream);
// `ca`, `certificate` and `certificate_key`. REQUIRES: `url` and `proxy` were read.
void read_certificates(Section& section, Reader& reader, Upstream& upstream);

}  // namespace weir::config
