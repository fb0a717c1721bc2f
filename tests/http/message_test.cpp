#include "weir/http/message.hpp"

#include <gtest/gtest.h>

namespace weir::http {
namespace {

Fields sample() {
    Fields fields;
    fields.add("A", "1");
    fields.add("B", "2");
    fields.add("a", "3");
    return fields;
}

TEST(Fields, FindsTheFirstWhateverTheCase) {
    const Fields fields = sample();
    EXPECT_EQ(fields.find("a"), "1");
    EXPECT_EQ(fields.find("b"), "2");
    EXPECT_EQ(fields.find("c"), std::nullopt);
    EXPECT_EQ(fields.find("ab"), std::nullopt);
    EXPECT_EQ(fields.count("a"), 2u);
    EXPECT_EQ(fields.count("c"), 0u);
}

TEST(Fields, SetReplacesAllInTheFirstPlace) {
    Fields fields = sample();
    fields.set("a", "x");
    ASSERT_EQ(fields.size(), 2u);
    EXPECT_EQ(fields.begin()->value, "x");
    fields.set("new", "y");
    EXPECT_EQ(fields.find("new"), "y");
}

TEST(Fields, RemoveTakesAll) {
    Fields fields = sample();
    fields.remove("A");
    ASSERT_EQ(fields.size(), 1u);
    EXPECT_EQ(fields.begin()->name, "B");
}

TEST(RequestHead, SplitsPathAndQuery) {
    RequestHead head;
    head.target = "/a/b?c=d?e";
    EXPECT_EQ(head.path(), "/a/b");
    EXPECT_EQ(head.query(), "c=d?e");
    head.target = "/a";
    EXPECT_EQ(head.path(), "/a");
    EXPECT_EQ(head.query(), "");
}

TEST(ResponseHead, ContentTypeIsTheBareMediaType) {
    ResponseHead head;
    EXPECT_EQ(head.content_type(), "");
    head.fields.set("Content-Type", "Text/Event-Stream ; charset=utf-8");
    EXPECT_EQ(head.content_type(), "text/event-stream");
    head.fields.set("Content-Type", "application/json");
    EXPECT_EQ(head.content_type(), "application/json");
    head.fields.set("Content-Type", "audio/mpeg;x=y");
    EXPECT_EQ(head.content_type(), "audio/mpeg");
}

TEST(ReasonPhrase, IsThereForEveryStatusThatWeirSends) {
    for (const int status : {200, 204, 400, 401, 403, 404, 405, 408, 413, 414,
                             415, 417, 429, 431, 500, 501, 502, 503, 504, 505}) {
        EXPECT_NE(reason_phrase(status), "Unknown") << status;
    }
    EXPECT_EQ(reason_phrase(299), "Unknown");
}

}  // namespace
}  // namespace weir::http
