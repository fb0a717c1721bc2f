// The demo upstream over a socket.
#include "weir/app/demo.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "weir/app/client.hpp"

namespace weir::app {
namespace {

namespace net = boost::asio;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view kStream =
    R"({"model":"gpt-4","stream":true,"messages":[{"role":"user","content":"hello"}]})";

std::unique_ptr<Demo> start(std::chrono::milliseconds pace) {
    auto demo = Demo::start(DemoOptions{pace});
    EXPECT_TRUE(demo) << demo.error().detail;
    return std::move(*demo);
}

HttpCall chat(const Demo& demo, std::string_view body) {
    HttpCall request;
    request.method = "POST";
    request.url = "http://127.0.0.1:" + std::to_string(demo.port()) + "/v1/chat/completions";
    request.body = body;
    return request;
}

TEST(Demo, StreamsOverASocket) {
    const auto demo = start(std::chrono::milliseconds(0));
    const auto answer = call(chat(*demo, kStream));
    ASSERT_TRUE(answer) << answer.error().detail;
    EXPECT_EQ(answer->status, 200);
    EXPECT_THAT(answer->body, AllOf(StartsWith("data: {"), EndsWith("data: [DONE]\n\n")));
}

TEST(Demo, GivesEachAnswerAnIdOfItsOwn) {
    const auto demo = start(std::chrono::milliseconds(0));
    const std::string body = R"({"model":"m","messages":[{"role":"user","content":"hello"}]})";
    const auto one = call(chat(*demo, body));
    const auto two = call(chat(*demo, body));
    ASSERT_TRUE(one && two);
    EXPECT_NE(json::parse(one->body)["id"], json::parse(two->body)["id"]);
}

TEST(Demo, RefusesInOpenAisShape) {
    const auto demo = start(std::chrono::milliseconds(0));
    auto request = chat(*demo, "{");
    const auto answer = call(request);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 400);
    EXPECT_EQ(json::parse(answer->body)["error"]["type"], "invalid_request_error");
    request.url += "/x";
    EXPECT_EQ(call(request)->status, 404);
}

// Opens a stream and reads until its first word.
net::ip::tcp::socket open_stream(net::io_context& context, const Demo& demo) {
    net::ip::tcp::socket socket(context);
    socket.connect({net::ip::make_address("127.0.0.1"), demo.port()});
    const std::string request =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: demo\r\nContent-Length: " +
        std::to_string(kStream.size()) + "\r\n\r\n" + std::string(kStream);
    net::write(socket, net::buffer(request));
    std::string got;
    net::read_until(socket, net::dynamic_buffer(got), "This");
    EXPECT_THAT(got, AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("text/event-stream")));
    return socket;
}

TEST(Demo, SendsAWordAtOnceAndTheRestInItsTime) {
    // With an hour between words only the first can come.
    const auto demo = start(std::chrono::hours(1));
    net::io_context context;
    auto socket = open_stream(context, *demo);
    EXPECT_TRUE(socket.is_open());
}

TEST(Demo, EndsWhileStreamsAreOpenOrTheirClientsGone) {
    // Each of these would hold the demo's thread for hours if it did not see the end.
    auto demo = start(std::chrono::hours(1));
    net::io_context context;
    auto left = open_stream(context, *demo);
    left.close();
    auto still_there = open_stream(context, *demo);
    net::ip::tcp::socket idle(context);
    idle.connect({net::ip::make_address("127.0.0.1"), demo->port()});
    demo.reset();
    boost::system::error_code error;
    std::string rest;
    net::read(still_there, net::dynamic_buffer(rest), error);
    EXPECT_TRUE(error) << "the stream was cut, not ended";
    EXPECT_EQ(rest.find("[DONE]"), std::string::npos);
}

}  // namespace
}  // namespace weir::app
