#include "weir/metrics/metrics.hpp"

#include <cmath>
#include <limits>
#include <map>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::metrics {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

// Lines of `text` that begin with `start`, as "rest of the line".
std::vector<std::string> lines_after(const std::string& text, std::string_view start) {
    std::vector<std::string> out;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        if (line.starts_with(start)) {
            out.push_back(line.substr(start.size()));
        }
    }
    return out;
}

TEST(Exposition, EmptyRegistryIsEmptyText) {
    EXPECT_EQ(Registry().expose(), "");
}

TEST(Exposition, CounterIsExactToTheByte) {
    Registry registry;
    registry.counter("weir_requests_total", "Requests.", {{"path", "/v1"}, {"code", "200"}}).add(3);
    registry.counter("weir_requests_total", "Requests.", {{"code", "404"}, {"path", "/x"}}).add();
    registry.counter("weir_alone_total", "No labels.");
    EXPECT_EQ(
        registry.expose(),
        "# HELP weir_alone_total No labels.\n"
        "# TYPE weir_alone_total counter\n"
        "weir_alone_total 0\n"
        "# HELP weir_requests_total Requests.\n"
        "# TYPE weir_requests_total counter\n"
        "weir_requests_total{code=\"200\",path=\"/v1\"} 3\n"
        "weir_requests_total{code=\"404\",path=\"/x\"} 1\n"
    );
}

TEST(Exposition, HistogramIsCumulativeToTheByte) {
    Registry registry;
    auto& h = registry.histogram("weir_time_seconds", "Time.", {{"step", "relay"}});
    h.observe(100us);
    h.observe(3ms);
    h.observe(1500ms);
    h.observe(1h);
    EXPECT_EQ(
        registry.expose(),
        "# HELP weir_time_seconds Time.\n"
        "# TYPE weir_time_seconds histogram\n"
        "weir_time_seconds_bucket{step=\"relay\",le=\"0.0005\"} 1\n"
        "weir_time_seconds_bucket{step=\"relay\",le=\"0.001\"} 1\n"
        "weir_time_seconds_bucket{step=\"relay\",le=\"0.0025\"} 1\n"
        "weir_time_seconds_bucket{step=\"relay\",le=\"0.005\"} 2\n"
        "weir_time_seconds_bucket{step=\"relay\",le=\"0.01\"} 2\n"
        "weir_time_seconds_bucket{step=\"relay\",le=\"0.05\"} 2\n"
        "weir_time_seconds_bucket{step=\"relay\",le=\"0.1\"} 2\n"
        "weir_time_seconds_bucket{step=\"relay\",le=\"0.25\"} 2\n"
        "weir_time_seconds_bucket{step=\"relay\",le=\"0.5\"} 2\n"
        "weir_time_seconds_bucket{step=\"relay\",le=\"1\"} 2\n"
        "weir_time_seconds_bucket{step=\"relay\",le=\"2.5\"} 3\n"
        "weir_time_seconds_bucket{step=\"relay\",le=\"10\"} 3\n"
        "weir_time_seconds_bucket{step=\"relay\",le=\"30\"} 3\n"
        "weir_time_seconds_bucket{step=\"relay\",le=\"120\"} 3\n"
        "weir_time_seconds_bucket{step=\"relay\",le=\"600\"} 3\n"
        "weir_time_seconds_bucket{step=\"relay\",le=\"+Inf\"} 4\n"
        "weir_time_seconds_sum{step=\"relay\"} 3601.5031\n"
        "weir_time_seconds_count{step=\"relay\"} 4\n"
    );
}

TEST(Exposition, HistogramWithoutLabelsHasOnlyLe) {
    Registry registry;
    registry.histogram("t_seconds", "T.").observe(1s);
    const auto text = registry.expose();
    EXPECT_THAT(text, HasSubstr("\nt_seconds_bucket{le=\"1\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("\nt_seconds_sum 1\n"));
    EXPECT_THAT(text, HasSubstr("\nt_seconds_count 1\n"));
}

TEST(Exposition, EscapesHelpAndLabelValues) {
    Registry registry;
    registry.counter("c_total", "a\\b\nc\"d", {{"v", "a\\b\nc\"d"}});
    EXPECT_EQ(
        registry.expose(),
        "# HELP c_total a\\\\b\\nc\"d\n"
        "# TYPE c_total counter\n"
        "c_total{v=\"a\\\\b\\nc\\\"d\"} 0\n"
    );
}

TEST(Exposition, GaugeIsReadAtEachScrape) {
    Registry registry;
    double value = 1.5;
    registry.gauge("g", "G.", [&value] { return value; });
    EXPECT_EQ(lines_after(registry.expose(), "g "), std::vector<std::string>{"1.5"});
    value = -2;
    EXPECT_EQ(lines_after(registry.expose(), "g "), std::vector<std::string>{"-2"});
    EXPECT_THAT(registry.expose(), HasSubstr("# TYPE g gauge\n"));
}

TEST(Exposition, GaugeSpecialNumbersAreSpeltAsPrometheusReadsThem) {
    Registry registry;
    constexpr double kInf = std::numeric_limits<double>::infinity();
    registry.gauge("g", "G.", [] { return kInf; }, {{"n", "1"}});
    registry.gauge("g", "G.", [] { return -kInf; }, {{"n", "2"}});
    registry.gauge("g", "G.", [] { return std::nan(""); }, {{"n", "3"}});
    registry.gauge("g", "G.", [] { return 1e300; }, {{"n", "4"}});
    registry.gauge("g", "G.", [] { return 0.1; }, {{"n", "5"}});
    EXPECT_EQ(
        lines_after(registry.expose(), "g{n="),
        (std::vector<std::string>{
            "\"1\"} +Inf", "\"2\"} -Inf", "\"3\"} NaN", "\"4\"} 1e+300", "\"5\"} 0.1"
        })
    );
}

TEST(Exposition, ThrowingGaugeIsNaNAndCostsNoOther) {
    Registry registry;
    registry.gauge("a", "A.", []() -> double { throw std::runtime_error("x"); });
    registry.gauge("b", "B.", [] { return 7.0; });
    const auto text = registry.expose();
    EXPECT_THAT(text, HasSubstr("\na NaN\n"));
    EXPECT_THAT(text, HasSubstr("\nb 7\n"));
}

TEST(Exposition, GaugeMayRegisterWhileItIsRead) {
    Registry registry;
    registry.gauge("g", "G.", [&registry] {
        registry.counter("born_total", "Born in a scrape.").add();
        return 1.0;
    });
    EXPECT_THAT(registry.expose(), Not(HasSubstr("born_total")));
    EXPECT_THAT(registry.expose(), HasSubstr("\nborn_total 1\n"));
}

TEST(Histogram, BoundIsInItsBucketAndOneNanosecondMoreIsNot) {
    const auto bounds = Histogram::bounds_s();
    ASSERT_EQ(bounds.size() + 1, Histogram::kBuckets);
    EXPECT_EQ(bounds.front(), 0.0005);
    EXPECT_EQ(bounds.back(), 600);
    EXPECT_TRUE(std::ranges::is_sorted(bounds));
    for (std::size_t i = 0; i < bounds.size(); ++i) {
        const std::chrono::nanoseconds bound(std::llround(bounds[i] * 1e9));
        Histogram h;
        h.observe(bound);
        EXPECT_EQ(h.counts[i].load(), 1U) << bounds[i];
        h.observe(bound + 1ns);
        EXPECT_EQ(h.counts[i].load(), 1U) << bounds[i];
        EXPECT_EQ(h.counts[i + 1].load(), 1U) << bounds[i];
    }
}

TEST(Histogram, NegativeDurationCountsAsZero) {
    Histogram h;
    h.observe(-5s);
    EXPECT_EQ(h.counts[0].load(), 1U);
    EXPECT_EQ(h.sum_us.load(), 0U);
}

TEST(Registry, SameNameAndLabelsInAnyOrderIsTheSameCell) {
    Registry registry;
    auto& a = registry.counter("c_total", "C.", {{"x", "1"}, {"y", "2"}});
    auto& b = registry.counter("c_total", "C.", {{"y", "2"}, {"x", "1"}});
    auto& c = registry.counter("c_total", "C.", {{"x", "2"}, {"y", "1"}});
    EXPECT_EQ(&a, &b);
    EXPECT_NE(&a, &c);
}

TEST(Registry, LabelValuesCannotBeMistakenForTwoLabels) {
    Registry registry;
    auto& a = registry.counter("c_total", "C.", {{"x", "1\",y=\"2"}});
    auto& b = registry.counter("c_total", "C.", {{"x", "1"}, {"y", "2"}});
    EXPECT_NE(&a, &b);
}

TEST(Registry, GaugeRegisteredAgainReplacesTheFirst) {
    Registry registry;
    registry.gauge("g", "G.", [] { return 1.0; });
    registry.gauge("g", "G.", [] { return 2.0; });
    EXPECT_EQ(lines_after(registry.expose(), "g "), std::vector<std::string>{"2"});
}

TEST(Registry, WrongNamesAndTypesAreBugsThatThrow) {
    Registry registry;
    EXPECT_THROW(registry.counter("", "C."), std::logic_error);
    EXPECT_THROW(registry.counter("1a", "C."), std::logic_error);
    EXPECT_THROW(registry.counter("a-b", "C."), std::logic_error);
    EXPECT_THROW(registry.counter("a", "C.", {{"b:c", ""}}), std::logic_error);
    EXPECT_THROW(registry.counter("a", "C.", {{"__b", ""}}), std::logic_error);
    EXPECT_THROW(registry.counter("a", "C.", {{"b", "1"}, {"b", "2"}}), std::logic_error);
    EXPECT_THROW(registry.histogram("h", "H.", {{"le", "1"}}), std::logic_error);
    registry.counter("taken", "T.");
    EXPECT_THROW(registry.histogram("taken", "T."), std::logic_error);
    EXPECT_THROW(registry.gauge("taken", "T.", [] { return 0.0; }), std::logic_error);
    EXPECT_EQ(registry.expose(), "# HELP taken T.\n# TYPE taken counter\ntaken 0\n")
        << "what was refused leaves no trace";
}

TEST(Registry, PastAThousandLabelSetsTheRestIsOther) {
    Registry registry;
    for (int i = 0; i < 1500; ++i) {
        registry.counter("c_total", "C.", {{"model", std::to_string(i)}}).add();
        registry.gauge("g", "G.", [] { return 1.0; }, {{"model", std::to_string(i)}});
        registry.histogram("h", "H.", {{"model", std::to_string(i)}}).observe(1ms);
    }
    // A known set keeps its own cell.
    registry.counter("c_total", "C.", {{"model", "999"}}).add();
    const auto text = registry.expose();
    EXPECT_EQ(lines_after(text, "c_total{").size(), 1001U);
    EXPECT_THAT(text, HasSubstr("\nc_total{model=\"999\"} 2\n"));
    EXPECT_THAT(text, HasSubstr("\nc_total{other=\"true\"} 500\n"));
    EXPECT_THAT(text, HasSubstr("\ng{other=\"true\"} 500\n"));
    EXPECT_THAT(text, HasSubstr("\nh_count{other=\"true\"} 500\n"));
    EXPECT_THAT(text, Not(HasSubstr("\"1000\"")));
}

TEST(Registry, ManyThreadsLoseNoCount) {
    Registry registry;
    auto& counter = registry.counter("c_total", "C.");
    constexpr int kThreads = 6;
    constexpr int kRounds = 20000;
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&registry, &counter, t] {
            auto& histogram = registry.histogram("h", "H.", {{"half", std::to_string(t % 2)}});
            for (int i = 0; i < kRounds; ++i) {
                counter.add();
                histogram.observe(std::chrono::microseconds(i));
            }
        });
    }
    // A scrape in the middle is consistent in itself: _count is the +Inf bucket.
    for (int i = 0; i < 20; ++i) {
        const auto text = registry.expose();
        for (const auto half : {"0", "1"}) {
            const auto label = std::string("half=\"") + half + "\"";
            EXPECT_EQ(
                lines_after(text, "h_bucket{" + label + ",le=\"+Inf\"}"),
                lines_after(text, "h_count{" + label + "}")
            );
        }
    }
    threads.clear();
    EXPECT_EQ(counter.value(), static_cast<std::uint64_t>(kThreads) * kRounds);
    const auto text = registry.expose();
    EXPECT_EQ(lines_after(text, "h_count{half=\"0\"} "), std::vector<std::string>{"60000"});
}

}  // namespace
}  // namespace weir::metrics
