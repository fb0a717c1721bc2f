// A body that is to be right, read as the line reads it.
#pragma once

#include <string_view>

#include <gtest/gtest.h>

#include "weir/http/json_request.hpp"

namespace weir::http {

inline JsonRequest read(std::string_view body) {
    auto request = read_json_request(Buffer::copy_of(body), true);
    EXPECT_TRUE(request) << body;
    return request ? *request : JsonRequest{};
}

}  // namespace weir::http
