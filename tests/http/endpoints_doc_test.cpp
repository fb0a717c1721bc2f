// docs/endpoints.md is the table of endpoints for people: the same rows, in the same order.
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "weir/http/api.hpp"

namespace weir::http {
namespace {

std::string code(std::string_view text) {
    return "`" + std::string(text) + "`";
}

std::string row_of(const Endpoint& row) {
    std::string text = "| " + (row.method == "*" ? std::string("any") : std::string(row.method));
    text += " | " + code("/v1" + std::string(row.path)) + " | ";
    switch (row.access) {
        case Access::kOpen:
            text += "open";
            break;
        case Access::kClosed:
            text += code(row.group);
            break;
        case Access::kNever:
            text += "never";
            break;
    }
    text += " | ";
    switch (row.body) {
        case BodyKind::kNone:
            text += "none";
            break;
        case BodyKind::kJson:
            text += "JSON";
            break;
        case BodyKind::kForm:
            text += "form";
            break;
        case BodyKind::kRelayed:
            text += "passed on";
            break;
    }
    text += row.counts ? " | a message" : " | free";
    text += row.cacheable ? ", kept |" : " |";
    if (!row.default_model.empty()) text += " " + code(row.default_model);
    return text + " |";
}

TEST(EndpointsDoc, HasTheRowsOfTheTable) {
    std::ifstream file(WEIR_SOURCE_DIR "/docs/endpoints.md");
    ASSERT_TRUE(file);
    std::vector<std::string> told;
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("| ") && line.find(" | `/v1/") != std::string::npos) {
            told.push_back(line);
        }
    }
    std::vector<std::string> rows;
    std::string all;
    for (const Endpoint* row = endpoints_begin(); row != endpoints_end(); ++row) {
        rows.push_back(row_of(*row));
        all += rows.back() + "\n";
    }
    EXPECT_EQ(told, rows) << "docs/endpoints.md should have:\n" << all;
}

}  // namespace
}  // namespace weir::http
