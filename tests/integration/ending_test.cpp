// Promises 3, 5 and 7 where an answer ends otherwise than its asker thinks: errors inside a stream,
// ends that come too early, bodies that are still being sent, and who listens beside the starter.
#include <arpa/inet.h>
#include <future>
#include <memory>
#include <netinet/in.h>
#include <stdexcept>
#include <sys/socket.h>

#include "support/temp_dir.hpp"
#include "tools.hpp"

namespace weir::test {
namespace {

constexpr const char* kCaps = "[{models: \"*\", allow: 99/4h}]";

bool streamed(const SeenRequest& request) {
    return request.body.find("\"stream\":true") != std::string::npos;
}

// A stream that alice starts and `followers` plain requests of her team that join it; then `end`.
class Joined {
public:
    Joined(int followers, std::function<void(Wire&)> end, std::string upstream_more = "")
        : end_(std::move(end)),
          upstream_([this](Wire& wire, const SeenRequest& request) {
              if (!streamed(request)) return say_an_answer(wire, request);
              wire.begin_stream();
              wire.event(chat_chunk("half an answer"));
              if (go_.wait()) end_(wire);
          }),
          gateway_(
              {.upstream_url = upstream_.url(),
               .caps = kCaps,
               .upstream_more = std::move(upstream_more)}
          ) {
        Client starter(gateway_.port());
        EXPECT_TRUE(starter.send(Ask{.key = kAlice, .body = chat_body("x", true)}.bytes()));
        EXPECT_TRUE(upstream_.wait_for_calls(1));
        std::vector<std::future<Answer>> asked;
        for (int i = 0; i < followers; ++i) {
            asked.push_back(std::async(std::launch::async, [this] {
                return ask(gateway_.port(), {.key = kBob, .body = chat_body("x")});
            }));
        }
        EXPECT_TRUE(eventually([&] {
            return metric(gateway_, "weir_flights_joined_total") == followers;
        }));
        go_.pass();
        started = starter.read_answer();
        for (std::future<Answer>& one : asked) followed.push_back(one.get());
    }
    [[nodiscard]] std::size_t calls() const { return upstream_.calls(); }
    [[nodiscard]] int counted() const { return used(gateway_, "alice") + used(gateway_, "bob"); }

    Answer started;
    std::vector<Answer> followed;

private:
    std::function<void(Wire&)> end_;
    Steps go_;
    FakeUpstream upstream_;
    TestGateway gateway_;
};

TEST(Ending, AnErrorInAStreamIsOneErrorForAllAndNoStampede) {
    const std::string errors[] = {
        "data: {\"error\":{\"message\":\"overloaded\"}}\n\n",
        "event: error\ndata: {\"message\":\"overloaded\",\"type\":\"server_error\"}\n\n",
    };
    for (const std::string& error : errors) {
        const Joined all(10, [&](Wire& wire) {
            wire.chunk(error);
            wire.last_chunk();
        });
        EXPECT_TRUE(all.started.body.ends_with(error)) << all.started.body;
        for (const Answer& answer : all.followed) {
            const auto told = expect_error(answer, 502, "upstream_error");
            EXPECT_NE(told.value("message", "").find("'fake'"), std::string::npos);
        }
        EXPECT_EQ(all.calls(), 1U);
        EXPECT_EQ(all.counted(), 0);
    }
}

TEST(Ending, ATerminalThatComesTooEarlyIsNoEnding) {
    const Joined all(2, [](Wire& wire) {
        wire.event("[DONE]");
        wire.reset();
    });
    EXPECT_NE(all.started.body.find("\"upstream_error\""), std::string::npos) << all.started.body;
    for (const Answer& answer : all.followed) expect_error(answer, 502, "upstream_error");
    EXPECT_EQ(all.counted(), 0);
}

TEST(Ending, AResetBehindTheEndOfAWholeAnswerChangesNothing) {
    const Joined all(1, [](Wire& wire) {
        wire.event(chat_chunk("", "stop"));
        wire.event(R"({"id":"c","choices":[],"usage":{"total_tokens":3}})");
        wire.event("[DONE]");
        wire.reset();
    });
    EXPECT_TRUE(all.started.body.ends_with("data: [DONE]\n\n"));
    EXPECT_EQ(chat_text(all.followed[0]), "half an answer");
    EXPECT_EQ(all.counted(), 1);
}

TEST(Ending, WithoutUsageAPlainFollowerAsksForItself) {
    const Joined all(
        1,
        [](Wire& wire) {
            wire.event(chat_chunk("", "stop"));
            wire.event("[DONE]");
            wire.last_chunk();
        },
        ", stream_usage: false"
    );
    EXPECT_EQ(all.started.status, 200);
    EXPECT_EQ(chat_text(all.followed[0]), "an answer");
    EXPECT_NE(all.followed[0].body.find("\"usage\""), std::string::npos);
    EXPECT_EQ(all.followed[0].field("x-cache"), "BYPASS");
}

// Its end is the connection's end, so that HTTP sees nothing wrong.
TEST(Ending, LongJsonThatIsCutIsAborted) {
    const std::string item = R"({"object":"embedding","index":0,"embedding":[0.25,0.5]},)";
    std::string body = R"({"object":"list","data":[)";
    while (body.size() < 2'000'000) body += item;
    const std::string whole =
        body + R"({"object":"embedding","index":1,"embedding":[1]}],"model":"e"})";
    for (const bool cut : {true, false}) {
        for (const char* const control : {"", "no-store"}) {
            FakeUpstream upstream([&](Wire& wire, const SeenRequest&) {
                wire.send(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
                );
                wire.send(cut ? body : whole);
                wire.close();
            });
            TestGateway gateway({.upstream_url = upstream.url(), .caps = kCaps});
            const Answer answer =
                ask(gateway.port(),
                    {.path = "/v1/embeddings",
                     .key = kAlice,
                     .body = R"({"model":"e","input":"x"})",
                     .fields = {{"cache-control", control}}});
            EXPECT_EQ(answer.complete, !cut) << answer.body.size();
            EXPECT_EQ(answer.body.size(), cut ? body.size() : whole.size());
            EXPECT_EQ(used(gateway, "alice"), cut ? 0 : 1);
        }
    }
}

// Begins its answer when it has the request's head, and reads the body only when it is told to.
class EarlyUpstream {
public:
    EarlyUpstream() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* const generic = reinterpret_cast<sockaddr*>(&address);
        if (::bind(listener_.descriptor(), generic, size) != 0 ||
            ::listen(listener_.descriptor(), 1) != 0 ||
            ::getsockname(listener_.descriptor(), generic, &size) != 0) {
            throw std::runtime_error("the early upstream cannot listen");
        }
        port_ = ntohs(address.sin_port);
        thread_ = std::thread([this] { serve(); });
    }
    ~EarlyUpstream() {
        ::shutdown(listener_.descriptor(), SHUT_RDWR);
        thread_.join();
    }
    EarlyUpstream(const EarlyUpstream&) = delete;
    EarlyUpstream& operator=(const EarlyUpstream&) = delete;

    [[nodiscard]] std::string url() const {
        return "http://127.0.0.1:" + std::to_string(port_) + "/v1";
    }
    Steps go;
    std::atomic<bool> begun = false;
    std::string body;  // what came, once the answer has ended

private:
    void serve() {
        Socket socket(::accept4(listener_.descriptor(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!socket.open()) return;
        std::string input;
        std::size_t end = 0;
        while ((end = input.find("\r\n\r\n")) == std::string::npos) {
            const std::string bytes = socket.receive();
            if (bytes.empty()) return;
            input += bytes;
        }
        const std::size_t at = input.find("Content-Length: ");
        const std::size_t size = std::stoull(input.substr(at + 16));
        Wire wire(socket);
        wire.begin_stream();
        wire.event(chat_chunk("early "));
        begun = true;
        if (!go.wait()) return;
        std::string all = input.substr(end + 4);
        while (all.size() < size) {
            const std::string bytes = socket.receive();
            if (bytes.empty()) break;
            all += bytes;
        }
        body = std::move(all);
        wire.event(chat_chunk("and late", "stop"));
        wire.event("[DONE]");
        wire.last_chunk();
    }

    Socket listener_;
    std::uint16_t port_ = 0;
    std::thread thread_;
};

// What is still being sent must live on when its asker has left, since others listen.
TEST(Ending, ABodyThatIsStillSentOutlivesItsAsker) {
    EarlyUpstream upstream;
    TestGateway gateway(
        {.upstream_url = upstream.url(),
         .caps = kCaps,
         .workers = 1,  // one heap
         .cache = "{ttl: 1h, max_request: 32MiB, max_entry: 8MiB}",
         .upstream_more = ", stream_usage: false"}
    );
    const std::string body = chat_body(std::string(20 << 20, 'a'), true);
    auto starter = std::make_unique<Client>(gateway.port());
    ASSERT_TRUE(starter->send(Ask{.key = kAlice, .body = body}.bytes()));
    Answer begun = starter->read_head();
    ASSERT_EQ(begun.status, 200);
    ASSERT_TRUE(upstream.begun);
    // Whatever memory is free by now holds something else.
    Client other(gateway.port());
    const std::string filler = chat_body(std::string(20 << 20, 'b'), true);
    ASSERT_TRUE(other.send(Ask{.key = kCarol, .body = filler}.bytes()));
    ASSERT_TRUE(eventually([&] { return metric(gateway, "weir_upstream_calls_total") == 2; }));
    Client follower(gateway.port());
    ASSERT_TRUE(follower.send(Ask{.key = kBob, .body = body}.bytes()));
    Answer answer = follower.read_head();
    EXPECT_EQ(answer.field("x-weir-flight"), "joined");
    starter.reset();
    ASSERT_TRUE(eventually([&] { return metric(gateway, "weir_clients_gone_total") == 1; }));
    upstream.go.pass();
    follower.read_body(answer);
    EXPECT_EQ(chat_text(answer), "early and late");
    EXPECT_TRUE(upstream.body == body) << upstream.body.size();
    EXPECT_EQ(used(gateway, "alice"), 1);
}

TEST(Ending, AnAliasOfADefaultModelIsSentByItsName) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) { wire.json(R"({"data":[]})"); });
    TestGateway gateway(
        {.upstream_url = upstream.url(), .more = "models: {dall-e-2: {serve_as: gpt-image-1}}\n"}
    );
    const Answer answer =
        ask(gateway.port(),
            {.path = "/v1/images/generations", .key = kAlice, .body = R"({"prompt":"x"})"});
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(upstream.seen().at(0).body, R"({"model":"gpt-image-1","prompt":"x"})");
}

TEST(Ending, AWishToStoreUpstreamIsNotAnsweredFromHere) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url()});
    for (int i = 0; i < 2; ++i) {
        const Answer answer =
            ask(gateway.port(),
                {.key = kAlice, .body = chat_body("x", false, "gpt-4", "\"store\":true")});
        EXPECT_EQ(answer.field("x-cache"), "BYPASS");
    }
    EXPECT_EQ(upstream.calls(), 2U);
}

TEST(Ending, WhatComesFromTheFileTellsItsAgeToEverybody) {
    const TempDir directory;
    FakeUpstream upstream(say_an_answer);
    const GatewaySetup setup{
        .upstream_url = upstream.url(),
        .workers = 2,
        .cache = "{ttl: 1h, memory: 64KiB}",
        .data = directory.path("data")
    };
    static constexpr int kRounds = 40;
    {
        TestGateway first(setup);
        for (int round = 0; round < kRounds; ++round) {
            const std::string body = chat_body("x" + std::to_string(round));
            ASSERT_EQ(ask(first.port(), {.key = kAlice, .body = body}).status, 200);
        }
    }
    std::this_thread::sleep_for(1100ms);
    TestGateway second(setup);
    // All at once, until some have joined one that looked into the file.
    double joined = 0;
    for (int round = 0; round < kRounds && joined == 0; ++round) {
        std::vector<Client> clients;
        for (int i = 0; i < 60; ++i) clients.emplace_back(second.port());
        const std::string request =
            Ask{.key = kAlice, .body = chat_body("x" + std::to_string(round))}.bytes();
        for (Client& client : clients) ASSERT_TRUE(client.send(request));
        for (Client& client : clients) {
            const Answer answer = client.read_answer();
            EXPECT_EQ(answer.field("x-cache"), "HIT");
            EXPECT_NE(answer.field("age"), "0");
            EXPECT_FALSE(answer.has("x-weir-flight"));
        }
        joined = metric(second, "weir_flights_joined_total");
    }
    EXPECT_GT(joined, 0) << "nobody joined: the test tests nothing";
    EXPECT_EQ(upstream.calls(), static_cast<std::size_t>(kRounds));
}

}  // namespace
}  // namespace weir::test
