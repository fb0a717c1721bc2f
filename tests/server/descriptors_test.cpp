#include "weir/server/descriptors.hpp"

#include <sys/resource.h>

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace weir::test
