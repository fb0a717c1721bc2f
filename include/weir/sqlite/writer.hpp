// The one thread that writes a database file: group commit. Whoever has something to write is a
// Source; it queues under a lock of its own and calls wake(). The thread then takes what all
// sources have, inside one transaction, commits, and tells them. Checkpoints are done here as well,
// between batches.
//
// After a failed commit nothing that was in it is known to be written: the sources are told, the
// connection is closed, reopened and probed (with the sources' next batch, which must undo what may
// have been written) every 250 ms until a commit works again. (LevelDB's and PostgreSQL's lesson:
// after a failed sync do not just try again and trust.)
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "weir/base/error.hpp"
#include "weir/base/mutex.hpp"
#include "weir/sqlite/connection.hpp"

namespace weir::sqlite {

// All calls come from the writer's thread. Statements may be kept until disconnected().
class Source {
public:
    virtual ~Source() = default;
    // A (new) connection is there, outside a transaction; prepare statements. A file that
    // on_corrupt replaced is empty: migrate() it first.
    virtual Result<> connected(Connection& connection) = 0;
    // The connection goes away; drop statements.
    virtual void disconnected() noexcept = 0;
    // Inside a transaction: write the next batch, bounded to some thousand rows. False: nothing to
    // write. May be called again after failed(): then the batch must also repair what the failed
    // one may have left behind.
    virtual Result<bool> write(Connection& connection) = 0;
    // The batch of the last write() is on disk; also called after a recovery to which this source
    // had nothing to write.
    virtual void committed() noexcept = 0;
    // It may or may not be on disk; the writer is down until the next committed(). Also called when
    // there was no batch (a checkpoint or BEGIN failed), and again when a probe fails.
    virtual void failed(const Error& error) noexcept = 0;
    // There is more to write right now.
    [[nodiscard]] virtual bool has_more() noexcept = 0;
    // Asked between batches: what was written should reach the file now, although the WAL is short
    // (a file gets smaller only then).
    [[nodiscard]] virtual bool wants_checkpoint() noexcept { return false; }
};

class Writer {
public:
    struct Options {
        std::string path;
        OpenOptions open;
        // Called, with the connection closed, when the file turns out to be damaged, deleted or
        // replaced; returns whether to reopen or make it (the cache deletes its file first).
        // Without it, or when it returns false, a damaged file stays down until a restart; a moved
        // one is taken again once it is back.
        std::function<bool()> on_corrupt;
        std::string name;  // for log and metrics: "ledger", "cache"
        // How long what was queued first may wait for more, unless somebody is in a hurry: a commit
        // costs the same for one row and for a hundred.
        std::chrono::milliseconds gather{0};
    };

    // Takes a connection that start-up code opened, checked and migrated.
    Writer(Options options, Connection connection);
    ~Writer();  // stop()
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    // Before start(). REQUIRES: the source lives until stop() returned.
    void add(Source& source);
    void start();
    // Writes what is queued, checkpoints, joins. Idempotent.
    void stop();
    // There is something to write. Thread-safe, cheap when the thread is awake already.
    void wake();
    // Somebody waits for what is queued: it is written at once. Thread-safe.
    void hurry();

    // Runs `work` in a transaction of its own and waits for its commit. For rare work (keys,
    // admin). Never from a worker or from the writer's thread. Work that returns an error is rolled
    // back. kStorage from the commit itself: it may or may not be on disk.
    [[nodiscard]] Result<> run(std::move_only_function<Result<>(Connection&)> work);

    [[nodiscard]] bool healthy() const noexcept;
    // Commits that worked since the start.
    [[nodiscard]] std::uint64_t commits() const noexcept;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace weir::sqlite
