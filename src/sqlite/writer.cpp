#include "weir/sqlite/writer.hpp"

#include <atomic>
#include <chrono>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "weir/base/log.hpp"

#include "failure.hpp"

namespace weir::sqlite {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kProbeEvery{250};
// SQLite's own default; 4 MB of WAL.
constexpr int kCheckpointPages = 1000;
// Far more than what is queued at a stop ever takes.
constexpr int kLastBatches = 64;

struct Job {
    std::move_only_function<Result<>(Connection&)> work;
    Result<> result;
    bool done = false;
};

}  // namespace

struct Writer::Impl {
    Impl(Options given, Connection open_connection)
        : options(std::move(given)), connection(std::move(open_connection)) {}

    const Options options;
    std::vector<Source*> sources;
    std::thread thread;

    // Set by whoever finds it unset, who alone pays for the wake-up.
    std::atomic<bool> wanted = false;
    std::atomic<bool> hurried = false;
    std::atomic<bool> healthy = true;
    std::atomic<std::uint64_t> commits = 0;

    Mutex mutex;
    CondVar changed;   // for the thread: wanted, jobs, stopping
    CondVar finished;  // for run(): a job is done
    bool running GUARDED_BY(mutex) = false;
    bool stopping GUARDED_BY(mutex) = false;
    std::deque<Job*> jobs GUARDED_BY(mutex);

    // The rest belongs to the thread (to start() and stop() while there is none).
    std::optional<Connection> connection;  // until stop()
    bool for_good = false;                 // damaged: down until a restart
    bool make_file = false;                // on_corrupt has cleared the way for a new file
    int checkpoint_at = kCheckpointPages;
    steady_clock::time_point next_probe;

    void loop();
    void gather_more() REQUIRES_LOCK(mutex);
    void finish();
    bool has_more();
    bool in_place();
    Result<> connect_sources();
    Result<> write_batch(std::vector<Source*>& wrote, bool all);
    bool batch(bool probe);
    void maybe_checkpoint();
    void go_down(const Error& error, bool moved);
    void recover();
    void run_jobs();
    Result<> run_job(Job& job, bool& broken);
};

bool Writer::Impl::has_more() {
    for (Source* source : sources) {
        if (source->has_more()) return true;
    }
    return false;
}

// False: the writer is down, since what it commits would go nowhere.
bool Writer::Impl::in_place() {
    if (connection->is_in_place()) return true;
    go_down(
        {ErrorCode::kStorage,
         fmt::format("{} or its -wal file was deleted or replaced", options.path)},
        true
    );
    return false;
}

Result<> Writer::Impl::connect_sources() {
    for (Source* source : sources) {
        if (Result<> done = source->connected(*connection); !done) return done;
    }
    return {};
}

Result<> Writer::Impl::write_batch(std::vector<Source*>& wrote, bool all) {
    if (Result<> begun = connection->execute("BEGIN IMMEDIATE"); !begun) return begun;
    for (Source* source : sources) {
        if (!all && !source->has_more()) continue;
        const Result<bool> written = source->write(*connection);
        if (!written) return std::unexpected(written.error());
        if (*written || all) wrote.push_back(source);
    }
    if (all) {
        // A probe must reach the disk even when no source has anything to say: this writes page 1.
        Result<Statement> version = connection->prepare("PRAGMA user_version");
        if (!version) return std::unexpected(version.error());
        const Result<bool> row = version->step();
        if (!row) return std::unexpected(row.error());
        const std::int64_t value = version->integer(0);
        version->reset();
        if (Result<> set = connection->execute(fmt::format("PRAGMA user_version = {}", value));
            !set) {
            return set;
        }
    }
    return connection->execute("COMMIT");
}

// One transaction over all sources. False: the writer is down.
bool Writer::Impl::batch(bool probe) {
    if (!in_place()) return false;
    std::vector<Source*> wrote;
    if (const Result<> done = write_batch(wrote, probe); !done) {
        go_down(done.error(), false);
        return false;
    }
    commits.fetch_add(1, std::memory_order_relaxed);
    if (probe) {
        healthy = true;
        log::info("storage works again", {{"database", options.name}});
    }
    for (Source* source : wrote) source->committed();
    return true;
}

void Writer::Impl::maybe_checkpoint() {
    if (!healthy) return;
    const int pages = connection->wal_pages();
    if (pages < kCheckpointPages) checkpoint_at = kCheckpointPages;
    bool wanted_now = false;
    for (Source* source : sources) wanted_now = source->wants_checkpoint() || wanted_now;
    if (pages < checkpoint_at && !wanted_now) return;
    if (const Result<> done = connection->checkpoint(); !done) {
        go_down(done.error(), false);
        return;
    }
    // When a reader held it up the WAL goes on growing: ask again after as much more, not at each
    // commit. When it was whole, the next commit starts the WAL anew.
    checkpoint_at = pages + kCheckpointPages;
}

void Writer::Impl::go_down(const Error& error, bool moved) {
    const bool damaged = !moved && connection->is_corrupt();
    const bool first = healthy.exchange(false);
    if (connection->is_open()) static_cast<void>(connection->execute("ROLLBACK"));
    for (Source* source : sources) source->disconnected();
    for (Source* source : sources) source->failed(error);
    if (first) {
        std::string detail = error.detail;
        if (damaged && !options.open.disposable) detail += kRestore;
        log::error(
            "storage failed", {{"database", options.name}, {"error", std::string_view(detail)}}
        );
    }
    // Moves what really is committed into the file while this connection still knows where that
    // ends: a commit frame whose sync failed stands behind that end, and would be taken for good
    // when the WAL is read again. If this fails too, recover() insists on it before anything is
    // appended to that WAL. Where only the WAL was deleted, this connection is the last that can
    // read it.
    if (connection->is_open() && options.open.sync == Sync::kFull && !damaged &&
        connection->is_file_in_place()) {
        static_cast<void>(connection->checkpoint(true));
    }
    connection->close();
    if (damaged || moved) {
        make_file = options.on_corrupt && options.on_corrupt();
        for_good = damaged && !make_file;
    }
    next_probe = steady_clock::now() + kProbeEvery;
}

void Writer::Impl::recover() {
    next_probe = steady_clock::now() + kProbeEvery;
    if (for_good) return;
    if (const Result<> opened = connection->reopen(make_file); !opened) {
        // Deleted or replaced while it was down. One that we make ourselves has no place yet.
        const bool moved = !make_file && !connection->is_file_in_place();
        if (moved || connection->is_corrupt()) go_down(opened.error(), moved);
        return;
    }
    make_file = false;
    checkpoint_at = kCheckpointPages;
    // After a failed sync nobody knows which pages of the WAL are on disk. What it holds moves to
    // the file and it starts from nothing, so that no later commit stands behind a hole. The cache
    // may lose commits, and has readers that would be in the way.
    if (options.open.sync == Sync::kFull) {
        if (const Result<> moved = connection->checkpoint(true); !moved) {
            go_down(moved.error(), false);
            return;
        }
    }
    if (const Result<> ready = connect_sources(); !ready) {
        go_down(ready.error(), false);
        return;
    }
    batch(true);
}

Result<> Writer::Impl::run_job(Job& job, bool& broken) {
    if (Result<> begun = connection->execute("BEGIN IMMEDIATE"); !begun) {
        broken = true;
        return begun;
    }
    if (Result<> done = job.work(*connection); !done) {
        // Then the file is to be replaced, where that is allowed; the job alone would fail for
        // ever.
        broken = options.on_corrupt && connection->is_corrupt();
        static_cast<void>(connection->execute("ROLLBACK"));
        return done;
    }
    if (Result<> done = connection->execute("COMMIT"); !done) {
        broken = true;
        return done;
    }
    commits.fetch_add(1, std::memory_order_relaxed);
    return {};
}

void Writer::Impl::run_jobs() {
    // Those that are here now: a stream of jobs must not keep the sources and checkpoints waiting.
    std::deque<Job*> now;
    {
        MutexLock lock(mutex);
        now.swap(jobs);
    }
    for (Job* job : now) {
        Result<> result;
        if (!healthy || !in_place()) {
            result = fail(
                ErrorCode::kStorage,
                fmt::format("{} cannot be written at the moment, see the log", options.path)
            );
        } else {
            bool broken = false;
            result = run_job(*job, broken);
            if (broken) go_down(result.error(), false);
        }
        MutexLock lock(mutex);
        job->result = std::move(result);
        job->done = true;
        finished.notify_all();
    }
}

void Writer::Impl::gather_more() {
    const auto until = steady_clock::now() + options.gather;
    while (!hurried && !stopping && jobs.empty() &&
           changed.wait_until(mutex, until) == std::cv_status::no_timeout) {
    }
}

void Writer::Impl::loop() {
    if (const Result<> ready = connect_sources(); !ready) go_down(ready.error(), false);
    for (;;) {
        bool last = false;
        {
            MutexLock lock(mutex);
            for (;;) {
                if (stopping || !jobs.empty()) break;
                if (healthy && wanted) {
                    gather_more();
                    break;
                }
                if (healthy) {
                    changed.wait(mutex);
                } else {
                    if (steady_clock::now() >= next_probe) break;
                    changed.wait_until(mutex, next_probe);
                }
            }
            last = stopping;
        }
        if (last) break;
        // Cleared before the look: what is queued after it asks anew.
        wanted = false;
        hurried = false;
        run_jobs();
        if (!healthy) {
            if (steady_clock::now() >= next_probe) recover();
            // What was queued while it was down, or during the probe.
            if (healthy && has_more()) wanted = true;
            continue;
        }
        if (has_more() && !batch(false)) continue;
        // Jobs fill the WAL as well.
        maybe_checkpoint();
        if (healthy && has_more()) wanted = true;
    }
    finish();
}

void Writer::Impl::finish() {
    // A last try, so that a stop right after a hiccup loses nothing.
    if (!healthy) recover();
    run_jobs();
    // Old rows that are still to be pruned can wait for the next run; a stop cannot wait for them.
    for (int i = 0; i < kLastBatches && healthy && has_more() && batch(false); ++i) {
        maybe_checkpoint();
    }
    run_jobs();
    if (healthy) {
        if (const Result<> done = connection->checkpoint(true); !done) {
            // Everything is in the WAL, the next start reads it.
            log::warn(
                "no checkpoint at stop",
                {{"database", options.name}, {"error", std::string_view(done.error().detail)}}
            );
        }
        for (Source* source : sources) source->disconnected();
    }
}

Writer::Writer(Options options, Connection connection)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(connection))) {}

Writer::~Writer() {
    stop();
}

void Writer::add(Source& source) {
    impl_->sources.push_back(&source);
}

void Writer::start() {
    MutexLock lock(impl_->mutex);
    if (impl_->running || impl_->stopping) return;
    impl_->running = true;
    impl_->thread = std::thread([impl = impl_.get()] { impl->loop(); });
}

void Writer::stop() {
    {
        MutexLock lock(impl_->mutex);
        impl_->stopping = true;
        impl_->changed.notify_one();
    }
    if (impl_->thread.joinable()) impl_->thread.join();
    MutexLock lock(impl_->mutex);
    impl_->running = false;
    // Gives the file and its lock to the next process; after a failure without touching the file.
    if (impl_->connection) {
        if (!impl_->healthy) impl_->connection->close();
        impl_->connection.reset();
    }
}

void Writer::wake() {
    if (impl_->wanted.exchange(true)) return;
    // With the lock, so that the thread is either before its look at `wanted` or in its wait.
    MutexLock lock(impl_->mutex);
    impl_->changed.notify_one();
}

void Writer::hurry() {
    if (impl_->hurried.exchange(true)) return;
    impl_->wanted = true;
    MutexLock lock(impl_->mutex);
    impl_->changed.notify_one();
}

Result<> Writer::run(std::move_only_function<Result<>(Connection&)> work) {
    Job job{std::move(work), {}, false};
    MutexLock lock(impl_->mutex);
    if (!impl_->running || impl_->stopping) {
        return fail(
            ErrorCode::kStorage, "the writer of " + impl_->options.path + " is not running"
        );
    }
    impl_->jobs.push_back(&job);
    impl_->changed.notify_one();
    while (!job.done) impl_->finished.wait(impl_->mutex);
    return std::move(job.result);
}

bool Writer::healthy() const noexcept {
    return impl_->healthy.load(std::memory_order_relaxed);
}

std::uint64_t Writer::commits() const noexcept {
    return impl_->commits.load(std::memory_order_relaxed);
}

}  // namespace weir::sqlite
