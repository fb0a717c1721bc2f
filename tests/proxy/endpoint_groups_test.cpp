// The config is below the table of endpoints, so it has the names of its groups for itself.
#include "weir/config/endpoint_groups.hpp"

#include <set>
#include <string>

#include <gtest/gtest.h>

#include "weir/http/api.hpp"

namespace weir::proxy {
namespace {

TEST(EndpointGroups, TheConfigKnowsThoseOfTheTable) {
    std::set<std::string> table;
    for (const http::Endpoint* row = http::endpoints_begin(); row != http::endpoints_end(); ++row) {
        if (!row->group.empty()) table.emplace(row->group);
    }
    const std::set<std::string> known(
        config::kEndpointGroups.begin(), config::kEndpointGroups.end()
    );
    EXPECT_EQ(known, table);
    EXPECT_EQ(known.size(), config::kEndpointGroups.size());
}

}  // namespace
}  // namespace weir::proxy
