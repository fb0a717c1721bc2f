#include "weir/base/log.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <unistd.h>

#include "weir/base/mutex.hpp"
#include "weir/base/text.hpp"

namespace weir::log {

namespace {

constexpr std::size_t kQueueBytes = 4 << 20;
constexpr std::chrono::milliseconds kGather{50};

std::atomic<Level> g_level = Level::kOff;
std::atomic<bool> g_json = true;

// Lines on their way to stderr. Waking a thread for each line costs a worker more than the rest of
// a cache hit does, so the thread is woken once, gathers for a moment, and writes them all.
class Outbox {
public:
    Outbox() : logger_("weir", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
        logger_.set_pattern("%v");
        thread_ = std::thread([this] { run(); });
    }
    ~Outbox() {
        {
            const MutexLock lock(mutex_);
            stopping_ = true;
        }
        changed_.notify_one();
        thread_.join();
    }
    Outbox(const Outbox&) = delete;
    Outbox& operator=(const Outbox&) = delete;

    void put(std::string_view line, bool urgent) {
        bool wake = urgent;
        {
            const MutexLock lock(mutex_);
            if (lines_.size() + line.size() > kQueueBytes) {
                ++dropped_;
                return;
            }
            wake = wake || lines_.empty();
            urgent_ = urgent_ || urgent;
            lines_ += line;
            lines_ += '\n';
        }
        if (wake) changed_.notify_one();
    }

private:
    void run() {
        std::string batch;
        while (true) {
            std::uint64_t dropped = 0;
            bool last = false;
            {
                const MutexLock lock(mutex_);
                while (lines_.empty() && !stopping_) changed_.wait(mutex_);
                const auto until = std::chrono::steady_clock::now() + kGather;
                while (!urgent_ && !stopping_ &&
                       changed_.wait_until(mutex_, until) == std::cv_status::no_timeout) {
                }
                batch.clear();
                batch.swap(lines_);
                dropped = std::exchange(dropped_, 0);
                urgent_ = false;
                last = stopping_;
            }
            if (!batch.empty()) {
                batch.pop_back();  // the logger ends the last line
                logger_.info(batch);
            }
            if (dropped > 0) {
                logger_.info(
                    g_json ? fmt::format(
                                 R"({{"level":"warn","event":"log lines dropped","lines":{}}})",
                                 dropped
                             )
                           : fmt::format("warn  log lines dropped lines={}", dropped)
                );
            }
            logger_.flush();
            if (last) return;
        }
    }

    spdlog::logger logger_;
    Mutex mutex_;
    CondVar changed_;
    std::string lines_ GUARDED_BY(mutex_);
    std::uint64_t dropped_ GUARDED_BY(mutex_) = 0;
    bool urgent_ GUARDED_BY(mutex_) = false;
    bool stopping_ GUARDED_BY(mutex_) = false;
    std::thread thread_;
};

// Set by start(), dropped by stop(); both are called while no other thread logs.
std::unique_ptr<Outbox> g_outbox;

std::string_view name_of(Level level) {
    switch (level) {
        case Level::kDebug:
            return "debug";
        case Level::kInfo:
            return "info";
        case Level::kWarn:
            return "warn";
        case Level::kError:
            return "error";
        case Level::kOff:
            break;
    }
    return "off";
}

struct AppendJson {
    fmt::memory_buffer& out;
    void operator()(std::string_view text) const {
        fmt::format_to(fmt::appender(out), "{}", json_quote(text));
    }
    void operator()(std::int64_t number) const { fmt::format_to(fmt::appender(out), "{}", number); }
    void operator()(double number) const { fmt::format_to(fmt::appender(out), "{:.3f}", number); }
    void operator()(bool truth) const { fmt::format_to(fmt::appender(out), "{}", truth); }
};

}  // namespace

void start(Settings settings) {
    g_json = settings.format == Format::kJson ||
             (settings.format == Format::kAuto && ::isatty(STDERR_FILENO) == 0);
    g_outbox = std::make_unique<Outbox>();
    g_level = settings.level;
}

void set_level(Level level) {
    g_level = level;
}

void stop() {
    g_level = Level::kOff;
    g_outbox.reset();
}

bool enabled(Level level) noexcept {
    return level >= g_level.load(std::memory_order_relaxed) && level != Level::kOff;
}

bool is_json() noexcept {
    return g_json.load(std::memory_order_relaxed);
}

void write(Level level, std::string_view event, std::initializer_list<Field> fields) {
    if (!enabled(level) || !g_outbox) return;
    const auto now =
        std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
    const auto ms = now.time_since_epoch().count() % 1000;
    const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
    fmt::memory_buffer line;
    if (is_json()) {
        fmt::format_to(
            fmt::appender(line),
            R"({{"time":"{:%FT%T}.{:03}Z","level":"{}","event":{})",
            fmt::gmtime(seconds),
            ms,
            name_of(level),
            json_quote(event)
        );
        for (const Field& field : fields) {
            fmt::format_to(fmt::appender(line), ",{}:", json_quote(field.name));
            std::visit(AppendJson{line}, field.value);
        }
        line.push_back('}');
    } else {
        fmt::format_to(
            fmt::appender(line),
            "{:%T}.{:03} {:5} {}",
            fmt::localtime(seconds),
            ms,
            name_of(level),
            event
        );
        for (const Field& field : fields) {
            fmt::format_to(fmt::appender(line), " {}=", field.name);
            std::visit(AppendJson{line}, field.value);
        }
    }
    write_line(level, fmt::to_string(line));
}

void write_line(Level level, std::string line) {
    if (!enabled(level) || !g_outbox) return;
    g_outbox->put(line, level >= Level::kError);
}

}  // namespace weir::log
