// What a session does at the edges of a connection's life: closing without eating its own answer,
// cutting off so that it shows, waiting no longer than it says. Promises 7, 9 and 10.
#include <atomic>
#include <chrono>
#include <set>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <vector>

#include <gtest/gtest.h>

#include "host.hpp"
#include "support/client.hpp"

namespace weir::test {
namespace {

using std::chrono::steady_clock;

bool eventually(const std::function<bool()>& what) {
    const auto until = steady_clock::now() + 20s;
    while (!what() && steady_clock::now() < until) std::this_thread::sleep_for(5ms);
    return what();
}

bool has_bytes(Client& client) {
    char byte = 0;
    const int from = client.socket().descriptor();
    return ::recv(from, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

bool has_ended(Client& client) {
    char byte = 0;
    const int from = client.socket().descriptor();
    return ::recv(from, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

http::Response short_answer() {
    http::Response response;
    response.fields.set("content-type", "text/plain");
    response.body = "ok\n";
    return response;
}

Awaitable<> say_ok(proxy::ClientStream& client) {
    const auto body = co_await client.read_body(1 << 20);
    const http::Response response = body ? short_answer() : body.error().response();
    (void)co_await client.send(response);
}

// Answers without a look at the body.
Awaitable<> refuse_all(proxy::ClientStream& client) {
    const http::Response response = http::missing_key().response();
    (void)co_await client.send(response);
}

// Far more than the buffers of both kernels hold.
Awaitable<> pour(proxy::ClientStream& client) {
    const std::string piece(64 << 10, 'a');
    client.begin(200, {}, std::nullopt);
    bool sent = true;
    for (int i = 0; sent && i < 4096; ++i) sent = co_await client.write({piece});
    if (sent) (void)co_await client.finish();
}

Awaitable<> pour_some(proxy::ClientStream& client) {
    const std::string piece(64 << 10, 'a');
    client.begin(200, {}, std::uint64_t{32} << 20);
    bool sent = true;
    for (int i = 0; sent && i < 512; ++i) sent = co_await client.write({piece});
    if (sent) (void)co_await client.finish();
}

Awaitable<> say_a_stream(proxy::ClientStream& client) {
    client.begin(200, {}, std::nullopt);
    bool sent = co_await client.write({"a "});
    if (sent) sent = co_await client.write({"stream"});
    if (sent) (void)co_await client.finish();
}

Awaitable<> throw_at_once(proxy::ClientStream&) {
    throw std::runtime_error("a bug");
    co_return;
}

Awaitable<> throw_midway(proxy::ClientStream& client) {
    client.begin(200, {}, std::nullopt);
    (void)co_await client.write({"half"});
    throw std::runtime_error("a bug");
}

Awaitable<> wait_for_leaving(
    proxy::ClientStream& client, std::atomic<bool>& begun, std::atomic<bool>& left
) {
    const auto executor = co_await asio::this_coro::executor;
    const auto signal = Signal::create(executor);
    client.watch(signal);
    begun = true;
    while (!client.gone()) (void)co_await signal->wait();
    left = true;
}

Awaitable<> answer_later(proxy::ClientStream& client, std::chrono::milliseconds pause) {
    const auto executor = co_await asio::this_coro::executor;
    const auto signal = Signal::create(executor);
    client.watch(signal);
    (void)co_await signal->wait(Deadline::in(pause));
    if (client.gone()) co_return;
    (void)co_await client.send(short_answer());
}

std::string get(std::string_view version = "1.1", std::string_view more = "") {
    return "GET /x HTTP/" + std::string(version) + "\r\nHost: x\r\n" + std::string(more) + "\r\n";
}

// ---- answers before the end of a body

TEST(Linger, ASilentClientIsLeftAloneAfterAWhile) {
    Host host(say_ok);
    host.settings().linger_idle = 300ms;
    host.start_threads();
    Client client(host.port());
    ASSERT_TRUE(client.send(get("1.1", "Connection: close\r\n")));
    EXPECT_EQ(client.read_answer().body, "ok\n");
    EXPECT_TRUE(client.socket().receive().empty());
    EXPECT_EQ(client.socket().last_read(), Socket::Read::kClosed);
    EXPECT_TRUE(eventually([&] { return host.connections() == 0; }));
}

TEST(Linger, ADrippingClientDoesNotHoldItForLong) {
    Host host(refuse_all);
    host.settings().linger = 500ms;
    host.start_threads();
    Client client(host.port());
    ASSERT_TRUE(client.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"));
    EXPECT_EQ(client.read_answer().status, 401);
    const auto until = steady_clock::now() + 20s;
    while (client.send("x") && steady_clock::now() < until) std::this_thread::sleep_for(20ms);
    EXPECT_LT(steady_clock::now(), until);
}

TEST(Linger, TheEndOfADrainEndsIt) {
    Host host(refuse_all);
    host.settings().linger_idle = host.settings().linger = 1h;
    host.start_threads();
    Client client(host.port());
    ASSERT_TRUE(client.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"));
    EXPECT_EQ(client.read_answer().status, 401);
    EXPECT_EQ(host.connections(), 1U);
    host.on_worker([] { server::close_sessions(true); });
    EXPECT_TRUE(eventually([&] { return host.connections() == 0; }));
}

// ---- HTTP/1.0: the end of the connection is the end of the answer

TEST(OldClients, AWholeAnswerEndsCleanly) {
    Host host(say_a_stream);
    host.start_threads();
    Client client(host.port());
    ASSERT_TRUE(client.send(get("1.0")));
    const Answer answer = client.read_answer();
    EXPECT_EQ(answer.body, "a stream");
    EXPECT_EQ(client.socket().last_read(), Socket::Read::kClosed);
}

TEST(OldClients, WhoTakesTooLongSeesThatTheAnswerBroke) {
    config::Limits limits;
    limits.write_stall = 300ms;
    Host host(pour, limits);
    host.start_threads();
    Client client(host.port());
    ASSERT_TRUE(client.send(get("1.0")));
    Answer answer = client.read_head();
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(eventually([&] { return host.connections() == 0; }));
    client.read_body(answer);
    EXPECT_FALSE(answer.complete);
    EXPECT_EQ(client.socket().last_read(), Socket::Read::kReset);
}

TEST(OldClients, WhatTheEndOfADrainCutsOffSeesThatTheAnswerBroke) {
    Host host(pour);
    host.start_threads();
    Client client(host.port());
    ASSERT_TRUE(client.send(get("1.0")));
    Answer answer = client.read_head();
    EXPECT_EQ(answer.status, 200);
    host.on_worker([] { server::close_sessions(true); });
    client.read_body(answer);
    EXPECT_FALSE(answer.complete);
    EXPECT_EQ(client.socket().last_read(), Socket::Read::kReset);
}

// ---- clients that leave

TEST(Leaving, IsSeenBehindBytesThatFollowTheRequest) {
    // A line's end too many, the beginning of another request, and more than is read at once.
    const std::string behind[] = {
        "",
        "\r\n",
        "G",
        get(),
        "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n" + std::string(20'000, 'a')
    };
    for (const std::string& bytes : behind) {
        for (const bool with_request : {true, false}) {
            SCOPED_TRACE(bytes.substr(0, 10) + (with_request ? " with it" : " later"));
            std::atomic<bool> begun = false;
            std::atomic<bool> left = false;
            Host host([&](proxy::ClientStream& client) {
                return wait_for_leaving(client, begun, left);
            });
            host.start_threads();
            Client client(host.port());
            ASSERT_TRUE(client.send(get() + (with_request ? bytes : "")));
            ASSERT_TRUE(eventually([&] { return begun.load(); }));
            if (!with_request) {
                ASSERT_TRUE(client.send(bytes));
                std::this_thread::sleep_for(20ms);
            }
            EXPECT_FALSE(left);
            client.socket().close();
            EXPECT_TRUE(eventually([&] { return left.load(); }));
            EXPECT_TRUE(eventually([&] { return host.connections() == 0; }));
        }
    }
}

TEST(Leaving, BytesBehindTheRequestAreNoLeaving) {
    Host host([](proxy::ClientStream& client) { return answer_later(client, 200ms); });
    host.start_threads();
    Client client(host.port());
    ASSERT_TRUE(client.send(get() + get() + "\r\n"));
    EXPECT_EQ(client.read_answer().body, "ok\n");
    EXPECT_EQ(client.read_answer().body, "ok\n");
}

// ---- how long

TEST(HeadTime, IsOneTimeForSilenceAndHeadOfANewConnection) {
    config::Limits limits;
    limits.head_time = 1500ms;
    limits.keep_alive = 2000ms;
    Host host(say_ok, limits);
    host.start_threads();
    const auto begun = steady_clock::now();
    Client client(host.port());
    std::this_thread::sleep_for(1000ms);
    ASSERT_TRUE(client.send("GET /x"));
    EXPECT_EQ(client.read_answer().status, 408);
    EXPECT_LT(steady_clock::now() - begun, 2400ms);  // not 1000 and 1500
    // One that rested has it for each head.
    Client kept(host.port());
    ASSERT_TRUE(kept.send(get()));
    EXPECT_EQ(kept.read_answer().status, 200);
    std::this_thread::sleep_for(1600ms);
    const std::string next = get();
    ASSERT_TRUE(kept.send(next.substr(0, 5)));
    std::this_thread::sleep_for(700ms);
    ASSERT_TRUE(kept.send(next.substr(5)));
    EXPECT_EQ(kept.read_answer().status, 200);
}

Awaitable<> read_on(proxy::ClientStream& client) {
    const auto body = co_await client.read_body(8 << 20);
    const http::Response response = body ? short_answer() : body.error().response();
    (void)co_await client.send(response);
}

TEST(SlowBody, IsCutOffHoweverShortItsPausesAre) {
    config::Limits limits;
    limits.body_idle = 20s;
    Host host(read_on, limits);
    host.settings().slow_body_after = 500ms;
    host.start_threads();
    for (const bool chunked : {false, true}) {
        SCOPED_TRACE(chunked ? "chunked" : "sized");
        Client client(host.port());
        ASSERT_TRUE(client.send(
            std::string("POST /x HTTP/1.1\r\nHost: x\r\n") +
            (chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "Content-Length: 1000000\r\n\r\n")
        ));
        const auto begun = steady_clock::now();
        const auto until = begun + 10s;
        while (!has_bytes(client) && steady_clock::now() < until) {
            ASSERT_TRUE(client.send(chunked ? "1\r\nx\r\n" : "x"));
            std::this_thread::sleep_for(20ms);
        }
        EXPECT_LT(steady_clock::now(), until);
        EXPECT_GE(steady_clock::now() - begun, 500ms);
        EXPECT_EQ(client.read_answer().status, 408);
    }
}

TEST(SlowBody, APaceThatIsBearableIsBorne) {
    Host host(read_on);
    host.settings().slow_body_after = 200ms;
    host.start_threads();
    Client client(host.port());
    ASSERT_TRUE(client.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1024000\r\n\r\n"));
    const std::string piece(102'400, 'a');  // allows for over 6 s each
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(client.send(piece));
        std::this_thread::sleep_for(60ms);
    }
    EXPECT_EQ(client.read_answer().status, 200);
}

Awaitable<> pour_until(proxy::ClientStream& client, std::atomic<bool>& cut) {
    const std::string piece(64 << 10, 'a');
    client.begin(200, {}, std::nullopt);
    bool sent = true;
    for (int i = 0; sent && i < 4096; ++i) sent = co_await client.write({piece});
    cut = !sent && client.gone();
}

TEST(WriteStall, CutsOffWhoTakesNothing) {
    std::atomic<bool> cut = false;
    config::Limits limits;
    limits.write_stall = 300ms;
    Host host([&](proxy::ClientStream& client) { return pour_until(client, cut); }, limits);
    host.start_threads();
    Client client(host.port());
    const auto begun = steady_clock::now();
    ASSERT_TRUE(client.send(get()));
    EXPECT_TRUE(eventually([&] { return cut.load(); }));
    EXPECT_GE(steady_clock::now() - begun, 300ms);
    EXPECT_TRUE(eventually([&] { return host.connections() == 0; }));
    Answer answer = client.read_head();
    client.read_body(answer);
    EXPECT_FALSE(answer.complete);
}

TEST(WriteStall, IsNoLimitForWhoTakesALittle) {
    config::Limits limits;
    limits.write_stall = 1s;
    Host host(pour_some, limits);
    host.start_threads();
    Client client(host.port());
    ASSERT_TRUE(client.send(get()));
    Answer answer = client.read_head();
    std::size_t next = 0;
    client.read_body(answer, [&](const std::string& body) {
        if (body.size() >= next) {
            next = body.size() + (4 << 20);
            std::this_thread::sleep_for(200ms);
        }
        return false;
    });
    EXPECT_TRUE(answer.complete);
    EXPECT_EQ(answer.body.size(), std::size_t{32} << 20);
}

// ---- how many

TEST(Connections, AreCountedBeforeTheirSessionsBegin) {
    Host host(say_ok);
    host.settings().max_connections = 4;
    std::vector<Client> clients;
    for (int i = 0; i < 12; ++i) clients.emplace_back(host.port());
    host.run_listener(50ms);  // the worker stands still
    int refused = 0;
    for (Client& client : clients) {
        if (!has_bytes(client)) continue;
        ++refused;
        const Answer answer = client.read_answer();
        EXPECT_EQ(answer.status, 503);
        EXPECT_TRUE(answer.field("x-request-id").starts_with("req_"));
    }
    EXPECT_EQ(refused, 8);
    EXPECT_EQ(host.connections(), 4U);
    EXPECT_EQ(host.settings().refused_connections.load(), 8U);
}

// ---- ids

TEST(Ids, EachAnswerHasOneOfItsOwn) {
    Host host(say_ok);
    host.start_threads();
    Client client(host.port());
    std::set<std::string> ids;
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(client.send(get()));
        const std::string id = client.read_answer().field("x-request-id");
        EXPECT_TRUE(id.starts_with("req_")) << id;
        ids.insert(id);
    }
    EXPECT_EQ(ids.size(), 3U);
    EXPECT_TRUE(host.told().empty());
}

TEST(Ids, WhatTheSessionAnswersIsToldWithItsId) {
    config::Limits limits;
    limits.head_bytes = 1024;
    limits.head_time = 300ms;
    Host host(throw_at_once, limits);
    host.start_threads();
    const struct {
        std::string bytes;
        int status;
        const char* error;
        const char* path;
    } rows[] = {
        {get(), 500, "internal_error", "/x"},
        {"GET /x HTTP/1.1\r\n\r\n", 400, "invalid_request_error", ""},
        {get("1.1", "A: " + std::string(2000, 'a') + "\r\n"), 431, "request_head_too_large", ""},
        {"GET /x", 408, "request_timeout", ""},
    };
    std::size_t told = 0;
    for (const auto& row : rows) {
        SCOPED_TRACE(row.bytes.substr(0, 40));
        Client client(host.port());
        ASSERT_TRUE(client.send(row.bytes));
        const Answer answer = client.read_answer();
        EXPECT_EQ(answer.status, row.status);
        EXPECT_TRUE(answer.field("x-request-id").starts_with("req_")) << answer.raw_head;
        ASSERT_TRUE(eventually([&] { return host.told().size() == told + 1; }));
        const Host::Told last = host.told()[told++];
        EXPECT_EQ(last.id, answer.field("x-request-id"));
        EXPECT_EQ(last.status, row.status);
        EXPECT_EQ(last.error, row.error);
        EXPECT_EQ(last.path, row.path);
        EXPECT_TRUE(last.sent);
    }
}

TEST(Ids, ABugInTheMiddleOfAnAnswerIsToldAndShows) {
    Host host(throw_midway);
    host.start_threads();
    Client client(host.port());
    ASSERT_TRUE(client.send(get()));
    const Answer answer = client.read_answer();
    EXPECT_FALSE(answer.complete);
    ASSERT_TRUE(eventually([&] { return host.told().size() == 1; }));
    EXPECT_EQ(host.told()[0].id, answer.field("x-request-id"));
    EXPECT_EQ(host.told()[0].status, 500);
    EXPECT_TRUE(host.told()[0].sent);
}

// ---- drain, with the test's thread as the worker: what the kernel holds is then the test's word

TEST(Draining, ARequestThatTheKernelHoldsIsAnswered) {
    Host host(say_ok);
    Client kept(host.port());
    Client fresh(host.port());
    Client idle(host.port());
    for (Client* const client : {&kept, &idle}) {
        ASSERT_TRUE(client->send(get()));
        ASSERT_TRUE(host.run_until([&] { return has_bytes(*client); }));
        EXPECT_FALSE(client->read_answer().has("connection"));
    }
    ASSERT_TRUE(host.run_until([&] { return host.connections() == 3; }));
    ASSERT_TRUE(kept.send(get()));
    ASSERT_TRUE(fresh.send(get()));

    host.settings().draining = true;
    EXPECT_EQ(server::busy_sessions(), 2U);
    server::close_sessions(false);
    for (Client* const client : {&kept, &fresh}) {
        ASSERT_TRUE(host.run_until([&] { return has_bytes(*client) || has_ended(*client); }));
        const Answer answer = client->read_answer();
        EXPECT_EQ(answer.body, "ok\n");
        EXPECT_EQ(answer.field("connection"), "close");
    }
    EXPECT_TRUE(host.run_until([&] { return has_ended(idle); }));
}

TEST(Draining, ARequestThatComesWithTheWordToEndIsAnswered) {
    Host host(say_ok);
    Client client(host.port());
    ASSERT_TRUE(host.run_until([&] { return host.connections() == 1; }));
    host.settings().draining = true;
    server::close_sessions(false);
    EXPECT_EQ(server::busy_sessions(), 0U);
    ASSERT_TRUE(client.send(get()));
    EXPECT_EQ(server::busy_sessions(), 1U);
    ASSERT_TRUE(host.run_until([&] { return has_bytes(client) || has_ended(client); }));
    EXPECT_EQ(client.read_answer().body, "ok\n");
}

TEST(Draining, ARequestBehindAnotherOneIsAnswered) {
    Host host(say_ok);
    host.settings().draining = false;
    Client client(host.port());
    ASSERT_TRUE(client.send(get() + get()));
    ASSERT_TRUE(host.run_until([&] { return has_bytes(client); }));
    host.settings().draining = true;
    ASSERT_TRUE(host.run_until([&] { return host.connections() == 0 || has_bytes(client); }));
    EXPECT_EQ(client.read_answer().body, "ok\n");
    EXPECT_EQ(client.read_answer().body, "ok\n");
}

TEST(Draining, HalfAHeadIsBusy) {
    Host host(say_ok);
    Client client(host.port());
    ASSERT_TRUE(client.send("GET /x HT"));
    ASSERT_TRUE(host.run_until([&] { return server::busy_sessions() == 1; }));
    host.settings().draining = true;
    server::close_sessions(false);
    ASSERT_TRUE(client.send("TP/1.1\r\nHost: x\r\n\r\n"));
    ASSERT_TRUE(host.run_until([&] { return has_bytes(client) || has_ended(client); }));
    EXPECT_EQ(client.read_answer().body, "ok\n");
    // Answered: it only lingers.
    EXPECT_EQ(server::busy_sessions(), 0U);
    EXPECT_EQ(host.connections(), 1U);
}

TEST(Draining, ConnectionsThatWaitInTheKernelAreServed) {
    Host host(say_ok);
    std::vector<Client> clients;
    for (int i = 0; i < 5; ++i) {
        Client& client = clients.emplace_back(host.port());
        ASSERT_TRUE(client.send(get()));
    }
    host.settings().draining = true;
    host.stop_listening();
    for (Client& client : clients) {
        ASSERT_TRUE(host.run_until([&] { return has_bytes(client) || has_ended(client); }));
        const Answer answer = client.read_answer();
        EXPECT_EQ(answer.body, "ok\n");
        EXPECT_EQ(answer.field("connection"), "close");
    }
    EXPECT_FALSE(Socket::connect(host.port()).open());
}

}  // namespace
}  // namespace weir::test
