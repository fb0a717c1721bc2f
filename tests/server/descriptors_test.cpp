#include "weir/server/descriptors.hpp"

#include <cerrno>
#include <sys/resource.h>

#include <gtest/gtest.h>
#include <unistd.h>

#include "host.hpp"
#include "integration/tools.hpp"

namespace weir::test {
namespace {

// The soft limit of descriptors, put back at the end.
class SoftLimit {
public:
    SoftLimit() { ::getrlimit(RLIMIT_NOFILE, &before_); }
    ~SoftLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    SoftLimit(const SoftLimit&) = delete;
    SoftLimit& operator=(const SoftLimit&) = delete;
    void set(rlim_t soft) const {
        rlimit limit = before_;
        limit.rlim_cur = soft;
        EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    }
    [[nodiscard]] static rlim_t now() {
        rlimit limit{};
        ::getrlimit(RLIMIT_NOFILE, &limit);
        return limit.rlim_cur;
    }
    [[nodiscard]] rlim_t hard() const { return before_.rlim_max; }

private:
    rlimit before_{};
};

TEST(Descriptors, AsManyConnectionsAsFit) {
    EXPECT_EQ(server::connections_that_fit(8192, 1 << 20), 8192U);
    EXPECT_EQ(server::connections_that_fit(8192, 2 * 8192 + 64), 8192U);
    EXPECT_EQ(server::connections_that_fit(8192, 2 * 8192 + 63), 8191U);
    EXPECT_EQ(server::connections_that_fit(8192, 1024), 480U);
    EXPECT_EQ(server::connections_that_fit(8192, 10), 1U);
    EXPECT_EQ(server::connections_that_fit(1'000'000, ~std::uint64_t{0}), 1'000'000U);
}

TEST(Descriptors, TheSoftLimitIsRaisedAtStart) {
    const SoftLimit limit;
    limit.set(256);
    const TestGateway gateway({.more = "limits: {connections: 1000000}\n"});
    EXPECT_EQ(SoftLimit::now(), limit.hard());
    EXPECT_EQ(
        metric(gateway, "weir_connections_limit"),
        server::connections_that_fit(1'000'000, limit.hard())
    );
}

Awaitable<> say_hello(proxy::ClientStream& client) {
    http::Response response;
    response.body = "hello";
    (void)co_await client.send(response);
}

// The lowest descriptor that is free: none above can be had once it is the limit.
rlim_t lowest_free() {
    const int probe = ::dup(0);
    EXPECT_GE(probe, 0);
    ::close(probe);
    return static_cast<rlim_t>(probe);
}

TEST(Descriptors, WithoutAnyLeftAcceptingPausesAndRecovers) {
    // UBSan looks into an object's memory by means of a pipe when it meets its type for the first
    // time, and takes it for broken when it gets none: it has to know this one by then.
    const SysError known(EMFILE, boost::system::system_category());
    ASSERT_TRUE(known.failed() && !known.message().empty());
    Host host(say_hello);
    std::vector<Client> clients;
    // The kernel completes these; their descriptors here are the clients' own.
    for (int i = 0; i < 3; ++i) {
        Client& client = clients.emplace_back(host.port());
        ASSERT_TRUE(client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    }
    {
        const SoftLimit limit;
        limit.set(lowest_free());
        host.run_listener(1050ms);
        const auto failures = host.settings().accept_failures.load();
        EXPECT_GE(failures, 2U);
        EXPECT_LE(failures, 12U);  // a pause of 100 ms behind each: it does not spin
        EXPECT_EQ(host.connections(), 0U);
    }
    const auto begun = std::chrono::steady_clock::now();
    host.start_threads();
    for (Client& client : clients) EXPECT_EQ(client.read_answer().body, "hello");
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 2s);
}

TEST(Descriptors, FailuresToAcceptAreAMetric) {
    const TestGateway gateway({});
    EXPECT_EQ(metric(gateway, "weir_accept_failures"), 0);
}

}  // namespace
}  // namespace weir::test
