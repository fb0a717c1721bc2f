#include "weir/http/response_id.hpp"

#include <gtest/gtest.h>

namespace weir::http {
namespace {

TEST(ResponseId, IsTheResponsesOwn) {
    EXPECT_EQ(response_id(R"({"id":"resp_1","object":"response"})", false), "resp_1");
    EXPECT_EQ(
        response_id(R"({ "output" : [{"id":"msg_1","x":{"id":"y"}}], "id" : "resp_2" })", false),
        "resp_2"
    );
    EXPECT_EQ(
        response_id(R"({"a":"\"id\":\"x\"","id":"resp-3.x","output":[{"id)", false), "resp-3.x"
    );
    EXPECT_EQ(
        response_id(
            "event: response.created\ndata: {\"type\":\"response.created\",\"id\":\"no\","
            "\"item\":{\"id\":\"msg\"},\"response\":{\"tools\":[{\"id\":\"t\"}],\"id\":\"resp_4\"}}"
            "\n\n",
            true
        ),
        "resp_4"
    );
}

TEST(ResponseId, IsNotSomethingElses) {
    for (const char* const text :
         {"",
          "{",
          "[]",
          R"({"id":1})",
          R"({"id":null,"x":"id"})",
          R"({"x":{"id":"y"}})",
          R"({"id":"a\u0041"})",
          R"({"id":"res)",
          R"("id":"x")",
          R"({"a":["id","x"]})"}) {
        EXPECT_EQ(response_id(text, false), "") << text;
    }
    for (const char* const text :
         {": a comment\n\n",
          "data: [DONE]\n\n",
          "data: {\"id\":\"x\"}\n\n",
          "data: {\"item\":{\"id\":\"x\"}}\n\n",
          "event: response.created\n\n"}) {
        EXPECT_EQ(response_id(text, true), "") << text;
    }
}

}  // namespace
}  // namespace weir::http
