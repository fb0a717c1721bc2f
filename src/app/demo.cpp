#include "weir/app/demo.hpp"

#include <chrono>
#include <exception>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include "weir/app/demo_answers.hpp"
#include "weir/base/crypto.hpp"
#include "weir/base/deadline.hpp"
#include "weir/base/log.hpp"
#include "weir/base/signal.hpp"
#include "weir/config/config.hpp"
#include "weir/proxy/client_stream.hpp"
#include "weir/server/handler.hpp"
#include "weir/server/listener.hpp"

namespace weir::app {
namespace {

class DemoHandler final : public server::Handler {
public:
    DemoHandler(Executor home, std::chrono::milliseconds pace)
        : home_(std::move(home)), pace_(pace) {}

    [[nodiscard]] const config::Limits& limits() const noexcept override { return limits_; }

    Awaitable<> handle(proxy::ClientStream& client) override {
        const auto body = co_await client.read_body(limits_.body_bytes);
        if (!body) {
            const auto refusal = body.error().response();
            co_await client.send(refusal);
            co_return;
        }
        const DemoStamp stamp{
            random_token(24),
            std::chrono::duration_cast<std::chrono::seconds>(
                std::chrono::system_clock::now().time_since_epoch()
            )
                .count()
        };
        auto answer = demo_answer(client.head(), body->view(), stamp);
        if (answer.streamed()) {
            co_await stream(client, answer.events, "req_" + stamp.unique);
        } else {
            answer.whole.fields.set("x-request-id", "req_" + stamp.unique);
            co_await client.send(answer.whole);
        }
    }

private:
    // Ends at once when the client leaves: nobody reads the rest.
    Awaitable<> stream(
        proxy::ClientStream& client, const std::vector<DemoEvent>& events, std::string request_id
    ) {
        const auto left = Signal::create(home_);
        client.watch(left);
        http::Fields fields;
        fields.add("content-type", "text/event-stream; charset=utf-8");
        fields.add("cache-control", "no-cache");
        fields.add("x-request-id", request_id);
        client.begin(200, std::move(fields), std::nullopt);
        std::vector<std::string_view> piece(1);
        for (const auto& event : events) {
            if (event.paced && pace_.count() > 0) {
                const auto next_word = Deadline::in(pace_);
                bool woken = true;
                while (woken && !client.gone()) woken = co_await left->wait(next_word);
            }
            if (client.gone()) {
                client.abort();
                co_return;
            }
            piece.front() = event.text;
            const bool sent = co_await client.write(piece);
            if (!sent) co_return;
        }
        co_await client.finish();
    }

    Executor home_;
    std::chrono::milliseconds pace_;
    config::Limits limits_;
};

}  // namespace

struct Demo::Impl {
    explicit Impl(DemoOptions options)
        : handler(context.get_executor(), options.pace),
          settings(std::make_shared<server::SessionSettings>()),
          busy(context.get_executor()) {}

    void run() noexcept {
        // An exception out of a handler is a bug; it must not take the gateway down.
        for (;;) {
            try {
                context.run();
                return;
            } catch (const std::exception& error) {
                log::error("demo upstream: exception", {{"what", std::string_view(error.what())}});
            }
        }
    }

    // Destroyed from the last to the first: the thread is joined, then the listener goes, then the
    // context with what may be left of sessions. Destroying a context runs no handler, so it does
    // not matter that the handler is gone by then.
    asio::io_context context{1};
    DemoHandler handler;
    std::shared_ptr<server::SessionSettings> settings;
    asio::executor_work_guard<Executor> busy;
    std::unique_ptr<server::Listener> listener;
    std::thread thread;
};

Demo::Demo(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

Result<std::unique_ptr<Demo>> Demo::start() {
    return start(DemoOptions());
}

Result<std::unique_ptr<Demo>> Demo::start(DemoOptions options) {
    auto impl = std::make_unique<Impl>(options);
    config::Listen address;
    address.host = "127.0.0.1";
    address.port = 0;
    std::vector<server::Place> places = {{&impl->context, &impl->handler}};
    auto listener =
        server::Listener::open(impl->context, address, std::move(places), impl->settings);
    if (!listener) return std::unexpected(listener.error());
    impl->listener = std::move(*listener);
    impl->listener->start();
    impl->thread = std::thread([raw = impl.get()] { raw->run(); });
    return std::unique_ptr<Demo>(new Demo(std::move(impl)));
}

Demo::~Demo() {
    auto& impl = *impl_;
    asio::post(impl.context, [&impl] {
        impl.settings->draining = true;
        impl.listener->stop();
        // Connections that were accepted before this get their sessions first, so that no session
        // starts behind the end of all.
        asio::post(impl.context, [&impl] {
            server::close_sessions(true);
            impl.busy.reset();
        });
    });
    impl.thread.join();
}

std::uint16_t Demo::port() const noexcept {
    return impl_->listener->port();
}

}  // namespace weir::app
