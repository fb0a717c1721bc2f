#include "model_lists.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/fake_upstream.hpp"

namespace weir::proxy {
namespace {

using test::FakeUpstream;
using test::SeenRequest;
using test::Wire;
using testing::ElementsAre;
using testing::IsEmpty;
using namespace std::chrono_literals;

std::string list_of(std::string_view id) {
    return R"({"object":"list","data":[{"id":")" + std::string(id) + R"("}]})";
}

// ---- what an answer lists

config::Upstream named(std::string name, std::string key = "") {
    config::Upstream upstream;
    upstream.name = std::move(name);
    if (!key.empty()) upstream.keys = {std::move(key)};
    return upstream;
}

TEST(ReadModelList, KeepsOpenAIsMembersAndNothingElse) {
    const ModelList list = read_model_list(
        R"({"data":[{"id":"a","object":"model","created":7,"owned_by":"them","secret":[1]},
            {"id":"b","created":"soon","owned_by":{}}, {"id":""}, {"id":4}, 5, {"name":"c"},
            {"id":"d","created":1e300}]})",
        named("fake")
    );
    ASSERT_TRUE(list);
    ASSERT_EQ(list->size(), 3U);
    EXPECT_EQ(list->at(0).id, "a");
    EXPECT_EQ(list->at(0).created, 7);
    EXPECT_EQ(list->at(0).owned_by, "them");
    EXPECT_EQ(list->at(1).id, "b");
    EXPECT_EQ(list->at(1).created, 0);
    EXPECT_EQ(list->at(1).owned_by, "fake");
    EXPECT_EQ(list->at(2).created, 0);
}

TEST(ReadModelList, TakesAnthropicsTimes) {
    const ModelList list = read_model_list(
        R"({"data":[{"type":"model","id":"claude-a","display_name":"A","created_at":"2025-02-19T01:02:03Z"},
            {"id":"b","created_at":"2025-02-30T00:00:00Z"},{"id":"c","created_at":"soon"},
            {"id":"d","created_at":7}],"has_more":false})",
        named("fake")
    );
    ASSERT_TRUE(list);
    ASSERT_EQ(list->size(), 4U);
    EXPECT_EQ(list->at(0).id, "claude-a");
    EXPECT_EQ(list->at(0).created, 1739926923);
    EXPECT_EQ(list->at(0).owned_by, "fake");
    for (std::size_t i = 1; i < 4; ++i) EXPECT_EQ(list->at(i).created, 0) << i;
}

TEST(ReadModelList, IsNoneOfWhatIsNoListOrNestsTooDeep) {
    const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
    for (const std::string& body :
         {std::string(),
          std::string("[]"),
          std::string("{}"),
          std::string(R"({"data":{}})"),
          std::string(R"({"data":[)"),
          R"({"data":)" + deep + "}",
          R"({"data":[{"id":"a"}],"more":)" + deep + "}",
          R"({"data":[{"id":"a","more":)" + deep + "}]}"}) {
        EXPECT_FALSE(read_model_list(body, named("fake"))) << body.substr(0, 50);
    }
    EXPECT_TRUE(read_model_list(R"({"data":[]})", named("fake")));
}

TEST(ReadModelList, TakesOutItsKeyAndWhatIsTooLong) {
    const ModelList list = read_model_list(
        R"({"data":[{"id":"x","owned_by":"key \u0073ecret-0123456789"},{"id":")" +
            std::string(257, 'a') + R"("}]})",
        named("fake", "secret-0123456789")
    );
    ASSERT_TRUE(list);
    ASSERT_EQ(list->size(), 1U);
    EXPECT_EQ(list->front().owned_by, "key [redacted]");

    std::string many = R"({"data":[{"id":"a"})";
    for (int i = 0; i < 20'000; ++i) many += R"(,{"id":"b"})";
    const ModelList bounded = read_model_list(many + "]}", named("fake"));
    ASSERT_TRUE(bounded);
    EXPECT_EQ(bounded->size(), 10'000U);
}

// ---- asking for them

// One who wants the lists.
struct Asker {
    bool left = false;
    bool done = false;
    std::vector<std::vector<std::string>> ids;  // by upstream
    std::shared_ptr<Signal> signal;
};

Awaitable<> run_asker(ModelLists& lists, SnapshotPtr snapshot, Asker& asker) {
    const std::vector<ModelList> got =
        co_await lists.get(snapshot, [&asker] { return asker.left; }, asker.signal);
    for (const ModelList& list : got) {
        asker.ids.emplace_back();
        for (const ListedModel& model : *list) asker.ids.back().push_back(model.id);
    }
    asker.done = true;
}

// A worker whose loop the test's own thread runs.
class ModelListsTest : public testing::Test {
protected:
    // The askers outlive their coroutines, their signals must not outlive the context.
    ~ModelListsTest() override {
        for (Asker& asker : askers_) asker.signal.reset();
    }
    void upstreams(
        const std::vector<const FakeUpstream*>& all,
        const std::string& key = "",
        const std::function<void(config::Upstream&)>& change = [](config::Upstream&) {}
    ) {
        auto config = std::make_shared<config::Config>();
        for (const FakeUpstream* const one : all) {
            config::Upstream upstream =
                named("fake " + std::to_string(config->upstreams.size()), key);
            upstream.url = one->url();
            upstream.host = "127.0.0.1";
            upstream.port = one->port();
            upstream.base_path = "/v1";
            change(upstream);
            config->upstreams.push_back(std::move(upstream));
        }
        auto snapshot = std::make_shared<Snapshot>();
        snapshot->config = std::move(config);
        snapshot_ = std::move(snapshot);
    }
    // Every list is due again at once, if the test does not say otherwise.
    void make(ModelListTimes times = {.kept = 0ms, .again = 0ms}) {
        lists_ = std::make_unique<ModelLists>(context_.get_executor(), client_, calls_, times);
    }
    Asker& ask() {
        Asker& asker = askers_.emplace_back();
        asker.signal = Signal::create(context_.get_executor());
        asio::co_spawn(
            context_,
            run_asker(*lists_, snapshot_, asker),
            [](const std::exception_ptr& bug) { EXPECT_FALSE(bug); }
        );
        return asker;
    }
    void leave(Asker& asker) {
        asker.left = true;
        asker.signal->notify_home();
    }
    [[nodiscard]] bool run_until(const std::function<bool()>& what) {
        const auto until = std::chrono::steady_clock::now() + 20s;
        while (!what() && std::chrono::steady_clock::now() < until) {
            context_.restart();
            context_.run_one_for(5ms);
        }
        return what();
    }
    // What one who asks now is told.
    std::vector<std::vector<std::string>> told() {
        Asker& asker = ask();
        EXPECT_TRUE(run_until([&] { return asker.done; }));
        return asker.ids;
    }

    std::uint64_t calls_ = 0;
    std::deque<Asker> askers_;
    SnapshotPtr snapshot_;
    asio::io_context context_{1};
    upstream::Client client_{context_};
    std::unique_ptr<ModelLists> lists_;
};

TEST_F(ModelListsTest, AFailedCallKeepsTheListFromBefore) {
    std::function<void(Wire&)> say = [](Wire& wire) { wire.json(list_of("a")); };
    FakeUpstream upstream([&](Wire& wire, const SeenRequest&) { say(wire); });
    upstreams({&upstream});
    make({.kept = 0ms, .again = 0ms, .patience = 50ms});
    EXPECT_THAT(told(), ElementsAre(ElementsAre("a")));
    const std::vector<std::function<void(Wire&)>> failures = {
        [](Wire& wire) { wire.json("{}", 500); },
        [](Wire& wire) { wire.json(list_of("z"), 404); },
        [](Wire& wire) { wire.json("garbage"); },
        [](Wire& wire) { wire.json(R"({"data":1})"); },
        [](Wire& wire) {
            wire.json(R"({"data":)" + std::string(200'000, '[') + std::string(200'000, ']') + "}");
        },
        [](Wire& wire) { wire.json(list_of(std::string(5 << 20, 'x'))); },
        [](Wire& wire) {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"data\":[");
            wire.close();
        },
        [](Wire& wire) { wire.wait_for_close(20s); },  // longer than the patience
    };
    for (const auto& failure : failures) {
        say = failure;
        EXPECT_THAT(told(), ElementsAre(ElementsAre("a")));
    }
    EXPECT_GE(upstream.calls(), failures.size() + 1);
    say = [](Wire& wire) { wire.json(list_of("b")); };
    EXPECT_THAT(told(), ElementsAre(ElementsAre("b")));
    EXPECT_EQ(calls_, 0U);
}

TEST_F(ModelListsTest, AGoodListIsKeptAMissingOneAskedForAgain) {
    std::atomic<bool> good = false;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest&) {
        wire.json(list_of("a"), good ? 200 : 500);
    });
    upstreams({&upstream});
    make({.kept = 1h, .again = 0ms});
    EXPECT_THAT(told(), ElementsAre(IsEmpty()));
    good = true;
    EXPECT_THAT(told(), ElementsAre(ElementsAre("a")));
    EXPECT_THAT(told(), ElementsAre(ElementsAre("a")));
    EXPECT_EQ(upstream.calls(), 2U);
    upstreams({&upstream});  // a reload that changes nothing about it
    EXPECT_THAT(told(), ElementsAre(ElementsAre("a")));
    EXPECT_EQ(upstream.calls(), 2U);
    upstreams({&upstream}, "another-key-0123456");
    EXPECT_THAT(told(), ElementsAre(ElementsAre("a")));
    EXPECT_EQ(upstream.calls(), 3U);
}

TEST_F(ModelListsTest, OneCallServesAllWhoWait) {
    std::atomic<bool> go = false;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest&) {
        go.wait(false);
        wire.json(list_of("a"));
    });
    upstreams({&upstream});
    make();
    for (int i = 0; i < 20; ++i) ask();
    EXPECT_TRUE(run_until([&] { return upstream.calls() == 1; }));
    ask();
    EXPECT_EQ(calls_, 1U);
    go = true;
    go.notify_all();
    for (const Asker& asker : askers_) {
        ASSERT_TRUE(run_until([&] { return asker.done; }));
        EXPECT_THAT(asker.ids, ElementsAre(ElementsAre("a")));
    }
    EXPECT_EQ(upstream.calls(), 1U);
}

TEST_F(ModelListsTest, UpstreamsAreAskedAtTheSameTime) {
    std::atomic<int> asked = 0;
    const auto together = [&](std::string id) {
        return [&asked, id](Wire& wire, const SeenRequest&) {
            ++asked;
            asked.notify_all();
            for (int now = asked; now < 3; now = asked) asked.wait(now);
            wire.json(list_of(id));
        };
    };
    FakeUpstream a(together("a"));
    FakeUpstream b(together("b"));
    FakeUpstream c(together("c"));
    upstreams({&a, &b, &c});
    make();
    EXPECT_THAT(told(), ElementsAre(ElementsAre("a"), ElementsAre("b"), ElementsAre("c")));
    asked = 3;  // lets nobody hang if it failed
    asked.notify_all();
}

TEST_F(ModelListsTest, TheCallEndsWhenTheLastWhoWaitsLeaves) {
    std::atomic<bool> hang = true;
    std::atomic<bool> closed = false;
    FakeUpstream upstream([&](Wire& wire, const SeenRequest&) {
        if (hang) {
            closed = wire.wait_for_close(20s);
        } else {
            wire.json(list_of("a"));
        }
    });
    upstreams({&upstream});
    make();
    Asker& first = ask();
    Asker& second = ask();
    ASSERT_TRUE(run_until([&] { return upstream.calls() == 1; }));
    leave(first);
    ASSERT_TRUE(run_until([&] { return first.done; }));
    EXPECT_THAT(first.ids, ElementsAre(IsEmpty()));
    EXPECT_FALSE(second.done);
    EXPECT_EQ(calls_, 1U);
    // Who comes before the cancelled call is over takes no harm from it.
    hang = false;
    leave(second);
    const Asker& third = ask();
    ASSERT_TRUE(run_until([&] { return second.done && third.done; }));
    EXPECT_THAT(second.ids, ElementsAre(IsEmpty()));
    EXPECT_THAT(third.ids, ElementsAre(ElementsAre("a")));
    ASSERT_TRUE(run_until([&] { return closed.load() && calls_ == 0; }));
    EXPECT_EQ(upstream.calls(), 2U);
}

TEST_F(ModelListsTest, OneWhoDoesNotWaitStartsNothing) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) { wire.json(list_of("a")); });
    upstreams({&upstream});
    make();
    Asker& gone = ask();
    gone.left = true;
    ASSERT_TRUE(run_until([&] { return gone.done; }));
    EXPECT_THAT(gone.ids, ElementsAre(IsEmpty()));
    EXPECT_EQ(calls_, 0U);
}

TEST_F(ModelListsTest, AnthropicIsAskedInItsOwnWay) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) { wire.json(list_of("claude-a")); });
    upstreams({&upstream}, "secret-0123456789", [](config::Upstream& one) {
        one.kind = config::Kind::kAnthropic;
        one.query = {{"beta", "true"}};
    });
    make();
    EXPECT_THAT(told(), ElementsAre(ElementsAre("claude-a")));
    EXPECT_EQ(upstream.seen()[0].target, "/v1/models?limit=1000&beta=true");
    EXPECT_EQ(upstream.seen()[0].field("anthropic-version"), "2023-06-01");
}

TEST_F(ModelListsTest, AzureIsNotAskedAndListsItsDeployments) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) { wire.json(list_of("a")); });
    upstreams({&upstream}, "", [](config::Upstream& one) {
        one.kind = config::Kind::kAzure;
        one.deployments = {{"gpt-4o", "prod"}, {"o3", "reason"}};
    });
    make();
    EXPECT_THAT(told(), ElementsAre(ElementsAre("gpt-4o", "o3")));
    upstreams({&upstream}, "", [](config::Upstream& one) {
        one.kind = config::Kind::kAzure;
        one.deployments = {{"gpt-4o", "prod"}};
    });
    EXPECT_THAT(told(), ElementsAre(ElementsAre("gpt-4o")));
    EXPECT_EQ(upstream.calls(), 0U);
}

TEST_F(ModelListsTest, AKeyThatIsTurnedAwayMakesRoomForTheNext) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        const bool good = request.field("authorization") == "Bearer second-0123456789";
        wire.json(list_of("a"), good ? 200 : 401);
    });
    upstreams({&upstream}, "", [](config::Upstream& one) {
        one.keys = {"first-0123456789", "second-0123456789"};
    });
    make();
    EXPECT_THAT(told(), ElementsAre(IsEmpty()));
    for (int i = 0; i < 3; ++i) EXPECT_THAT(told(), ElementsAre(ElementsAre("a")));
    EXPECT_EQ(upstream.calls(), 4U);
}

// The worker's end while a call is in the air.
TEST_F(ModelListsTest, NothingDanglesAtTheEnd) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) { wire.wait_for_close(20s); });
    upstreams({&upstream});
    make();
    ask();
    ASSERT_TRUE(run_until([&] { return upstream.calls() == 1; }));
    EXPECT_EQ(calls_, 1U);
}

}  // namespace
}  // namespace weir::proxy
