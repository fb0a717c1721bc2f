// An upstream's process is killed with 200 requests in flight: each that had no byte yet is
// answered by the other one, counted once, and sent there once; those that had begun break off and
// are sent nowhere.
#include <array>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <new>
#include <string>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "support/client.hpp"
#include "support/fake_upstream.hpp"
#include "support/test_gateway.hpp"

namespace weir::test {
namespace {

constexpr std::size_t kRequests = 200;
constexpr std::size_t kBegun = 50;  // of them have a first byte when it is killed

// What both processes of upstreams tell, in memory that outlives them.
struct Told {
    struct Question {
        std::atomic<int> at_first = 0;
        std::atomic<int> at_second = 0;
        std::atomic<bool> begun = false;
    };
    std::array<Question, kRequests> questions;
    std::array<std::atomic<int>, 2> ports{};

    static Told& shared() {
        void* const memory = ::mmap(
            nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0
        );
        if (memory == MAP_FAILED) std::abort();
        return *new (memory) Told;
    }
    [[nodiscard]] std::size_t count(const std::function<bool(const Question&)>& which) const {
        std::size_t found = 0;
        for (const Question& question : questions) found += which(question) ? 1 : 0;
        return found;
    }
};

std::size_t number_in(const SeenRequest& request) {
    const std::size_t at = request.body.find("question ");
    return at == std::string::npos ? 0 : std::stoul(request.body.substr(at + 9));
}

// A process of its own that answers by `script`. Forked while this one has a single thread.
class UpstreamProcess {
public:
    UpstreamProcess(std::atomic<int>& port, const FakeUpstream::Script& script)
        : pid_(::fork()), port_(port) {
        if (pid_ != 0) return;
        FakeUpstream upstream(script);
        port = upstream.port();
        while (::getppid() != 1) std::this_thread::sleep_for(std::chrono::milliseconds(50));
        ::_exit(0);
    }
    ~UpstreamProcess() { kill(); }
    UpstreamProcess(const UpstreamProcess&) = delete;
    UpstreamProcess& operator=(const UpstreamProcess&) = delete;

    void kill() {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(std::exchange(pid_, 0), nullptr, 0);
    }
    [[nodiscard]] std::string url() const {
        while (port_ == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return "http://127.0.0.1:" + std::to_string(port_) + "/v1";
    }

private:
    pid_t pid_;
    std::atomic<int>& port_;
};

bool eventually(const std::function<bool()>& what) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!what()) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
}

TEST(Failover, AKilledUpstreamLosesNoRequestThatHadNoByteYet) {
    Told& told = Told::shared();
    UpstreamProcess first(told.ports[0], [&](Wire& wire, const SeenRequest& request) {
        Told::Question& question = told.questions[number_in(request)];
        if (number_in(request) < kBegun) {
            wire.begin_stream();
            wire.event(R"({"choices":[{"index":0,"delta":{"content":"half an"}}]})");
            question.begun = true;
        }
        ++question.at_first;
        wire.wait_for_close(std::chrono::seconds(60));
    });
    UpstreamProcess second(told.ports[1], [&](Wire& wire, const SeenRequest& request) {
        ++told.questions[number_in(request)].at_second;
        answer_chat(wire, request, "an answer");
    });
    TestGateway gateway(
        {.upstream_url = first.url(),
         .caps = "[{models: \"*\", allow: 1000/4h}]",
         .more_upstreams = "  - {name: second, url: \"" + second.url() + "\", priority: 2}\n",
         .log = "{level: off}",
         .retry = "{backoff: 500ms}"}
    );
    std::vector<Client> clients;
    clients.reserve(kRequests);
    for (std::size_t i = 0; i < kRequests; ++i) {
        clients.emplace_back(gateway.port());
        const std::string body =
            chat_body("question " + std::to_string(i), i % 2 == 0 || i < kBegun);
        ASSERT_TRUE(clients[i].send(Ask{.key = kCarol, .body = body, .fields = {}}.bytes()));
    }
    ASSERT_TRUE(eventually([&] {
        return told.count([](const auto& one) { return one.at_first == 1; }) == kRequests;
    }));
    std::vector<Answer> answers(kRequests);
    for (std::size_t i = 0; i < kBegun; ++i) {
        answers[i] = clients[i].read_head();
        clients[i].read_body(answers[i], [](const std::string& body) { return !body.empty(); });
    }
    first.kill();
    for (std::size_t i = 0; i < kRequests; ++i) {
        const Told::Question& question = told.questions[i];
        if (i < kBegun) {
            clients[i].read_body(answers[i]);
            EXPECT_NE(answers[i].body.find("\"upstream_error\""), std::string::npos) << i;
            EXPECT_EQ(question.at_second, 0) << i << ": it had been answered already";
            continue;
        }
        answers[i] = clients[i].read_answer();
        EXPECT_EQ(answers[i].status, 200) << i << answers[i].body;
        EXPECT_TRUE(answers[i].complete) << i;
        EXPECT_EQ(chat_text(answers[i]), "an answer") << i;
        EXPECT_EQ(answers[i].field("x-weir-attempts"), "fake closed, second 200") << i;
        EXPECT_EQ(question.at_second, 1) << i;
        EXPECT_EQ(question.at_first, 1) << i;
    }
    const std::string left = std::to_string(1000 - (kRequests - kBegun));
    EXPECT_TRUE(eventually([&] {
        const Answer models =
            ask(gateway.port(),
                {.method = "GET", .path = "/v1/models", .key = kCarol, .body = {}, .fields = {}});
        return models.field("x-ratelimit-remaining-requests") == left;
    }));
}

}  // namespace
}  // namespace weir::test
