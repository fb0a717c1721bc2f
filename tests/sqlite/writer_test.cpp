#include "weir/sqlite/writer.hpp"

#include <atomic>
#include <filesystem>
#include <set>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sqlite/faulty_vfs.hpp"
#include "sqlite/scratch.hpp"

namespace weir::sqlite {
namespace {

using weir::testing::eventually;
using weir::testing::FaultyVfs;
using weir::testing::ScratchDir;

constexpr std::string_view kTable = "CREATE TABLE t(id INTEGER PRIMARY KEY)";

// Writes numbers; after a failure it writes the same batch again.
class Numbers final : public Source {
public:
    std::atomic<int> commits = 0;
    std::atomic<int> failures = 0;
    std::atomic<int> connections = 0;
    std::atomic<bool> hold = false;  // write() waits while set
    std::atomic<bool> writing = false;

    void put(std::int64_t value) {
        MutexLock lock(mutex_);
        queue_.push_back(value);
    }
    std::size_t written() {
        MutexLock lock(mutex_);
        return written_;
    }

    Result<> connected(Connection& connection) override {
        if (Result<> done = migrate(connection, {kTable}, "t"); !done) return done;
        auto insert = connection.prepare("INSERT OR REPLACE INTO t VALUES (?1)");
        if (!insert) return std::unexpected(insert.error());
        insert_ = std::move(*insert);
        ++connections;
        return {};
    }
    void disconnected() noexcept override { insert_ = {}; }
    Result<bool> write(Connection&) override {
        writing = true;
        while (hold) std::this_thread::yield();
        {
            MutexLock lock(mutex_);
            batch_.insert(batch_.end(), queue_.begin(), queue_.end());
            queue_.clear();
        }
        for (const std::int64_t value : batch_) {
            if (Result<> done = insert_.bind(1, value).run(); !done) {
                return std::unexpected(done.error());
            }
        }
        return !batch_.empty();
    }
    void committed() noexcept override {
        MutexLock lock(mutex_);
        written_ += batch_.size();
        batch_.clear();
        ++commits;
    }
    void failed(const Error& error) noexcept override {
        EXPECT_EQ(error.code, ErrorCode::kStorage) << error.detail;
        ++failures;
    }
    bool has_more() noexcept override {
        MutexLock lock(mutex_);
        return !queue_.empty();
    }

private:
    Statement insert_;
    std::vector<std::int64_t> batch_;
    Mutex mutex_;
    std::vector<std::int64_t> queue_ GUARDED_BY(mutex_);
    std::size_t written_ GUARDED_BY(mutex_) = 0;
};

class WriterTest : public ::testing::Test {
protected:
    void SetUp() override {
        FaultyVfs::instance().heal();
        Result<Connection> connection = Connection::open(path, open);
        ASSERT_TRUE(connection) << connection.error().detail;
        writer = std::make_unique<Writer>(
            Writer::Options{path, open, on_corrupt(), "test", gather()}, std::move(*connection)
        );
        writer->add(numbers);
    }
    void TearDown() override {
        FaultyVfs::instance().heal();
        writer.reset();
    }
    virtual std::function<bool()> on_corrupt() { return {}; }
    virtual std::chrono::milliseconds gather() { return {}; }
    std::int64_t rows() {
        Result<Connection> reader = Connection::open(path, {.mode = Mode::kReadOnly});
        if (!reader) return -1;
        auto count = reader->prepare("SELECT count(*) FROM t");
        return count && count->step().value_or(false) ? count->integer(0) : -1;
    }
    void put(std::int64_t value) {
        numbers.put(value);
        writer->wake();
    }

    const ScratchDir dir;
    const std::string path = dir / "w.db";
    OpenOptions open{.exclusive = true};
    Numbers numbers;  // outlives the writer
    std::unique_ptr<Writer> writer;
};

TEST_F(WriterTest, WritesWhatIsQueuedAndTells) {
    writer->start();
    for (int i = 0; i < 100; ++i) put(i);
    EXPECT_TRUE(eventually([&] { return numbers.written() == 100; }));
    EXPECT_EQ(rows(), 100);
    EXPECT_TRUE(writer->healthy());
}

TEST_F(WriterTest, GathersWhatComesDuringACommitIntoTheNext) {
    writer->start();
    numbers.hold = true;
    put(0);
    ASSERT_TRUE(eventually([&] { return numbers.writing.load(); }));
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 1; i <= 500; ++i) put(t * 1000 + i);
        });
    }
    for (std::thread& thread : threads) thread.join();
    numbers.hold = false;
    EXPECT_TRUE(eventually([&] { return numbers.written() == 2001; }));
    EXPECT_LE(writer->commits(), 2U);
}

class GatheringTest : public WriterTest {
protected:
    std::chrono::milliseconds gather() override { return std::chrono::hours(1); }
};

TEST_F(GatheringTest, WaitsForMoreUntilSomebodyIsInAHurry) {
    writer->start();
    put(1);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(numbers.commits, 0);
    put(2);
    writer->hurry();
    EXPECT_TRUE(eventually([&] { return numbers.written() == 2; }));
    EXPECT_EQ(numbers.commits, 1);
    put(3);
    EXPECT_TRUE(writer->run([](Connection&) { return Result<>(); })) << "a job does not wait";
    EXPECT_TRUE(eventually([&] { return numbers.written() == 3; }));
    put(4);
    writer->stop();
    EXPECT_EQ(numbers.written(), 4U);
}

TEST_F(WriterTest, NoWakeUpIsLost) {
    writer->start();
    // One at a time, each waited for: a lost wake-up would leave the last one lying.
    for (int i = 0; i < 300; ++i) {
        put(i);
        ASSERT_TRUE(eventually([&] { return numbers.written() == std::size_t(i) + 1; }));
    }
}

TEST_F(WriterTest, StopWritesTheRestEmptiesTheWalAndGivesTheLockBack) {
    writer->start();
    for (int i = 0; i < 50; ++i) put(i);
    writer->stop();
    EXPECT_EQ(numbers.written(), 50U);
    EXPECT_FALSE(std::filesystem::exists(dir / "w.db-wal"));
    const auto next = Connection::open(path, open);
    ASSERT_TRUE(next) << next.error().detail;
    writer->stop();
    EXPECT_FALSE(writer->run([](Connection&) -> Result<> { return {}; }));
}

TEST_F(WriterTest, AJobIsOnDiskWhenItReturnsAndGoneWhenItFails) {
    EXPECT_FALSE(writer->run([](Connection&) -> Result<> { return {}; })) << "not started yet";
    writer->start();
    ASSERT_TRUE(writer->run([](Connection& c) { return c.execute("INSERT INTO t VALUES (7)"); }));
    EXPECT_EQ(rows(), 1);
    const Result<> refused = writer->run([](Connection& c) -> Result<> {
        if (Result<> done = c.execute("INSERT INTO t VALUES (8)"); !done) return done;
        return fail(ErrorCode::kConflict, "no");
    });
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
    EXPECT_EQ(rows(), 1);
    EXPECT_TRUE(writer->healthy());
}

TEST_F(WriterTest, JobsOfManyThreadsAllRun) {
    writer->start();
    std::atomic<int> good = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 20; ++i) {
                if (writer->run([](Connection& c) {
                        return c.execute("INSERT INTO t DEFAULT VALUES");
                    })) {
                    ++good;
                }
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(good, 160);
    EXPECT_EQ(rows(), 160);
}

TEST_F(WriterTest, TheWalStaysSmallWhoeverWrites) {
    writer->start();
    const auto most_wal = [&] { return std::filesystem::file_size(dir / "w.db-wal"); };
    for (int i = 0; i < 400; ++i) {
        // Pages all over the tree, so that each commit logs many.
        ASSERT_TRUE(writer->run([](Connection& c) {
            return c.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50) "
                "INSERT OR IGNORE INTO t SELECT abs(random()) FROM n"
            );
        }));
        ASSERT_LT(most_wal(), 6U << 20) << "after " << i;
    }
    const auto file = std::filesystem::file_size(path);
    EXPECT_GT(file, 100'000U);
    for (std::int64_t i = 0; i < 2500; ++i) {
        put(i);
        ASSERT_TRUE(eventually([&] { return numbers.written() == std::size_t(i) + 1; }));
        ASSERT_LT(most_wal(), 6U << 20) << "after " << i;
    }
}

TEST_F(WriterTest, AFailedSyncIsToldAndItRecoversByItself) {
    writer->start();
    put(1);
    ASSERT_TRUE(eventually([&] { return numbers.written() == 1; }));
    FaultyVfs::instance().fail_syncs = 1;
    put(2);
    ASSERT_TRUE(eventually([&] { return numbers.failures == 1; }));
    ASSERT_TRUE(eventually([&] { return writer->healthy() && numbers.written() == 2; }));
    EXPECT_EQ(rows(), 2);
    EXPECT_EQ(numbers.failures, 1);
    EXPECT_EQ(numbers.connections, 2);
    put(3);
    ASSERT_TRUE(eventually([&] { return numbers.written() == 3; }));
}

TEST_F(WriterTest, StaysDownWhileTheDiskIsFullAndJobsFailAtOnce) {
    writer->start();
    put(1);
    ASSERT_TRUE(eventually([&] { return numbers.written() == 1; }));
    FaultyVfs::instance().write_code = SQLITE_FULL;
    FaultyVfs::instance().fail_writes = -1;
    put(2);
    ASSERT_TRUE(eventually([&] { return !writer->healthy(); }));
    const Result<> job =
        writer->run([](Connection& c) { return c.execute("INSERT INTO t VALUES (9)"); });
    ASSERT_FALSE(job);
    EXPECT_EQ(job.error().code, ErrorCode::kStorage);
    // Two probes have failed: it does not take an empty commit for a good one.
    ASSERT_TRUE(eventually([&] { return numbers.failures >= 3; }));
    EXPECT_FALSE(writer->healthy());
    FaultyVfs::instance().heal();
    EXPECT_TRUE(eventually([&] { return writer->healthy() && numbers.written() == 2; }));
    EXPECT_EQ(rows(), 2);
}

TEST_F(WriterTest, AProbeWithNothingToWriteStillReachesTheDisk) {
    writer->start();
    ASSERT_TRUE(writer->run([](Connection& c) { return c.execute("INSERT INTO t VALUES (7)"); }));
    {
        // Nothing in the WAL: the checkpoints of a recovery have nothing to write either.
        Result<Connection> other = Connection::open(path, {});
        ASSERT_TRUE(other && other->checkpoint(true));
    }
    FaultyVfs::instance().fail_writes = -1;
    ASSERT_FALSE(writer->run([](Connection& c) { return c.execute("INSERT INTO t VALUES (1)"); }));
    ASSERT_TRUE(eventually([&] { return numbers.failures >= 3; }));
    EXPECT_FALSE(writer->healthy());
    FaultyVfs::instance().heal();
    EXPECT_TRUE(eventually([&] { return writer->healthy(); }));
    EXPECT_GE(numbers.commits, 1) << "the source was not told that it is over";
}

TEST_F(WriterTest, TheLockIsKeptWhileItIsDown) {
    writer->start();
    FaultyVfs::instance().fail_syncs = -1;
    put(1);
    ASSERT_TRUE(eventually([&] { return numbers.failures >= 1; }));
    for (int i = 0; i < 50; ++i) EXPECT_FALSE(Connection::open(path, open));
}

TEST_F(WriterTest, ADeletedFileIsAnErrorAndNeverASilentNewOne) {
    writer->start();
    put(1);
    ASSERT_TRUE(eventually([&] { return numbers.written() == 1; }));
    std::filesystem::rename(path, dir / "away.db");
    put(2);
    ASSERT_TRUE(eventually([&] { return numbers.failures >= 1; }));
    EXPECT_FALSE(writer->healthy());
    EXPECT_FALSE(std::filesystem::exists(path));
    EXPECT_FALSE(writer->run([](Connection& c) { return c.execute("INSERT INTO t VALUES (9)"); }));
    // Its WAL is still there under the old name: put back, nothing is lost.
    std::filesystem::rename(dir / "away.db", path);
    EXPECT_TRUE(eventually([&] { return writer->healthy() && numbers.written() == 2; }));
    EXPECT_EQ(rows(), 2);
}

TEST_F(WriterTest, AJobOnADeletedFileSaysSo) {
    writer->start();
    ASSERT_TRUE(writer->run([](Connection& c) { return c.execute("INSERT INTO t VALUES (1)"); }));
    std::filesystem::rename(path, dir / "away.db");
    const Result<> job =
        writer->run([](Connection& c) { return c.execute("INSERT INTO t VALUES (2)"); });
    ASSERT_FALSE(job) << "on disk, it says, in a file that has no name";
    EXPECT_EQ(job.error().code, ErrorCode::kStorage);
}

// What was committed since the last checkpoint is in the WAL alone, and still open here.
TEST_F(WriterTest, ADeletedWalLosesNoCommit) {
    writer->start();
    for (int i = 1; i <= 5; ++i) put(i);
    ASSERT_TRUE(eventually([&] { return numbers.written() == 5; }));
    std::filesystem::remove(path + "-wal");
    put(6);
    ASSERT_TRUE(eventually([&] { return numbers.failures >= 1; }));
    ASSERT_TRUE(eventually([&] { return writer->healthy() && numbers.written() == 6; }));
    EXPECT_EQ(rows(), 6);
    writer->stop();
    EXPECT_EQ(rows(), 6);
}

TEST_F(WriterTest, StopWhileDownDoesNotHang) {
    writer->start();
    FaultyVfs::instance().fail_syncs = -1;
    put(1);
    ASSERT_TRUE(eventually([&] { return numbers.failures >= 1; }));
    writer->stop();
    EXPECT_FALSE(writer->healthy());
    FaultyVfs::instance().heal();
    EXPECT_TRUE(Connection::open(path, open));
}

class DisposableTest : public WriterTest {
protected:
    std::function<bool()> on_corrupt() override {
        return [this] {
            ++replaced;
            for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(path + end);
            return true;
        };
    }
    std::atomic<int> replaced = 0;
};

TEST_F(DisposableTest, AFileThatMayGoIsMadeAnew) {
    writer->start();
    put(1);
    ASSERT_TRUE(eventually([&] { return numbers.written() == 1; }));
    std::filesystem::remove(path);
    put(2);
    ASSERT_TRUE(eventually([&] { return writer->healthy() && numbers.written() == 2; }));
    EXPECT_EQ(replaced, 1);
    EXPECT_EQ(rows(), 1) << "only the second is in the new file";
}

TEST_F(DisposableTest, AFileThatIsDeletedWhileTheDiskIsFullIsMadeAnew) {
    writer->start();
    FaultyVfs::instance().fail_syncs = -1;
    put(1);
    ASSERT_TRUE(eventually([&] { return numbers.failures >= 1; }));
    std::filesystem::remove(path);
    put(2);
    ASSERT_TRUE(eventually([&] { return replaced >= 1; }));
    FaultyVfs::instance().heal();
    EXPECT_TRUE(eventually([&] { return writer->healthy(); }));
    EXPECT_EQ(replaced, 1) << "the one that it made itself is taken for another";
}

TEST_F(DisposableTest, AJobThatMeetsDamageIsTheLastOfItsFile) {
    writer->start();
    const Result<> met = writer->run([](Connection& connection) -> Result<> {
        connection.distrust();
        return fail(ErrorCode::kStorage, "damaged");
    });
    EXPECT_FALSE(met);
    ASSERT_TRUE(eventually([&] { return replaced >= 1 && writer->healthy(); }));
    EXPECT_TRUE(writer->run([](Connection&) { return Result<>(); }));
    EXPECT_EQ(replaced, 1);
}

}  // namespace
}  // namespace weir::sqlite
