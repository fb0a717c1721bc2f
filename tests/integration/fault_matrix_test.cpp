// Each row of the fault matrix, and what all of them leave behind.
#include "fault_matrix.hpp"

#include <algorithm>
#include <filesystem>
#include <iterator>

#include <malloc.h>

namespace weir::test {
namespace {

struct Stage {
    const char* name;
    std::vector<Row> (*rows)();
};

constexpr Stage kStages[] = {
    {"Connecting", &rows_of_connecting},
    {"Requests", &rows_of_requests},
    {"Heads", &rows_of_heads},
    {"Bodies", &rows_of_bodies},
    {"Streams", &rows_of_streams},
    {"Statuses", &rows_of_statuses},
};

std::string name_of(const ::testing::TestParamInfo<Stage>& stage) {
    return stage.param.name;
}

class Faults : public ::testing::TestWithParam<Stage> {};

// Retries of the same upstream, as far as they may mend it; then the client is told.
TEST_P(Faults, OfTheOnlyUpstreamAreToldAndCostNothing) {
    FaultMatrix matrix(GetParam().rows());
    matrix.run();
    matrix.judge();
}

// What can be mended before the first byte is; nothing else is asked for twice.
TEST_P(Faults, AreMendedByASecondUpstream) {
    FaultMatrix matrix(GetParam().rows(), true);
    matrix.run();
    matrix.judge();
}

INSTANTIATE_TEST_SUITE_P(Matrix, Faults, ::testing::ValuesIn(kStages), name_of);

std::vector<Row> all_rows() {
    std::vector<Row> all;
    for (const Stage& stage : kStages) std::ranges::move(stage.rows(), std::back_inserter(all));
    return all;
}

std::ptrdiff_t descriptors() {
    const std::filesystem::directory_iterator open("/proc/self/fd");
    return std::distance(begin(open), end(open));
}

// Of the whole process, in all arenas. 0: a sanitizer has a heap of its own.
std::size_t heap_bytes() {
    const struct mallinfo2 info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
}

TEST(FaultMatrix, LeavesNothingBehind) {
    static constexpr std::size_t kRounds = 2;
    // What a message may leave for good: what the ledger knows of it, and what malloc keeps.
    static constexpr std::size_t kKeptBytes = 4000;
    // Files that are opened when they are first needed.
    static constexpr std::ptrdiff_t kOpenedLate = 10;
    FaultMatrix matrix(all_rows(), true);
    ASSERT_GE(matrix.size(), 200U);
    TestGateway& gateway = matrix.gateway();
    // Connections that wait for another call are let go of by a reload.
    const auto settled = [&](std::ptrdiff_t most) {
        EXPECT_TRUE(gateway.gateway().reload());
        return eventually([&] {
            return descriptors() <= most && metric(gateway, "weir_connections") == 1 &&
                   metric(gateway, "weir_flights") == 0 &&
                   metric(gateway, "weir_body_bytes") == 0 &&
                   metric(gateway, "weir_backlog_bytes") == 0;
        });
    };
    const std::ptrdiff_t at_first = descriptors();
    matrix.run();
    matrix.judge();
    EXPECT_TRUE(settled(at_first + kOpenedLate)) << descriptors() << " " << at_first;
    const std::ptrdiff_t open = descriptors();
    const std::size_t heap = heap_bytes();
    for (std::size_t round = 0; round < kRounds; ++round) {
        matrix.run();
        EXPECT_LT(matrix.longest(), 4s);
    }
    EXPECT_TRUE(settled(open)) << descriptors() << " " << open;
    if (heap > 0) EXPECT_LE(heap_bytes(), heap + kRounds * matrix.size() * kKeptBytes);
    // Nor does anything that no number shows go on: a drain would wait for it.
    const auto begun = std::chrono::steady_clock::now();
    gateway.gateway().drain([] { return false; });
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 5s);
}

}  // namespace
}  // namespace weir::test
