#include "weir/metrics/metrics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <stdexcept>

#include <fmt/format.h>

#include "weir/base/mutex.hpp"

namespace weir::metrics {

namespace {

// An answer from the cache takes under a millisecond, a long reasoning answer minutes.
constexpr std::array<double, Histogram::kBuckets - 1> kBoundsS = {
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30, 120, 600
};

// The same bounds, so that observe() compares integers. They are whole microseconds.
constexpr auto kBoundsNs = [] {
    std::array<std::int64_t, kBoundsS.size()> out{};
    for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] = static_cast<std::int64_t>(kBoundsS[i] * 1e6) * 1000;
    }
    return out;
}();

// A family must not grow without limit, whatever its labels come from.
constexpr std::size_t kMaxLabelSets = 1000;

enum class Type : std::uint8_t { kCounter, kGauge, kHistogram };

std::string_view name_of(Type type) noexcept {
    switch (type) {
        case Type::kCounter:
            return "counter";
        case Type::kGauge:
            return "gauge";
        case Type::kHistogram:
            return "histogram";
    }
    return "untyped";
}

// One number for each thread, in the order in which they first count something.
unsigned thread_number() noexcept {
    static std::atomic<unsigned> next = 0;
    thread_local const unsigned mine = next.fetch_add(1, std::memory_order_relaxed);
    return mine;
}

bool is_letter(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool is_name(std::string_view text, bool colons) noexcept {
    const auto first = [colons](char c) { return is_letter(c) || (colons && c == ':'); };
    return !text.empty() && first(text.front()) &&
           std::ranges::all_of(text, [&](char c) { return first(c) || (c >= '0' && c <= '9'); });
}

void append_escaped(std::string& out, std::string_view text, bool quotes) {
    for (const char c : text) {
        if (c == '\\') {
            out += "\\\\";
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '"' && quotes) {
            out += "\\\"";
        } else {
            out += c;
        }
    }
}

// `a="1",b="2"`, sorted by name so that one set of labels has one text.
std::string label_text(Labels labels, Type type) {
    std::ranges::sort(labels);
    std::string out;
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const auto& [name, value] = labels[i];
        if (!is_name(name, false) || name.starts_with("__") ||
            (type == Type::kHistogram && name == "le")) {
            throw std::logic_error("metric label name not allowed: " + name);
        }
        if (i > 0 && labels[i - 1].first == name) {
            throw std::logic_error("metric label given twice: " + name);
        }
        if (i > 0) {
            out += ',';
        }
        out += name;
        out += "=\"";
        append_escaped(out, value, true);
        out += '"';
    }
    return out;
}

std::string number_text(double value) {
    if (std::isnan(value)) {
        return "NaN";
    }
    if (std::isinf(value)) {
        return value > 0 ? "+Inf" : "-Inf";
    }
    return fmt::format("{}", value);
}

void append_sample(
    std::string& out,
    std::string_view name,
    std::string_view suffix,
    std::string_view labels,
    std::string_view value
) {
    out += name;
    out += suffix;
    if (!labels.empty()) {
        out += '{';
        out += labels;
        out += '}';
    }
    out += ' ';
    out += value;
    out += '\n';
}

void append_histogram(
    std::string& out, std::string_view name, std::string_view labels, const Histogram& histogram
) {
    std::uint64_t sum_of_counts = 0;
    std::string with_le;
    for (std::size_t i = 0; i < Histogram::kBuckets; ++i) {
        sum_of_counts += histogram.counts[i].load(std::memory_order_relaxed);
        with_le = labels;
        if (!labels.empty()) {
            with_le += ',';
        }
        with_le += "le=\"";
        with_le += i < kBoundsS.size() ? number_text(kBoundsS[i]) : "+Inf";
        with_le += '"';
        append_sample(out, name, "_bucket", with_le, fmt::to_string(sum_of_counts));
    }
    const auto sum_us = histogram.sum_us.load(std::memory_order_relaxed);
    append_sample(out, name, "_sum", labels, number_text(static_cast<double>(sum_us) / 1e6));
    // The sum of the buckets just read, so that _count and the +Inf bucket never differ.
    append_sample(out, name, "_count", labels, fmt::to_string(sum_of_counts));
}

}  // namespace

void Counter::add(std::uint64_t by) noexcept {
    cells_[thread_number() % cells_.size()].value.fetch_add(by, std::memory_order_relaxed);
}

std::uint64_t Counter::value() const noexcept {
    std::uint64_t total = 0;
    for (const auto& cell : cells_) {
        total += cell.value.load(std::memory_order_relaxed);
    }
    return total;
}

std::span<const double> Histogram::bounds_s() noexcept {
    return kBoundsS;
}

void Histogram::observe(std::chrono::nanoseconds value) noexcept {
    const auto ns = std::max<std::int64_t>(value.count(), 0);
    const auto bucket = std::ranges::lower_bound(kBoundsNs, ns) - kBoundsNs.begin();
    counts[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
    sum_us.fetch_add(static_cast<std::uint64_t>(ns / 1000), std::memory_order_relaxed);
}

struct Registry::Impl {
    using Read = std::shared_ptr<const std::function<double()>>;

    // One label set; the member of the family's type is used.
    struct Sample {
        std::unique_ptr<Counter> counter;
        std::unique_ptr<Histogram> histogram;
        std::vector<Read> gauges;  // more than one only in {other="true"}: their sum
    };

    struct Family {
        std::string help;
        Type type = Type::kCounter;
        std::map<std::string, Sample, std::less<>> samples;
    };

    // What a scrape needs after the lock is given back.
    struct Row {
        std::string labels;
        const Counter* counter = nullptr;
        const Histogram* histogram = nullptr;
        std::vector<Read> gauges;
    };

    struct Table {
        std::string name;
        std::string help;
        Type type = Type::kCounter;
        std::vector<Row> rows;
    };

    mutable Mutex mutex;
    std::map<std::string, Family, std::less<>> families GUARDED_BY(mutex);

    struct Place {
        Sample& sample;
        bool is_other;
    };

    Place place(std::string_view name, std::string_view help, Type type, const Labels& labels)
        REQUIRES_LOCK(mutex) {
        if (!is_name(name, true)) {
            throw std::logic_error("metric name not allowed: " + std::string(name));
        }
        const auto text = label_text(labels, type);
        auto found = families.find(name);
        if (found == families.end()) {
            found = families.emplace(name, Family{std::string(help), type, {}}).first;
        }
        auto& family = found->second;
        if (family.type != type) {
            throw std::logic_error("metric registered with two types: " + std::string(name));
        }
        if (const auto known = family.samples.find(text); known != family.samples.end()) {
            return {known->second, false};
        }
        if (family.samples.size() < kMaxLabelSets) {
            return {family.samples[text], false};
        }
        return {family.samples["other=\"true\""], true};
    }

    std::vector<Table> tables() const EXCLUDES_LOCK(mutex) {
        const MutexLock lock(mutex);
        std::vector<Table> out;
        out.reserve(families.size());
        for (const auto& [name, family] : families) {
            Table table{name, family.help, family.type, {}};
            table.rows.reserve(family.samples.size());
            for (const auto& [labels, sample] : family.samples) {
                table.rows.push_back(
                    {labels, sample.counter.get(), sample.histogram.get(), sample.gauges}
                );
            }
            out.push_back(std::move(table));
        }
        return out;
    }
};

namespace {

double read_gauge(const std::function<double()>& read) noexcept {
    try {
        return read();
    } catch (...) {
        // One broken gauge must not cost the operator all the others.
        return std::numeric_limits<double>::quiet_NaN();
    }
}

}  // namespace

Registry::Registry() : impl_(std::make_unique<Impl>()) {}
Registry::~Registry() = default;

Counter& Registry::counter(std::string_view name, std::string_view help, const Labels& labels) {
    const MutexLock lock(impl_->mutex);
    auto& cell = impl_->place(name, help, Type::kCounter, labels).sample.counter;
    if (!cell) {
        cell = std::make_unique<Counter>();
    }
    return *cell;
}

Histogram& Registry::histogram(std::string_view name, std::string_view help, const Labels& labels) {
    const MutexLock lock(impl_->mutex);
    auto& cell = impl_->place(name, help, Type::kHistogram, labels).sample.histogram;
    if (!cell) {
        cell = std::make_unique<Histogram>();
    }
    return *cell;
}

void Registry::gauge(
    std::string_view name, std::string_view help, std::function<double()> read, const Labels& labels
) {
    auto shared = std::make_shared<const std::function<double()>>(std::move(read));
    const MutexLock lock(impl_->mutex);
    const auto place = impl_->place(name, help, Type::kGauge, labels);
    if (!place.is_other) {
        place.sample.gauges.clear();
    }
    place.sample.gauges.push_back(std::move(shared));
}

std::string Registry::expose() const {
    std::string out;
    // Gauges are read without the lock: a gauge may well ask something that registers a metric.
    for (const auto& table : impl_->tables()) {
        out += "# HELP ";
        out += table.name;
        out += ' ';
        append_escaped(out, table.help, false);
        out += "\n# TYPE ";
        out += table.name;
        out += ' ';
        out += name_of(table.type);
        out += '\n';
        for (const auto& row : table.rows) {
            switch (table.type) {
                case Type::kCounter:
                    append_sample(
                        out, table.name, "", row.labels, fmt::to_string(row.counter->value())
                    );
                    break;
                case Type::kHistogram:
                    append_histogram(out, table.name, row.labels, *row.histogram);
                    break;
                case Type::kGauge: {
                    double sum = 0;
                    for (const auto& read : row.gauges) {
                        sum += read_gauge(*read);
                    }
                    append_sample(out, table.name, "", row.labels, number_text(sum));
                    break;
                }
            }
        }
    }
    return out;
}

}  // namespace weir::metrics
