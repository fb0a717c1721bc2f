// Promises 4 and 9 when the file of the cache fails under the whole gateway: requests go on, fast,
// with the right answers, and the cache is back as soon as the disk is.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <sys/mount.h>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "weir/sqlite/connection.hpp"

#include "tools.hpp"

namespace weir::test {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kAnswerBytes = 30'000;
// The cache waits a second for its disk; the rest is for a machine that is busy with other tests.
constexpr auto kPatience = 5s;

// What the upstream says to that question: nothing else does, and it hardly shrinks on disk.
std::string answer_to(const std::string& question) {
    std::mt19937_64 random(std::hash<std::string>()(question));
    std::string text = "to " + question + ": ";
    while (text.size() < kAnswerBytes) {
        text += "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[random() % 64];
    }
    return text;
}

void answer_the_question(Wire& wire, const SeenRequest& request) {
    const auto body = nlohmann::json::parse(request.body);
    answer_chat(wire, request, answer_to(body["messages"][0]["content"].get<std::string>()));
}

// A mount that goes away with its owner. These tests need a real disk that is full or cannot be
// written; where that is not permitted they fail, for nothing else would show it.
class Mount {
public:
    Mount(
        const std::string& from,
        std::string at,
        const char* type,
        unsigned long flags,
        const char* data
    )
        : at_(std::move(at)) {
        mounted_ = ::mount(from.c_str(), at_.c_str(), type, flags, data) == 0;
        EXPECT_TRUE(mounted_) << "mount(2) at " << at_ << ": " << std::strerror(errno)
                              << ". Run this test as root, in a container with CAP_SYS_ADMIN";
    }
    ~Mount() {
        if (mounted_) EXPECT_EQ(::umount2(at_.c_str(), MNT_DETACH), 0) << std::strerror(errno);
    }
    Mount(const Mount&) = delete;
    Mount& operator=(const Mount&) = delete;
    [[nodiscard]] bool remount(unsigned long flags, const char* data) const {
        return ::mount(nullptr, at_.c_str(), nullptr, MS_REMOUNT | flags, data) == 0;
    }

private:
    std::string at_;
    bool mounted_ = false;
};

class CacheFaults : public testing::Test {
protected:
    CacheFaults() { fs::create_directory(data_); }
    ~CacheFaults() override {
        const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(slowest_).count();
        std::printf("slowest request: %lld ms\n", static_cast<long long>(ms));
    }

    TestGateway& start() {
        gateway_.reset();
        gateway_ = std::make_unique<TestGateway>(GatewaySetup{
            .upstream_url = upstream_.url(),
            // Next to nothing in memory: what is found is found on the disk.
            .cache = "{ttl: 1h, memory: 0}",
            .data = data_
        });
        return *gateway_;
    }
    // The answer is the right one, whole and in time, wherever it comes from. Its x-cache.
    std::string asked(int number) {
        const std::string question = "question " + std::to_string(number);
        const auto began = std::chrono::steady_clock::now();
        const Answer answer = send(*gateway_, question, "gpt-4", kAlice, number % 2 == 0);
        const auto took = std::chrono::steady_clock::now() - began;
        slowest_ = std::max(slowest_, took);
        EXPECT_LT(took, kPatience) << question;
        EXPECT_EQ(answer.status, 200) << question << answer.body.substr(0, 500);
        EXPECT_TRUE(answer.complete) << question;
        EXPECT_EQ(chat_text(answer), answer_to(question));
        return answer.field("x-cache");
    }
    void ask_all(int from, int to) {
        for (int number = from; number < to; ++number) asked(number);
    }
    std::uint64_t stat(const char* name) {
        return parsed(admin(*gateway_, "GET", "cache"))[name].get<std::uint64_t>();
    }
    [[nodiscard]] bool all_on_disk(std::uint64_t entries) {
        return eventually([&] { return stat("entries") == entries; });
    }
    // New answers reach the disk: after a restart they are hits.
    void expect_storing_works() {
        const std::uint64_t before = stat("stored");
        ASSERT_TRUE(eventually([&] {
            asked(next_++);
            return stat("stored") > before + 3;
        }));
        const int last = next_++;
        asked(last);
        start();
        EXPECT_EQ(asked(last), "HIT");
    }

    // Starts with cache.db on a disk of 1 MiB, and asks until that is full. The ledger stays where
    // there is room.
    void fill(const std::string& disk) {
        std::ofstream(disk + "/cache.db").close();
        fs::create_symlink(disk + "/cache.db", file_);
        start();
        // On disk before the rest comes: what is stored together fails together.
        ask_all(0, 5);
        ASSERT_TRUE(all_on_disk(5));
        ask_all(5, 150);  // three times what there is room for
        ASSERT_TRUE(eventually([&] { return stat("write_failures") > 0; }));
    }

    FakeUpstream upstream_{answer_the_question};
    TempDir directory_;
    std::string data_ = directory_.path("data");
    std::string file_ = data_ + "/cache.db";
    std::unique_ptr<TestGateway> gateway_;
    int next_ = 1000;
    std::chrono::steady_clock::duration slowest_{};
};

TEST_F(CacheFaults, AFullDisk) {
    const std::string small = directory_.path("small");
    fs::create_directory(small);
    const Mount disk("tmpfs", small, "tmpfs", 0, "size=1m,mode=0700");
    ASSERT_FALSE(HasFailure());
    ASSERT_NO_FATAL_FAILURE(fill(small));
    EXPECT_LT(fs::space(small).available, 2 * kAnswerBytes);
    ask_all(0, 150);
    EXPECT_EQ(asked(0), "HIT") << "what was stored before is still there";

    ASSERT_TRUE(disk.remount(0, "size=64m")) << std::strerror(errno);
    expect_storing_works();
    ask_all(0, 150);
}

TEST_F(CacheFaults, AFullDiskThatIsMadeRoomOnByDeletingTheCache) {
    const std::string small = directory_.path("small");
    fs::create_directory(small);
    const Mount disk("tmpfs", small, "tmpfs", 0, "size=1m,mode=0700");
    ASSERT_FALSE(HasFailure());
    ASSERT_NO_FATAL_FAILURE(fill(small));
    for (const char* const end : {"", "-wal", "-shm"}) fs::remove(small + "/cache.db" + end);
    fs::remove(file_);
    expect_storing_works();
    ask_all(0, 150);
}

TEST_F(CacheFaults, AFileThatCannotBeWritten) {
    start();
    ask_all(0, 20);
    ASSERT_TRUE(all_on_disk(20));
    {
        const std::string other = directory_.path("other.db");
        fs::copy_file(file_, other);
        const Mount over(other, file_, nullptr, MS_BIND, nullptr);
        ASSERT_FALSE(HasFailure());
        ASSERT_TRUE(over.remount(MS_BIND | MS_RDONLY, nullptr)) << std::strerror(errno);
        ASSERT_LT(::open(file_.c_str(), O_RDWR | O_CLOEXEC), 0) << "it can be written after all";
        const std::uint64_t before = stat("stored");
        ask_all(0, 40);
        ask_all(0, 60);
        EXPECT_EQ(stat("stored"), before);
    }
    expect_storing_works();
    ask_all(0, 40);
}

struct Damage {
    const char* name;
    void (*how)(const std::string& file);
};

void overwrite(const std::string& file, const std::string& bytes, bool keep_size) {
    const std::size_t size = keep_size ? fs::file_size(file) : bytes.size();
    std::string all;
    while (all.size() < size) all += bytes;
    all.resize(size);
    std::ofstream out(file, std::ios::binary | (keep_size ? std::ios::in : std::ios::trunc));
    out << all;
}

std::string bytes_of(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

// A sound database, and none of ours.
std::string foreign(const std::string& beside) {
    std::string path = beside + ".foreign";
    Result<sqlite::Connection> other = sqlite::Connection::open(path, {});
    EXPECT_TRUE(
        other && other->execute("CREATE TABLE other (x); INSERT INTO other VALUES (1);") &&
        other->checkpoint(true)
    );
    return path;
}

const Damage kDamages[] = {
    {"AnotherFileRenamedOverIt",
     [](const std::string& file) {
         overwrite(file + ".new", std::string(100'000, 'g'), false);
         fs::rename(file + ".new", file);
     }},
    {"AnotherDatabaseRenamedOverIt",
     [](const std::string& file) { fs::rename(foreign(file), file); }},
    {"OverwrittenInPlace", [](const std::string& file) { overwrite(file, "garbage", true); }},
    {"OverwrittenBehindItsFirstPage",
     [](const std::string& file) {
         const std::string first = bytes_of(file).substr(0, 4096);
         overwrite(file, "garbage", true);
         std::fstream(file, std::ios::binary | std::ios::in | std::ios::out) << first;
     }},
    {"OverwrittenByAFewBytes", [](const std::string& file) { overwrite(file, "garbage", false); }},
    {"OverwrittenByAnotherDatabase",
     [](const std::string& file) { overwrite(file, bytes_of(foreign(file)), false); }},
    {"Emptied", [](const std::string& file) { overwrite(file, "", false); }},
    {"Deleted", [](const std::string& file) { fs::remove(file); }},
    {"DeletedWithAllThatBelongsToIt",
     [](const std::string& file) {
         for (const char* const end : {"", "-wal", "-shm"}) fs::remove(file + end);
     }},
    {"ItsWalDeleted", [](const std::string& file) { fs::remove(file + "-wal"); }},
};

class CacheDamage : public CacheFaults, public testing::WithParamInterface<Damage> {};

INSTANTIATE_TEST_SUITE_P(Ways, CacheDamage, testing::ValuesIn(kDamages), [](const auto& instance) {
    return std::string(instance.param.name);
});

TEST_P(CacheDamage, WhileItRuns) {
    start();
    // More than what the WAL holds before it is moved into the file.
    ask_all(0, 250);
    ASSERT_TRUE(all_on_disk(250));
    GetParam().how(file_);
    ask_all(0, 100);
    ask_all(250, 300);
    ask_all(0, 300);
    expect_storing_works();
    ask_all(0, 300);
}

}  // namespace
}  // namespace weir::test
