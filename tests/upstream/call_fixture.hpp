// A worker for the tests of upstream calls: an io_context that the test's thread runs until what it
// waits for is there.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <gtest/gtest.h>

#include "weir/base/awaitable.hpp"
#include "weir/upstream/client.hpp"
#include "weir/upstream/url.hpp"

#include "support/script_server.hpp"

namespace weir::test {

using namespace std::chrono_literals;

// How a call went, as its caller sees it.
struct Outcome {
    bool done = false;
    std::optional<Error> error;  // of start() or read()
    int status = 0;
    http::ResponseHead head;
    std::string body;
    int reads = 0;  // that gave bytes
    upstream::Call::Stage stage = upstream::Call::Stage::kResolve;
    bool written = false;
    upstream::CallTimes times;

    [[nodiscard]] bool ok() const { return done && !error; }
    [[nodiscard]] ErrorCode code() const { return error ? error->code : ErrorCode::kInternal; }
};

// Runs `call` to its end; `on_head` and `on_read` are told on the way.
inline Awaitable<> run_call(
    upstream::Call& call,
    upstream::CallRequest request,
    Outcome& out,
    std::function<void()> on_head,
    std::function<void()> on_read
) {
    Result<> started = co_await call.start(std::move(request));
    if (!started) {
        out.error = started.error();
    } else {
        out.head = call.head();
        out.status = out.head.status;
        if (on_head) on_head();
        std::string bytes;
        for (;;) {
            Result<bool> more = co_await call.read(bytes);
            out.body += bytes;
            if (!more) out.error = more.error();
            if (!more || !*more) break;
            ++out.reads;
            if (on_read) on_read();
        }
    }
    out.stage = call.stage();
    out.written = call.request_written();
    out.times = call.times();
    out.done = true;
}

inline void rethrow(std::exception_ptr error) {
    if (error != nullptr) std::rethrow_exception(error);
}

class CallTest : public ::testing::Test {
protected:
    explicit CallTest(upstream::ClientOptions options = {}) : client(worker, std::move(options)) {}

    // An upstream on this host's port, with times that no test reaches unless it sets its own.
    [[nodiscard]] static std::shared_ptr<config::Upstream> at(const std::string& url) {
        Result<config::Upstream> made = upstream::upstream_from_url(url, "test");
        EXPECT_TRUE(made) << url;
        auto out = std::make_shared<config::Upstream>(std::move(*made));
        out->timeouts = {30s, 30s, 30s, 60s};
        return out;
    }
    [[nodiscard]] static std::shared_ptr<config::Upstream> at(const ScriptServer& server) {
        return at("http://127.0.0.1:" + std::to_string(server.port()));
    }
    [[nodiscard]] static upstream::CallRequest post(std::string_view body) {
        return {"POST", "/v1/chat/completions", {}, body};
    }

    // Runs the worker until `ready`, or fails the test after a time that no sound run needs.
    void run_until(const std::function<bool()>& ready) {
        const auto give_up = std::chrono::steady_clock::now() + 30s;
        worker.restart();
        while (!ready()) {
            ASSERT_LT(std::chrono::steady_clock::now(), give_up) << "nothing happened for 30 s";
            worker.restart();
            worker.run_one_for(20ms);
        }
    }

    void begin(upstream::Call& call, upstream::CallRequest request, Outcome& out) {
        asio::co_spawn(
            worker.get_executor(),
            run_call(call, std::move(request), out, on_head, on_read),
            &rethrow
        );
    }

    [[nodiscard]] Outcome fetch(
        const std::shared_ptr<const config::Upstream>& upstream, upstream::CallRequest request
    ) {
        Outcome out;
        const std::unique_ptr<upstream::Call> call = client.call(upstream);
        begin(*call, std::move(request), out);
        run_until([&] { return out.done; });
        if (!out.done) {
            // The test has failed; nobody may wait in the call when it goes.
            call->cancel();
            run_until([&] { return out.done; });
        }
        return out;
    }

    asio::io_context worker{1};
    upstream::Client client;
    std::function<void()> on_head;
    std::function<void()> on_read;
};

}  // namespace weir::test
